//! A program whose memory is a heap of the runtime, and that forks.

use std::sync::Arc;

use bifolio_folio::Reset;
use bifolio_migrate::{AlignedRun, Block, PageRun};
use bifolio_pool::PoolName;
use bifolio_sys::{Access, PAGE};
use shuttle::thread;

use super::faults::Faults;
use crate::heap::{Heap, HeapConfig};
use crate::sim::faulty::FaultyView;
use crate::sim::oracle::{Oracle, WORDS};
use crate::sim::view::SimView;
use crate::statistics::Counter;
use crate::view::span_of;

/// Threads that answer faults.
const HANDLERS: usize = 2;
/// Pages of device memory.
const DEVICE_PAGES: u64 = 32;
/// Turns of others while everything is to stand still.
const STILL_FOR: u32 = 20;

/// A program with one block of memory on a heap.
pub struct Process {
    heap: Heap,
    oracle: Oracle,
    /// Number of the first page, and how many there are.
    first: usize,
    pages: usize,
}

impl Process {
    /// Allocates `pages` pages on a heap that has system memory for `ram_pages` of them.
    ///
    /// # Panics
    /// If the machine that simulates has no memory.
    #[must_use]
    pub fn new(pages: usize, ram_pages: u64) -> Process {
        let view = SimView::of_blocks(1, &[]);
        let whole = view.addresses();
        let config = HeapConfig {
            space: whole.len(),
            vram: 0,
            ram: 0,
            pool: PoolName::Buddy,
            reset: Reset::default(),
            checked: true,
            statistics: None,
            in_handler: None,
        };
        let sizes = (DEVICE_PAGES, ram_pages);
        let view = FaultyView::over(view, Arc::new(Faults::per_mille(0)));
        let heap = Heap::over(view, Access::UserModeOnly, whole, sizes, &config).expect("a small heap");
        let oracle = Oracle::new(whole.pages());
        let address = heap.allocate(pages * PAGE, PAGE, 0).expect("address space");
        let first = (address - whole.start()) / PAGE;
        (first..first + pages).for_each(|page| {
            oracle.beginning(page);
            oracle.begun(page);
        });
        Process { heap, oracle, first, pages }
    }

    /// Runs all threads at once, with handlers, until they are done; then checks everything.
    ///
    /// # Panics
    /// If a rule is broken.
    pub fn run(&self, threads: &[&(dyn Fn(&Process) + Sync)]) {
        thread::scope(|scope| {
            let handlers: Vec<_> = (0..HANDLERS).map(|_| scope.spawn(|| self.answer_faults())).collect();
            let threads: Vec<_> = threads.iter().map(|work| scope.spawn(|| work(self))).collect();
            threads.into_iter().for_each(|work| work.join().expect("a thread"));
            self.view().close();
            handlers.into_iter().for_each(|handler| handler.join().expect("a handler"));
        });
        assert_eq!(self.heap.audit(), []);
        assert_eq!(self.heap.statistics().snapshot().get(Counter::Violations), 0);
        assert!(self.heap.free(self.view().address(self.first)));
        assert_eq!(self.heap.engine().nodes()[0].pagemap().live_pages(), 0);
        assert_eq!(self.heap.engine().budget().used_pages(), 0);
    }

    fn answer_faults(&self) {
        while let Some(address) = self.view().next_fault() {
            self.heap.touch(address..address + PAGE);
        }
    }

    fn view(&self) -> &SimView {
        self.heap.engine().view().inner()
    }

    /// Writes the word of a page that belongs to the calling thread.
    pub fn write(&self, page: usize, word: usize) {
        self.view().write(&self.oracle, self.first + page, word, false);
    }

    /// Reads a word of a page.
    pub fn read(&self, page: usize, word: usize) {
        self.view().read(&self.oracle, self.first + page, word, false);
    }

    /// Forks. The child is not run: what is checked is that nothing moves, and that the child would read what was written.
    ///
    /// # Panics
    /// If that is not so.
    pub fn fork(&self) {
        let stopped = self.heap.stop();
        stopped.share();
        let before = self.blocks();
        (0..STILL_FOR).for_each(|_| thread::yield_now());
        assert!(self.view().is_inherited(), "the child does not get the memory");
        if stopped.has_bytes_on_device() {
            // In the child this writes to its own memory. Here it writes to holes of the parent, which no thread reads.
            stopped.fill_in_child();
        }
        (self.first..self.first + self.pages).for_each(|page| self.check_in_child(page));
        assert_eq!(before, self.blocks(), "pages move during a fork");
        stopped.seal();
    }

    fn blocks(&self) -> Vec<Block> {
        self.heap.engine().blocks().made().map(|found| found.lock().block.clone()).collect()
    }

    fn check_in_child(&self, number: usize) {
        let address = self.view().address(number);
        let found = self.heap.engine().blocks().find(address).expect("a page of a block");
        let page = found.page_of(address);
        let begun: Vec<_> = (0..WORDS).map(|word| self.oracle.begin_read(number, word)).collect();
        let is_empty = found.lock().block.is_empty(AlignedRun::around(page, bifolio_folio::Order::ZERO));
        let run = PageRun::single(page);
        let bytes = self.heap.engine().view().window(span_of(found.base, run));
        for (word, begun) in begun.into_iter().enumerate() {
            let value = if is_empty { 0 } else { bytes.load_u64(word * 8).expect("a word of a page") };
            self.oracle.end_read(begun, Some(value), false);
        }
    }
}
