//! What a policy is asked, and what it answers: [`Fault`] and [`Decision`].

use core::ops::Range;

use bifolio_folio::{Order, PAGE_SHIFT};
use bifolio_migrate::{CpuFaultOrders, OrderRange, Rights};

use crate::advice::{Advice, Pattern};
use crate::memory::Side;

/// Bytes of a page.
const PAGE: usize = 1 << PAGE_SHIFT;

/// A touch of a page that is not where it was touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The address that was touched.
    pub address: usize,
    /// The side that touched it.
    pub side: Side,
    /// Which unit of the device did; 0 for the CPU.
    pub unit: u32,
    /// What it wants to do. A fault of the CPU does not say; it counts as a write.
    pub access: Rights,
    /// Whether the page is mapped remotely, and was used as often as the policy wanted before it is asked again.
    pub was_remote: bool,
    /// What the program has said of the address.
    pub advice: Advice,
    /// Pages of the side's memory that are free.
    pub free_pages: u64,
    /// The engine's clock, in nanoseconds.
    pub now_ns: u64,
}

impl Fault {
    /// A first fault of unit 0 in a memory with so many free pages.
    #[must_use]
    pub fn new(address: usize, side: Side, free_pages: u64) -> Fault {
        Fault {
            address,
            side,
            unit: 0,
            access: Rights::READ | Rights::WRITE,
            was_remote: false,
            advice: Advice::default(),
            free_pages,
            now_ns: 0,
        }
    }

    /// The number of the page that was touched, counted from address 0.
    #[must_use]
    pub fn page(&self) -> u64 {
        self.address as u64 >> PAGE_SHIFT
    }
}

/// What is done about a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Whether the page moves.
    pub placement: Placement,
    /// Orders of the folio that moves to the side that touched it.
    pub orders: OrderRange,
    /// Order of zeros where nothing was touched before.
    pub populate: Order,
    /// What comes as well.
    pub prefetch: Option<Prefetch>,
    /// How long the touch waits before it is answered, since its page goes back and forth.
    pub wait_ns: u64,
}

/// Whether a page moves to the side that touched it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// It moves.
    Move,
    /// It stays in system memory, where the device uses it. Where that is impossible it moves.
    Remote {
        /// The largest aligned run around the page that is mapped with it.
        order: Order,
        /// After this many uses of a page the policy is asked again.
        notify_after: u32,
    },
}

/// Uses after which it is asked again what is to be done with memory that the program, or bouncing, keeps where it is.
pub const USES_OF_KEPT: u32 = 1 << 16;

/// What comes before it is touched: `count` times `bytes` bytes, `stride` bytes apart, with the rest of their pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefetch {
    /// Where the first bytes begin.
    pub first: usize,
    /// Distance from one time to the next, in bytes.
    pub stride: isize,
    /// How many bytes there are each time.
    pub bytes: usize,
    /// How many times.
    pub count: u32,
}

impl Prefetch {
    /// Pages that follow each other.
    #[must_use]
    pub fn range(first: usize, pages: u32) -> Prefetch {
        Prefetch { first, stride: 0, bytes: (pages as usize) << PAGE_SHIFT, count: 1 }
    }

    /// Most pages that can come, if no two times share one.
    #[must_use]
    pub fn pages(&self) -> u64 {
        u64::from(self.count) * self.bytes.div_ceil(PAGE) as u64
    }

    /// Addresses of the pages of each time, as far as addresses go.
    pub fn parts(self) -> impl Iterator<Item = Range<usize>> {
        let part = move |at: u32| {
            let first = self.first.checked_add_signed(self.stride.checked_mul(isize::try_from(at).ok()?)?)?;
            let end = first.checked_add(self.bytes)?.checked_next_multiple_of(PAGE)?;
            Some(first & !(PAGE - 1)..end)
        };
        (0..self.count).map_while(part)
    }
}

impl Decision {
    /// The page moves in a folio of these orders, and nothing else happens.
    #[must_use]
    pub fn moving(orders: OrderRange) -> Decision {
        Decision { placement: Placement::Move, orders, populate: orders.largest, prefetch: None, wait_ns: 0 }
    }

    /// The same as far as it agrees with what the program said of the memory; `orders` are what the memory takes.
    ///
    /// | advice | what changes |
    /// |---|---|
    /// | random | the smallest folio comes, and nothing beside it |
    /// | sequential | the largest folio comes, and the next one with it |
    /// | preferred elsewhere | the smallest folio comes, since its neighbours are better where they are |
    /// | preferred elsewhere, and stays | it stays, if a device touches it that can use it there |
    #[must_use]
    pub fn advised(mut self, fault: &Fault, orders: OrderRange) -> Decision {
        let elsewhere = fault.advice.is_elsewhere(fault.side);
        if elsewhere && fault.advice.stay {
            self.placement = Placement::Remote { order: Order::PMD, notify_after: USES_OF_KEPT };
        }
        if elsewhere || fault.advice.pattern == Pattern::Random {
            (self.orders.largest, self.populate, self.prefetch) = (orders.smallest, orders.smallest, None);
        } else if fault.advice.pattern == Pattern::Sequential {
            self.orders.largest = orders.largest;
            let pages = orders.largest.pages();
            let next = ((fault.page() / pages + 1) * pages) << PAGE_SHIFT;
            let next = usize::try_from(next).ok().zip(u32::try_from(pages).ok());
            self.prefetch = next.map(|(first, pages)| Prefetch::range(first, pages));
        }
        self
    }

    /// The orders, as a fault of the CPU takes them.
    #[must_use]
    pub fn cpu_orders(&self) -> CpuFaultOrders {
        CpuFaultOrders { to_ram: self.orders.largest, populate: self.populate }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// Parts as numbers of pages, first and end.
    fn parts(prefetch: Prefetch) -> Vec<(usize, usize)> {
        prefetch.parts().map(|part| (part.start / PAGE, part.end / PAGE)).collect()
    }

    #[test]
    fn bytes_that_begin_within_a_page_come_with_the_rest_of_their_pages() {
        let prefetch = Prefetch { first: 10 * PAGE + 3000, stride: 16_000, bytes: 1500, count: 3 };
        assert_eq!(parts(prefetch), [(10, 12), (14, 16), (18, 19)]);
        assert_eq!(parts(Prefetch { stride: -16_000, bytes: 1, ..prefetch }), [(10, 11), (6, 7), (2, 3)]);
        assert_eq!(parts(Prefetch::range(7 * PAGE, 4)), [(7, 11)]);
    }

    #[test]
    fn what_is_beyond_the_last_address_is_left_out() {
        let prefetch = Prefetch { first: usize::MAX - 5 * PAGE, stride: 4 * 4096, bytes: 1, count: 3 };
        assert_eq!(prefetch.parts().count(), 2);
        assert_eq!(parts(Prefetch { first: 2 * PAGE, stride: -4096, ..prefetch }).len(), 3);
    }
}
