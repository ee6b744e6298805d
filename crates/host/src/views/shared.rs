//! Memory allocated through Bifolio: one memfd, mapped twice.
//!
//! ```text
//!   view    what the program uses; registered MISSING | MINOR; pages come and go
//!   alias   the same file, always mapped; copies read and write here
//! ```
//!
//! A span is taken out by zapping the view (`MADV_DONTNEED`): the kernel removes the write permission and flushes
//! the TLBs before it returns, so that the copy from the alias reads bytes that no thread can change. It is shown
//! again by `UFFDIO_CONTINUE`, or, a whole huge page, by `MADV_COLLAPSE`, which installs one PMD.
//!
//! Coherent device memory is mapped over the view (`MAP_FIXED`) and goes back by moving a VMA over it that is
//! registered already: mapping first and registering second would let a touch in between read a stale page.
//! That needs `EVENT_REMAP`, so another thread must be reading events: see [`crate::fault_loop`].

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use bifolio_folio::{MemoryKind, Pfn};
use bifolio_migrate::{DevicePage, PageRun, PageSet, Rights};
use bifolio_sys::advise::{self, Collapse};
use bifolio_sys::{
    AddressRange, CopyMode, HUGE_PAGE, MapError, Mapping, Memfd, Modes, Outcome, PAGE, Placement,
    ProgramMemory, Protection, SharedBytes, SysError, Uffd, Wake,
};

use bifolio_engine::view::{BlockSpan, CpuView, Refused, page_at, span_of};

use crate::sync::{Mutex, MutexGuard};
use crate::views::adopted::{Adopted, Held, Place};

