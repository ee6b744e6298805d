//! Memory of the program that joins a space where it lies, and leaves it again.
//!
//! ```text
//!   join    write-protect the pages -> copy them to the file -> map the file over them -> the engine knows them -> open
//!   leave   close: what is home stays there, out of view -> the engine forgets it -> copy it to fresh private memory
//!           -> move that over the file -> forget the range
//! ```
//!
//! No write is lost: a thread that writes meanwhile waits, in the fault of a userfaultfd that is made for the join alone and
//! whose end wakes all, or, while the range is closed, in one of the space. Each step that fails is undone.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use bifolio_sys::advise;
use bifolio_sys::{
    AddressRange, Features, HUGE_PAGE, Mapping, MapsFile, Modes, Outcome, PAGE, Placement, ProgramMemory,
    Protect, Protection, Reads, SharedBytes, SysError, Uffd,
};

use crate::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::views::shared::SharedView;

/// Why memory of the program did not join a space, or did not leave it; nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The space was made without the right to memory of the program.
    #[error("this space adopts no memory: it was made without `SpaceConfig::program`")]
    NoRight,
    /// No whole number of pages, or of the smallest folios of a device.
    #[error("{span} is not aligned to {bytes} bytes at both ends", span = shown(.span))]
    Unaligned {
        /// What was asked for.
        span: std::ops::Range<usize>,
        /// What both ends have to be multiples of.
        bytes: usize,
    },
    /// Not private, anonymous memory that can be read and written, or not mapped at all.
    #[error("memory at {0:#x} is not private anonymous memory that can be read and written, or is the stack")]
    Kind(usize),
    /// Part of it is in the space already, or it touches memory of the same 2 MiB that was adopted by itself.
    #[error("memory at {0:#x} is in the space already, or touches memory that is; adopt both in one call")]
    Overlaps(usize),
    /// No memory was adopted that begins and ends there.
    #[error("{} was not adopted in one call", shown(.0))]
    Unknown(std::ops::Range<usize>),
    /// The space has no addresses left to keep the bytes.
    #[error("the space has no room for the bytes, which take whole blocks of 2 MiB; make it larger")]
    NoRoom(#[source] bifolio_buddy::AllocateError),
    /// Pages cannot come home, or are pinned.
    #[error("pages are in use: {0}")]
    InUse(bifolio_migrate::Failure),
    /// The kernel refused a step.
    #[error("{step} failed")]
    Kernel {
        /// What was tried.
        step: &'static str,
        /// Why.
        #[source]
        why: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn shown(span: &std::ops::Range<usize>) -> String {
    format!("{:#x} to {:#x}", span.start, span.end)
}

/// What becomes of a touch of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// The page is managed.
    Open,
    /// It is about to be, or to be no more: threads that touch it wait until that is over.
    Changing,
    /// It is not.
    Elsewhere,
}

/// A range that has joined.
#[derive(Clone, Copy, Debug)]
struct Joined {
    end: usize,
    /// Where its bytes are in the file of the space.
    offset: usize,
    open: bool,
}

/// By address.
type Ranges = BTreeMap<usize, Joined>;

/// The memory of the program, and what of it has joined.
pub(super) struct Adopted {
    program: ProgramMemory,
    ranges: RwLock<Ranges>,
}

/// The place of a page, which does not change meanwhile.
pub(super) struct Held<'a> {
    place: Place,
    _ranges: Option<RwLockReadGuard<'a, Ranges>>,
}

impl Held<'_> {
    /// A place that never changes.
    pub(super) fn of(place: Place) -> Held<'static> {
        Held { place, _ranges: None }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }
}

impl Adopted {
    pub(super) fn new(program: ProgramMemory) -> Adopted {
        Adopted { program, ranges: RwLock::default() }
    }

    pub(super) fn program(&self) -> &ProgramMemory {
        &self.program
    }

