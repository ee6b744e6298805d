//! The CPU's page table and the kernel's part of userfaultfd, page by page.
//!
//! ```text
//!   absent --show--> file         a touch of an absent page queues a message and sleeps until it is woken
//!     |  <--take out--            a woken thread looks again
//!     +--map coherent--> device
//!     +--poison--> poisoned       a touch is SIGBUS; showing heals
//! ```
//!
//! As in the kernel, a call on several pages is not atomic: threads go on between two pages. What the kernel would not do,
//! such as showing a page that has no memory, is a panic. Memory that is freed is overwritten.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, PoisonError};

use bifolio_folio::Pfn;
use bifolio_migrate::{PageRun, PageSet};
use bifolio_sys::{AddressRange, HUGE_PAGE, Mapping, Memfd, PAGE, Placement, Protection, SharedBytes};
use shuttle::sync::{Condvar, Mutex, MutexGuard};

use super::WORDS;
use super::chance::Chance;
use super::oracle::Oracle;
use crate::mutant::{self, Mutant};
use crate::view::{BlockSpan, CpuView, Refused, span_of};

/// What a page of the view leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Nothing: a touch faults.
    Absent,
    /// System memory.
    File,
    /// Device memory.
    Device(Pfn),
    /// A touch is SIGBUS.
    Poisoned,
}

/// A touch of a poisoned page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("SIGBUS")]
pub struct Sigbus;

/// What the words of freed memory hold.
const GARBAGE: u64 = 0xdead_dead_dead_dead;

#[derive(Debug)]
struct State {
    entries: Vec<Entry>,
    /// Pages that have system memory.
    backed: Vec<bool>,
    /// Threads that sleep, by number, and the page of each.
    sleepers: BTreeMap<u64, usize>,
    /// Sleepers whose message nobody has read.
    messages: VecDeque<u64>,
    next: u64,
    closed: bool,
    /// Pages that show zeros though they belong to no block.
    strays: BTreeSet<usize>,
    inherited: bool,
}

/// The view of a simulated process, and its system memory.
pub struct SimulatedView {
    memory: Mapping,
    /// Device memory that can be shown: the coherent kind.
    device: Option<Mapping>,
    state: Mutex<State>,
    woken: Condvar,
    queued: Condvar,
    chance: Arc<Chance>,
}

/// Bytes stay in system memory, at the same place.
#[derive(Debug)]
pub struct InPlace;

impl SimulatedView {
    /// Makes a view of `blocks` blocks, all absent. `device` is device memory that can be shown.
    ///
    /// # Panics
    /// If the machine that simulates has no memory.
    #[must_use]
    pub fn of(blocks: usize, device: Option<&Memfd>, chance: Arc<Chance>) -> SimulatedView {
        let map = |memfd: &Memfd, len| {
            let place = Placement::Aligned(HUGE_PAGE);
            Mapping::shared(memfd, 0, len, Protection::ReadWrite, place).expect("address space")
        };
        let memory = Memfd::create("bifolio-simulated", blocks * HUGE_PAGE).expect("memory");
        let memory = map(&memory, blocks * HUGE_PAGE);
        let len = |memfd: &Memfd| usize::try_from(memfd.len().expect("a memfd")).expect("a small device");
        let device = device.map(|memfd| map(memfd, len(memfd)));
        let pages = blocks * HUGE_PAGE / PAGE;
        let state = State {
            entries: vec![Entry::Absent; pages],
            backed: vec![false; pages],
            sleepers: BTreeMap::new(),
            messages: VecDeque::new(),
            next: 0,
            closed: false,
            strays: BTreeSet::new(),
            inherited: false,
        };
        let (state, woken, queued) = (Mutex::new(state), Condvar::new(), Condvar::new());
        SimulatedView { memory, device, state, woken, queued, chance }
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

    /// System memory of the page at `address`.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    pub fn system_memory(&self, address: usize) -> SharedBytes<'_> {
        assert!(self.state().backed[self.page_of(address)], "{address:#x} has no system memory");
        self.memory.at(page_span(address)).expect("an address of the view")
    }

