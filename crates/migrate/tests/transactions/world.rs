//! A runner of transactions without an engine: the simulated view and devices, and folios handed out by first fit.
//!
//! It can fail any step that may fail, and checks after each transaction that every byte is where the block says and that
//! nothing was lost or leaked.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bifolio_engine::device::{Copy, Device, TableUpdate};
use bifolio_engine::view::{BlockSpan, CpuView, address_of};
use bifolio_folio::{MemoryKind, Order, Pfn};
use bifolio_migrate::{
    AlignedRun, BLOCK_PAGES, Block, DevicePage, Failure, Finished, Folio, FolioId, Formed, NodeId,
    OrderRange, Outcome, PageRun, Rights, Step, Transaction,
};
use bifolio_sim::view::InPlace;
use bifolio_sim::{Entry, SimDevice, SimView, Touch};
use bifolio_sys::SharedBytes;

/// A device, and the folios on it by their first page.
struct Node {
    kind: MemoryKind,
    device: SimDevice,
    folios: BTreeMap<u64, Order>,
    /// What each folio is on.
    backings: BTreeMap<u64, u32>,
    ids: BTreeSet<u32>,
}

impl Node {
    fn fill(&self, pages: Range<u64>, value: u64) {
        pages.for_each(|pfn| store(self.device.page(Pfn::new(pfn)), value));
    }
}

pub struct World {
    pub block: Block,
    /// What every live page must read as.
    expected: BTreeMap<u16, u64>,
    view: SimView,
    nodes: Vec<Node>,
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
    cleared: bool,
}

const GARBAGE: u64 = 0xdead_dead;