/// Why shared memory cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// No file for it.
    #[error("shared memory cannot be created")]
    Memory(#[source] SysError),
    /// It cannot be mapped.
    #[error("shared memory cannot be mapped")]
    Map(#[source] MapError),
    /// Faults on it cannot be caught.
    #[error("shared memory cannot be registered with userfaultfd")]
    Register(#[source] SysError),
}

/// Whether bytes that went to the device keep their system memory, for a cheaper way home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// They do: system memory is plenty.
    Pages,
    /// They do not: system memory is limited.
    Nothing,
}

/// Device memory that the CPU may map: a file, and the page number at its beginning.
#[derive(Clone, Debug)]
pub struct ReachableMemory {
    /// The file.
    pub memfd: Arc<Memfd>,
    /// The device page at its beginning.
    pub first: Pfn,
}

/// The CPU's view of memory allocated through Bifolio.
pub struct SharedView {
    pub(super) uffd: Arc<Uffd>,
    pub(super) memfd: Memfd,
    view: Mapping,
    alias: Mapping,
    /// The memory of each node that the CPU reaches.
    devices: Vec<ReachableMemory>,
    /// Protection by address of the page, where it is not the usual one.
    protections: Mutex<BTreeMap<usize, Protection>>,
    keep: Keep,
    /// Memory of the program that has joined, if any may.
    pub(super) adopted: Option<Adopted>,
}

/// Bytes stay in the file, at the same offset.
#[derive(Debug)]
pub struct InPlace;

impl SharedView {
    /// Maps `len` bytes, a whole number of blocks, and registers them. `devices` has the memory of each node, by number, if
    /// the CPU is to reach it.
    ///
    /// # Errors
    /// If there is no memory, or the kernel refuses.
    pub fn new(
        uffd: Arc<Uffd>,
        len: usize,
        keep: Keep,
        devices: Vec<ReachableMemory>,
    ) -> Result<Self, SharedError> {
        let memfd = Memfd::create("bifolio-ram", len).map_err(SharedError::Memory)?;
        let map = |memfd| {
            let place = Placement::Aligned(HUGE_PAGE);
            Mapping::shared(memfd, 0, len, Protection::ReadWrite, place).map_err(SharedError::Map)
        };
        let (view, alias) = (map(&memfd)?, map(&memfd)?);
        uffd.register(view.all(), Modes::MISSING | Modes::MINOR).map_err(SharedError::Register)?;
        // A fork would show the child stale pages: faults of a child are not ours to answer.
        let _: Result<(), SysError> = advise::dontfork(view.all());
        Ok(SharedView {
            uffd,
            memfd,
            view,
            alias,
            devices,
            protections: Mutex::default(),
            keep,
            adopted: None,
        })
    }

    /// The same view, which may adopt memory of the program.
    #[must_use]
    pub fn with_program(self, program: ProgramMemory) -> SharedView {
        SharedView { adopted: Some(Adopted::new(program)), ..self }
    }

    /// The addresses that the program uses.
    #[must_use]
    pub fn addresses(&self) -> AddressRange {
        self.view.span()
    }

    /// How the CPU reaches the memory of devices.
    #[must_use]
    pub fn kind(&self) -> MemoryKind {
        if self.devices.is_empty() { MemoryKind::Private } else { MemoryKind::Coherent }
    }

    /// A window of the program's own view: a touch may fault.
    ///
    /// # Panics
    /// If `span` is not inside.
    #[must_use]
    pub fn window(&self, span: AddressRange) -> SharedBytes<'_> {
        self.mapping_of(span.start()).at(span).expect("spans of this space")
    }

    /// Whether a touch of `address` is this view's to answer.
    pub(crate) fn manages(&self, address: usize) -> bool {
        self.hold(address).place() != Place::Elsewhere
    }

    /// What is mapped at an address: the view, or memory of the program.
    fn mapping_of(&self, address: usize) -> &Mapping {
        match &self.adopted {
            Some(adopted) if !self.view.span().contains(address) => adopted.program().whole(),
            _ => &self.view,
        }
    }

    /// Keeps the state of pages of the program as it is. Of the view's own pages it never changes.
    fn hold(&self, address: usize) -> Held<'_> {
        match &self.adopted {
            _ if self.view.span().contains(address) => Held::of(Place::Open),
            Some(adopted) => adopted.hold(address),
            None => Held::of(Place::Elsewhere),
        }
    }

    /// The file that has the bytes, at the same offsets as the addresses.
    #[must_use]
    pub fn memfd(&self) -> &Memfd {
        &self.memfd
    }

    fn alias_of(&self, span: AddressRange) -> SharedBytes<'_> {
        self.alias.bytes(self.offset(span.start()), span.len()).expect("blocks lie inside the mapping")
    }

    fn offset(&self, address: usize) -> usize {
        match &self.adopted {
            Some(adopted) if !self.view.span().contains(address) => adopted.offset(address),
            _ => address - self.view.span().start(),
        }
    }

    /// How the program may access the page at `address`.
    fn protection_of(&self, address: usize) -> Protection {
        self.protections().get(&address).copied().unwrap_or(Protection::ReadWrite)
    }

    /// Forgets how the program may access pages that are no longer in the space.
    pub(super) fn forget_protections(&self, span: AddressRange) {
        self.protections().retain(|address, _| !span.contains(*address));
    }

    pub(super) fn alias(&self) -> &Mapping {
        &self.alias
    }

    fn protections(&self) -> MutexGuard<'_, BTreeMap<usize, Protection>> {
        // Entries are changed one by one, each as a whole.
        self.protections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refused where the program has moved the memory away, which we are about to be told.
    pub(super) fn zap(&self, span: AddressRange) -> Result<(), Refused> {
        advise::dontneed(self.window(span)).map_err(|_| Refused::Busy)
    }

    /// Maps the file anew at addresses that the program moved away.
    ///
    /// # Errors
    /// If there is a mapping, or the kernel refuses.
    pub(crate) fn restore(&self, span: AddressRange) -> Result<(), MapError> {
        let (offset, protection) = (self.offset(span.start()), self.protection_of(span.start()));
        let place = Placement::Exactly(span.start());
        let fresh = Mapping::shared(&self.memfd, offset, span.len(), protection, place)?;
        let registered = self.uffd.register(fresh.all(), Modes::MISSING | Modes::MINOR);
        let _: Result<(), SysError> = advise::dontfork(fresh.all());
        // It is a part of the view from here on.
        fresh.leak();
        Ok(registered.map(drop)?)
    }

    /// Shows pages of the file. `Exists` means that another thread was faster; both wake.
    fn show(&self, span: AddressRange) -> Result<(), Refused> {
        let held = self.hold(span.start());
        if held.place() != Place::Open {
            // Threads that wait for these pages are woken when they have joined, or left.
            return Ok(());
        }
        if span.len() == HUGE_PAGE && self.show_huge(span) {
            return Ok(());
        }
        let mut at = 0;
        while at < span.len() {
            let rest = span.part(at, span.len() - at).expect("within the span");
            match self.uffd.continue_(rest, CopyMode::empty()) {
                Outcome::Done(_) => return Ok(()),
                // A layout change is under way until its message is read, maybe by this very thread. The pages are in
                // the file, so their touchers may fault again.
                Outcome::Again(0) => {
                    let _: Outcome = self.uffd.wake(rest);
                    return Ok(());
                }
                Outcome::Again(done) => at += done,
                Outcome::Exists => at += self.wake_first(rest),
                Outcome::NoSpace => return Err(Refused::NoMemory),
                other => return Err(Refused::Kernel(other)),
            }
        }
        Ok(())
    }

    fn wake_first(&self, rest: AddressRange) -> usize {
        let first = rest.part(0, PAGE).expect("spans are not empty");
        let _: Outcome = self.uffd.wake(first);
        PAGE
    }

    /// Shows a block by one PMD. The first time, the kernel makes the block's pages in the file one huge page.
    fn show_huge(&self, span: AddressRange) -> bool {
        let shown = advise::collapse(self.window(span)) == Collapse::Collapsed;
        if shown {
            let _: Outcome = self.uffd.wake(span);
        }
        shown
    }
}

