//! A simulated machine for transactions: system memory, device memory and both page tables as plain maps.
//!
//! It runs the shipped transactions, can fail any step that may fail, and checks after each transaction that
//! every byte is where the block says and that nothing was lost or leaked.

use std::collections::{BTreeMap, BTreeSet};

use bifolio_folio::{MemoryKind, Order, Pfn};

use bifolio_migrate::{
    AlignedRun, BLOCK_PAGES, Block, DevicePage, Failure, Finished, Folio, FolioId, Formed, NodeId,
    OrderRange, Outcome, PageRun, Rights, Step, Transaction,
};

/// Where the CPU's page table leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    Ram,
    Device(DevicePage),
}

/// A device: its memory, and its page table.
struct Device {
    kind: MemoryKind,
    memory: Vec<u64>,
    table: BTreeMap<u16, (Pfn, Rights)>,
    folios: BTreeMap<u64, Order>,
    /// What each folio, by its first page, is on.
    backings: BTreeMap<u64, u32>,
    ids: BTreeSet<u32>,
}

impl Device {
    fn bytes(&mut self, pfn: Pfn) -> &mut u64 {
        &mut self.memory[pfn.get() as usize]
    }
}

pub struct World {
    pub block: Block,
    /// What every live page must read as.
    pub expected: BTreeMap<u16, u64>,
    ram: BTreeMap<u16, u64>,
    cpu: BTreeMap<u16, View>,
    taken: BTreeSet<u16>,
    devices: Vec<Device>,
    next_id: u32,
    pub ram_limit: u64,
    ram_used: u64,
    /// Fallible steps until one is made to fail; `None` never.
    pub fail_in: Option<u32>,
    /// How many steps were made to fail.
    pub failed: u32,
    /// Whether there is nothing that could make room.
    pub fail_reclaim: bool,
    making_room: bool,
    /// Looks at the machine, the block and each step before it is done.
    pub look: Option<fn(&Transaction, &Block, &Step)>,
    /// Whether devices are being taken away.
    pub detached: bool,
    /// Steps of the last transaction, and of those within it.
    pub steps: Vec<Step>,
    /// Whether free device memory holds zeros, and folios are formed cleared.
    pub cleared: bool,
}

const GARBAGE: u64 = 0xdead_dead;

impl World {
    /// A world with a device of each of these kinds and numbers of pages.
    pub fn new(devices: &[(MemoryKind, u64)], ram_limit: u64) -> World {
        let device = |&(kind, pages): &(MemoryKind, u64)| Device {
            kind,
            memory: vec![GARBAGE; usize::try_from(pages).expect("small")],
            table: BTreeMap::new(),
            folios: BTreeMap::new(),
            backings: BTreeMap::new(),
            ids: BTreeSet::new(),
        };
        World {
            block: Block::new(),
            expected: BTreeMap::new(),
            ram: BTreeMap::new(),
            cpu: BTreeMap::new(),
            taken: BTreeSet::new(),
            devices: devices.iter().map(device).collect(),
            next_id: 0,
            ram_limit,
            ram_used: 0,
            fail_in: None,
            failed: 0,
            fail_reclaim: false,
            making_room: false,
            look: None,
            detached: false,
            steps: Vec::new(),
            cleared: false,
        }
    }

    /// Lets free device memory hold zeros.
    pub fn clear(&mut self) {
        self.cleared = true;
        self.devices.iter_mut().for_each(|device| device.memory.fill(0));
    }

