//! What a forked child needs to get its bytes, and how it gets them.
//!
//! ```text
//!   service   writes the plan: the registered ranges, and for each page that is away where its bytes are; takes nothing
//!             away and stores nothing until the child is done
//!   child     catches the faults of its copy of the ranges, copies in what is missing there, and is plain from then on
//! ```
//!
//! The plan is memory that the child shares. A page that came home before the fork is in the child already, and stays as it
//! is; a range that was unmapped before it is not there, and is passed over. Nothing here allocates: the child has no
//! allocator of ours.

use std::ops::Range;
use std::time::{Duration, Instant};

use bifolio_sys::{
    AddressRange, CopyMode, Features, MapError, Mapping, Modes, Outcome, PAGE, Placement, ProgramMemory,
    Reads, SharedBytes, Uffd,
};

/// Words at the start of a plan.
const ENTRIES: usize = 0;
const PROGRESS: usize = 8;
const DONE: usize = 16;
const REVOKED: usize = 24;
const PAGES: usize = 32;
/// Where entries begin, and the bytes of one: start, length, where the bytes are; 0 for a range to be caught.
const FIRST: usize = 64;
const ENTRY: usize = 24;

/// A child that does not go on for so long is taken for gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// A plan, as the service keeps it.
pub(super) struct Plan {
    memory: Mapping,
    seen: u64,
    since: Instant,
    /// Whether the fork has happened, as far as the parent knows.
    forked: bool,
}

impl Plan {
    /// Writes a plan.
    pub(super) fn new(caught: &[AddressRange], away: &[(Range<usize>, usize)]) -> Result<Plan, MapError> {
        let entries = caught.len() + away.len();
        let len = (FIRST + entries * ENTRY).next_multiple_of(PAGE);
        let memory = Mapping::common(len, Placement::Apart)?;
        let all = memory.all();
        let caught = caught.iter().map(|range| (range.start()..range.end(), 0));
        for (index, (range, source)) in caught.chain(away.iter().cloned()).enumerate() {
            let at = FIRST + index * ENTRY;
            for (offset, word) in [(0, range.start), (8, range.len()), (16, source)] {
                all.store_u64(at + offset, word as u64)?;
            }
        }
        all.store_u64(ENTRIES, entries as u64)?;
        all.store_u64(PAGES, len as u64)?;
        Ok(Plan { memory, seen: 0, since: Instant::now(), forked: false })
    }

    /// Its memory.
    pub(super) fn span(&self) -> AddressRange {
        self.memory.span()
    }

    /// Where the child finds it.
    pub(super) fn address(&self) -> usize {
        self.span().start()
    }

    /// Tells whether the fork has happened.
    pub(super) fn is_forked(&self) -> bool {
        self.forked
    }

    /// Says that the fork has happened.
    pub(super) fn set_forked(&mut self) {
        (self.forked, self.since) = (true, Instant::now());
    }

    /// Tells whether the child still needs what is stored. One that does not go on is told not to.
    pub(super) fn is_needed(&mut self) -> bool {
        let all = self.memory.all();
        let word = |at: usize| all.load_u64(at).expect("in the plan");
        if word(DONE) != 0 {
            return false;
        }
        if !self.forked || word(PROGRESS) != self.seen {
            (self.seen, self.since) = (word(PROGRESS), Instant::now());
            return true;
        }
        let patient = self.since.elapsed() < PATIENCE;
        if !patient {
            all.store_u64(REVOKED, 1).expect("in the plan");
        }
        patient
    }
}

/// A plan was revoked, or cannot be followed: bytes are missing in this child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BytesMissing;

/// In a child: follows the plan at `address`. Afterwards its memory is plain, with every byte.
///
/// # Errors
/// If bytes cannot be had; the child must end.
pub fn follow_plan(memory: &ProgramMemory, address: usize) -> Result<(), BytesMissing> {
    let head = memory.window(AddressRange::new(address, PAGE).map_err(|_| BytesMissing)?);
    let word = |at: usize| head.load_u64(at).map_err(|_| BytesMissing);
    let len = usize::try_from(word(PAGES)?).map_err(|_| BytesMissing)?;
    let plan = memory.window(AddressRange::new(address, len).map_err(|_| BytesMissing)?);
    let entries = usize::try_from(word(ENTRIES)?).map_err(|_| BytesMissing)?;
    if entries == 0 {
        return plan.store_u64(DONE, 1).map_err(|_| BytesMissing);
    }
    let uffd = own_uffd().ok_or(BytesMissing)?;
    for index in 0..entries {
        let entry = |offset: usize| -> Result<usize, BytesMissing> {
            let word = plan.load_u64(FIRST + index * ENTRY + offset).map_err(|_| BytesMissing)?;
            usize::try_from(word).map_err(|_| BytesMissing)
        };
        let range = AddressRange::new(entry(0)?, entry(8)?).map_err(|_| BytesMissing)?;
        match entry(16)? {
            // What cannot be caught was unmapped, or is what a copy will be refused by.
            0 => drop(uffd.register(memory.window(range), Modes::MISSING)),
            source => {
                let source = AddressRange::new(source, range.len()).map_err(|_| BytesMissing)?;
                copy_in(&uffd, memory.window(range), memory.window(source))?;
            }
        }
        plan.store_u64(PROGRESS, index as u64 + 1).map_err(|_| BytesMissing)?;
        if word(REVOKED)? != 0 {
            return Err(BytesMissing);
        }
    }
    plan.store_u64(DONE, 1).map_err(|_| BytesMissing)
}

/// One for user mode does: the copies are all made here.
fn own_uffd() -> Option<Uffd> {
    let way = bifolio_sys::Way::UserModeOnly;
    let uffd = Uffd::open(way, Reads::NonBlocking).or_else(|_| Uffd::open_best(Reads::NonBlocking)).ok()?;
    uffd.api(Features::empty()).ok()?;
    Some(uffd)
}

fn copy_in(uffd: &Uffd, target: SharedBytes<'_>, source: SharedBytes<'_>) -> Result<(), BytesMissing> {
    let (mut done, mut step) = (0, target.len());
    while done < target.len() {
        let rest = target.part(done, step.min(target.len() - done)).map_err(|_| BytesMissing)?;
        let page = target.part(done, PAGE).map_err(|_| BytesMissing)?;
        let from = source.part(done, rest.len()).map_err(|_| BytesMissing)?;
        let range = AddressRange::new(rest.address(), rest.len()).map_err(|_| BytesMissing)?;
        match uffd.copy(range, from, CopyMode::DONT_WAKE) {
            Outcome::Done(bytes) => done += bytes,
            Outcome::Again(bytes) if bytes > 0 => done += bytes,
            Outcome::Exists => done += PAGE,
            // More than one mapping, perhaps: a copy is within one.
            Outcome::Missing if rest.len() > PAGE => step = (rest.len() / 2).next_multiple_of(PAGE),
            // The range was not caught as a whole; a page that cannot be either is not memory of ours any more.
            Outcome::Missing if uffd.register(page, Modes::MISSING).is_ok() => {}
            Outcome::Missing => done += PAGE,
            Outcome::Again(_) | Outcome::Busy => std::hint::spin_loop(),
            _ => return Err(BytesMissing),
        }
    }
    Ok(())
}
