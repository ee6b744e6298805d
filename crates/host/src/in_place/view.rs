//! The engine's view of a program's private memory: pages leave through the staging, and come back as copies.
//!
//! ```text
//!   out   the service moves what is there of a block to the staging (UFFDIO_MOVE), and lets the engine store it from there
//!   in    UFFDIO_COPY makes pages of a folio where it is in the store
//! ```
//!
//! A copy needs no flush of other cores, and works where a move is refused: into read-only and locked memory.

use std::sync::Arc;

use bifolio_engine::view::{BlockSpan, CpuView, Refused, page_at, span_of};
use bifolio_folio::Pfn;
use bifolio_migrate::{DevicePage, PageRun, PageSet};
use bifolio_sys::{
    AddressRange, CopyMode, HUGE_PAGE, MapError, Mapping, Outcome, PAGE, Placement, SharedBytes, Uffd, Wake,
};

use crate::in_place::own_pages::OwnPages;
use crate::in_place::store::Store;
use crate::sync::{Mutex, MutexGuard};

/// See the module.
pub struct InPlaceView {
    uffd: Arc<Uffd>,
    own: Arc<OwnPages>,
    store: Arc<Store>,
    scratch: Mapping,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The block whose pages are out of the program's sight, and whether they are in the staging or in the scratch memory.
    isolated: Option<(usize, bool)>,
    /// Why the last copy into the program stopped.
    stopped: Option<Outcome>,
    /// What the last install could not show of a folio of which it had shown a part: its bytes are in the scratch memory.
    unshown: Option<AddressRange>,
}

/// Where bytes of a span are.
#[derive(Debug)]
pub enum Staged {
    /// In the staging.
    Moved,
    /// In the scratch memory.
    Scratch,
    /// In the store, from this page on.
    Stored(Pfn),
}

impl InPlaceView {
    pub(super) fn new(
        uffd: Arc<Uffd>,
        own: Arc<OwnPages>,
        store: Arc<Store>,
    ) -> Result<InPlaceView, MapError> {
        let scratch = Mapping::common(HUGE_PAGE, Placement::Aligned(HUGE_PAGE))?;
        let _: Result<(), _> = bifolio_sys::advise::dontdump(scratch.all());
        Ok(InPlaceView { uffd, own, store, scratch, state: Mutex::default() })
    }

    /// Says which block has pages out of the program's sight, and whether they are in the staging (`true`) or in the
    /// scratch memory.
    pub(super) fn set_isolated(&self, block: Option<(usize, bool)>) {
        self.state().isolated = block;
    }

    /// Why the last copy into the program stopped, if it did since this was last asked.
    pub(super) fn take_stopped(&self) -> Option<Outcome> {
        self.state().stopped.take()
    }

    /// What is left in the scratch memory of a folio that was shown in part.
    pub(super) fn take_unshown(&self) -> Option<AddressRange> {
        self.state().unshown.take()
    }

