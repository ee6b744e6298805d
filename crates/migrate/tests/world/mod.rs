//! A simulated machine for transactions: system memory, device memory and both page tables as plain maps.
//!
//! It runs the shipped transactions, can fail any step that may fail, and checks after each transaction that
//! every byte is where the block says and that nothing was lost or leaked.

use std::collections::{BTreeMap, BTreeSet};

use bifolio_folio::{MemoryKind, Order, Pfn};

use bifolio_migrate::{
    AlignedRun, BLOCK_PAGES, Block, Failure, Finished, Folio, FolioId, Outcome, PageRun, Step, Transaction,
};

/// Where the CPU's page table leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    Ram,
    Device(u64),
}

pub struct World {
    pub block: Block,
    /// What every live page must read as.
    pub expected: BTreeMap<u16, u64>,
    ram: BTreeMap<u16, u64>,
    cpu: BTreeMap<u16, View>,
    taken: BTreeSet<u16>,
    device: Vec<u64>,
    device_table: BTreeMap<u16, u64>,
    folios: BTreeMap<u64, Order>,
    /// What each folio, by its first page, is on.
    backings: BTreeMap<u64, u32>,
    ids: BTreeSet<u32>,
    next_id: u32,
    ram_limit: u64,
    ram_used: u64,
    /// Fallible steps until one is made to fail; `None` never.
    pub fail_in: Option<u32>,
    /// How many steps were made to fail.
    pub failed: u32,
    making_room: bool,
    /// Whether the device is being taken away.
    pub detached: bool,
}

const GARBAGE: u64 = 0xdead_dead;

impl World {
    pub fn new(kind: MemoryKind, device_pages: u64, ram_limit: u64) -> World {
        World {
            block: Block::new(kind),
            expected: BTreeMap::new(),
            ram: BTreeMap::new(),
            cpu: BTreeMap::new(),
            taken: BTreeSet::new(),
            device: vec![GARBAGE; usize::try_from(device_pages).expect("small")],
            device_table: BTreeMap::new(),
            folios: BTreeMap::new(),
            backings: BTreeMap::new(),
            ids: BTreeSet::new(),
            next_id: 0,
            ram_limit,
            ram_used: 0,
            fail_in: None,
            failed: 0,
            making_room: false,
            detached: false,
        }
    }

    pub fn map(&mut self, run: PageRun) {
        let live = *self.block.live();
        for page in run {
            if !live.contains(page) {
                self.block.map(PageRun::single(page));
                self.expected.insert(page, 0);
            }
        }
    }

    /// Pins a page, if it is in system memory.
    pub fn pin(&mut self, page: u16) {
        if self.block.ram().contains(page) {
            self.block.pin(PageRun::single(page));
        }
    }

    /// Takes back one pin of the first pinned page from `page` on, if there is one.
    pub fn unpin(&mut self, page: u16) {
        let one = |page| PageRun::single(page);
        let pinned = (page..BLOCK_PAGES).map(one).find(|run| self.block.is_pinned(*run));
        pinned.into_iter().for_each(|run| self.block.unpin(run));
    }

    /// Runs a transaction to its end.
    pub fn run(&mut self, mut transaction: Transaction) -> Result<Finished, Failure> {
        let mut block = self.block.clone();
        let result = self.drive(&mut transaction, &mut block);
        self.block = block;
        result
    }

    fn drive(&mut self, transaction: &mut Transaction, block: &mut Block) -> Result<Finished, Failure> {
        let mut outcome = Outcome::Start;
        for _ in 0..20_000 {
            let step = transaction.step(block, outcome);
            if let Step::Finish(result) = step {
                return result;
            }
            outcome = self.perform(step, block);
        }
        panic!("{transaction:?} does not end");
    }

    fn injected(&mut self) -> bool {
        let Some(left) = self.fail_in else { return false };
        self.fail_in = left.checked_sub(1);
        self.failed += u32::from(left == 0);
        left == 0
    }

