//! Private anonymous memory of a program that knows nothing of Bifolio.
//!
//! A span is taken out by moving its pages (`UFFDIO_MOVE`) to a slot of [staging memory](super::staging): the kernel
//! unmaps and flushes before the page appears there, so the copy that follows reads bytes that no thread can change. It
//! is shown again by moving a filled slot into place; a page is absent or complete. A whole aligned block moves as one
//! huge page in both directions. No events are needed: moves raise none, and nothing else is zapped but what was
//! unmapped by the program.
//!
//! Two things are out of our hands. A page that is pinned or shared with a forked child is refused (`EBUSY`): sharing is
//! undone once, by a write fault that changes nothing; what is refused still stays where it is. And the program
//! may drop pages by system calls that we do not see: a page that should be there and is not reads as zero, as the kernel
//! would have it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bifolio_migrate::{DevicePage, PageRun, PageSet};
use bifolio_sys::advise;
use bifolio_sys::pagemap::Pagemap;
use bifolio_sys::{
    AddressRange, Mapping, Modes, MoveMode, Outcome, PAGE, Protection, SharedBytes, SysError, Uffd, Wake,
};

use super::staging::{Holds, Slot, Staging, StagingError};
use bifolio_engine::view::{BlockSpan, CpuView, Refused, page_at, span_of};

/// Most regions of one view.
pub const REGIONS_MAX: usize = 8;

/// A move that must not fail is tried again so often, with a pause in between.
const PERSIST_TRIES: u32 = 20_000;
/// A move that may fail is tried again so often.
const RETRIES: u32 = 8;
const PAUSE: Duration = Duration::from_micros(500);

/// Why memory of the program cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// More than [`REGIONS_MAX`] regions.
    #[error("more than {REGIONS_MAX} regions")]
    Full,
    /// Its faults cannot be caught.
    #[error("memory of the program cannot be registered with userfaultfd")]
    Register(#[from] SysError),
}

/// The CPU's view of private anonymous memory.
pub struct AnonymousView {
    uffd: Arc<Uffd>,
    regions: [OnceLock<Mapping>; REGIONS_MAX],
    /// What is watched now.
    watched: Mutex<Vec<AddressRange>>,
    /// Pages that were touched while they belonged to no block.
    strays: Mutex<BTreeSet<usize>>,
    staging: Staging,
    /// Tells which pages are there; without it, sharing with a forked child is not undone.
    pagemap: Option<Pagemap>,
}

/// Bytes out of view.
#[derive(Debug)]
pub struct Staged {
    slot: Slot,
    /// The page of the block that is at the start of the slot.
    first: u16,
}

impl AnonymousView {
    /// Makes a view of no memory that keeps at most `warm_pages` pages for the next folio that comes home.
    ///
    /// # Errors
    /// See [`StagingError`].
    pub fn new(uffd: Arc<Uffd>, warm_pages: u64) -> Result<AnonymousView, StagingError> {
        let staging = Staging::new(&uffd, warm_pages)?;
        let pagemap = Pagemap::open().ok().map(Pagemap::raised);
        let (regions, watched, strays) = Default::default();
        Ok(AnonymousView { uffd, regions, watched, strays, staging, pagemap })
    }

    /// Adds memory whose pages the engine may take; nothing of it is watched yet.
    ///
    /// # Errors
    /// If there are [`REGIONS_MAX`] regions already.
    pub fn add_region(&self, mut region: Mapping) -> Result<(), WatchError> {
        for cell in &self.regions {
            match cell.set(region) {
                Ok(()) => return Ok(()),
                Err(taken) => region = taken,
            }
        }
        Err(WatchError::Full)
    }

