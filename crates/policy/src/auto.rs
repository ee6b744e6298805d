//! The default: learns from what came of what it brought, and combines the others accordingly.
//!
//! ```text
//!   fault -- advice? ------------------------------------------------------------> as the program says
//!        |-- goes back and forth? -----------------------------------------------> waits, then stays (bounces)
//!        |-- there is room? -----------------------------------------------------> moves, in a large folio
//!        |-- step of a walk? ----------------------------------------------------> moves, more at each step (streams)
//!        |-- the device can use it where it is, and has not used it often yet? --> stays, and is counted
//!        +-- else ---------------------------------------------------------------> moves, as much as was worth it here
//! ```
//!
//! **How much.** When a folio leaves, it is known which of its pages were used. The order of its block grows by one when
//! folios leave in which most pages were used, and shrinks to what was used otherwise; each time growing was wrong, the next
//! try takes twice as long. So random access settles at single pages, and dense regions at the largest order.
//!
//! **Whether at all.** A page that comes costs as much as 64 uses of 64 bytes over the link, and as much again if it goes
//! written. So while there is no room a page stays in system memory for its first [`USES`] uses: at worst that costs twice as much as to move it at once,
//! and a page that is used less never moves (as for skis: rent until renting has cost as much as buying).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use bifolio_folio::{BLOCK_PAGES, Order, PAGE_SHIFT};
use bifolio_migrate::OrderRange;

use crate::advice::Pattern;
use crate::bounces::{Bounces, Verdict};
use crate::eviction::{Eviction, EvictionName};
use crate::fact::{Fact, Leaving};
use crate::fault::{Decision, Fault, Placement, USES_OF_KEPT};
use crate::memory::{Memory, Side};
use crate::policy::Policy;
use crate::streams::{Step, Streams};

/// Uses of a page that was left in system memory after which it moves.
pub const USES: u32 = 64;
/// Folios of the largest order that fit into the memory at once.
const FOLIOS_MIN: u64 = 16;
/// By how much the order of a walk grows at each step.
const STEP: u8 = 2;
/// There is room while more than one page in so many is free.
const ROOM: u64 = 16;
/// Blocks that are remembered.
const BLOCKS: usize = 1 << 16;
/// Folios that must leave well used until a block's order grows.
const GROW_AFTER: u8 = 2;
const GROW_AFTER_MAX: u8 = 128;

/// What was worth moving in one block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Worth {
    order: u8,
    /// Folios that left well used, one after the other.
    dense: u8,
    grow_after: u8,
}

/// The default policy.
#[derive(Debug)]
pub struct Auto {
    side: Side,
    pages: u64,
    remote: bool,
    smallest: Order,
    largest: Order,
    streams: Streams,
    bounces: Bounces,
    blocks: BTreeMap<u64, Worth>,
    /// What is assumed of a block that nothing is known of: what was learned last.
    usual: Worth,
    eviction: Box<dyn Eviction>,
}

impl Auto {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(memory: &Memory, eviction: EvictionName) -> Auto {
        Auto {
            side: memory.side,
            pages: memory.pages,
            remote: memory.remote,
            smallest: memory.smallest,
            largest: memory.largest_of(FOLIOS_MIN),
            streams: Streams::new(),
            bounces: Bounces::default(),
            blocks: BTreeMap::new(),
            usual: Worth { order: 0, dense: 0, grow_after: GROW_AFTER },
            eviction: eviction.make(memory.pages),
        }
    }

    fn has_room(&self, free_pages: u64) -> bool {
        free_pages > self.pages / ROOM
    }