    fn perform(&mut self, step: Step, block: &mut Block) -> Outcome {
        match step {
            Step::FormFolio { span } => self.form(span.order()),
            Step::ReclaimDevice { .. } => self.reclaim_device(block),
            Step::ReleaseFolio { folio } => self.release(folio),
            Step::SplitFolio { folio } => self.split(folio),
            Step::CollapseFolio { lower, upper } => self.collapse(lower, upper),
            Step::ReserveRam { span } => self.reserve(span),
            Step::ReclaimRam { .. } => self.reclaim_ram(block),
            Step::ReleaseRam { span, pages } => self.release_ram(span, pages),
            Step::Isolate { span } => self.take_out(span, block),
            Step::Remap { span } => self.remap(span, block),
            Step::Install { span, .. } => self.install(span, None),
            Step::InstallZero { span } => self.install(span, Some(0)),
            Step::CopyToDevice { run, to } => self.copy_to_device(run, to),
            Step::ClearDevice { run, to } => self.fill_device(run, to, |_| 0),
            Step::CopyToRam { span, from } => self.copy_to_ram(span, from),
            Step::MapDevice { span, to } => self.map_device(span, to),
            Step::RemapDevice { span, to } => self.map_device(span, to),
            Step::UnmapDevice { span } => self.unmap_device(span),
            Step::MapCoherent { span, to } => self.map_coherent(span, to),
            Step::UnmapCoherent { span } => self.unmap_coherent(span),
            Step::Discard { run } => self.discard(run),
            Step::Finish(_) => unreachable!("finished"),
        }
    }

    fn form(&mut self, order: Order) -> Outcome {
        if self.detached {
            return Outcome::Detached;
        }
        if self.injected() {
            return Outcome::NoMemory;
        }
        let pages = order.pages();
        let total = self.device.len() as u64;
        let taken = |at: u64| self.folios.iter().any(|(pfn, o)| *pfn < at + pages && at < pfn + o.pages());
        let Some(pfn) = (0..total / pages).map(|n| n * pages).find(|at| !taken(*at)) else {
            return Outcome::NoMemory;
        };
        self.folios.insert(pfn, order);
        let id = self.new_id();
        self.backings.insert(pfn, id.0);
        Outcome::Formed(Folio { pfn: Pfn::new(pfn), order, id })
    }

    fn new_id(&mut self) -> FolioId {
        self.next_id += 1;
        self.ids.insert(self.next_id);
        FolioId(self.next_id)
    }

    fn release(&mut self, folio: Folio) -> Outcome {
        let pfn = folio.pfn.get();
        assert_eq!(self.folios.remove(&pfn), Some(folio.order), "a folio is freed once, at its order");
        assert!(self.ids.remove(&folio.id.0), "a key is removed once");
        self.backings.remove(&pfn);
        self.device[pfn as usize..(pfn + folio.order.pages()) as usize].fill(GARBAGE);
        Outcome::Done
    }

    fn split(&mut self, folio: Folio) -> Outcome {
        if self.injected() {
            return Outcome::Busy;
        }
        let half = folio.order.smaller().expect("order 0 is never split");
        assert_eq!(self.folios.insert(folio.pfn.get(), half), Some(folio.order));
        self.folios.insert(folio.pfn.get() + half.pages(), half);
        self.backings.insert(folio.pfn.get() + half.pages(), self.backings[&folio.pfn.get()]);
        Outcome::Split { upper: self.new_id() }
    }

    fn collapse(&mut self, lower: Folio, upper: Folio) -> Outcome {
        if self.injected() {
            return Outcome::Busy;
        }
        let (first, second) = (lower.pfn.get(), upper.pfn.get());
        let whole = lower.order.larger().expect("halves are small");
        assert!(lower.pfn.is_aligned(whole) && second == first + upper.order.pages(), "two halves");
        if self.backings[&first] != self.backings[&second] {
            return Outcome::Failed;
        }
        assert_eq!(self.folios.insert(first, whole), Some(lower.order));
        assert_eq!(self.folios.remove(&second), Some(lower.order));
        self.backings.remove(&second);
        assert!(self.ids.remove(&upper.id.0), "a key is removed once");
        Outcome::Done
    }

