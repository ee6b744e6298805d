//! [`Setup`]: the size of a world of transactions, and which actors are in it.

use bifolio_folio::Order;
use bifolio_policy::FixedOrders;

use crate::design::Bounds;
use crate::migrate::state::{ACTORS, BLOCK_PAGES, BLOCKS, DEVICE};

/// How the CPU sees memory of a world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// Allocated through Bifolio: a page that comes home is mapped at its next touch, unless a thread waits for it.
    Shared,
    /// A program's own: a page that comes home is mapped at once, and children inherit it.
    Anonymous,
    /// The CPU maps device memory directly.
    Coherent,
}

/// Actors beside those that run transactions, the program and the units of the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Others {
    /// A holder takes a reference of any folio and keeps it for a while.
    pub holder: bool,
    /// The pagemap is killed, and teardown waits until it is drained.
    pub teardown: bool,
    /// Pages of system memory are pinned for a while.
    pub pins: bool,
    /// The program forks; only with [`Memory::Anonymous`].
    pub fork: bool,
}

impl Others {
    /// None.
    pub const NONE: Others = Others { holder: false, teardown: false, pins: false, fork: false };
}

/// A world of transactions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setup {
    /// How the CPU sees memory.
    pub memory: Memory,
    /// Blocks of virtual memory, at most 3.
    pub blocks: u8,
    /// Pages of each, 1 or 2.
    pub block_pages: u8,
    /// Device pages, at most 4.
    pub device: u8,
    /// Pages of system memory.
    pub ram: u8,
    /// How many of these are for transactions that make room.
    pub reserve: u8,
    /// Actors that run transactions, at most 3: threads of the CPU and units of the device whose faults are
    /// answered, a driver that prefetches, an evictor, a thread that unmaps. Each is any of these in turn.
    pub actors: u8,
    /// Other actors.
    pub others: Others,
}

impl Setup {
    /// One block of two shared pages and one actor, with as much of either memory as there are pages: what other worlds
    /// are variations of.
    pub const ONE_BLOCK: Setup = Setup {
        memory: Memory::Shared,
        blocks: 1,
        block_pages: 2,
        device: 2,
        ram: 2,
        reserve: 0,
        actors: 1,
        others: Others::NONE,
    };

    /// Largest and smallest orders: the largest that fits a block.
    #[must_use]
    pub fn policy(&self) -> FixedOrders {
        let largest = Order::new(u8::from(self.block_pages > 1)).unwrap_or_default();
        FixedOrders { largest, smallest: Order::ZERO, populate: largest }
    }

    /// The size as bounds of a report.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds { pages: self.device, order: u8::from(self.block_pages > 1), actors: self.actors }
    }

    /// The same world, no larger than `bounds`.
    #[must_use]
    pub fn within(self, bounds: Bounds) -> Setup {
        Setup {
            block_pages: self.block_pages.min(1 << bounds.order.min(7)),
            device: self.device.min(bounds.pages),
            actors: self.actors.min(bounds.actors),
            ..self
        }
    }

    /// The same world, no larger than can be represented.
    #[must_use]
    pub fn clamped(self) -> Setup {
        let at_most = |value: u8, limit: usize| value.clamp(1, u8::try_from(limit).unwrap_or(u8::MAX));
        Setup {
            blocks: at_most(self.blocks, BLOCKS),
            block_pages: at_most(self.block_pages, BLOCK_PAGES),
            device: at_most(self.device, DEVICE),
            actors: at_most(self.actors, ACTORS),
            ..self
        }
    }
}
