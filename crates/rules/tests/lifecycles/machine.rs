//! A naive machine: two blocks of memory, two nodes of a few pages, and requests that are served at once. It tells all
//! that it does as events.

use bifolio_rules::digest::OF_ZEROS;
use bifolio_rules::judge::Residency;
use bifolio_rules::{
    AuditEvent, BytesEvent, Counter, DeviceEvent, Ending, Event, FolioEvent, NewFolio, PageRange, Place,
    PoolEvent, Purpose, Structure, TransactionEvent, Words,
};
use proptest::prelude::*;

use crate::record::Record;

/// Pages of a block that are used, and pages of a node.
const PAGES: usize = 32;
/// Largest order.
const ORDER: u8 = 4;

/// Block, first page and order of a run of pages.
pub type Run = (usize, usize, u8);

/// What the machine may be asked to do. It does nothing where that is not possible.
#[derive(Clone, Copy, Debug)]
pub enum Request {
    /// Puts zeros where nothing is.
    Populate(Run),
    /// Moves pages of system memory to a node; if it fails, after the copy.
    ToDevice { place: Run, node: u8, fails: bool },
    /// Puts a cleared folio where nothing is.
    Clear { place: Run, node: u8 },
    /// Moves a folio to system memory.
    ToRam { pick: usize },
    /// Splits a folio into halves.
    Split { pick: usize },
    /// Joins a folio with its other half.
    Collapse { pick: usize },
    /// Lets the device write to a folio that it maps.
    DeviceWrite { pick: usize },
    /// Hands out memory of a node, or takes it back.
    Buffer { node: u8, order: u8 },
    /// Asks for device memory where there is none.
    Exhaust { place: Run, node: u8 },
    /// Compares all counters.
    Audit,
}