impl CpuView for SharedView {
    type Staged = InPlace;

    fn isolate(&self, place: BlockSpan, _ram: &PageSet) -> Result<InPlace, Refused> {
        let held = self.hold(place.address());
        if held.place() != Place::Open {
            return Err(Refused::Busy);
        }
        self.zap(place.span())?;
        Ok(InPlace)
    }

    fn reserve(&self, _place: BlockSpan) -> Result<InPlace, Refused> {
        Ok(InPlace)
    }

    fn bytes<'v>(&'v self, place: BlockSpan, _staged: &InPlace, run: PageRun) -> SharedBytes<'v> {
        self.alias_of(span_of(place.base, run))
    }

    fn remap(&self, place: BlockSpan, ram: &PageSet, _staged: Option<InPlace>) {
        for run in ram.runs(place.span) {
            // The pages are in the file; if they cannot be shown now, a touch faults and asks again.
            let _: Result<(), Refused> = self.show(span_of(place.base, run));
        }
    }

    fn install(
        &self,
        place: BlockSpan,
        staged: InPlace,
        wanted: Option<u16>,
    ) -> Result<(), (Refused, InPlace)> {
        let span = place.span();
        // A collapse waits for every CPU (it drains their LRU caches), a sleeper need not.
        if let Some(page) = wanted.filter(|_| span.len() == HUGE_PAGE) {
            let first = span_of(place.base, PageRun::single(page));
            if self.show(first).is_ok() {
                // From here on the page may be written, so there is no way back. Pages that are not shown now are
                // shown at their first touch.
                let _: Result<(), Refused> = self.show(span);
                return Ok(());
            }
        }
        self.show(span).map_err(|why| (why, staged))
    }

    fn keeps_bytes(&self) -> bool {
        self.keep == Keep::Pages
    }

    fn park(&self, _place: BlockSpan, _staged: InPlace) -> Result<(), (Refused, InPlace)> {
        // The bytes are in the file; a touch finds them by a minor fault. A folio that travels between device and
        // file without the CPU looking needs no mapping, and no TLB flush when it leaves again.
        Ok(())
    }

    fn install_zero(&self, place: BlockSpan, staged: InPlace) -> Result<(), (Refused, InPlace)> {
        let alias = self.alias_of(place.span());
        alias.fill_zero();
        self.show(place.span()).map_err(|why| (why, staged))
    }

    fn release(&self, place: BlockSpan, _staged: InPlace) {
        if self.keep == Keep::Nothing {
            let span = place.span();
            self.memfd.punch_hole(self.offset(span.start()), span.len()).expect("a hole in our own memfd");
        }
    }

    fn discard(&self, base: usize, run: PageRun, coherent: &PageSet) -> Result<(), Refused> {
        if self.hold(span_of(base, run).start()).place() != Place::Open {
            // The program gets these bytes back.
            return Ok(());
        }
        for mapped in coherent.runs(run) {
            self.back_to_ram(span_of(base, mapped))?;
        }
        let span = span_of(base, run);
        self.memfd.punch_hole(self.offset(span.start()), span.len()).expect("a hole in our own memfd");
        Ok(())
    }

    fn protect(&self, base: usize, run: PageRun, rights: Rights) -> Result<(), Refused> {
        let span = span_of(base, run);
        let protection = match () {
            () if rights.contains(Rights::WRITE) => Protection::ReadWrite,
            () if rights.contains(Rights::READ) => Protection::Read,
            () => Protection::None,
        };
        self.mapping_of(span.start()).protect(span, protection).map_err(|_| Refused::NoMemory)?;
        let mut protections = self.protections();
        for address in (span.start()..span.end()).step_by(PAGE) {
            match protection {
                Protection::ReadWrite => protections.remove(&address),
                protection => protections.insert(address, protection),
            };
        }
        Ok(())
    }

    fn map_coherent(&self, place: BlockSpan, to: DevicePage) -> Result<(), Refused> {
        let device = self.devices.get(usize::from(to.node.0)).ok_or(Refused::NoMemory)?;
        let index = to.pfn.get().checked_sub(device.first.get()).ok_or(Refused::NoMemory)?;
        let offset = usize::try_from(index).expect("device memory is mapped here") * PAGE;
        let protection = self.protection_of(place.address());
        let mapped = self.view.replace_shared(place.span(), &device.memfd, offset, protection);
        // A child must not share device memory, which other pages will use one day.
        let _: Result<(), SysError> = advise::dontfork(self.window(place.span()));
        // No page of it is missing: registered, so that the kernel tells if the program moves it.
        let _: Result<_, SysError> = self.uffd.register(self.window(place.span()), Modes::MISSING);
        let _: Outcome = self.uffd.wake(place.span());
        mapped.map_err(|_| Refused::NoMemory)
    }

    fn unmap_coherent(&self, place: BlockSpan) -> Result<(), Refused> {
        self.back_to_ram(place.span())
    }

    fn wake(&self, address: usize) {
        let _: Outcome = self.uffd.wake(page_at(address));
    }

    fn answer_unmapped(&self, address: usize) -> bool {
        if self.hold(address).place() == Place::Changing {
            // Its toucher is woken when that is over.
            return false;
        }
        let poisoned = self.uffd.poison(page_at(address), Wake::Now).is_done();
        if !poisoned {
            // It has left, and the fault is of its former life.
            self.wake(address);
        }
        poisoned
    }

    fn poison(&self, address: usize) {
        let _: Outcome = self.uffd.poison(page_at(address), Wake::Now);
    }
}

impl SharedView {
    /// Moves a registered view of the file over a span that shows device memory.
    fn back_to_ram(&self, span: AddressRange) -> Result<(), Refused> {
        let offset = self.offset(span.start());
        let protection = self.protection_of(span.start());
        let fresh = Mapping::shared(&self.memfd, offset, span.len(), protection, Placement::Anywhere)
            .map_err(|_| Refused::NoMemory)?;
        self.uffd.register(fresh.all(), Modes::MISSING | Modes::MINOR).map_err(|_| Refused::NoMemory)?;
        let _: Result<(), SysError> = advise::dontfork(fresh.all());
        fresh.remap_into(&self.view, span).map_err(|_| Refused::NoMemory)
    }
}
