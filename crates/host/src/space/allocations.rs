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
    backings: Vec<Backing>,
}

/// Addresses of the space that no allocation gets, since memory of the program has its bytes in the file there.
#[derive(Debug)]
struct Backing {
    /// Blocks of that memory.
    blocks: Range<usize>,
    /// What is taken for the first.
    address: usize,
    /// How many ranges that were adopted have bytes there.
    ranges: usize,
}

impl Allocations {
    /// All of `addresses` are free.
    pub(crate) fn new(addresses: Range<usize>, granule: usize) -> Result<Allocations, NewError> {
        let pages = Buddy::new((addresses.len() / PAGE) as u64)?;
        Ok(Allocations { base: addresses.start, pages, granule, made: BTreeMap::new(), backings: Vec::new() })
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

    /// Finds or takes addresses for the bytes of whole blocks of the program.
    pub(super) fn back(&mut self, blocks: Range<usize>) -> Result<usize, AllocateError> {
        let holds =
            |backing: &&mut Backing| backing.blocks.start <= blocks.start && blocks.end <= backing.blocks.end;
        if let Some(backing) = self.backings.iter_mut().find(holds) {
            backing.ranges += 1;
            return Ok(backing.address + (blocks.start - backing.blocks.start));
        }
        let address = self.take(blocks.len() / PAGE)?;
        self.backings.push(Backing { blocks, address, ranges: 1 });
        Ok(address)
    }

    /// Ends one use of what [`Allocations::back`] returned for these blocks.
    pub(super) fn end_backing(&mut self, blocks: Range<usize>, address: usize) {
        let is_it = |backing: &Backing| {
            let within = backing.blocks.start <= blocks.start && blocks.end <= backing.blocks.end;
            within && backing.address + (blocks.start - backing.blocks.start) == address
        };
        let index = self.backings.iter().position(is_it).expect("it was taken");
        self.backings[index].ranges -= 1;
        if self.backings[index].ranges == 0 {
            let Backing { blocks, address, .. } = self.backings.swap_remove(index);
            self.give_back(address, blocks.len() / PAGE);
        }
    }
}