/// Strategy of some requests.
pub fn requests() -> impl Strategy<Value = Vec<Request>> {
    let run = || {
        (0..2usize, 0..PAGES, 0..=ORDER)
            .prop_map(|(block, page, order)| (block, page & !((1 << order) - 1), order))
    };
    let (node, pick) = (|| 0..2_u8, || 0..64_usize);
    let request = prop_oneof![
        run().prop_map(Request::Populate),
        (run(), node(), prop::bool::weighted(0.2)).prop_map(|(place, node, fails)| Request::ToDevice {
            place,
            node,
            fails
        }),
        (run(), node()).prop_map(|(place, node)| Request::Clear { place, node }),
        pick().prop_map(|pick| Request::ToRam { pick }),
        pick().prop_map(|pick| Request::Split { pick }),
        pick().prop_map(|pick| Request::Collapse { pick }),
        pick().prop_map(|pick| Request::DeviceWrite { pick }),
        (node(), 0..=ORDER).prop_map(|(node, order)| Request::Buffer { node, order }),
        (run(), node()).prop_map(|(place, node)| Request::Exhaust { place, node }),
        Just(Request::Audit),
    ];
    prop::collection::vec(request, 1..40)
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Page {
    Empty,
    Ram(u64),
    Device,
}

#[derive(Clone, Copy, Debug)]
struct Folio {
    node: u8,
    head: u64,
    order: u8,
    data: u32,
    block: usize,
    first: usize,
}

pub struct Machine {
    blocks: [[Page; PAGES]; 2],
    folios: Vec<Folio>,
    buffers: Vec<(u8, u64, u8)>,
    /// Digest of each device page.
    device: [u64; 2 * PAGES],
    /// Device pages that were written or mapped since they were cleared.
    dirty: [bool; 2 * PAGES],
    objects: u32,
    writes: u64,
    stream: Vec<Record>,
}

const fn address(block: usize) -> u64 {
    block as u64 * 0x20_0000
}

fn ram((block, first, _): Run) -> Place {
    Place::Ram { block: address(block), first: u16::try_from(first).expect("a page of a block") }
}

impl Machine {
    pub fn new() -> Machine {
        let mut machine = Machine {
            blocks: [[Page::Empty; PAGES]; 2],
            folios: Vec::new(),
            buffers: Vec::new(),
            device: [OF_ZEROS; 2 * PAGES],
            dirty: [false; 2 * PAGES],
            objects: 0,
            writes: 100,
            stream: Vec::new(),
        };
        for node in 0..2 {
            let pagemap = PageRange { first: u64::from(node) * PAGES as u64, pages: PAGES as u64 };
            machine.stream.push(Record::Plain(Event::NodeAdded { node, pagemap }));
        }
        machine
    }

    pub fn serve(&mut self, request: Request) {
        match request {
            Request::Populate(run) => self.populate(run),
            Request::ToDevice { place, node, fails } => self.move_out(place, node, fails),
            Request::Clear { place, node } => self.clear(place, node),
            Request::ToRam { pick } => self.with_folio(pick, Machine::move_home),
            Request::Split { pick } => self.with_folio(pick, Machine::split),
            Request::Collapse { pick } => self.with_folio(pick, Machine::collapse),
            Request::DeviceWrite { pick } => self.with_folio(pick, Machine::device_write),
            Request::Buffer { node, order } => self.buffer(node, order),
            Request::Exhaust { place, node } => self.exhaust(place, node),
            Request::Audit => self.audit(),
        }
    }

    /// Frees everything, ends both nodes, and returns all that was told.
    pub fn shut_down(mut self) -> Vec<Record> {
        for _ in 0..self.folios.len() {
            self.with_folio(0, Machine::move_home);
        }
        for (node, head, order) in std::mem::take(&mut self.buffers) {
            self.pool(node, PoolEvent::GivenBack { head, order, data: 0, cleared: false });
        }
        for node in 0..2 {
            self.folio_event(node, FolioEvent::Killed);
            let event = AuditEvent::Teardown { node, ends: true, live_pages: 0 };
            self.stream.push(Record::Plain(Event::Audit(event)));
        }
        self.stream
    }

    fn pool(&mut self, node: u8, event: PoolEvent) {
        self.stream.push(Record::Plain(Event::Pool { node, event }));
    }

    fn folio_event(&mut self, node: u8, event: FolioEvent) {
        self.stream.push(Record::Plain(Event::Folio { node, event }));
    }

    fn device_event(&mut self, node: u8, event: DeviceEvent) {
        self.stream.push(Record::Plain(Event::Device { node, event }));
    }

    fn transaction(&mut self, block: usize, event: TransactionEvent) {
        self.stream.push(Record::Plain(Event::Transaction { block: address(block), event }));
    }

    /// Digests of the device pages of a folio.
    fn memory(&mut self, head: u64, order: u8) -> &mut [u64] {
        let head = usize::try_from(head).expect("a page of a node");
        &mut self.device[head..head + (1 << order)]
    }

    fn dirty(&mut self, head: u64, order: u8) -> &mut [bool] {
        let head = usize::try_from(head).expect("a page of a node");
        &mut self.dirty[head..head + (1 << order)]
    }

    fn with_folio(&mut self, pick: usize, work: impl FnOnce(&mut Machine, usize)) {
        if !self.folios.is_empty() {
            work(self, pick % self.folios.len());
        }
    }

    fn residency(&self, block: usize) -> Residency {
        let mut residency = Residency::default();
        for (page, place) in self.blocks[block].iter().enumerate() {
            match place {
                Page::Empty => {}
                Page::Ram(_) => residency.ram[0] |= 1 << page,
                Page::Device => residency.device[0] |= 1 << page,
            }
        }
        residency
    }

    fn begin(&mut self, block: usize) {
        self.transaction(block, TransactionEvent::Waiting { holding: 0 });
        self.transaction(block, TransactionEvent::Began { pages: self.residency(block) });
    }

    fn end(&mut self, block: usize, ending: Ending, committed: u64) {
        let committed = [committed, 0, 0, 0, 0, 0, 0, 0];
        let pages = self.residency(block);
        self.transaction(block, TransactionEvent::Ended { ending, pages, committed, staged: false });
    }

    fn bits((_, first, order): Run) -> u64 {
        ((1 << (1_u64 << order)) - 1) << first
    }

    fn all(&self, (block, first, order): Run, wanted: impl Fn(Page) -> bool) -> bool {
        self.blocks[block][first..first + (1 << order)].iter().all(|page| wanted(*page))
    }

    fn populate(&mut self, run: Run) {
        let (block, first, order) = run;
        if !self.all(run, |page| page == Page::Empty) {
            return;
        }
        self.begin(block);
        self.transaction(block, TransactionEvent::MemoryAsked { order, smallest: 0 });
        self.transaction(block, TransactionEvent::Reserved { pages: 1 << order });
        self.blocks[block][first..first + (1 << order)].fill(Page::Ram(OF_ZEROS));
        self.end(block, Ending::Done, 0);
    }

    /// First page of a free aligned range.
    fn free_range(&self, node: u8, order: u8) -> Option<u64> {
        let folios = self.folios.iter().map(|folio| (folio.head, folio.order));
        let buffers = self.buffers.iter().map(|(_, head, order)| (*head, *order));
        let held: Vec<_> =
            folios.chain(buffers).map(|(head, order)| PageRange::of_order(head, order)).collect();
        let first = u64::from(node) * PAGES as u64;
        let heads = (first..first + PAGES as u64).step_by(1 << order);
        heads.into_iter().find(|head| {
            let range = PageRange::of_order(*head, order);
            held.iter().all(|held| !bifolio_rules::Pages::meets(range, *held))
        })
    }

    /// Takes memory and forms a folio, or tells that there is none. Returns its first page, its object, and whether it is
    /// clear.
    fn form(&mut self, block: usize, node: u8, order: u8) -> Option<(u64, u32, bool)> {
        self.transaction(block, TransactionEvent::MemoryAsked { order, smallest: order });
        let Some(head) = self.free_range(node, order) else {
            let largest_free = (0..order).rev().find(|order| self.free_range(node, *order).is_some());
            self.pool(node, PoolEvent::Refused { wanted: order, largest_free });
            return None;
        };
        self.objects += 1;
        let data = self.objects;
        let cleared = self.dirty(head, order).iter().all(|dirty| !dirty);
        self.pool(
            node,
            PoolEvent::Allocated { head, order, wanted: order, data, purpose: Purpose::Folio, cleared },
        );
        self.folio_event(node, FolioEvent::Forming { head });
        let place = Some((head, order));
        self.folio_event(
            node,
            FolioEvent::Formed(NewFolio {
                head,
                order,
                data,
                pagemap: Some(node),
                words: Words { first: place, last: place, data },
                locked: true,
                references: 1,
            }),
        );
        for page in [head.checked_sub(1), Some(head + (1 << order))].into_iter().flatten() {
            self.folio_event(node, FolioEvent::NeighbourSeen { page, found: self.found(node, page) });
        }
        let live: u64 =
            self.folios.iter().filter(|folio| folio.node == node).map(|folio| 1 << folio.order).sum();
        self.folio_event(node, FolioEvent::LivePagesRead { counted: live + (1 << order) });
        self.transaction(block, TransactionEvent::FolioTaken { node, head });
        Some((head, data, cleared))
    }

    fn found(&self, node: u8, page: u64) -> Option<(u64, u8)> {
        let has = |folio: &&Folio| {
            folio.node == node && (folio.head..folio.head + (1 << folio.order)).contains(&page)
        };
        self.folios.iter().find(has).map(|folio| (folio.head, folio.order))
    }

    fn move_out(&mut self, run: Run, node: u8, fails: bool) {
        let (block, first, order) = run;
        if !self.all(run, |page| matches!(page, Page::Ram(_))) {
            return;
        }
        self.begin(block);
        let Some((head, data, _)) = self.form(block, node, order) else {
            return self.end(block, Ending::NoMemory, 0);
        };
        let range = PageRange::of_order(head, order);
        let bytes: Vec<u64> = self.blocks[block][first..first + (1 << order)]
            .iter()
            .map(|page| if let Page::Ram(digest) = page { *digest } else { 0 })
            .collect();
        self.device_event(node, DeviceEvent::Accessed { pages: range });
        self.device_event(node, DeviceEvent::Written { pages: range });
        self.dirty(head, order).fill(true);
        let ram = ram(run);
        self.stream.push(Record::Seen { place: ram, digests: bytes.clone() });
        self.stream.push(Record::Copied {
            from: ram,
            to: Place::Device { node, first: head },
            pages: 1 << order,
            // The other node cannot be looked into.
            arrived: (node == 0).then(|| bytes.clone()),
        });
        self.stream.push(Record::Seen { place: ram, digests: bytes.clone() });
        self.stream.push(Record::Plain(Event::Bytes(BytesEvent::InView { block: address(block) })));
        if fails {
            self.pool(node, PoolEvent::Freed { head, order, data });
            self.pool(node, PoolEvent::PutDone { head, order, released: 0 });
            self.transaction(block, TransactionEvent::FolioReleased { node, head, order });
            return self.end(block, Ending::Failed, 0);
        }
        self.transaction(block, TransactionEvent::Reserved { pages: -(1 << order) });
        self.memory(head, order).copy_from_slice(&bytes);
        self.commit(run, node, head, data);
    }

    /// Maps a new folio, and ends the transaction.
    fn commit(&mut self, run: Run, node: u8, head: u64, data: u32) {
        let (block, first, order) = run;
        self.folio_event(node, FolioEvent::Named { page: head, order: Some(order) });
        self.device_event(node, DeviceEvent::Mapping { pages: PageRange::of_order(head, order) });
        self.device_event(node, DeviceEvent::Mapped { at: self.virtual_pages(run), head });
        self.dirty(head, order).fill(true);
        self.blocks[block][first..first + (1 << order)].fill(Page::Device);
        self.folios.push(Folio { node, head, order, data, block, first });
        self.folio_event(node, FolioEvent::InBlock { head, order });
        self.end(block, Ending::Done, Machine::bits(run));
    }

    fn virtual_pages(&self, (block, first, order): Run) -> PageRange {
        PageRange::of_order(block as u64 * 512 + first as u64, order)
    }

    fn clear(&mut self, run: Run, node: u8) {
        let (block, _, order) = run;
        if !self.all(run, |page| page == Page::Empty) {
            return;
        }
        self.begin(block);
        let Some((head, data, cleared)) = self.form(block, node, order) else {
            return self.end(block, Ending::NoMemory, 0);
        };
        if !cleared {
            let pages = PageRange::of_order(head, order);
            self.folio_event(node, FolioEvent::Named { page: head, order: None });
            self.device_event(node, DeviceEvent::Accessed { pages });
            self.device_event(node, DeviceEvent::Cleared { pages });
        }
        let place = Place::Device { node, first: head };
        self.stream.push(Record::Seen { place, digests: vec![OF_ZEROS; 1 << order] });
        self.memory(head, order).fill(OF_ZEROS);
        self.commit(run, node, head, data);
    }

    fn move_home(&mut self, pick: usize) {
        let Folio { node, head, order, data, block, first } = self.folios[pick];
        let run = (block, first, order);
        self.begin(block);
        self.folio_event(node, FolioEvent::Rechecked { wanted: head, found: Some(head) });
        self.device_event(node, DeviceEvent::Unmapped { at: self.virtual_pages(run) });
        self.transaction(block, TransactionEvent::MemoryAsked { order, smallest: 0 });
        self.transaction(block, TransactionEvent::Reserved { pages: 1 << order });
        self.folio_event(node, FolioEvent::Named { page: head, order: Some(order) });
        self.device_event(node, DeviceEvent::Accessed { pages: PageRange::of_order(head, order) });
        let bytes = self.memory(head, order).to_vec();
        let from = Place::Device { node, first: head };
        self.stream.push(Record::Seen { place: from, digests: bytes.clone() });
        self.stream.push(Record::Copied {
            from,
            to: ram(run),
            pages: 1 << order,
            arrived: Some(bytes.clone()),
        });
        self.stream.push(Record::Seen { place: from, digests: bytes.clone() });
        self.pool(node, PoolEvent::Freed { head, order, data });
        self.pool(node, PoolEvent::PutDone { head, order, released: 0 });
        self.folios.remove(pick);
        if let Some(left) = self.folios.iter().find(|folio| folio.data == data) {
            self.pool(node, PoolEvent::ObjectAsked { head: left.head, data, exists: true });
        }
        self.transaction(block, TransactionEvent::FolioReleased { node, head, order });
        for (page, digest) in self.blocks[block][first..].iter_mut().zip(bytes) {
            *page = Page::Ram(digest);
        }
        self.end(block, Ending::Done, 0);
    }

    fn split(&mut self, pick: usize) {
        let folio = self.folios[pick];
        let Folio { node, head, order, data, .. } = folio;
        if order == 0 {
            return;
        }
        let to = order - 1;
        self.folio_event(node, FolioEvent::Split { head, from: order, to, data });
        self.folios[pick].order = to;
        self.folios.push(Folio {
            order: to,
            head: head + (1 << to),
            first: folio.first + (1 << to),
            ..folio
        });
    }

    fn collapse(&mut self, pick: usize) {
        let Folio { node, head, order, data, .. } = self.folios[pick];
        let other = self
            .folios
            .iter()
            .position(|other| (other.head, other.order, other.data) == (head + (1 << order), order, data));
        let Some(other) = other.filter(|_| head.is_multiple_of(2 << order)) else { return };
        self.folio_event(node, FolioEvent::Collapsed { head, from: order, to: order + 1, data });
        self.folios[pick].order += 1;
        self.folios.remove(other);
    }

    /// Nothing is told: the device has the folio in its page table.
    fn device_write(&mut self, pick: usize) {
        self.writes += 1;
        self.memory(self.folios[pick].head, 0)[0] = self.writes;
    }

    fn buffer(&mut self, node: u8, order: u8) {
        if let Some(at) = self.buffers.iter().position(|buffer| buffer.0 == node) {
            let (_, head, order) = self.buffers.remove(at);
            self.pool(node, PoolEvent::GivenBack { head, order, data: 0, cleared: false });
        } else if let Some(head) = self.free_range(node, order) {
            let purpose = Purpose::Buffer;
            self.pool(
                node,
                PoolEvent::Allocated { head, order, wanted: order, data: 0, purpose, cleared: false },
            );
            self.buffers.push((node, head, order));
        }
    }

    /// Takes all memory of a node for a moment, and asks for one page more.
    fn exhaust(&mut self, run: Run, node: u8) {
        let (block, ..) = run;
        let mut taken = Vec::new();
        while let Some(head) = self.free_range(node, 0) {
            let purpose = Purpose::Buffer;
            self.pool(
                node,
                PoolEvent::Allocated { head, order: 0, wanted: 0, data: 0, purpose, cleared: false },
            );
            self.buffers.push((node, head, 0));
            taken.push(head);
        }
        self.begin(block);
        assert_eq!(self.form(block, node, 0), None);
        self.end(block, Ending::NoMemory, 0);
        self.buffers.retain(|(_, head, _)| !taken.contains(head));
        for head in taken {
            self.pool(node, PoolEvent::GivenBack { head, order: 0, data: 0, cleared: false });
        }
    }

    fn audit(&mut self) {
        let live = self.folios.iter().map(|folio| 1 << folio.order).sum();
        let ram = self.blocks.iter().flatten().filter(|page| matches!(page, Page::Ram(_))).count() as u64;
        let folios = self.folios.len() as u64;
        let counted = [
            (Counter::ObjectReferences, folios),
            (Counter::PoolPages, live),
            (Counter::LivePages, live),
            (Counter::ResidentPages, ram),
        ];
        for (counter, number) in counted {
            let event = AuditEvent::Counted { counter, counted: number, found: number };
            self.stream.push(Record::Plain(Event::Audit(event)));
        }
        for structure in [Structure::Pagemap, Structure::Pool, Structure::Block] {
            self.stream.push(Record::Plain(Event::Audit(AuditEvent::Walked { structure, fault: None })));
        }
    }
}