    pub(super) fn hold(&self, address: usize) -> Held<'_> {
        let ranges = self.read();
        let place = match at(&ranges, address) {
            Some((_, Joined { open: true, .. })) => Place::Open,
            Some(_) => Place::Changing,
            None => Place::Elsewhere,
        };
        Held { place, _ranges: Some(ranges) }
    }

    /// Where the byte at `address` is in the file.
    pub(super) fn offset(&self, address: usize) -> usize {
        let (start, range) = at(&self.read(), address).expect("pages that the engine knows are in a range");
        range.offset + (address - start)
    }

    fn forget(&self, span: AddressRange) {
        self.write().remove(&span.start());
    }

    fn read(&self) -> RwLockReadGuard<'_, Ranges> {
        // Changed by single calls.
        self.ranges.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ranges> {
        self.ranges.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The range that holds `address`, with its start.
fn at(ranges: &Ranges, address: usize) -> Option<(usize, Joined)> {
    let (start, range) = ranges.range(..=address).next_back()?;
    (address < range.end).then_some((*start, *range))
}

/// Memory that is mapped from the file, while threads that write to it still wait. Dropping it wakes them.
pub(crate) struct Joining {
    start: usize,
    /// Which pages have bytes in the file.
    data: Vec<bool>,
    _stops_writers: Uffd,
}

impl Joining {
    /// Whether a page has bytes in the file; the others are zeros.
    pub(crate) fn has_bytes(&self, address: usize) -> bool {
        self.data[(address - self.start) / PAGE]
    }
}

impl SharedView {
    fn adopted(&self) -> Result<&Adopted, AdoptError> {
        self.adopted.as_ref().ok_or(AdoptError::NoRight)
    }

    /// Whether memory of the program may join.
    pub(crate) fn may_adopt(&self) -> bool {
        self.adopted.is_some()
    }

    /// What has joined, by address.
    pub(crate) fn adopted_ranges(&self) -> Vec<AddressRange> {
        let Some(adopted) = &self.adopted else { return Vec::new() };
        let range = |(start, joined): (&usize, &Joined)| AddressRange::new(*start, joined.end - start).ok();
        adopted.read().iter().filter_map(range).collect()
    }

    /// Whether any of these addresses has joined.
    pub(crate) fn has_adopted(&self, addresses: &std::ops::Range<usize>) -> bool {
        let overlaps = |span: &AddressRange| span.start() < addresses.end && addresses.start < span.end();
        self.adopted_ranges().iter().any(overlaps)
    }

    /// Where the bytes of a range begin in the file, if it has joined as a whole.
    pub(crate) fn offset_of_adopted(&self, span: AddressRange) -> Result<usize, AdoptError> {
        let ranges = self.adopted()?.read();
        let whole = ranges.get(&span.start()).filter(|range| range.end == span.end());
        whole.map(|range| range.offset).ok_or(AdoptError::Unknown(span.start()..span.end()))
    }

    /// Maps the file from `offset`, with their bytes, over pages of the program. They are closed until [`SharedView::open`].
    ///
    /// # Errors
    /// See [`AdoptError`]; the pages are as they were.
    pub(crate) fn join(&self, span: AddressRange, offset: usize) -> Result<Joining, AdoptError> {
        self.require_apart(span, offset)?;
        let joined = self.require_private_data(span).and_then(|()| self.map_file_over(span, offset));
        if joined.is_err() {
            self.forget_bytes(offset, span.len());
        }
        joined
    }

    /// Checks that no folio could reach from these pages to others whose bytes are elsewhere in the file.
    fn require_apart(&self, span: AddressRange, offset: usize) -> Result<(), AdoptError> {
        if self.addresses().overlaps(span) {
            return Err(AdoptError::Overlaps(span.start()));
        }
        let ranges = self.adopted()?.read();
        let elsewhere = |start: usize, range: &Joined| {
            range.offset.wrapping_sub(start) != offset.wrapping_sub(span.start())
        };
        for (start, range) in ranges.range(..=span.end()).rev().take(2) {
            let touches = |border: usize| !border.is_multiple_of(HUGE_PAGE) && elsewhere(*start, range);
            let overlaps = *start < span.end() && span.start() < range.end;
            let follows = range.end == span.start() && touches(range.end);
            let precedes = *start == span.end() && touches(*start);
            if overlaps || follows || precedes {
                return Err(AdoptError::Overlaps(span.start().max(*start)));
            }
        }
        Ok(())
    }

    fn require_private_data(&self, span: AddressRange) -> Result<(), AdoptError> {
        let own = self.adopted()?.program.whole().span();
        if !own.contains_span(span) {
            return Err(AdoptError::Kind(span.start()));
        }
        let mut maps = attempt("opening /proc/self/maps", MapsFile::open_own)?;
        let mut at = span.start();
        for entry in attempt("reading /proc/self/maps", || maps.read())? {
            if entry.range.contains(at) && entry.is_private_data() {
                at = entry.range.end();
            }
        }
        if at < span.end() { Err(AdoptError::Kind(at)) } else { Ok(()) }
    }

    fn map_file_over(&self, span: AddressRange, offset: usize) -> Result<Joining, AdoptError> {
        let adopted = self.adopted()?;
        let pages = adopted.program.window(span);
        let file = attempt("mapping the file of the space", || {
            Mapping::shared(&self.memfd, offset, span.len(), Protection::ReadWrite, Placement::Anywhere)
        })?;
        let _: Result<(), SysError> = advise::dontfork(file.all());
        let _stops_writers = stop_writers(pages, span)?;
        copy_pages(pages, self.file_bytes(offset, span.len()));
        adopted.write().insert(span.start(), Joined { end: span.end(), offset, open: false });
        attempt("mapping the file over the memory", || file.remap_into(adopted.program.whole(), span))
            .inspect_err(|_| adopted.forget(span))?;
        self.register_joined(span, offset)
            .map(|data| Joining { start: span.start(), data, _stops_writers })
            // If this fails too, the memory is the file's: the program sees the same bytes.
            .inspect_err(|_| self.leave(span).unwrap_or_else(|_| adopted.forget(span)))
    }

    /// Registers the file where it was mapped over memory of the program: a registration does not move with a mapping. Returns
    /// which pages have bytes.
    ///
    /// Before this, other threads may have written to the file. No page is managed yet, so that does no harm.
    fn register_joined(&self, span: AddressRange, offset: usize) -> Result<Vec<bool>, AdoptError> {
        attempt("registering the file of the space", || {
            self.uffd.register(self.window(span), Modes::MISSING | Modes::MINOR)
        })?;
        attempt("taking the file out of view", || self.zap(span))?;
        attempt("looking for holes of the file", || self.pages_with_data(offset, span.pages()))
    }

    fn pages_with_data(&self, offset: usize, pages: usize) -> Result<Vec<bool>, SysError> {
        let (mut data, end, mut at) = (vec![false; pages], offset + pages * PAGE, offset);
        while let Some(found) = self.memfd.next_data(at)?.filter(|found| found.start < end) {
            let (first, last) = (found.start.max(at), found.end.min(end));
            data[(first - offset) / PAGE..(last - offset) / PAGE].fill(true);
            at = last;
        }
        Ok(data)
    }

    /// Ends the wait of threads that touched a range while it was closed.
    pub(crate) fn open(&self, span: AddressRange) {
        self.set_open(span, true);
        let _: Outcome = self.uffd.wake(span);
    }

    /// Takes a range out of view until it is opened or has left. On return no thread can change its bytes.
    ///
    /// # Errors
    /// If the program has unmapped it; it is open then.
    pub(crate) fn close(&self, span: AddressRange) -> Result<(), AdoptError> {
        self.set_open(span, false);
        attempt("taking the memory out of view", || self.zap(span)).inspect_err(|_| self.open(span))
    }

    fn set_open(&self, span: AddressRange, open: bool) {
        let Some(adopted) = &self.adopted else { return };
        if let Some(range) = adopted.write().get_mut(&span.start()) {
            range.open = open;
        }
    }

    /// Gives a closed range, which the engine has forgotten, back to the program as private memory with its bytes.
    ///
    /// # Errors
    /// [`AdoptError::Kernel`]; it is closed still.
    pub(crate) fn leave(&self, span: AddressRange) -> Result<(), AdoptError> {
        let adopted = self.adopted()?;
        let offset = self.offset_of_adopted(span)?;
        let private = attempt("mapping private memory", || {
            Mapping::anonymous(span.len(), Protection::ReadWrite, Placement::Anywhere)
        })?;
        copy_pages(self.file_bytes(offset, span.len()), private.all());
        attempt("mapping private memory over the file", || {
            private.remap_into(adopted.program.whole(), span)
        })?;
        adopted.forget(span);
        self.forget_protections(span);
        self.forget_bytes(offset, span.len());
        let _: Outcome = self.uffd.wake(span);
        Ok(())
    }

    fn file_bytes(&self, offset: usize, len: usize) -> SharedBytes<'_> {
        self.alias().bytes(offset, len).expect("within the file")
    }

    fn forget_bytes(&self, offset: usize, len: usize) {
        self.memfd.punch_hole(offset, len).expect("a hole in our own memfd");
    }
}

