//! The CPU's page table and the kernel's part of userfaultfd, page by page.
//!
//! ```text
//!   absent --map--> file         a touch of an absent page queues a fault; its thread sleeps until it is woken,
//!     |  <--isolate--            and then looks again
//!     +--map coherent--> device
//!     +--poison--> poisoned      a touch is SIGBUS; mapping heals
//! ```
//!
//! Sleeping threads are data ([`Sleeper`]): a test without threads touches, answers the fault and touches again
//! ([`SimView::try_touch`], [`SimView::take_fault`]); a test with threads lets them wait ([`SimView::touch`],
//! [`SimView::next_fault`]).
//!
//! As in the kernel, a call on several pages is not atomic: threads go on between two pages.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, PoisonError};

use bifolio_engine::view::{BlockSpan, CpuView, Refused, page_at, span_of};
use bifolio_folio::Pfn;
use bifolio_migrate::{DevicePage, PageRun, PageSet, Rights};
use bifolio_sys::{
    AddressRange, HUGE_PAGE, Mapping, Memfd, PAGE, Placement, Protection, SharedBytes, advise,
};

use super::oracle::{Oracle, WORDS};
use crate::sync::{Condvar, Mutex, MutexGuard};

/// What a page of the view leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Nothing: a touch faults.
    Absent,
    /// System memory.
    File,
    /// Device memory.
    Device(DevicePage),
    /// A touch is SIGBUS.
    Poisoned,
}

/// A touch of a poisoned page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("SIGBUS")]
pub struct Sigbus;

/// What came of a touch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touch<R> {
    /// The access was done.
    Done(R),
    /// The page is absent: the toucher sleeps, and its fault is queued.
    Asleep(Sleeper),
}

/// A thread that sleeps in a fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Sleeper(u64);

/// Ways in which a view breaks its promises, each a mistake that a view on a kernel could make.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quirks {
    /// Pages are isolated only when their memory is released: what is written meanwhile is lost (I27).
    pub isolates_late: bool,
    /// Pages are mapped without waking the threads that sleep there.
    pub maps_without_waking: bool,
    /// Pages are poisoned without waking the threads that sleep there.
    pub poisons_without_waking: bool,
}

/// What the words of freed memory hold.
const GARBAGE: u64 = 0xdead_dead_dead_dead;

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    /// Pages that have system memory.
    backed: Vec<bool>,
    /// What accesses may do, where that is not everything.
    rights: BTreeMap<usize, Rights>,
    /// Threads that sleep, and the page of each.
    sleepers: BTreeMap<Sleeper, usize>,
    /// Sleepers whose fault is not read yet.
    faults: VecDeque<Sleeper>,
    next: u64,
    closed: bool,
    inherited: bool,
}

/// Device memory that the CPU reaches.
#[derive(Clone, Copy, Debug)]
pub struct ReachableMemory<'m> {
    /// The file that holds it.
    pub memfd: &'m Memfd,
    /// Number of its first page.
    pub first: Pfn,
}

impl ReachableMemory<'_> {
    fn map(self) -> (Pfn, Mapping) {
        let len = usize::try_from(self.memfd.len().expect("a memfd")).expect("a small device");
        let place = Placement::Aligned(HUGE_PAGE);
        let memory = Mapping::shared(self.memfd, 0, len, Protection::ReadWrite, place);
        (self.first, memory.expect("address space"))
    }
}

/// The view of a simulated process, and its system memory.
pub struct SimView {
    memory: Arc<Mapping>,
    /// Memory of the devices that the CPU reaches, by node, with its first page.
    devices: Vec<Option<(Pfn, Mapping)>>,
    state: Mutex<State>,
    woken: Condvar,
    queued: Condvar,
    quirks: Quirks,
    keeps_bytes: bool,
}

/// Bytes stay in system memory, at the same place.
#[derive(Debug)]
pub struct InPlace;

