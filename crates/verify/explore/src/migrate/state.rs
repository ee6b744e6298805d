//! State of a world of transactions.

pub use bifolio_rules::judge::Teardown;

/// Room for device pages.
pub const DEVICE: usize = 4;
/// Blocks of virtual memory.
pub const BLOCKS: usize = 3;
/// Room for pages in use in each block.
pub const BLOCK_PAGES: usize = 2;
/// Virtual pages.
pub const VIRTUAL: usize = BLOCKS * BLOCK_PAGES;
/// Room for actors that run transactions.
pub const ACTORS: usize = 3;

/// Bytes of a page: nothing that may be read.
pub const GARBAGE: u8 = 15;

/// One page of the program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Virtual {
    /// What it must read as, if it is mapped: 0 is zero, 1 + its number is what was written last. What was written
    /// before that is garbage, wherever it is.
    pub expected: Option<u8>,
    /// Bytes in system memory.
    pub ram: Option<u8>,
    /// Where the program's page table leads.
    pub cpu: View,
    /// Device page in the device's page table.
    pub table: Option<u8>,
    /// Taken out of view by a transaction.
    pub taken: bool,
    /// System memory is reserved for it, or holds it.
    pub reserved: bool,
}

/// Where the program's page table leads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum View {
    /// Nowhere: a touch faults.
    #[default]
    Fault,
    /// System memory.
    Ram,
    /// A coherent device page.
    Device(u8),
}

impl Virtual {
    /// All of it in 23 bits.
    pub(super) fn bits(self) -> u64 {
        let small = |value: Option<u8>| value.map_or(0x1f, u64::from);
        let cpu = match self.cpu {
            View::Fault => 0,
            View::Ram => 1,
            View::Device(at) => 2 + u64::from(at),
        };
        let flags = u64::from(self.taken) << 1 | u64::from(self.reserved);
        small(self.expected) << 18 | small(self.ram) << 13 | small(self.table) << 8 | cpu << 4 | flags
    }
}

/// A transaction under way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Frame {
    /// Number of the task in the cache.
    pub task: u16,
    /// The block it has locked.
    pub block: u8,
}

/// An actor that runs transactions: one that it was asked for and, while that waits for room, one that makes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Actor {
    /// What it was asked for.
    pub outer: Option<Frame>,
    /// What makes room for it.
    pub inner: Option<Frame>,
    /// The folio that it looked at without a lock: page of the program, device page.
    pub victim: Option<(u8, u8)>,
    /// Something was evicted.
    pub evicted: bool,
    /// Something belonged to another actor.
    pub contended: bool,
}

impl Actor {
    /// The transaction that takes the next step.
    pub fn top(&self) -> Option<Frame> {
        self.inner.or(self.outer)
    }

    /// Transactions under way.
    pub fn frames(&self) -> impl Iterator<Item = Frame> + use<> {
        self.outer.into_iter().chain(self.inner)
    }
}

/// All of a world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// Words of the pagemap, packed.
    pub words: [u16; DEVICE],
    /// Backings by first page, packed.
    pub backings: [u8; DEVICE],
    /// Bytes of device pages.
    pub device: [u8; DEVICE],
    /// Virtual page that the backing's first page was allocated for, by first page.
    pub owners: [u8; DEVICE],
    /// Free device pages.
    pub free: u8,
    /// The pagemap's counter.
    pub live: u8,
    /// Pages of system memory in use.
    pub ram_used: u8,
    /// Teardown of the pagemap.
    pub teardown: Teardown,
    /// Device page whose folio a third party holds a reference of.
    pub held: Option<u8>,
    /// During a fork: pages that the child has, bit by page.
    pub child: Option<u8>,
    /// Blocks, by their numbers in the cache.
    pub blocks: [u16; BLOCKS],
    /// Pages of the program.
    pub pages: [Virtual; VIRTUAL],
    /// Actors that run transactions.
    pub actors: [Actor; ACTORS],
}

impl State {
    /// Nothing at all.
    pub(super) fn empty() -> State {
        State {
            words: [0; DEVICE],
            backings: [0; DEVICE],
            device: [GARBAGE; DEVICE],
            owners: [0; DEVICE],
            free: 0,
            live: 0,
            ram_used: 0,
            teardown: Teardown::Alive,
            held: None,
            child: None,
            blocks: [0; BLOCKS],
            pages: [Virtual::default(); VIRTUAL],
            actors: [Actor::default(); ACTORS],
        }
    }

    /// Writes a page through one of its mappings: every other copy is out of date from now on.
    pub fn write(&mut self, number: u8, through: View) {
        let value = 1 + number;
        let page = &mut self.pages[usize::from(number)];
        page.expected = Some(value);
        if page.ram == Some(value) {
            page.ram = Some(GARBAGE);
        }
        for bytes in self.device.iter_mut().filter(|bytes| **bytes == value) {
            *bytes = GARBAGE;
        }
        match through {
            View::Ram => page.ram = Some(value),
            View::Device(device) => self.device[usize::from(device)] = value,
            View::Fault => {}
        }
    }

    /// Whether a transaction has the block.
    pub fn is_locked(&self, block: u8) -> bool {
        self.actors.iter().flat_map(Actor::frames).any(|frame| frame.block == block)
    }

    /// Whether another actor than `actor` has the block.
    pub fn is_locked_by_other(&self, block: u8, actor: u8) -> bool {
        self.holder_of(block).is_some_and(|holder| holder != usize::from(actor))
    }

    /// The actor that has the block.
    pub fn holder_of(&self, block: u8) -> Option<usize> {
        self.actors.iter().position(|actor| actor.frames().any(|frame| frame.block == block))
    }

    /// Whether nothing can be formed any more.
    pub fn is_killed(&self) -> bool {
        self.teardown != Teardown::Alive
    }

    /// Whether no transaction is under way.
    pub fn is_quiet(&self) -> bool {
        self.actors.iter().all(|actor| actor.outer.is_none())
    }
}
