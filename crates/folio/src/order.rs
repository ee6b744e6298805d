//! Sizes of folios: [`Order`] k means 2^k pages of [`PAGE_SIZE`] bytes.
//!
//! Order 9 is what a CPU maps by one page-middle-directory entry (2 MiB); order 18 is 1 GiB, the largest
//! order that any part of Bifolio handles. All arithmetic here is total: an `Order` cannot hold a value for
//! which `pages()` or `bytes()` would overflow.

use core::fmt;

/// Logarithm of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;

/// Bytes of the smallest unit of memory that is tracked.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// Logarithm of the number of pages of a folio, 0 to 18.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order(u8);

impl Order {
    /// One page, 4 KiB.
    pub const ZERO: Order = Order(0);
    /// 16 pages, 64 KiB.
    pub const K64: Order = Order(4);
    /// 512 pages, 2 MiB: one page-middle-directory entry of x86-64.
    pub const PMD: Order = Order(9);
    /// 2^18 pages, 1 GiB: the largest order.
    pub const MAX: Order = Order(18);
    /// How many orders there are.
    pub const COUNT: usize = 19;

    /// Makes an order, or `None` above [`Order::MAX`].
    #[must_use]
    pub const fn new(order: u8) -> Option<Order> {
        if order <= Order::MAX.0 { Some(Order(order)) } else { None }
    }

    /// Returns the order as a number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Returns the order as an index into an array of [`Order::COUNT`] entries.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns the number of pages.
    #[must_use]
    pub const fn pages(self) -> u64 {
        1 << self.0
    }

    /// Returns the number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        PAGE_SIZE << self.0
    }

    /// Returns the next smaller order, or `None` at order 0.
    #[must_use]
    pub const fn smaller(self) -> Option<Order> {
        if self.0 == 0 { None } else { Some(Order(self.0 - 1)) }
    }

    /// Returns the next larger order, or `None` at [`Order::MAX`].
    #[must_use]
    pub const fn larger(self) -> Option<Order> {
        Order::new(self.0 + 1)
    }

    /// Returns the largest order of at most `pages` pages, or `None` for no pages.
    #[must_use]
    pub const fn largest_fitting(pages: u64) -> Option<Order> {
        match pages.checked_ilog2() {
            Some(log) => match Order::from_log(log) {
                None => Some(Order::MAX),
                fitting => fitting,
            },
            None => None,
        }
    }

    /// Returns the smallest order of at least `pages` pages, or `None` when that is above [`Order::MAX`].
    #[must_use]
    pub const fn covering(pages: u64) -> Option<Order> {
        match pages.checked_next_power_of_two() {
            Some(power) => Order::from_log(power.ilog2()),
            None => None,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "18 at most")]
    const fn from_log(log: u32) -> Option<Order> {
        if log <= Order::MAX.0 as u32 { Some(Order(log as u8)) } else { None }
    }

    /// Iterates over this order and all smaller ones, going down to 0.
    pub fn descending(self) -> impl DoubleEndedIterator<Item = Order> + ExactSizeIterator {
        (0..=self.0).rev().map(Order)
    }

    /// Iterates over the orders from this one down to `floor`, both included; empty if `floor` is larger.
    pub fn descending_to(self, floor: Order) -> impl DoubleEndedIterator<Item = Order> + ExactSizeIterator {
        (floor.0..=self.0).rev().map(Order)
    }

    /// Iterates over all orders, going up from 0.
    pub fn all() -> impl DoubleEndedIterator<Item = Order> + ExactSizeIterator {
        (0..=Order::MAX.0).map(Order)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