impl SimView {
    /// Makes a view of `blocks` blocks, all absent. For each node, `devices` has its memory, if the CPU
    /// reaches it.
    ///
    /// # Panics
    /// If the machine that simulates has no memory.
    #[must_use]
    pub fn of_blocks(blocks: usize, devices: &[Option<ReachableMemory<'_>>]) -> SimView {
        SimView::with_quirks(blocks, devices, Quirks::default())
    }

    /// Makes a view that breaks its promises.
    ///
    /// # Panics
    /// If the machine that simulates has no memory.
    #[must_use]
    pub fn with_quirks(blocks: usize, devices: &[Option<ReachableMemory<'_>>], quirks: Quirks) -> SimView {
        let place = Placement::Aligned(HUGE_PAGE);
        let memory =
            Mapping::anonymous(blocks * HUGE_PAGE, Protection::ReadWrite, place).expect("address space");
        // Cheaper where the kernel has huge pages, and right where it has none.
        let _: Result<(), _> = advise::hugepage(memory.all());
        let pages = blocks * HUGE_PAGE / PAGE;
        SimView {
            memory: Arc::new(memory),
            devices: devices.iter().map(|memory| memory.map(ReachableMemory::map)).collect(),
            state: Mutex::new(State {
                entries: vec![Entry::Absent; pages],
                backed: vec![false; pages],
                ..State::default()
            }),
            woken: Condvar::new(),
            queued: Condvar::new(),
            quirks,
            keeps_bytes: false,
        }
    }

    /// The same, whose bytes stay where they were after they were copied to a device, so that what a device only reads need not be
    /// copied back: see [`CpuView::keeps_bytes`].
    #[must_use]
    pub fn keeping_bytes(self) -> SimView {
        SimView { keeps_bytes: true, ..self }
    }

    /// The addresses.
    #[must_use]
    pub fn addresses(&self) -> AddressRange {
        self.memory.span()
    }

    /// What the page at `address` leads to now.
    #[must_use]
    pub fn entry(&self, address: usize) -> Entry {
        self.state().entries[self.page_of(address)]
    }

    /// System memory of the page at `address`, mapped or not; `None` if it has none.
    #[must_use]
    pub fn system_memory(&self, address: usize) -> Option<SharedBytes<'_>> {
        let page = self.page_of(address);
        let backed = self.state().backed[page];
        backed.then(|| self.page(page))
    }

    /// Pages that have system memory.
    #[must_use]
    pub fn system_pages(&self) -> usize {
        self.state().backed.iter().filter(|backed| **backed).count()
    }

    /// Does `access` on the bytes of the page at `address`, as a thread of the program, or puts the thread to sleep. No
    /// other thread goes on between the look at the page and the access.
    ///
    /// # Errors
    /// If the page is poisoned.
    pub fn try_touch<R>(
        &self,
        address: usize,
        access: impl FnOnce(SharedBytes<'_>) -> R,
    ) -> Result<Touch<R>, Sigbus> {
        let page = self.page_of(address);
        let mut state = self.state();
        match self.bytes_of(state.entries[page], page)? {
            Some(bytes) => Ok(Touch::Done(access(bytes))),
            None => Ok(Touch::Asleep(self.sleep(&mut state, page))),
        }
    }

    /// Does `access` on the bytes of the page at `address`, as a thread of the program: waits for the page if it is absent.
    ///
    /// # Errors
    /// If the page is poisoned.
    pub fn touch<R>(&self, address: usize, access: impl FnOnce(SharedBytes<'_>) -> R) -> Result<R, Sigbus> {
        let page = self.page_of(address);
        let mut state = self.state();
        loop {
            if let Some(bytes) = self.bytes_of(state.entries[page], page)? {
                return Ok(access(bytes));
            }
            let sleeper = self.sleep(&mut state, page);
            while state.sleepers.contains_key(&sleeper) {
                state = self.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Tells whether a thread that slept was woken.
    #[must_use]
    pub fn is_awake(&self, sleeper: Sleeper) -> bool {
        !self.state().sleepers.contains_key(&sleeper)
    }

    /// Writes the next value to a word of page number `page`, as the thread that owns it; tells whether it could.
    pub fn write(&self, oracle: &Oracle, page: usize, word: usize, may_fail: bool) -> bool {
        let (begun, value) = oracle.begin_write(page, word);
        let store = |bytes: SharedBytes<'_>| bytes.store_u64(word * 8, value).expect("a word of a page");
        let done = self.touch(self.address(page), store).is_ok();
        oracle.end_write(begun, done, may_fail);
        done
    }

    /// Reads a word of page number `page`; tells whether it could.
    pub fn read(&self, oracle: &Oracle, page: usize, word: usize, may_fail: bool) -> bool {
        let begun = oracle.begin_read(page, word);
        let load = |bytes: SharedBytes<'_>| bytes.load_u64(word * 8).expect("a word of a page");
        let value = self.touch(self.address(page), load).ok();
        oracle.end_read(begun, value, may_fail);
        value.is_some()
    }

    /// The address of page number `page`.
    #[must_use]
    pub fn address(&self, page: usize) -> usize {
        self.memory.span().start() + page * PAGE
    }

    /// Takes the next fault: its address. `None` if none is queued.
    #[must_use]
    pub fn take_fault(&self) -> Option<usize> {
        let mut state = self.state();
        self.pop_fault(&mut state)
    }

    /// Waits for the next fault: its address. `None` once the view is closed.
    #[must_use]
    pub fn next_fault(&self) -> Option<usize> {
        let mut state = self.state();
        loop {
            if let Some(address) = self.pop_fault(&mut state) {
                return Some(address);
            }
            if state.closed {
                return None;
            }
            state = self.queued.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends [`SimView::next_fault`] for all its callers.
    pub fn close(&self) {
        self.state().closed = true;
        self.queued.notify_all();
    }

    /// All system memory, whether it is mapped or not.
    #[must_use]
    pub fn memory(&self) -> &Arc<Mapping> {
        &self.memory
    }

    /// Decides whether children inherit the view.
    pub fn share_with_children(&self, share: bool) {
        self.state().inherited = share;
    }

    /// Whether children inherit the view.
    #[must_use]
    pub fn is_inherited(&self) -> bool {
        self.state().inherited
    }

    /// What accesses of the CPU to the page at `address` may do.
    ///
    /// # Panics
    /// If the address is not in the view.
    #[must_use]
    pub fn rights_at(&self, address: usize) -> Rights {
        self.state().rights.get(&self.page_of(address)).copied().unwrap_or(Rights::all())
    }

    /// Maps memory of any device for the CPU: see [`CpuView::map_coherent`].
    pub fn map_coherent_at(&self, place: BlockSpan, to: DevicePage) {
        let mut state = self.state();
        for (page, offset) in self.pages_of(place.span()).zip(0..) {
            state.entries[page] = Entry::Device(to.plus(offset));
        }
        drop(state);
        self.wake_span(place.span());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page_of(&self, address: usize) -> usize {
        (address - self.memory.span().start()) / PAGE
    }

    fn pages_of(&self, span: AddressRange) -> Range<usize> {
        self.page_of(span.start())..self.page_of(span.start()) + span.pages()
    }

    fn page(&self, page: usize) -> SharedBytes<'_> {
        self.memory.bytes(page * PAGE, PAGE).expect("a page of the view")
    }

    /// What a page leads to; `None` if it is absent.
    fn bytes_of(&self, entry: Entry, page: usize) -> Result<Option<SharedBytes<'_>>, Sigbus> {
        match entry {
            Entry::File => Ok(Some(self.page(page))),
            Entry::Device(at) => Ok(Some(self.device_page(at))),
            Entry::Poisoned => Err(Sigbus),
            Entry::Absent => Ok(None),
        }
    }

    fn device_page(&self, at: DevicePage) -> SharedBytes<'_> {
        let device = self.devices.get(usize::from(at.node.0)).and_then(Option::as_ref);
        let (first, memory) = device.expect("only coherent device memory is mapped for the CPU");
        let page = usize::try_from(at.pfn.get() - first.get()).expect("a small device");
        memory.bytes(page * PAGE, PAGE).expect("a page of the device")
    }

    fn sleep(&self, state: &mut State, page: usize) -> Sleeper {
        let sleeper = Sleeper(state.next);
        state.next += 1;
        state.sleepers.insert(sleeper, page);
        state.faults.push_back(sleeper);
        self.queued.notify_one();
        sleeper
    }

    fn pop_fault(&self, state: &mut State) -> Option<usize> {
        let sleeper = state.faults.pop_front()?;
        Some(self.address(state.sleepers[&sleeper]))
    }

    /// Maps one page of system memory.
    fn map(&self, page: usize) {
        let mut state = self.state();
        assert!(state.backed[page], "page {page} is mapped without memory");
        assert!(!matches!(state.entries[page], Entry::Device(_)), "page {page} is mapped over device memory");
        state.entries[page] = Entry::File;
    }

    fn map_all(&self, span: AddressRange) {
        self.pages_of(span).for_each(|page| self.map(page));
        if !self.quirks.maps_without_waking {
            self.wake_span(span);
        }
    }

    fn wake_span(&self, span: AddressRange) {
        let pages = self.pages_of(span);
        let mut state = self.state();
        let State { sleepers, faults, .. } = &mut *state;
        sleepers.retain(|_, page| !pages.contains(page));
        faults.retain(|sleeper| sleepers.contains_key(sleeper));
        self.woken.notify_all();
    }

    /// Unmaps one page; poison stays.
    fn unmap(&self, page: usize) {
        let mut state = self.state();
        if state.entries[page] != Entry::Poisoned {
            state.entries[page] = Entry::Absent;
        }
    }

    /// Frees the system memory of a page; tells whether it had some.
    fn free(&self, page: usize) -> bool {
        let mut state = self.state();
        assert_ne!(state.entries[page], Entry::File, "page {page} is freed while it is mapped");
        std::mem::take(&mut state.backed[page])
    }

    fn overwrite(&self, page: usize) {
        for word in 0..WORDS {
            self.page(page).store_u64(word * 8, GARBAGE).expect("a word of a page");
        }
    }
}

impl CpuView for SimView {
    type Staged = InPlace;

    fn keeps_bytes(&self) -> bool {
        self.keeps_bytes
    }

    fn isolate(&self, place: BlockSpan, _ram: &PageSet) -> Result<InPlace, Refused> {
        if !self.quirks.isolates_late {
            self.pages_of(place.span()).for_each(|page| self.unmap(page));
        }
        Ok(InPlace)
    }

    fn reserve(&self, place: BlockSpan) -> Result<InPlace, Refused> {
        for page in self.pages_of(place.span()) {
            let mut state = self.state();
            assert!(!state.backed[page], "page {page} has system memory already");
            state.backed[page] = true;
            if !self.keeps_bytes {
                self.overwrite(page);
            }
        }
        Ok(InPlace)
    }

    fn bytes<'v>(&'v self, place: BlockSpan, _staged: &InPlace, run: PageRun) -> SharedBytes<'v> {
        self.memory.at(span_of(place.base, run)).expect("blocks lie inside the view")
    }

    fn remap(&self, place: BlockSpan, ram: &PageSet, _staged: Option<InPlace>) {
        ram.runs(place.span).for_each(|run| self.map_all(span_of(place.base, run)));
    }

    fn install(
        &self,
        place: BlockSpan,
        _staged: InPlace,
        wanted: Option<u16>,
    ) -> Result<(), (Refused, InPlace)> {
        if let Some(first) = wanted {
            self.map_all(span_of(place.base, PageRun::single(first)));
        }
        self.map_all(place.span());
        Ok(())
    }

    fn park(&self, _place: BlockSpan, _staged: InPlace) -> Result<(), (Refused, InPlace)> {
        Ok(())
    }

    fn install_zero(&self, place: BlockSpan, staged: InPlace) -> Result<(), (Refused, InPlace)> {
        self.memory.at(place.span()).expect("blocks lie inside the view").fill_zero();
        self.install(place, staged, None)
    }

    fn release(&self, place: BlockSpan, _staged: InPlace) {
        for page in self.pages_of(place.span()) {
            if self.quirks.isolates_late {
                self.unmap(page);
            }
            if self.free(page) && !self.keeps_bytes {
                self.overwrite(page);
            }
        }
    }

    fn discard(&self, base: usize, run: PageRun, _coherent: &PageSet) -> Result<(), Refused> {
        for page in self.pages_of(span_of(base, run)) {
            self.unmap(page);
            if self.free(page) {
                self.overwrite(page);
            }
        }
        Ok(())
    }

    fn protect(&self, base: usize, run: PageRun, rights: Rights) -> Result<(), Refused> {
        let mut state = self.state();
        for page in self.pages_of(span_of(base, run)) {
            state.rights.insert(page, rights);
        }
        Ok(())
    }

    fn map_coherent(&self, place: BlockSpan, to: DevicePage) -> Result<(), Refused> {
        self.map_coherent_at(place, to);
        Ok(())
    }

    fn unmap_coherent(&self, place: BlockSpan) -> Result<(), Refused> {
        let mut state = self.state();
        for page in self.pages_of(place.span()) {
            state.entries[page] = Entry::Absent;
        }
        Ok(())
    }

    fn wake(&self, address: usize) {
        self.wake_span(page_at(address));
    }

    fn poison(&self, address: usize) {
        let page = self.page_of(address);
        let mut state = self.state();
        if state.entries[page] != Entry::Absent {
            // As in the kernel: a page that is there is not poisoned, and no thread is woken.
            return;
        }
        state.entries[page] = Entry::Poisoned;
        drop(state);
        if !self.quirks.poisons_without_waking {
            self.wake_span(page_at(address));
        }
    }
}