impl World {
    /// A world with a device of each of these kinds and numbers of pages.
    pub fn new(devices: &[(MemoryKind, u64)], ram_limit: u64) -> World {
        let node = |&(kind, pages): &(MemoryKind, u64)| Node {
            kind,
            device: SimDevice::new(kind, Pfn::ZERO, pages),
            folios: BTreeMap::new(),
            backings: BTreeMap::new(),
            ids: BTreeSet::new(),
        };
        let nodes: Vec<Node> = devices.iter().map(node).collect();
        let memory: Vec<_> = nodes.iter().map(|node| node.device.reachable()).collect();
        let view = SimView::of_blocks(1, &memory);
        World {
            block: Block::new(),
            expected: BTreeMap::new(),
            view,
            nodes,
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

    /// Lets free device memory hold zeros, before any of it is used.
    pub fn clear(&mut self) {
        self.cleared = true;
    }

    fn node(&mut self, node: NodeId) -> &mut Node {
        &mut self.nodes[usize::from(node.0)]
    }

    fn device(&self, node: NodeId) -> &SimDevice {
        &self.nodes[usize::from(node.0)].device
    }

    fn place(&self, run: AlignedRun) -> BlockSpan {
        BlockSpan { base: self.view.addresses().start(), span: run }
    }

    fn address(&self, page: u16) -> usize {
        address_of(self.view.addresses().start(), page)
    }

    pub fn map(&mut self, run: PageRun) {
        let live = *self.block.live();
        for page in run.into_iter().filter(|page| !live.contains(*page)) {
            self.block.map(PageRun::single(page));
            self.expected.insert(page, 0);
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
        let pinned = (page..BLOCK_PAGES).map(PageRun::single).find(|run| self.block.is_pinned(*run));
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
            outcome = match refusal(&step) {
                Some(refused) if self.is_made_to_fail() => refused,
                _ => self.perform(step, block),
            };
            assert!(step.allows(&outcome), "{outcome:?} of {step:?}");
        }
        panic!("{transaction:?} does not end");
    }

    fn is_made_to_fail(&mut self) -> bool {
        let Some(left) = self.fail_in else { return false };
        self.fail_in = left.checked_sub(1);
        self.failed += u32::from(left == 0);
        left == 0
    }

    fn perform(&mut self, step: Step, block: &mut Block) -> Outcome {
        match step {
            Step::FormFolio { node, run } => return self.form(node, run.order()),
            Step::ReclaimDevice { node, .. } => return self.reclaim_device(node, block),
            Step::ReleaseFolio { folio } => self.release(folio),
            Step::SplitFolio { folio } => return self.split(folio),
            Step::CollapseFolio { lower, upper } => return self.collapse(lower, upper),
            Step::ReserveRam { run } => return self.reserve(run),
            Step::ReclaimRam { .. } => return self.reclaim_ram(block),
            Step::ReleaseRam { run, pages } => {
                self.view.release(self.place(run), InPlace);
                self.ram_used -= u64::from(pages);
            }
            Step::Isolate { run } => drop(self.view.isolate(self.place(run), block.ram())),
            Step::Remap { run } => self.view.remap(self.place(run), block.ram(), Some(InPlace)),
            Step::Install { run, wanted } => self.install(run, wanted),
            Step::InstallZero { run } => {
                self.view.install_zero(self.place(run), InPlace).expect("it never fails");
            }
            Step::CopyToDevice { run, to } => self.copy_to_device(run, to),
            Step::ClearDevice { run, to } => {
                self.copy(to.node, Copy::Clear { to: to.pfn, pages: u64::from(run.pages()) });
            }
            Step::CopyToRam { run, from } => self.copy_to_ram(run, from),
            Step::MapDevice { run, to, rights } | Step::RemapDevice { run, to, rights } => {
                let entered =
                    self.device(to.node).enter(self.address(run.first()), to.pfn, run.order(), rights);
                entered.expect("a folio lies on its device");
            }
            Step::UnmapDevice { node, run } => self.unmap_device(node, run),
            Step::MapCoherent { run, to } => self.view.map_coherent_at(self.place(run), to),
            Step::UnmapCoherent { run } => {
                self.view.unmap_coherent(self.place(run)).expect("it never fails");
            }
            Step::Discard { run } => self.discard(run, block),
            Step::Protect { run, rights } => {
                self.view.protect(self.view.addresses().start(), run, rights).expect("it never fails");
            }
            Step::Finish(_) => unreachable!("finished"),
        }
        Outcome::Done
    }

    fn form(&mut self, node: NodeId, order: Order) -> Outcome {
        if self.detached {
            return Outcome::Detached;
        }
        let (id, cleared, pages) = (self.new_id(), self.cleared, order.pages());
        let it = self.node(node);
        let total = it.device.capabilities().pages;
        let taken = |at: u64| it.folios.iter().any(|(pfn, o)| *pfn < at + pages && at < pfn + o.pages());
        let Some(pfn) = (0..total / pages).map(|n| n * pages).find(|at| !taken(*at)) else {
            return Outcome::NoMemory;
        };
        it.fill(pfn..pfn + pages, if cleared { 0 } else { GARBAGE });
        it.folios.insert(pfn, order);
        it.ids.insert(id.0);
        it.backings.insert(pfn, id.0);
        let folio = Folio { node, pfn: Pfn::new(pfn), order, id };
        Outcome::Formed(Formed { folio, kind: it.kind, cleared })
    }

    fn new_id(&mut self) -> FolioId {
        self.next_id += 1;
        FolioId(self.next_id)
    }

    fn release(&mut self, folio: Folio) {
        let pfn = folio.pfn.get();
        let node = self.node(folio.node);
        assert_eq!(node.folios.remove(&pfn), Some(folio.order), "a folio is freed once, at its order");
        assert!(node.ids.remove(&folio.id.0), "a key is removed once");
        node.backings.remove(&pfn);
        node.fill(pfn..pfn + folio.order.pages(), GARBAGE);
    }

    fn split(&mut self, folio: Folio) -> Outcome {
        let half = folio.order.smaller().expect("order 0 is never split");
        let (lower, upper) = (folio.pfn.get(), folio.pfn.get() + half.pages());
        let id = self.new_id();
        let node = self.node(folio.node);
        assert_eq!(node.folios.insert(lower, half), Some(folio.order));
        node.folios.insert(upper, half);
        node.backings.insert(upper, node.backings[&lower]);
        node.ids.insert(id.0);
        Outcome::Split { upper: id }
    }

    fn collapse(&mut self, lower: Folio, upper: Folio) -> Outcome {
        let (first, second) = (lower.pfn.get(), upper.pfn.get());
        let whole = lower.order.larger().expect("halves are small");
        assert_eq!(lower.node, upper.node, "two halves of one node");
        assert!(lower.pfn.is_aligned(whole) && second == first + upper.order.pages(), "two halves");
        let node = self.node(lower.node);
        if node.backings[&first] != node.backings[&second] {
            return Outcome::Failed;
        }
        assert_eq!(node.folios.insert(first, whole), Some(lower.order));
        assert_eq!(node.folios.remove(&second), Some(lower.order));
        node.backings.remove(&second);
        assert!(node.ids.remove(&upper.id.0), "a key is removed once");
        Outcome::Done
    }

    fn reserve(&mut self, run: AlignedRun) -> Outcome {
        let pages = u64::from(run.pages());
        let limit = if self.making_room { self.ram_limit + 512 } else { self.ram_limit };
        if self.ram_used + pages > limit {
            return Outcome::NoMemory;
        }
        self.ram_used += pages;
        self.view.reserve(self.place(run)).expect("it never fails");
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
        let node = NodeId(self.nodes.len() as u8 - 1);
        let orders = OrderRange { largest: run.order(), smallest: Order::ZERO };
        self.nested(Transaction::to_device(node, run.first(), orders), block)
    }

    fn nested(&mut self, mut transaction: Transaction, block: &mut Block) -> Outcome {
        if self.making_room || self.fail_reclaim {
            return Outcome::NoMemory;
        }
        self.making_room = true;
        let result = self.drive(&mut transaction, block);
        self.making_room = false;
        if result.is_ok() { Outcome::Done } else { Outcome::NoMemory }
    }

    fn install(&self, run: AlignedRun, wanted: Option<u16>) {
        let mut entries = run.into_iter().map(|page| self.view.entry(self.address(page)));
        assert!(entries.all(|entry| entry == Entry::Absent), "{run:?} is installed over another");
        self.view.install(self.place(run), InPlace, wanted).expect("it never fails");
    }

    fn copy(&self, node: NodeId, copy: Copy<'_>) {
        self.device(node).copy(&[copy]).expect("a folio lies on its device");
    }

    fn copy_to_device(&self, run: PageRun, to: DevicePage) {
        self.assert_unmapped(run);
        let from = self.view.bytes(self.place(AlignedRun::block()), &InPlace, run);
        self.copy(to.node, Copy::ToDevice { from, to: to.pfn });
    }

    fn copy_to_ram(&self, run: AlignedRun, from: DevicePage) {
        self.assert_unmapped(run.into());
        let to = self.view.bytes(self.place(run), &InPlace, run.into());
        self.copy(from.node, Copy::ToRam { from: from.pfn, to });
    }

    fn assert_unmapped(&self, run: PageRun) {
        for address in run.into_iter().map(|page| self.address(page)) {
            assert_eq!(self.view.entry(address), Entry::Absent, "copied while the CPU can write");
            let entered = self.nodes.iter().any(|node| node.device.entry(address).is_some());
            assert!(!entered, "copied while a device can write");
        }
    }

    fn unmap_device(&self, node: NodeId, run: AlignedRun) {
        let device = self.device(node);
        let there = run.into_iter().filter(|page| device.entry(self.address(*page)).is_some()).count();
        assert!(there > 0, "only mapped pages are unmapped");
        let unmap = TableUpdate::Unmap { address: self.address(run.first()), order: run.order() };
        device.update(&[unmap]).expect("it never fails");
    }

    fn discard(&mut self, run: PageRun, block: &Block) {
        self.ram_used -= u64::from(block.ram().count_in(run));
        self.view.discard(self.address(0), run, &block.coherent_in(run)).expect("it never fails");
        for page in run {
            self.expected.remove(&page);
        }
    }

    /// Writes through the CPU's view; `false` if that faults.
    pub fn cpu_write(&mut self, page: u16, value: u64) -> bool {
        let touch = self.view.try_touch(self.address(page), |bytes| store(bytes, value));
        match touch.expect("nothing is poisoned") {
            Touch::Done(()) => self.expected.insert(page, value).is_some(),
            Touch::Asleep(_) => {
                // It gives up: the next touch is another one.
                self.view.wake(self.address(page));
                false
            }
        }
    }

    /// Writes through the page table of a device; `false` if that faults.
    pub fn device_write(&mut self, node: NodeId, page: u16, value: u64) -> bool {
        let (address, device) = (self.address(page), self.device(node));
        let done = device.try_access(address, Rights::WRITE, |bytes| store(bytes, value)).is_some();
        done && self.expected.insert(page, value).is_some()
    }

    /// Checks that every byte is where the block says and that all counts balance.
    pub fn check(&self) {
        self.block.check_consistency().expect("the block is consistent");
        (0..BLOCK_PAGES).for_each(|page| self.check_page(page));
        for (id, node) in (0..).map(NodeId).zip(&self.nodes) {
            let pieces = self.block.pieces().iter().filter(|piece| piece.node == id);
            let orders: BTreeMap<u64, Order> =
                pieces.map(|piece| (piece.pfn.get(), piece.run.order())).collect();
            assert_eq!(node.folios, orders, "live folios are those of the block");
            assert_eq!(node.ids.len(), orders.len(), "one key a piece");
        }
        assert_eq!(self.ram_used, u64::from(self.block.ram().count()), "reserved system memory");
        assert_eq!(self.view.system_pages(), usize::from(self.block.ram().count()), "system pages in use");
    }

    fn check_page(&self, page: u16) {
        let (address, piece) = (self.address(page), self.block.piece_of(page));
        let at = piece.map(|piece| piece.page().plus(page - piece.run.first()));
        let bytes = match at {
            Some(at) => Some(load(self.device(at.node).page(at.pfn))),
            None if self.block.ram().contains(page) => self.view.system_memory(address).map(load),
            None => self.block.live().contains(page).then_some(0),
        };
        assert_eq!(bytes, self.expected.get(&page).copied(), "bytes of page {page} (I27)");
        for (id, node) in (0..).map(NodeId).zip(&self.nodes) {
            let mapped = piece.filter(|piece| piece.node == id && piece.is_mapped());
            let entry: Option<(Pfn, Rights)> = at.and_then(|at| Some((at.pfn, mapped?.rights)));
            assert_eq!(node.device.entry(address), entry, "mapping of page {page} for {id:?}");
        }
        match self.view.entry(address) {
            Entry::File => assert!(self.block.ram().contains(page), "page {page} is mapped"),
            Entry::Device(seen) => assert_eq!(at, Some(seen)),
            _ => assert!(!self.block.ram().contains(page), "page {page} of system memory is not mapped"),
        }
    }
}

/// What a step answers that is refused or fails; `None` if it cannot be.
fn refusal(step: &Step) -> Option<Outcome> {
    let ways = [Outcome::NoMemory, Outcome::Busy, Outcome::Failed];
    let reclaims = matches!(step, Step::ReclaimDevice { .. } | Step::ReclaimRam { .. });
    if reclaims { Some(Outcome::Busy) } else { ways.into_iter().find(|way| step.allows(way)) }
}

fn load(bytes: SharedBytes<'_>) -> u64 {
    bytes.load_u64(0).expect("a word of a page")
}

fn store(bytes: SharedBytes<'_>, value: u64) {
    bytes.store_u64(0, value).expect("a word of a page");
}
