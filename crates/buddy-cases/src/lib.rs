//! The cases that `bifolio-buddy` is measured with.
//!
//! `bifolio bench buddy` sets their times against a floor, the example `count` runs one
//! case for a counter of instructions, and `crates/buddy-compare` runs them beside other allocators. The same seed
//! always means the same calls.
//!
//! | module | what happens |
//! |---|---|
//! | [`trace`] | blocks of mixed orders come and go at random; any [`Allocator`] can run it |
//! | [`fragmented`] | small blocks far apart, freed in two patterns, after the tests of the kernel's allocator |
//! | [`contiguous`] | ranges of any length come and go at random |
//! | [`marks`] | the floor: one bit for each call, and nothing to decide |
#![forbid(unsafe_code)]

pub mod contiguous;
pub mod fragmented;
pub mod marks;
mod random;
pub mod trace;

pub use random::Random;

use bifolio_buddy::Buddy;

/// An allocator of pages in units of `2^order`.
pub trait Allocator {
    /// What names an allocation when it is freed.
    type Handle;

    /// Makes an allocator of `pages` free pages, fit for at least `live` allocations at a time.
    fn with_pages(pages: u64, live: u32) -> Self;

    /// Allocates `2^order` pages, if there are such.
    fn allocate(&mut self, order: u32) -> Option<Self::Handle>;

    /// Frees an allocation of that order.
    fn free(&mut self, handle: Self::Handle, order: u32);
}

impl Allocator for Buddy {
    type Handle = u64;

    #[inline]
    fn with_pages(pages: u64, _live: u32) -> Self {
        Buddy::new(pages).expect("the cases' sizes are within limits")
    }

    #[inline]
    fn allocate(&mut self, order: u32) -> Option<u64> {
        Buddy::allocate(self, order).ok()
    }

    #[inline]
    fn free(&mut self, page: u64, order: u32) {
        Buddy::free(self, page, order).expect("a case frees what it allocated");
    }
}