    fn reserve(&mut self, span: AlignedRun) -> Outcome {
        let pages = u64::from(span.pages());
        let limit = if self.making_room { self.ram_limit + 512 } else { self.ram_limit };
        if self.injected() || self.ram_used + pages > limit {
            return Outcome::NoMemory;
        }
        self.ram_used += pages;
        Outcome::Done
    }

    fn release_ram(&mut self, span: AlignedRun, pages: u16) -> Outcome {
        self.ram_used -= u64::from(pages);
        for page in span {
            assert!(self.cpu.get(&page) != Some(&View::Ram), "released page {page} is in view");
            self.ram.remove(&page);
            self.taken.remove(&page);
        }
        Outcome::Done
    }

    /// Evicts one other folio of the same block, as the real runner may.
    fn reclaim_device(&mut self, block: &mut Block) -> Outcome {
        let Some(page) = block.pieces().first().map(|piece| piece.span.first()) else {
            return Outcome::NoMemory;
        };
        self.nested(Transaction::to_ram(page), block)
    }

    fn reclaim_ram(&mut self, block: &mut Block) -> Outcome {
        let Some(span) = block.movable().aligned_runs(Order::PMD).next() else { return Outcome::NoMemory };
        let transaction =
            bifolio_migrate::to_device::ToDevice::new(span.first(), span.order(), Order::ZERO, false);
        self.nested(Transaction::ToDevice(transaction), block)
    }

    fn nested(&mut self, mut transaction: Transaction, block: &mut Block) -> Outcome {
        if self.making_room {
            return Outcome::NoMemory;
        }
        if self.injected() {
            return Outcome::Busy;
        }
        self.making_room = true;
        let result = self.drive(&mut transaction, block);
        self.making_room = false;
        if result.is_ok() { Outcome::Done } else { Outcome::NoMemory }
    }

    fn take_out(&mut self, span: AlignedRun, block: &Block) -> Outcome {
        if self.injected() {
            return Outcome::Busy;
        }
        for run in block.ram().runs(span) {
            for page in run {
                self.cpu.remove(&page);
                self.taken.insert(page);
            }
        }
        Outcome::Done
    }

    fn remap(&mut self, span: AlignedRun, block: &Block) -> Outcome {
        for run in block.ram().runs(span) {
            for page in run {
                self.cpu.insert(page, View::Ram);
                self.taken.remove(&page);
            }
        }
        Outcome::Done
    }

    fn install(&mut self, span: AlignedRun, fill: Option<u64>) -> Outcome {
        if self.injected() {
            return Outcome::Failed;
        }
        for page in span {
            if let Some(value) = fill {
                self.ram.insert(page, value);
            }
            assert!(self.ram.contains_key(&page), "page {page} is installed without bytes");
            assert_eq!(self.cpu.insert(page, View::Ram), None, "page {page} is installed over another");
            self.taken.remove(&page);
        }
        Outcome::Done
    }

    fn copy_to_device(&mut self, run: PageRun, to: Pfn) -> Outcome {
        assert!(run.into_iter().all(|page| self.taken.contains(&page)), "copied while the CPU can write");
        let bytes = self.ram.clone();
        self.fill_device(run, to, |page| bytes[&page])
    }

    fn fill_device(&mut self, run: PageRun, to: Pfn, value: impl Fn(u16) -> u64) -> Outcome {
        if self.injected() {
            return Outcome::Failed;
        }
        for page in run {
            self.device[(to.get() + u64::from(page - run.first())) as usize] = value(page);
        }
        Outcome::Done
    }

    fn copy_to_ram(&mut self, span: AlignedRun, from: Pfn) -> Outcome {
        if self.injected() {
            return Outcome::Failed;
        }
        for page in span {
            assert!(!self.device_table.contains_key(&page), "copied while the device can write");
            assert!(!matches!(self.cpu.get(&page), Some(View::Device(_))), "copied while the CPU can write");
            self.ram.insert(page, self.device[(from.get() + u64::from(page - span.first())) as usize]);
            self.taken.insert(page);
        }
        Outcome::Done
    }