    /// Does `access` on the bytes of the page at `address`, as a thread of the program: waits for the page if it is
    /// absent. Nobody goes on between the last look and the access.
    ///
    /// # Errors
    /// If the page is poisoned.
    pub fn touch<R>(&self, address: usize, access: impl FnOnce(SharedBytes<'_>) -> R) -> Result<R, Sigbus> {
        let page = self.page_of(address);
        let mut state = self.state();
        loop {
            match state.entries[page] {
                Entry::File => return Ok(access(self.page(page))),
                Entry::Device(pfn) => return Ok(access(self.device_page(pfn))),
                Entry::Poisoned => return Err(Sigbus),
                Entry::Absent => state = self.sleep(state, page),
            }
        }
    }

    /// Writes the next value to a word of page number `page`, as the thread that owns it; tells whether it could.
    pub(super) fn write(&self, oracle: &Oracle, page: usize, word: usize, may_fail: bool) -> bool {
        let (begun, value) = oracle.begin_write(page, word);
        let store = |bytes: SharedBytes<'_>| bytes.store_u64(word * 8, value).expect("a word of a page");
        let done = self.touch(self.address(page), store).is_ok();
        oracle.end_write(begun, done, may_fail);
        done
    }

    /// Reads a word of page number `page`; tells whether it could.
    pub(super) fn read(&self, oracle: &Oracle, page: usize, word: usize, may_fail: bool) -> bool {
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

    fn sleep<'s>(&'s self, mut state: MutexGuard<'s, State>, page: usize) -> MutexGuard<'s, State> {
        let ticket = state.next;
        state.next += 1;
        state.sleepers.insert(ticket, page);
        state.messages.push_back(ticket);
        self.queued.notify_one();
        while state.sleepers.contains_key(&ticket) {
            state = self.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Reads the next message: the address of a fault. `None` once the view is closed.
    #[must_use]
    pub fn next_fault(&self) -> Option<usize> {
        let mut state = self.state();
        loop {
            if let Some(ticket) = state.messages.pop_front() {
                let page = state.sleepers[&ticket];
                return Some(self.address(page));
            }
            if state.closed {
                return None;
            }
            state = self.queued.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends [`SimulatedView::next_fault`] for all who read.
    pub fn close(&self) {
        self.state().closed = true;
        self.queued.notify_all();
    }

    /// System memory, without regard to what is in view.
    pub(crate) fn memory(&self) -> &Mapping {
        &self.memory
    }

    /// Shows zeros at a page that belongs to no block, until it is cleared.
    pub(crate) fn show_stray(&self, address: usize) {
        let page = self.page_of(address);
        let mut state = self.state();
        if state.entries[page] == Entry::Absent {
            state.entries[page] = Entry::File;
            state.backed[page] = true;
            state.strays.insert(page);
            self.page(page).fill_zero();
        }
        drop(state);
        self.wake_span(page_span(address));
    }

    /// Takes away what was shown in `span` while it belonged to no block.
    pub(crate) fn clear_strays(&self, span: AddressRange) {
        for page in self.pages_of(span) {
            if self.state().strays.remove(&page) {
                self.zap(page);
                self.free(page);
            }
        }
    }

    /// Decides whether children inherit the view.
    pub(crate) fn share_with_children(&self, share: bool) {
        self.state().inherited = share;
    }

    /// Whether children inherit the view.
    #[must_use]
    pub fn is_inherited(&self) -> bool {
        self.state().inherited
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page_of(&self, address: usize) -> usize {
        (address - self.memory.span().start()) / PAGE
    }

    fn pages_of(&self, span: AddressRange) -> std::ops::Range<usize> {
        self.page_of(span.start())..self.page_of(span.start()) + span.pages()
    }

    fn page(&self, page: usize) -> SharedBytes<'_> {
        self.memory.bytes(page * PAGE, PAGE).expect("a page of the view")
    }

    fn device_page(&self, pfn: Pfn) -> SharedBytes<'_> {
        let device = self.device.as_ref().expect("only coherent device memory is shown");
        let page = usize::try_from(pfn.get()).expect("a small device");
        device.bytes(page * PAGE, PAGE).expect("a page of the device")
    }

    /// Shows one page of system memory.
    fn show(&self, page: usize) {
        let mut state = self.state();
        assert!(state.backed[page], "page {page} is shown without memory");
        assert!(!matches!(state.entries[page], Entry::Device(_)), "page {page} is shown over device memory");
        state.entries[page] = Entry::File;
    }

    fn show_all(&self, span: AddressRange) {
        self.pages_of(span).for_each(|page| self.show(page));
        if !mutant::is(Mutant::ShowsWithoutWaking) {
            self.wake_span(span);
        }
    }

    fn wake_span(&self, span: AddressRange) {
        let pages = self.pages_of(span);
        let mut state = self.state();
        state.sleepers.retain(|_, page| !pages.contains(page));
        let State { sleepers, messages, .. } = &mut *state;
        messages.retain(|ticket| sleepers.contains_key(ticket));
        self.woken.notify_all();
    }

    /// Takes one page out of view; poison stays.
    fn zap(&self, page: usize) {
        let mut state = self.state();
        if state.entries[page] != Entry::Poisoned {
            state.entries[page] = Entry::Absent;
        }
    }

    fn free(&self, page: usize) {
        let mut state = self.state();
        assert_ne!(state.entries[page], Entry::File, "page {page} is freed while it is in view");
        if std::mem::take(&mut state.backed[page]) {
            self.scribble(page);
        }
    }

    fn scribble(&self, page: usize) {
        for word in 0..WORDS {
            self.page(page).store_u64(word * 8, GARBAGE).expect("a word of a page");
        }
    }

    fn refuse(&self) -> Result<(), Refused> {
        if self.chance.fails() { Err(Refused::NoMemory) } else { Ok(()) }
    }
}

fn page_span(address: usize) -> AddressRange {
    AddressRange::new(address & !(PAGE - 1), PAGE).expect("a page of the view")
}

impl CpuView for SimulatedView {
    type Staged = InPlace;

    fn isolate(&self, place: BlockSpan, _ram: &PageSet) -> Result<InPlace, Refused> {
        self.refuse().map_err(|_| Refused::Busy)?;
        if !mutant::is(Mutant::TakesOutAfterCopy) {
            self.pages_of(place.span()).for_each(|page| self.zap(page));
        }
        Ok(InPlace)
    }

    fn reserve(&self, place: BlockSpan) -> Result<InPlace, Refused> {
        self.refuse()?;
        for page in self.pages_of(place.span()) {
            let mut state = self.state();
            assert!(!state.backed[page], "page {page} has system memory already");
            state.backed[page] = true;
            self.scribble(page);
        }
        Ok(InPlace)
    }

    fn bytes<'v>(&'v self, place: BlockSpan, _staged: &InPlace, run: PageRun) -> SharedBytes<'v> {
        self.memory.at(span_of(place.base, run)).expect("blocks lie inside the view")
    }

    fn remap(&self, place: BlockSpan, ram: &PageSet, _staged: Option<InPlace>) {
        ram.runs(place.span).for_each(|run| self.show_all(span_of(place.base, run)));
    }

    fn install(
        &self,
        place: BlockSpan,
        staged: InPlace,
        wanted: Option<u16>,
    ) -> Result<(), (Refused, InPlace)> {
        if let Err(why) = self.refuse() {
            return Err((why, staged));
        }
        if let Some(first) = wanted {
            self.show_all(span_of(place.base, PageRun::single(first)));
        }
        self.show_all(place.span());
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
            if mutant::is(Mutant::TakesOutAfterCopy) {
                self.zap(page);
            }
            self.free(page);
        }
    }

    fn discard(&self, base: usize, run: PageRun, _coherent: &PageSet) -> Result<(), Refused> {
        self.refuse()?;
        for page in self.pages_of(span_of(base, run)) {
            if !mutant::is(Mutant::UnmappedStaysInView) {
                self.zap(page);
                self.free(page);
            }
        }
        Ok(())
    }

    fn map_coherent(&self, place: BlockSpan, to: Pfn) -> Result<(), Refused> {
        let result = self.refuse();
        if result.is_ok() {
            let mut state = self.state();
            for (page, pfn) in self.pages_of(place.span()).zip(to.get()..) {
                state.entries[page] = Entry::Device(Pfn::new(pfn));
            }
        }
        self.wake_span(place.span());
        result
    }

    fn unmap_coherent(&self, place: BlockSpan) -> Result<(), Refused> {
        self.refuse()?;
        let mut state = self.state();
        for page in self.pages_of(place.span()) {
            state.entries[page] = Entry::Absent;
        }
        Ok(())
    }

    fn wake(&self, address: usize) {
        self.wake_span(page_span(address));
    }

    fn poison(&self, address: usize) {
        let page = self.page_of(address);
        let mut state = self.state();
        if state.entries[page] != Entry::Absent {
            // As in the kernel: a page that is there is not poisoned, and nobody is woken.
            return;
        }
        state.entries[page] = Entry::Poisoned;
        drop(state);
        if !mutant::is(Mutant::PoisonsWithoutWaking) {
            self.wake_span(page_span(address));
        }
    }
}
