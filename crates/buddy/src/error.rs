//! What can go wrong, as data. No failing call changes the allocator.

use crate::block::BuddyBlock;
use core::fmt;
use core::ops::Range;

/// Why an allocator could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NewError {
    /// There is no page to manage: no region, or an empty one.
    Empty,
    /// A region has too many pages.
    TooLong {
        /// The region.
        region: Range<u64>,
        /// The most pages that a region can have.
        limit_pages: u64,
    },
    /// A region ends beyond the highest page number that can be managed.
    TooHigh {
        /// The region.
        region: Range<u64>,
        /// The first page number that cannot be managed.
        limit: u64,
    },
    /// A region begins before the end of the one listed before it.
    Disorder {
        /// The region.
        region: Range<u64>,
        /// End of the region before it.
        previous_end: u64,
    },
    /// Memory for the bookkeeping is short.
    OutOfMemory,
}

/// Why a request could not be met.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllocateError {
    /// No suitable free pages are left.
    NoSpace {
        /// Pages asked for.
        pages: u64,
        /// Pages free, in blocks of any order.
        free_pages: u64,
        /// Order of the largest free block, if there is one.
        largest_free_order: Option<u32>,
    },
    /// The request can never be met by this allocator.
    Impossible {
        /// What the request asks for.
        reason: &'static str,
    },
    /// Memory for the list of blocks is short.
    OutOfMemory,
}

/// Why pages could not be freed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FreeError {
    /// The pages do not all belong to this allocator.
    Foreign {
        /// The pages named by the caller.
        range: Range<u64>,
    },
    /// The page is free already.
    NotAllocated {
        /// The page.
        page: u64,
    },
    /// The pages are allocated, but not as the caller says.
    WrongBlock {
        /// The page named by the caller.
        page: u64,
        /// The allocated block that holds the page.
        allocated: BuddyBlock,
    },
}

impl fmt::Display for NewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "no page to manage"),
            Self::TooLong { region, limit_pages } => {
                write!(
                    f,
                    "region {:#x}..{:#x} has more than {limit_pages:#x} pages",
                    region.start, region.end
                )
            }
            Self::TooHigh { region, limit } => {
                write!(f, "region {:#x}..{:#x} ends beyond page {limit:#x}", region.start, region.end)
            }
            Self::Disorder { region, previous_end } => write!(
                f,
                "region {:#x}..{:#x} begins before page {previous_end:#x}, the end of the previous one",
                region.start, region.end
            ),
            Self::OutOfMemory => write!(f, "no memory for the bookkeeping of the pages"),
        }
    }
}

impl fmt::Display for AllocateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpace { pages, free_pages, largest_free_order: Some(order) } => {
                write!(
                    f,
                    "no suitable {pages} pages: {free_pages} are free, the largest block is of order {order}"
                )
            }
            Self::NoSpace { pages, .. } => write!(f, "no suitable {pages} pages: none is free"),
            Self::Impossible { reason } => write!(f, "the request can never be met: {reason}"),
            Self::OutOfMemory => write!(f, "no memory for the list of blocks"),
        }
    }
}

impl fmt::Display for FreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { range } => {
                write!(f, "pages {:#x}..{:#x} do not belong to this allocator", range.start, range.end)
            }
            Self::NotAllocated { page } => write!(f, "page {page:#x} is free already"),
            Self::WrongBlock { page, allocated } => write!(
                f,
                "page {page:#x} is allocated as part of the block of order {} at {:#x}",
                allocated.order, allocated.page
            ),
        }
    }
}

impl core::error::Error for NewError {}
impl core::error::Error for AllocateError {}
impl core::error::Error for FreeError {}