    fn device(&mut self, node: NodeId) -> &mut Device {
        &mut self.devices[usize::from(node.0)]
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
        self.steps.clear();
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
            if let Some(look) = self.look {
                look(transaction, block, &step);
            }
            self.steps.push(step);
            outcome = self.perform(step, block);
            assert!(step.allows(&outcome), "{outcome:?} of {step:?}");
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
            Step::FormFolio { node, run } => self.form(node, run.order()),
            Step::ReclaimDevice { node, .. } => self.reclaim_device(node, block),
            Step::ReleaseFolio { folio } => self.release(folio),
            Step::SplitFolio { folio } => self.split(folio),
            Step::CollapseFolio { lower, upper } => self.collapse(lower, upper),
            Step::ReserveRam { run } => self.reserve(run),
            Step::ReclaimRam { .. } => self.reclaim_ram(block),
            Step::ReleaseRam { run, pages } => self.release_ram(run, pages),
            Step::Isolate { run } => self.isolate(run, block),
            Step::Remap { run } => self.remap(run, block),
            Step::Install { run, .. } => self.install(run, None),
            Step::InstallZero { run } => self.install(run, Some(0)),
            Step::CopyToDevice { run, to } => self.copy_to_device(run, to),
            Step::ClearDevice { run, to } => self.fill_device(run, to, |_| 0),
            Step::CopyToRam { run, from } => self.copy_to_ram(run, from),
            Step::MapDevice { run, to, rights } | Step::RemapDevice { run, to, rights } => {
                self.map_device(run, to, rights)
            }
            Step::UnmapDevice { node, run } => self.unmap_device(node, run),
            Step::MapCoherent { run, to } => self.map_coherent(run, to),
            Step::UnmapCoherent { run } => self.unmap_coherent(run),
            Step::Discard { run } => self.discard(run),
            Step::Finish(_) => unreachable!("finished"),
        }
    }

    fn form(&mut self, node: NodeId, order: Order) -> Outcome {
        if self.detached {
            return Outcome::Detached;
        }
        if self.injected() {
            return Outcome::NoMemory;
        }
        let cleared = self.cleared;
        let id = self.new_id();
        let device = self.device(node);
        let pages = order.pages();
        let total = device.memory.len() as u64;
        let taken = |at: u64| device.folios.iter().any(|(pfn, o)| *pfn < at + pages && at < pfn + o.pages());
        let Some(pfn) = (0..total / pages).map(|n| n * pages).find(|at| !taken(*at)) else {
            return Outcome::NoMemory;
        };
        device.folios.insert(pfn, order);
        device.ids.insert(id.0);
        device.backings.insert(pfn, id.0);
        let folio = Folio { node, pfn: Pfn::new(pfn), order, id };
        Outcome::Formed(Formed { folio, kind: device.kind, cleared })
    }

    fn new_id(&mut self) -> FolioId {
        self.next_id += 1;
        FolioId(self.next_id)
    }

    fn release(&mut self, folio: Folio) -> Outcome {
        let (pfn, left) = (folio.pfn.get(), if self.cleared { 0 } else { GARBAGE });
        let device = self.device(folio.node);
        assert_eq!(device.folios.remove(&pfn), Some(folio.order), "a folio is freed once, at its order");
        assert!(device.ids.remove(&folio.id.0), "a key is removed once");
        device.backings.remove(&pfn);
        device.memory[pfn as usize..(pfn + folio.order.pages()) as usize].fill(left);
        Outcome::Done
    }

    fn split(&mut self, folio: Folio) -> Outcome {
        if self.injected() {
            return Outcome::Busy;
        }
        let half = folio.order.smaller().expect("order 0 is never split");
        let (lower, upper) = (folio.pfn.get(), folio.pfn.get() + half.pages());
        let id = self.new_id();
        let device = self.device(folio.node);
        assert_eq!(device.folios.insert(lower, half), Some(folio.order));
        device.folios.insert(upper, half);
        device.backings.insert(upper, device.backings[&lower]);
        device.ids.insert(id.0);
        Outcome::Split { upper: id }
    }

    fn collapse(&mut self, lower: Folio, upper: Folio) -> Outcome {
        if self.injected() {
            return Outcome::Busy;
        }
        let (first, second) = (lower.pfn.get(), upper.pfn.get());
        let whole = lower.order.larger().expect("halves are small");
        assert_eq!(lower.node, upper.node, "two halves of one node");
        assert!(lower.pfn.is_aligned(whole) && second == first + upper.order.pages(), "two halves");
        let device = self.device(lower.node);
        if device.backings[&first] != device.backings[&second] {
            return Outcome::Failed;
        }
        assert_eq!(device.folios.insert(first, whole), Some(lower.order));
        assert_eq!(device.folios.remove(&second), Some(lower.order));
        device.backings.remove(&second);
        assert!(device.ids.remove(&upper.id.0), "a key is removed once");
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
    fn reclaim_device(&mut self, node: NodeId, block: &mut Block) -> Outcome {
        let victim = block.pieces().iter().find(|piece| piece.node == node);
        let Some(page) = victim.map(|piece| piece.run.first()) else { return Outcome::NoMemory };
        self.nested(Transaction::to_ram(page), block)
    }

    /// Moves pages of the same block to the last device.
    fn reclaim_ram(&mut self, block: &mut Block) -> Outcome {
        let Some(run) = block.movable().aligned_runs(Order::PMD).next() else { return Outcome::NoMemory };
        let node = NodeId(self.devices.len() as u8 - 1);
        let orders = OrderRange { largest: run.order(), smallest: Order::ZERO };
        self.nested(Transaction::to_device(node, run.first(), orders), block)
    }

    fn nested(&mut self, mut transaction: Transaction, block: &mut Block) -> Outcome {
        if self.making_room || self.fail_reclaim {
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

    fn isolate(&mut self, span: AlignedRun, block: &Block) -> Outcome {
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

    fn copy_to_device(&mut self, run: PageRun, to: DevicePage) -> Outcome {
        assert!(run.into_iter().all(|page| self.taken.contains(&page)), "copied while the CPU can write");
        let bytes = self.ram.clone();
        self.fill_device(run, to, |page| bytes[&page])
    }

    fn fill_device(&mut self, run: PageRun, to: DevicePage, value: impl Fn(u16) -> u64) -> Outcome {
        if self.injected() {
            return Outcome::Failed;
        }
        for page in run {
            *self.bytes(to.plus(page - run.first())) = value(page);
        }
        Outcome::Done
    }

    fn bytes(&mut self, page: DevicePage) -> &mut u64 {
        self.device(page.node).bytes(page.pfn)
    }

    fn copy_to_ram(&mut self, run: AlignedRun, from: DevicePage) -> Outcome {
        if self.injected() {
            return Outcome::Failed;
        }
        for page in run {
            let entered = self.devices.iter().any(|device| device.table.contains_key(&page));
            assert!(!entered, "copied while a device can write");
            assert!(!matches!(self.cpu.get(&page), Some(View::Device(_))), "copied while the CPU can write");
            let bytes = *self.bytes(from.plus(page - run.first()));
            self.ram.insert(page, bytes);
            self.taken.insert(page);
        }
        Outcome::Done
    }

    fn map_device(&mut self, run: AlignedRun, to: DevicePage, rights: Rights) -> Outcome {
        if self.injected() {
            return Outcome::Failed;
        }
        for page in run {
            let entry = (to.plus(page - run.first()).pfn, rights);
            self.device(to.node).table.insert(page, entry);
        }
        Outcome::Done
    }

    fn unmap_device(&mut self, node: NodeId, run: AlignedRun) -> Outcome {
        let table = &mut self.device(node).table;
        let there = run.into_iter().filter(|page| table.remove(page).is_some()).count();
        assert!(there > 0, "only mapped pages are unmapped");
        Outcome::Done
    }

    fn map_coherent(&mut self, run: AlignedRun, to: DevicePage) -> Outcome {
        if self.injected() {
            return Outcome::Failed;
        }
        assert_eq!(self.device(to.node).kind, MemoryKind::Coherent, "the CPU does not reach it");
        for page in run {
            self.cpu.insert(page, View::Device(to.plus(page - run.first())));
        }
        Outcome::Done
    }

    fn unmap_coherent(&mut self, run: AlignedRun) -> Outcome {
        if self.injected() {
            return Outcome::Failed;
        }
        for page in run {
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
        match self.cpu.get(&page).copied() {
            Some(View::Ram) => drop(self.ram.insert(page, value)),
            Some(View::Device(at)) => *self.bytes(at) = value,
            None => return false,
        }
        self.expected.insert(page, value);
        true
    }

    /// Writes through the page table of a device; `false` if that faults.
    pub fn device_write(&mut self, node: NodeId, page: u16, value: u64) -> bool {
        let Some((pfn, rights)) = self.device(node).table.get(&page).copied() else { return false };
        if !rights.contains(Rights::WRITE) {
            return false;
        }
        *self.device(node).bytes(pfn) = value;
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
        for (node, device) in (0..).map(NodeId).zip(&self.devices) {
            let pieces = self.block.pieces().iter().filter(|piece| piece.node == node);
            let orders: BTreeMap<u64, Order> =
                pieces.map(|piece| (piece.pfn.get(), piece.run.order())).collect();
            assert_eq!(device.folios, orders, "live folios are those of the block");
            assert_eq!(device.ids.len(), orders.len(), "one key a piece");
        }
        assert_eq!(self.ram_used, u64::from(self.block.ram().count()), "reserved system memory");
        assert_eq!(self.ram.len(), usize::from(self.block.ram().count()), "system pages in use");
    }

    fn check_page(&self, page: u16) {
        let piece = self.block.piece_of(page);
        let at = piece.map(|piece| piece.page().plus(page - piece.run.first()));
        let bytes = match at {
            Some(at) => Some(self.devices[usize::from(at.node.0)].memory[at.pfn.get() as usize]),
            None if self.block.ram().contains(page) => Some(self.ram[&page]),
            None => self.block.live().contains(page).then_some(0),
        };
        assert_eq!(bytes, self.expected.get(&page).copied(), "bytes of page {page} (I27)");
        for (node, device) in (0..).map(NodeId).zip(&self.devices) {
            let mapped = piece.filter(|piece| piece.node == node && piece.is_mapped());
            let entry = at.and_then(|at| Some((at.pfn, mapped?.rights)));
            assert_eq!(device.table.get(&page).copied(), entry, "mapping of page {page} for {node:?}");
        }
        match self.cpu.get(&page) {
            Some(View::Ram) => assert!(self.block.ram().contains(page), "page {page} is in view"),
            Some(View::Device(seen)) => assert_eq!(at, Some(*seen)),
            None => assert!(!self.block.ram().contains(page), "page {page} of system memory is out of view"),
        }
    }
}