    /// Catches the faults of part of a region from now on.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn watch(&self, span: AddressRange) -> Result<(), WatchError> {
        self.uffd.register(self.window(span), Modes::MISSING)?;
        // A child without us would see holes as zeros; it is better off without the memory.
        advise::dontfork(self.window(span))?;
        self.watched().push(span);
        Ok(())
    }

    /// Leaves part of a region to the kernel; threads that wait there are woken.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn leave(&self, span: AddressRange) -> Result<(), SysError> {
        self.uffd.unregister(span)?;
        advise::dofork(self.window(span))
    }

    /// Frees the pages of part of a region that was left before, and the right to touch it.
    pub fn bury(&self, span: AddressRange) {
        let region = self.regions().find(|region| region.at(span).is_ok());
        // If it cannot be, the pages stay until the process ends.
        let _: Option<Result<(), _>> = region.map(|region| region.replace_anonymous(span, Protection::None));
    }

    /// Decides whether children inherit what is watched.
    pub fn share_with_children(&self, share: bool) {
        for span in self.watched().iter() {
            let advise = if share { advise::dofork } else { advise::dontfork };
            // A part that the program unmapped by itself makes this an error; the rest is done all the same.
            let _: Result<(), SysError> = advise(self.window(*span));
        }
    }

    fn watched(&self) -> MutexGuard<'_, Vec<AddressRange>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn regions(&self) -> impl Iterator<Item = &Mapping> {
        self.regions.iter().map_while(OnceLock::get)
    }

    /// A window of the program's own view: a touch may fault.
    ///
    /// # Panics
    /// If `span` is not inside one region.
    #[must_use]
    pub fn window(&self, span: AddressRange) -> SharedBytes<'_> {
        self.regions().find_map(|region| region.at(span).ok()).expect("spans of the engine lie in a region")
    }

    /// Wakes the threads that wait for pages of `span`; they look again.
    pub fn wake_span(&self, span: AddressRange) {
        let _: Outcome = self.uffd.wake(span);
    }

    fn strays(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells which pages of `span` are there; `None` if the kernel does not say.
    #[must_use]
    pub fn present(&self, span: AddressRange) -> Option<Vec<bool>> {
        self.pagemap.as_ref()?.present(span).ok()
    }

    /// Gives the pages that are kept for later back to the kernel.
    pub fn cool(&self) {
        self.staging.cool();
    }

    /// Moves the pages of `source` to a slot. On failure, tells how many bytes are there already.
    fn move_out(&self, source: AddressRange, target: AddressRange) -> Result<(), (Refused, usize)> {
        let (mut at, mut tries, mut unshared) = (0, 0, false);
        while at < source.len() {
            let rest = |span: AddressRange| span.part(at, span.len() - at).expect("within the span");
            match self.uffd.move_(rest(target), self.window(rest(source)), MoveMode::DONT_WAKE) {
                Outcome::Done(_) => return Ok(()),
                Outcome::Again(done) if done > 0 => (at, tries) = (at + done, 0),
                Outcome::Again(_) | Outcome::Busy if tries < RETRIES => {
                    tries += 1;
                    std::thread::yield_now();
                }
                Outcome::Busy if !unshared => {
                    unshared = true;
                    tries = 0;
                    self.unshare(rest(source));
                }
                Outcome::Again(_) | Outcome::Busy => return Err((Refused::Busy, at)),
                Outcome::Missing => at += self.zero_first(rest(target)).map_err(|why| (why, at))?,
                Outcome::NoSpace => return Err((Refused::NoMemory, at)),
                other => return Err((Refused::Kernel(other), at)),
            }
        }
        Ok(())
    }

    /// The program dropped this page, so it reads as zero.
    fn zero_first(&self, rest: AddressRange) -> Result<usize, Refused> {
        let first = rest.part(0, PAGE).expect("spans are not empty");
        match self.uffd.zeropage(first, Wake::Later) {
            Outcome::Done(bytes) => Ok(bytes),
            Outcome::NoSpace => Err(Refused::NoMemory),
            other => Err(Refused::Kernel(other)),
        }
    }

    /// Makes pages that are shared with a forked child this process's own. Only pages that are there are touched: a
    /// fault on others would wait for the thread that is here.
    fn unshare(&self, span: AddressRange) {
        let Some(present) = self.present(span) else { return };
        let mut at = 0;
        for run in present.chunk_by(|a, b| a == b) {
            let part = span.part(at, run.len() * PAGE).expect("within the span");
            at += part.len();
            if run[0] {
                // If there is no memory for a copy, the pages stay shared, and the next move says so.
                let _: Result<(), SysError> = advise::populate_write(self.window(part));
            }
        }
    }

    /// Moves pages from a slot into view and wakes the threads that wait. The first move may fail; once one page is in view, the
    /// program may have written it, so the rest must follow.
    fn show(&self, target: AddressRange, source: SharedBytes<'_>, first: Attempt) -> Result<(), Refused> {
        let (mut at, mut tries, mut attempt) = (0, 0, first);
        while at < target.len() {
            let rest = target.part(at, target.len() - at).expect("within the span");
            let from = source.part(at, source.len() - at).expect("as long as the target");
            let outcome = self.uffd.move_(rest, from, MoveMode::empty());
            match outcome {
                Outcome::Done(_) => return Ok(()),
                Outcome::Again(done) if done > 0 => (at, tries, attempt) = (at + done, 0, Attempt::Must),
                // The page was filled or unmapped without us: that is what it is now.
                Outcome::Exists | Outcome::Missing if attempt == Attempt::Must || at > 0 => {
                    self.wake_span(rest.part(0, PAGE).expect("spans are not empty"));
                    at += PAGE;
                }
                _ if tries < attempt.tries() => {
                    tries += 1;
                    attempt.pause();
                }
                _ if attempt == Attempt::Must => lost(outcome),
                Outcome::NoSpace => return Err(Refused::NoMemory),
                Outcome::Again(_) | Outcome::Busy => return Err(Refused::Busy),
                other => return Err(Refused::Kernel(other)),
            }
        }
        Ok(())
    }

    /// Moves the pages of `ram` that were taken out back.
    fn show_again(&self, place: BlockSpan, ram: &PageSet, staged: &Staged) {
        for run in ram.runs(place.span) {
            let target = span_of(place.base, run);
            let shown = self.show(target, self.bytes(place, staged, run), Attempt::Must);
            debug_assert!(shown.is_ok(), "what must be shown is shown, or the process ends");
        }
    }

    /// Fills a hole that the program made where pages should be; where none is, wakes the thread that asked.
    fn fill_holes(&self, span: AddressRange) {
        for at in (0..span.len()).step_by(PAGE) {
            let page = span.part(at, PAGE).expect("within the span");
            if !self.uffd.zeropage(page, Wake::Now).is_done() {
                self.wake_span(page);
            }
        }
    }
}