    /// The place in the staging of pages of a block.
    pub(super) fn staging_of(&self, range: AddressRange) -> SharedBytes<'_> {
        let offset = range.start() % HUGE_PAGE;
        self.own.staging().part(offset, range.len()).expect("pages of one block")
    }

    /// The addresses of the scratch memory.
    pub(super) fn scratch_span(&self) -> AddressRange {
        self.scratch.span()
    }

    /// The place in the scratch memory of pages of a block.
    pub(super) fn scratch_of(&self, range: AddressRange) -> SharedBytes<'_> {
        let offset = range.start() % HUGE_PAGE;
        self.scratch.bytes(offset, range.len()).expect("pages of one block")
    }

    /// Copies pages into missing pages of the program, as far as it goes; pages that are there already are passed over.
    /// Returns the bytes that are done.
    pub(super) fn copy_in(&self, range: AddressRange, source: SharedBytes<'_>) -> usize {
        let (mut done, mut step) = (0, range.len());
        while done < range.len() {
            let target = range.part(done, step.min(range.len() - done)).expect("within the range");
            let from = source.part(done, target.len()).expect("as long as the range");
            match self.uffd.copy(target, from, CopyMode::empty()) {
                Outcome::Done(bytes) => done += bytes,
                Outcome::Again(bytes) if bytes > 0 => done += bytes,
                // It was dropped and touched again, or made a guard: what is there now is what it is.
                Outcome::Exists => {
                    let page = target.part(0, PAGE).expect("ranges are not empty");
                    let _: Outcome = self.uffd.wake(page);
                    done += PAGE;
                }
                // The range is of more than one mapping by now, and a copy is within one.
                Outcome::Missing if target.len() > PAGE => {
                    step = (target.len() / 2).next_multiple_of(PAGE);
                }
                stopped => {
                    self.state().stopped = Some(stopped);
                    break;
                }
            }
        }
        done
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl CpuView for InPlaceView {
    type Staged = Staged;

    fn isolate(&self, place: BlockSpan, _: &PageSet) -> Result<Staged, Refused> {
        match self.state().isolated {
            Some((base, true)) if base == place.base => Ok(Staged::Moved),
            Some((base, false)) if base == place.base => Ok(Staged::Scratch),
            _ => Err(Refused::Busy),
        }
    }

    fn reserve(&self, _: BlockSpan) -> Result<Staged, Refused> {
        Ok(Staged::Scratch)
    }

    fn bytes<'v>(&'v self, place: BlockSpan, staged: &Staged, run: PageRun) -> SharedBytes<'v> {
        let range = span_of(place.base, run);
        match staged {
            Staged::Moved => self.staging_of(range),
            Staged::Scratch => self.scratch_of(range),
            Staged::Stored(first) => {
                let skipped = u64::from(run.first() - place.span.first());
                self.store
                    .part(Pfn::new(first.get() + skipped), run.pages().into())
                    .expect("pages of the store")
            }
        }
    }

    fn shows_device(&self, staged: &mut Staged, from: DevicePage) -> bool {
        *staged = Staged::Stored(from.pfn);
        true
    }

    /// Nothing: what could not be stored is in the staging, and the service puts it back.
    fn remap(&self, _: BlockSpan, _: &PageSet, _: Option<Staged>) {}

    fn install(&self, place: BlockSpan, staged: Staged, _: Option<u16>) -> Result<(), (Refused, Staged)> {
        let (range, source) = (place.span(), self.bytes(place, &staged, place.span.into()));
        let done = self.copy_in(range, source);
        if done == 0 {
            let why = self.state().stopped.unwrap_or(Outcome::Missing);
            return Err((Refused::Kernel(why), staged));
        }
        // A part may have been written by now, so the folio has come home; the rest goes on from the scratch memory.
        if let Ok(rest) = range.part(done, range.len() - done) {
            let bytes = source.part(done, rest.len()).expect("as long as the range");
            self.scratch_of(rest).copy_from(bytes).expect("both have the same length");
            self.state().unshown = Some(rest);
        }
        Ok(())
    }

    /// Nothing: what is not there reads as zero when it is touched.
    fn install_zero(&self, _: BlockSpan, _: Staged) -> Result<(), (Refused, Staged)> {
        Ok(())
    }

    fn release(&self, _: BlockSpan, _: Staged) {}

    /// Nothing: the kernel drops pages itself.
    fn discard(&self, _: usize, _: PageRun, _: &PageSet) -> Result<(), Refused> {
        Ok(())
    }

    fn map_coherent(&self, _: BlockSpan, _: DevicePage) -> Result<(), Refused> {
        Err(Refused::Busy)
    }

    fn unmap_coherent(&self, _: BlockSpan) -> Result<(), Refused> {
        Err(Refused::Busy)
    }

    fn wake(&self, address: usize) {
        let _: Outcome = self.uffd.wake(page_at(address));
    }

    fn poison(&self, address: usize) {
        if !self.uffd.poison(page_at(address), Wake::Now).is_done() {
            self.wake(address);
        }
    }
}