    fn map_device(&mut self, span: AlignedRun, to: Pfn) -> Outcome {
        if self.injected() {
            return Outcome::Failed;
        }
        for page in span {
            self.device_table.insert(page, to.get() + u64::from(page - span.first()));
        }
        Outcome::Done
    }

    fn unmap_device(&mut self, span: AlignedRun) -> Outcome {
        let there =
            (span.first()..span.end()).filter(|page| self.device_table.remove(page).is_some()).count();
        assert!(there > 0, "only mapped spans are unmapped");
        Outcome::Done
    }

    fn map_coherent(&mut self, span: AlignedRun, to: Pfn) -> Outcome {
        if self.injected() {
            return Outcome::Failed;
        }
        for page in span {
            self.cpu.insert(page, View::Device(to.get() + u64::from(page - span.first())));
        }
        Outcome::Done
    }

    fn unmap_coherent(&mut self, span: AlignedRun) -> Outcome {
        if self.injected() {
            return Outcome::Failed;
        }
        for page in span {
            self.cpu.remove(&page);
        }
        Outcome::Done
    }

    fn discard(&mut self, run: PageRun) -> Outcome {
        if self.injected() {
            return Outcome::Failed;
        }
        for page in run {
            self.ram_used -= u64::from(self.ram.remove(&page).is_some());
            self.cpu.remove(&page);
            self.expected.remove(&page);
        }
        Outcome::Done
    }

    /// Writes through the CPU's view; `false` if that faults.
    pub fn cpu_write(&mut self, page: u16, value: u64) -> bool {
        match self.cpu.get(&page) {
            Some(View::Ram) => drop(self.ram.insert(page, value)),
            Some(View::Device(pfn)) => self.device[*pfn as usize] = value,
            None => return false,
        }
        self.expected.insert(page, value);
        true
    }

    /// Writes through the device's page table; `false` if that faults.
    pub fn device_write(&mut self, page: u16, value: u64) -> bool {
        let Some(pfn) = self.device_table.get(&page) else { return false };
        self.device[*pfn as usize] = value;
        self.expected.insert(page, value);
        true
    }

    /// Checks that every byte is where the block says and that all counts balance.
    pub fn check(&self) {
        self.block.check_consistency().expect("the block is consistent");
        assert!(self.taken.is_empty(), "pages {:?} were left out of view", self.taken);
        for page in 0..BLOCK_PAGES {
            self.check_page(page);
        }
        let pieces: BTreeMap<u64, Order> =
            self.block.pieces().iter().map(|piece| (piece.pfn.get(), piece.span.order())).collect();
        assert_eq!(self.folios, pieces, "live folios are those of the block");
        assert_eq!(self.ids.len(), self.block.pieces().len(), "one key a piece");
        assert_eq!(self.ram_used, u64::from(self.block.ram().count()), "reserved system memory");
        assert_eq!(self.ram.len(), usize::from(self.block.ram().count()), "system pages in use");
    }

    fn check_page(&self, page: u16) {
        let on_device = self
            .block
            .piece_of(page)
            .map(|piece| (piece.pfn.get() + u64::from(page - piece.span.first()), piece.mapped));
        let bytes = match on_device {
            Some((pfn, _)) => Some(self.device[pfn as usize]),
            None if self.block.ram().contains(page) => Some(self.ram[&page]),
            None => self.block.live().contains(page).then_some(0),
        };
        assert_eq!(bytes, self.expected.get(&page).copied(), "bytes of page {page} (I27)");
        let mapped = on_device.filter(|(_, mapped)| *mapped).map(|(pfn, _)| pfn);
        assert_eq!(self.device_table.get(&page).copied(), mapped, "device mapping of page {page}");
        match self.cpu.get(&page) {
            Some(View::Ram) => assert!(self.block.ram().contains(page), "page {page} is in view"),
            Some(View::Device(pfn)) => assert_eq!(on_device.map(|(pfn, _)| pfn), Some(*pfn)),
            None => assert!(!self.block.ram().contains(page), "page {page} of system memory is out of view"),
        }
    }
}