/// Whether a move into view may be given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Attempt {
    May,
    Must,
}

impl Attempt {
    fn tries(self) -> u32 {
        match self {
            Attempt::May => RETRIES,
            Attempt::Must => PERSIST_TRIES,
        }
    }

    fn pause(self) {
        match self {
            Attempt::May => std::thread::yield_now(),
            Attempt::Must => std::thread::sleep(PAUSE),
        }
    }
}

/// Ends the process: its bytes are in a slot where nothing will look for them, and reading zeros instead is worse.
fn lost(outcome: Outcome) -> ! {
    panic!("memory of this program cannot be brought back: {outcome:?}")
}

impl CpuView for AnonymousView {
    type Staged = Staged;

    fn isolate(&self, place: BlockSpan, ram: &PageSet) -> Result<Staged, Refused> {
        let slot = self.staging.landing(place.span.order()).ok_or(Refused::NoMemory)?;
        let mut staged = Staged { slot, first: place.span.first() };
        let mut taken = PageSet::EMPTY;
        for run in ram.runs(place.span) {
            let (source, target) = (span_of(place.base, run), self.part(&staged, run));
            if let Err((why, bytes)) = self.move_out(source, target) {
                let pages = u16::try_from(bytes / PAGE).expect("part of a block");
                PageRun::new(run.first(), pages).into_iter().for_each(|moved| taken.insert(moved));
                self.show_again(place, &taken, &staged);
                self.wake_span(place.span());
                self.staging.retire(staged.slot);
                return Err(why);
            }
            taken.insert(run);
        }
        let all = taken.count() == place.span.pages();
        staged.slot.holds = if all { Holds::All } else { Holds::Some };
        Ok(staged)
    }

