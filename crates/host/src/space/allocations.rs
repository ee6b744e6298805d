//! Which addresses of a space are allocated.

use std::collections::BTreeMap;
use std::ops::Range;

use bifolio_buddy::{AllocateError, Buddy, NewError};
use bifolio_sys::PAGE;

/// The addresses of a space that are free, and what was allocated.
#[derive(Debug)]
pub(crate) struct Allocations {
    /// The first address.
    base: usize,
    pages: Buddy,
    /// Pages that a folio on the device has at least: what is allocated is a multiple of it.
    pub(super) granule: usize,
    /// Pages of each allocation, by its address.
    pub(super) made: BTreeMap<usize, usize>,
}

impl Allocations {
    /// All of `addresses` are free.
    pub(crate) fn new(addresses: Range<usize>, granule: usize) -> Result<Allocations, NewError> {
        let pages = Buddy::new((addresses.len() / PAGE) as u64)?;
        Ok(Allocations { base: addresses.start, pages, granule, made: BTreeMap::new() })
    }

    /// Takes a range of addresses, `pages` long.
    pub(super) fn take(&mut self, pages: usize) -> Result<usize, AllocateError> {
        let range = self.pages.allocate_contiguous(pages as u64)?;
        Ok(self.base + usize::try_from(range.start).expect("pages of the space") * PAGE)
    }

    pub(super) fn give_back(&mut self, address: usize, pages: usize) {
        let first = ((address - self.base) / PAGE) as u64;
        self.pages.free_range(first..first + pages as u64).expect("allocated as this range");
    }
}
