//! State of a world of migration: one process, two virtual pages, and the device memory of one object.

/// Virtual pages, and device pages: a huge page.
pub const PAGES: usize = 2;
/// Threads that migrate.
pub const ACTORS: usize = 2;
/// Both pages, as a set.
pub const ALL: u8 = 0b11;

/// What the process's page table has for a page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Entry {
    /// Nothing.
    Empty,
    /// A page of system memory.
    #[default]
    Ram,
    /// A device page: a touch faults.
    Device,
    /// A migration entry: a touch waits.
    Migrating,
}

/// The bytes of a page in one place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Bytes {
    /// None.
    #[default]
    None,
    /// Those of an earlier time.
    Stale,
    /// Those that were written last.
    Latest,
}

/// A virtual page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Virtual {
    /// Page table of the process.
    pub entry: Entry,
    /// Bytes in system memory.
    pub ram: Bytes,
    /// Bytes on the device.
    pub device: Bytes,
    /// Whether the device's page table has its device page.
    pub gpu: bool,
}

/// A device folio, kept at its first page; without references there is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Folio {
    /// References.
    pub references: u8,
    /// Whether it has both pages.
    pub large: bool,
    /// Folio lock.
    pub locked: bool,
    /// Whether its bytes went home while it was still held: what is true, marked or not.
    pub retired: bool,
}

/// What a thread migrates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// The range to the device.
    ToDevice,
    /// The faulting page and its neighbours home.
    Fault(u8),
    /// All of the object home, found by device page.
    Evict,
}

/// How far a migration has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    /// The fault has a reference of the folio; the eviction has found folios and entries.
    Found,
    /// The fault has locked some of the folios that it wants, and waits for the next one if that is locked.
    Locking,
    /// Folios are locked, entries replaced by migration entries.
    Collected,
    /// The target is there.
    Allocated,
    /// Bytes were copied.
    Copied,
    /// The mappings were moved, as far as that went.
    Moved,
}

/// A migration under way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Job {
    /// What it migrates.
    pub kind: Kind,
    /// How far it is.
    pub stage: Stage,
    /// Virtual pages that it took out of the page table, or has found.
    pub pages: u8,
    /// First pages of the device folios that it holds.
    pub folios: u8,
    /// First pages of the folios that it found, and has yet to lock.
    pub wanted: u8,
    /// Virtual pages that were moved.
    pub moved: u8,
    /// Whether a large folio goes to single pages.
    pub single: bool,
    /// Order that is entered for DMA, while something is.
    pub dma: Option<u8>,
}

impl Job {
    /// The folio that it locks next.
    pub fn next_wanted(&self) -> Option<u8> {
        members(self.wanted).next()
    }
}

/// What functions took, and have to give back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Taken {
    /// Arrays of slots.
    pub arrays: u8,
    /// References of the process's address space.
    pub address_space: u8,
    /// The page table's lock. No step ends with it.
    pub table_lock: bool,
}

/// All of a world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// Virtual pages.
    pub pages: [Virtual; PAGES],
    /// Whether the system memory of both pages is one folio.
    pub ram_large: bool,
    /// Device folios by first page.
    pub folios: [Folio; PAGES],
    /// References of the driver's object that has the device memory.
    pub object: u8,
    /// First page of the folio of which another thread has a reference.
    pub holder: Option<u8>,
    /// Whether the process lives.
    pub alive: bool,
    /// What functions took.
    pub taken: Taken,
    /// What the threads do.
    pub actors: [Option<Job>; ACTORS],
}

impl State {
    /// A process with a huge page.
    pub fn fresh() -> State {
        let page = Virtual { ram: Bytes::Latest, ..Virtual::default() };
        State {
            pages: [page; PAGES],
            ram_large: true,
            folios: [Folio::default(); PAGES],
            object: 0,
            holder: None,
            alive: true,
            taken: Taken::default(),
            actors: [None; ACTORS],
        }
    }

    /// First pages of the folios there are.
    pub fn heads(&self) -> impl Iterator<Item = u8> + use<> {
        let folios = self.folios;
        (0..PAGES as u8).filter(move |head| folios[usize::from(*head)].references > 0)
    }

    /// The pages of the folio at a page.
    pub fn pages_of(&self, head: u8) -> u8 {
        if self.folios[usize::from(head)].large { ALL } else { 1 << head }
    }

    /// The folio that covers a page.
    pub fn head_of(&self, page: u8) -> Option<u8> {
        self.heads().find(|head| self.pages_of(*head) >> page & 1 == 1)
    }

    /// Whether a migration is about a large device folio.
    pub fn is_large(&self, job: &Job) -> bool {
        members(job.folios).any(|head| self.folios[usize::from(head)].large)
    }

    /// The thread whose folio lock each thread waits for.
    pub fn waits_for(&self) -> [Option<usize>; ACTORS] {
        self.actors.map(|job| {
            let wanted = job.filter(|job| job.stage == Stage::Locking)?.next_wanted()?;
            self.actors.iter().position(|other| other.is_some_and(|other| other.folios >> wanted & 1 == 1))
        })
    }

    /// Virtual pages that are mapped to the folio at a page.
    pub fn mapped_to(&self, head: u8) -> u8 {
        self.with_entry(Entry::Device) & self.pages_of(head)
    }

    /// Virtual pages with an entry of some kind.
    pub fn with_entry(&self, entry: Entry) -> u8 {
        (0..PAGES).fold(0, |all, page| all | u8::from(self.pages[page].entry == entry) << page)
    }

    /// Puts references of a folio; with the last one it is freed, and its object loses one.
    pub fn put(&mut self, head: u8, references: u8) {
        let pages = self.pages_of(head);
        let folio = &mut self.folios[usize::from(head)];
        folio.references = folio.references.saturating_sub(references);
        if folio.references > 0 {
            return;
        }
        *folio = Folio::default();
        self.object = self.object.saturating_sub(1);
        for page in members(pages) {
            self.pages[usize::from(page)].device = Bytes::None;
        }
    }

    /// Splits the large folio into single ones with a reference and a lock each, if nothing else holds it.
    pub fn split(&mut self) -> bool {
        let whole = self.folios[0];
        if whole.references != 1 {
            return false;
        }
        self.folios = [Folio { large: false, ..whole }; PAGES];
        self.object += 1;
        true
    }

    /// Removes the range from the device's page table, as its notifier does it: the whole range.
    pub fn invalidate(&mut self) {
        self.pages.iter_mut().for_each(|page| page.gpu = false);
    }
}

/// The pages of a set.
pub fn members(pages: u8) -> impl Iterator<Item = u8> {
    (0..PAGES as u8).filter(move |page| pages >> page & 1 == 1)
}
