//! Changing the size of folios where they are: nothing moves, and both sides go on meanwhile.

use std::ops::Range;

use bifolio_folio::Order;
use bifolio_svm::{Failure, Transaction};

use crate::cpu::CpuView;
use crate::engine::Engine;

impl<V: CpuView> Engine<V> {
    /// Splits the folios on the device that hold pages of page-aligned `addresses`, as far as needed for none of these
    /// pages to be in a folio above `order`; returns how often a folio was halved. All pages of a folio make a uniform
    /// split, one page the split around it. What else is there is left alone.
    ///
    /// # Errors
    /// [`Failure::Busy`] if somebody holds a folio: it stays as it is, and so do those after it.
    pub fn split(&self, addresses: Range<usize>, order: Order) -> Result<u64, Failure> {
        self.blocks
            .parts(addresses)
            .map(|(found, run)| {
                let split = self.run_retrying(found, |_| Transaction::split(run, order));
                split.map(|finished| u64::from(finished.splits))
            })
            .sum()
    }
}