    /// The order that a fault is worth.
    fn order(&self, fault: &Fault, step: Step) -> Order {
        let (block, _) = crate::density::split(fault.page());
        let learned = self.blocks.get(&block).unwrap_or(&self.usual).order;
        let walked = if step.stride.abs() == 1 { step.trust.saturating_mul(STEP) } else { 0 };
        let order = match fault.advice.pattern {
            Pattern::Random => Order::ZERO,
            Pattern::Sequential => self.largest,
            Pattern::Any if self.has_room(fault.free_pages) => self.largest_now(fault.free_pages),
            Pattern::Any => Order::new(learned.max(walked)).unwrap_or(Order::MAX),
        };
        order.min(self.largest).max(self.smallest)
    }

    /// While there is room, a folio takes a small part of it.
    fn largest_now(&self, free_pages: u64) -> Order {
        let fitting = Order::largest_fitting(free_pages / FOLIOS_MIN).unwrap_or(Order::ZERO);
        fitting.min(Order::PMD)
    }

    fn placement(&mut self, fault: &Fault, step: Step) -> (Placement, u64) {
        let kept = Placement::Remote { order: Order::PMD, notify_after: USES_OF_KEPT };
        let elsewhere = fault.advice.stay && fault.advice.is_elsewhere(self.side);
        let (verdict, mut wait_ns) = (self.bounces.judge(fault.page(), fault.now_ns), 0);
        if let Verdict::Wait(ns) = verdict {
            wait_ns = ns;
        }
        let walks = step.trust > 0 && fault.advice.pattern != Pattern::Random;
        let waits = !self.has_room(fault.free_pages) && !walks && !fault.was_remote;
        let placement = match self.remote {
            true if elsewhere || verdict == Verdict::Stay => kept,
            true if waits => Placement::Remote { order: Order::K64, notify_after: USES },
            _ => Placement::Move,
        };
        (placement, wait_ns)
    }

    fn learn_worth(&mut self, address: usize, pages: u32, used: u32) {
        let block = (address as u64 >> PAGE_SHIFT) / u64::from(BLOCK_PAGES);
        if self.blocks.len() >= BLOCKS {
            self.blocks.clear();
        }
        let worth = self.blocks.entry(block).or_insert(self.usual);
        worth.learn(pages, used, self.largest);
        self.usual = *worth;
    }
}

impl Worth {
    /// Learns that so many pages of a folio were used.
    fn learn(&mut self, pages: u32, used: u32, largest: Order) {
        let order = u8::try_from(pages.ilog2()).expect("an order");
        if used * 4 >= pages * 3 {
            self.dense = self.dense.saturating_add(1);
            if order >= self.order && self.dense >= self.grow_after {
                self.order = (order + 1).min(largest.get());
                self.dense = 0;
            }
        } else if order > 0 && used * 2 <= pages {
            self.dense = 0;
            let fits = u8::try_from(used.max(1).ilog2()).expect("an order");
            if self.order > fits {
                self.order = fits;
                self.grow_after = self.grow_after.saturating_mul(2).min(GROW_AFTER_MAX);
            }
        }
    }
}

impl Policy for Auto {
    fn decide(&mut self, fault: &Fault) -> Decision {
        let page = fault.page();
        let step = self.streams.step(fault.unit, page);
        let order = self.order(fault, step);
        let (placement, wait_ns) = self.placement(fault, step);
        if placement == Placement::Move {
            let first = page & !(order.pages() - 1);
            self.streams.brings(step, first..first + order.pages());
        }
        let orders = OrderRange { largest: order, smallest: self.smallest };
        Decision { placement, wait_ns, ..Decision::moving(orders) }
    }

    fn orders(&self) -> OrderRange {
        OrderRange { largest: self.largest, smallest: self.smallest }
    }

    fn learn(&mut self, fact: Fact<'_>) {
        if let Fact::Left { address, pages, used, why, .. } = fact {
            if why == Leaving::Wanted {
                self.bounces.taken(address as u64 >> PAGE_SHIFT);
            }
            if let Some(used) = used {
                self.learn_worth(address, pages, u32::from(used.count()));
            }
        }
    }

    fn eviction(&mut self) -> &mut dyn Eviction {
        &mut self.eviction
    }
}
