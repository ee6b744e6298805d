//! Page-aligned ranges of addresses.
//!
//! An [`AddressRange`] is two numbers that can be a range of pages. It does not prove that anything is mapped there; the
//! kernel decides that at each call.

use std::fmt;

/// Bytes of a base page. Bifolio runs on 4 KiB pages only;
/// checks.
pub const PAGE: usize = 4096;

/// Bytes of the largest folio the page tables map as one entry (order 9).
pub const HUGE_PAGE: usize = 2 << 20;

/// A range of addresses: page aligned, not empty, not past the end of the address space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    start: usize,
    len: usize,
}

/// Why two numbers are not a [`AddressRange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRangeError {
    /// The range holds no byte.
    #[error("range at {start:#x} is empty")]
    Empty {
        /// First address.
        start: usize,
    },
    /// Start or length is not a multiple of 4 KiB.
    #[error("range {start:#x}+{len:#x} is not page aligned")]
    Unaligned {
        /// First address.
        start: usize,
        /// Bytes.
        len: usize,
    },
    /// The end lies beyond the address space.
    #[error("range {start:#x}+{len:#x} leaves the address space")]
    Overflow {
        /// First address.
        start: usize,
        /// Bytes.
        len: usize,
    },
    /// A part reaches outside of the span it was to be cut from.
    #[error("part {offset:#x}+{len:#x} leaves its span of {whole:#x} bytes")]
    Outside {
        /// Offset of the part in the span, in bytes.
        offset: usize,
        /// Bytes of the part.
        len: usize,
        /// Bytes of the whole span.
        whole: usize,
    },
}

impl AddressRange {
    /// Makes a span of `len` bytes from address `start`.
    ///
    /// # Errors
    ///
    /// Refuses an empty, unaligned or overflowing range.
    pub const fn new(start: usize, len: usize) -> Result<Self, AddressRangeError> {
        if len == 0 {
            return Err(AddressRangeError::Empty { start });
        }
        if !start.is_multiple_of(PAGE) || !len.is_multiple_of(PAGE) {
            return Err(AddressRangeError::Unaligned { start, len });
        }
        if start.checked_add(len).is_none() {
            return Err(AddressRangeError::Overflow { start, len });
        }
        Ok(Self { start, len })
    }

    /// Returns the first address.
    #[must_use]
    pub const fn start(self) -> usize {
        self.start
    }

    /// Returns the bytes covered; never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a span is never empty")]
    pub const fn len(self) -> usize {
        self.len
    }

    /// Returns the first address after the span.
    #[must_use]
    pub const fn end(self) -> usize {
        self.start + self.len
    }

    /// Returns the number of 4 KiB pages covered.
    #[must_use]
    pub const fn pages(self) -> usize {
        self.len / PAGE
    }

    /// Tells whether `address` lies inside.
    #[must_use]
    pub const fn contains(self, address: usize) -> bool {
        address >= self.start && address - self.start < self.len
    }

    /// Tells whether all of `other` lies inside.
    #[must_use]
    pub const fn contains_span(self, other: AddressRange) -> bool {
        other.start >= self.start && other.end() <= self.end()
    }

    /// Tells whether the two share a page.
    #[must_use]
    pub const fn overlaps(self, other: AddressRange) -> bool {
        self.start < other.end() && other.start < self.end()
    }

    /// Cuts out `len` bytes from `offset`.
    ///
    /// # Errors
    ///
    /// Refuses a part that is empty, unaligned or not inside.
    pub const fn part(self, offset: usize, len: usize) -> Result<Self, AddressRangeError> {
        let whole = self.len;
        match offset.checked_add(len) {
            Some(end) if end <= whole => Self::new(self.start + offset, len),
            _ => Err(AddressRangeError::Outside { offset, len, whole }),
        }
    }
}

impl fmt::Debug for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}+{:#x}", self.start, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: usize = usize::MAX - PAGE + 1;

    #[test]
    fn shapes_that_are_no_span_are_refused() {
        assert_eq!(AddressRange::new(PAGE, 0), Err(AddressRangeError::Empty { start: PAGE }));
        assert!(matches!(AddressRange::new(1, PAGE), Err(AddressRangeError::Unaligned { .. })));
        assert!(matches!(AddressRange::new(PAGE, 5), Err(AddressRangeError::Unaligned { .. })));
        assert!(matches!(AddressRange::new(TOP, PAGE), Err(AddressRangeError::Overflow { .. })));
    }

    #[test]
    fn parts_stay_inside() {
        let span = AddressRange::new(16 * PAGE, 4 * PAGE).expect("aligned");
        assert_eq!(span.part(PAGE, PAGE), AddressRange::new(17 * PAGE, PAGE));
        assert!(matches!(span.part(3 * PAGE, 2 * PAGE), Err(AddressRangeError::Outside { .. })));
        assert!(matches!(span.part(usize::MAX, PAGE), Err(AddressRangeError::Outside { .. })));
    }

    #[test]
    fn neighbours_do_not_overlap() {
        let low = AddressRange::new(PAGE, PAGE).expect("aligned");
        let high = AddressRange::new(2 * PAGE, PAGE).expect("aligned");
        assert!(!low.overlaps(high));
        assert!(low.overlaps(low));
        assert!(!low.contains(low.end()));
    }
}