    fn reserve(&self, place: BlockSpan) -> Result<Staged, Refused> {
        let slot = self.staging.writable(place.span.order()).ok_or(Refused::NoMemory)?;
        Ok(Staged { slot, first: place.span.first() })
    }

    fn bytes<'v>(&'v self, _place: BlockSpan, staged: &Staged, run: PageRun) -> SharedBytes<'v> {
        let offset = usize::from(run.first() - staged.first) * PAGE;
        let bytes = self.staging.bytes(&staged.slot);
        bytes.part(offset, usize::from(run.pages()) * PAGE).expect("runs of the span that was staged")
    }

    fn remap(&self, place: BlockSpan, ram: &PageSet, staged: Option<Staged>) {
        match staged {
            Some(mut staged) => {
                self.show_again(place, ram, &staged);
                staged.slot.holds = Holds::Nothing;
                self.staging.retire(staged.slot);
                self.wake_span(place.span());
            }
            None => ram.runs(place.span).for_each(|run| self.fill_holes(span_of(place.base, run))),
        }
    }

    fn install(
        &self,
        place: BlockSpan,
        mut staged: Staged,
        _wanted: Option<u16>,
    ) -> Result<(), (Refused, Staged)> {
        match self.show(place.span(), self.staging.bytes(&staged.slot), Attempt::May) {
            Ok(()) => {
                staged.slot.holds = Holds::Nothing;
                self.staging.retire(staged.slot);
                Ok(())
            }
            Err(why) => Err((why, staged)),
        }
    }

    fn install_zero(&self, place: BlockSpan, staged: Staged) -> Result<(), (Refused, Staged)> {
        let bytes = self.staging.bytes(&staged.slot);
        if staged.slot.is_used() {
            bytes.fill_zero();
        } else if advise::populate_write(bytes).is_err() {
            return Err((Refused::NoMemory, staged));
        }
        self.install(place, staged, None)
    }

    fn release(&self, _place: BlockSpan, staged: Staged) {
        self.staging.retire(staged.slot);
    }

    fn discard(&self, base: usize, run: PageRun, _coherent: &PageSet) -> Result<(), Refused> {
        let span = span_of(base, run);
        advise::dontneed(self.window(span)).map_err(|_| Refused::Busy)?;
        // The thread that sleeps here raced with an unmapping of its memory; it looks again.
        self.wake_span(span);
        Ok(())
    }

    fn map_coherent(&self, _place: BlockSpan, _to: DevicePage) -> Result<(), Refused> {
        Err(Refused::NoMemory)
    }

    fn unmap_coherent(&self, _place: BlockSpan) -> Result<(), Refused> {
        Ok(())
    }

    /// Shows zeros, to be taken away when the page is allocated again.
    ///
    /// Such a fault is old as a rule: its toucher was woken by another's answer, went on and freed the block. Poison
    /// would be right for a toucher that uses freed memory, but the kernel has no way to take it off again.
    fn answer_unmapped(&self, address: usize) -> bool {
        self.strays().insert(page_at(address).start());
        self.fill_holes(page_at(address));
        false
    }

    fn forget_unmapped(&self, base: usize, run: PageRun) {
        let mut strays = self.strays();
        let span = span_of(base, run);
        let inside: Vec<usize> = strays.range(span.start()..span.end()).copied().collect();
        for page in inside {
            strays.remove(&page);
            advise::dontneed(self.window(page_at(page)))
                .expect("MADV_DONTNEED of watched memory cannot fail");
        }
    }

    fn wake(&self, address: usize) {
        self.wake_span(page_at(address));
    }

    fn poison(&self, address: usize) {
        if !self.uffd.poison(page_at(address), Wake::Now).is_done() {
            self.wake(address);
        }
    }
}

impl AnonymousView {
    fn part(&self, staged: &Staged, run: PageRun) -> AddressRange {
        let offset = usize::from(run.first() - staged.first) * PAGE;
        let whole = self.staging.span(&staged.slot);
        whole.part(offset, usize::from(run.pages()) * PAGE).expect("runs of the span that was staged")
    }
}
