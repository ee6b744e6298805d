//! Changing the size of folios where they are: nothing moves, and both sides go on meanwhile.

use std::ops::Range;

use bifolio_folio::Order;
use bifolio_migrate::{Failure, Transaction};

use crate::engine::Engine;
use crate::event::Cause;
use crate::request::Request;
use crate::view::CpuView;

/// What came of [`Engine::collapse`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Collapsed {
    /// Folios that held the pages before.
    pub before: u64,
    /// Folios that hold them now.
    pub after: u64,
}

impl<V: CpuView> Engine<V> {
    /// Splits the folios on the device that hold pages of page-aligned `addresses`, as far as needed for none of these
    /// pages to be in a folio above `order`; returns how often a folio was halved. All pages of a folio make a uniform
    /// split, one page the split around it. What else is there is left alone.
    ///
    /// # Errors
    /// [`Failure::Busy`] if a folio is held elsewhere: it stays as it is, and so do those after it.
    pub fn split(&self, addresses: Range<usize>, order: Order) -> Result<u64, Failure> {
        self.parts(addresses)?
            .map(|(found, run)| {
                let split = self
                    .run_retrying(Request::new(Cause::Reshape), found, |_| Transaction::split(run, order));
                split.map(|finished| u64::from(finished.splits))
            })
            .sum()
    }

    /// Collapses the folios on the device that lie in page-aligned `addresses`, as far as they go together: halves of
    /// a larger folio that have one backing, side by side, are in the device's page table both or neither, and have
    /// no other references. Nothing moves. As with `MADV_COLLAPSE` of the kernel, it is done on return.
    ///
    /// It undoes a split: nothing collapses by itself, since what splits a folio has a use for the pieces.
    ///
    /// # Errors
    /// [`Failure::Busy`] if a folio is held elsewhere that could have been a half; all others are collapsed.
    pub fn collapse(&self, addresses: Range<usize>) -> Result<Collapsed, Failure> {
        let (mut sum, mut result) = (Collapsed::default(), Ok(()));
        for (found, run) in self.parts(addresses)? {
            let folios = || self.lock(&found).block.pieces_in(run).count() as u64;
            sum.before += folios();
            let collapsed =
                self.run_retrying(Request::new(Cause::Reshape), found, |_| Transaction::collapse(run));
            result = result.and(collapsed.map(drop));
            sum.after += folios();
        }
        result.map(|()| sum)
    }
}