/// Makes threads that write to these pages wait, until what is returned is dropped.
fn stop_writers(pages: SharedBytes<'_>, span: AddressRange) -> Result<Uffd, AdoptError> {
    let needed = Features::WRITE_PROTECT | Features::WRITE_PROTECT_UNPOPULATED;
    let (uffd, _) = attempt("opening a userfaultfd that stops writers", || {
        Uffd::open_ready(Reads::NonBlocking, needed, Features::empty())
    })?;
    attempt("registering the memory", || uffd.register(pages, Modes::WRITE_PROTECT))?;
    attempt("protecting the memory", || {
        loop {
            match uffd.write_protect(span, Protect::On) {
                Outcome::Done(_) => return Ok(()),
                Outcome::Again(_) => std::thread::yield_now(),
                refused => return Err(std::io::Error::other(format!("{refused:?}"))),
            }
        }
    })?;
    Ok(uffd)
}

/// Copies pages into a place of zeros, but those that are zeros.
fn copy_pages(from: SharedBytes<'_>, to: SharedBytes<'_>) {
    for at in (0..from.len()).step_by(PAGE) {
        let source = from.part(at, PAGE).expect("whole pages");
        if !source.is_zero() {
            to.part(at, PAGE).expect("as long").copy_from(source).expect("as long");
        }
    }
}

/// Does a step that may fail, or, in tests, fails it.
fn attempt<T, E>(step: &'static str, work: impl FnOnce() -> Result<T, E>) -> Result<T, AdoptError>
where
    E: std::error::Error + Send + Sync + 'static,
{
    #[cfg(test)]
    injected::fail(step)?;
    work().map_err(|why| AdoptError::Kernel { step, why: Box::new(why) })
}

/// Failures for tests: of the n-th step that this thread tries.
#[cfg(test)]
pub(crate) mod injected {
    use std::cell::Cell;

    use super::AdoptError;

    thread_local! {
        static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    /// Has the step fail that comes after `left` others, or none.
    pub(crate) fn after(left: Option<u32>) {
        LEFT.set(left);
    }

    pub(super) fn fail(step: &'static str) -> Result<(), AdoptError> {
        let left = LEFT.get();
        LEFT.set(left.and_then(|left| left.checked_sub(1)));
        match left {
            Some(0) => Err(AdoptError::Kernel { step, why: "a test has it fail".into() }),
            _ => Ok(()),
        }
    }
}
