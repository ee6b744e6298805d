//! [`Transactions`]: the world as a [`Design`].
#![expect(
    clippy::cast_possible_truncation,
    reason = "pages, orders and counts of a small world fit in 8 bits"
)]

use std::fmt::Debug;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bifolio_folio::{MemoryKind, Order, PageMap};
use bifolio_svm::{Block, Failure, Granularity, Outcome, Run, Step, Transaction};

use crate::bifolio::fault::Fault;
use crate::bifolio::ledger::Ledger;
use crate::bifolio::state::{backing_parts, order_in, pack, unpack};
use crate::design::{Action, Applied, Bounds, Design, Told};
use crate::svm::perform::{Performer, Slip, ways};
use crate::svm::state::{
    ACTORS, BLOCK_PAGES, BLOCKS, Book, GARBAGE, PAGES, Running, State, VIRTUAL, View, Virtual,
};
use bifolio_rules::RuleSet;
use bifolio_rules::facts::{self, Counted, Finalized};

mod verb {
    pub const CPU_WRITE: u8 = 0;
    pub const DEVICE_WRITE: u8 = 1;
    pub const MAP: u8 = 2;
    pub const CPU_FAULT: u8 = 3;
    pub const DEVICE_FAULT: u8 = 4;
    pub const EVICT: u8 = 5;
    pub const PREFETCH: u8 = 6;
    pub const UNMAP: u8 = 7;
    pub const UNMAP_BLOCK: u8 = 8;
    pub const STEP: u8 = 9;
}

/// Actor number of the program and the device in actions.
const OUTSIDE: u8 = 9;

/// Size of a world of transactions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// Blocks of virtual memory, 1 or 2.
    pub blocks: u8,
    /// Pages of each, 1 or 2.
    pub block_pages: u8,
    /// Device pages, at most 8.
    pub device: u8,
    /// Pages of system memory.
    pub ram: u8,
    /// Actors that run transactions, 1 or 2.
    pub actors: u8,
}

/// Shipped transactions in every interleaving, with every failure.
#[derive(Debug)]
pub struct Transactions {
    size: Size,
    kind: MemoryKind,
    policy: Granularity,
    slip: Slip,
    book: Mutex<Book>,
}

impl Transactions {
    /// Makes the world.
    #[must_use]
    pub fn new(size: Size, kind: MemoryKind) -> Transactions {
        let largest = if size.block_pages > 1 { Order::new(1).unwrap_or_default() } else { Order::ZERO };
        let policy = Granularity { largest, smallest: Order::ZERO, populate: largest };
        Transactions { size, kind, policy, slip: Slip::None, book: Mutex::default() }
    }

    /// Makes the world with a fault in its runner.
    #[cfg(test)]
    pub(crate) fn with_slip(size: Size, kind: MemoryKind, slip: Slip) -> Transactions {
        Transactions { slip, ..Transactions::new(size, kind) }
    }

    /// The size as bounds of a report.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds { pages: self.size.device, order: self.policy.largest.get(), actors: self.size.actors }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn actors(&self) -> usize {
        usize::from(self.size.actors).min(ACTORS)
    }

    /// Whether the world has the page.
    fn exists(&self, page: usize) -> bool {
        page / BLOCK_PAGES < usize::from(self.size.blocks)
            && page % BLOCK_PAGES < usize::from(self.size.block_pages)
    }

    fn is_busy(state: &State, block: usize) -> bool {
        state.running.iter().flatten().any(|running| usize::from(running.block) == block)
    }

    fn begin_actions(&self, state: &State, actor: u8, out: &mut Vec<Action>) {
        for block in (0..BLOCKS).filter(|block| !Self::is_busy(state, *block)) {
            for page in block * BLOCK_PAGES..(block + 1) * BLOCK_PAGES {
                let it = state.pages[page];
                let mut push = |verb, wanted: bool| {
                    if wanted {
                        out.push(Action { actor, verb, page: page as u8, order: 0 });
                    }
                };
                let live = it.expected.is_some();
                push(verb::CPU_FAULT, live && it.cpu == View::Fault);
                push(verb::DEVICE_FAULT, live && it.table.is_none());
                push(verb::EVICT, live && it.table.is_some());
                push(verb::PREFETCH, live && it.ram.is_some());
                push(verb::UNMAP, live);
                push(
                    verb::UNMAP_BLOCK,
                    live && self.size.block_pages > 1 && page.is_multiple_of(BLOCK_PAGES),
                );
            }
        }
    }

    fn transaction(&self, place: &Block, action: Action) -> Transaction {
        let page = u16::from(action.page) % BLOCK_PAGES as u16;
        match action.verb {
            verb::CPU_FAULT => Transaction::cpu_fault(place, page, &self.policy),
            verb::DEVICE_FAULT => Transaction::device_fault(page, &self.policy),
            verb::EVICT => Transaction::to_ram(page),
            verb::PREFETCH => Transaction::to_device(page, self.policy.largest, &self.policy),
            verb::UNMAP => Transaction::unmap(Run { first: page, pages: 1 }),
            _ => Transaction::unmap(Run { first: 0, pages: BLOCK_PAGES as u16 }),
        }
    }

    fn begin(&self, applied: &mut Applied<State>, action: Action) {
        let mut book = self.book();
        let block = action.page / BLOCK_PAGES as u8;
        let number = applied.state.blocks[usize::from(block)];
        let transaction = self.transaction(book.blocks.get(number), action);
        let machine = book.machines.number(&transaction);
        let (machine, number, step) = book.advance(machine, number, Outcome::Start);
        applied.state.blocks[usize::from(block)] = number;
        applied.state.running[usize::from(action.actor)] = Some(Running { machine, block, step, tried: 0 });
        drop(book);
        self.finish(applied, action.actor);
    }

    fn step(&self, map: &PageMap<Ledger>, applied: &mut Applied<State>, action: Action) {
        let actor = usize::from(action.actor);
        let Some(mut running) = applied.state.running[actor] else { return };
        let mut book = self.book();
        let step = book.step(running.step);
        if let Step::FormFolio { span } | Step::ReserveRam { span } = step {
            running.tried = span.order().get();
        }
        let number = applied.state.blocks[usize::from(running.block)];
        put_in(map, &applied.state);
        let mut performer = Performer {
            map,
            state: applied.state,
            place: book.blocks.get(number),
            base: usize::from(running.block) * BLOCK_PAGES,
            ram_limit: self.size.ram,
            slip: self.slip,
            broken: RuleSet::NONE,
        };
        let outcome = performer.perform(step, action.order);
        applied.state = take_out(map, performer.state);
        applied.broken = applied.broken.union(performer.broken);
        let (machine, number, step) = book.advance(running.machine, number, outcome);
        applied.state.blocks[usize::from(running.block)] = number;
        applied.state.running[actor] = Some(Running { machine, step, ..running });
        drop(book);
        self.finish(applied, action.actor);
    }

    /// Ends a transaction whose machine says so.
    fn finish(&self, applied: &mut Applied<State>, actor: u8) {
        let Some(running) = applied.state.running[usize::from(actor)] else { return };
        let Step::Finish(result) = self.book().step(running.step) else { return };
        applied.state.running[usize::from(actor)] = None;
        // Giving up for want of memory is right only after the smallest order was tried (I19).
        let gave_up = matches!(result, Err(Failure::NoRam | Failure::NoDeviceMemory));
        applied.broken.require(!gave_up || running.tried == 0, 19);
    }

    fn judge(&self, applied: &mut Applied<State>) {
        let (state, broken) = (&applied.state, &mut applied.broken);
        for page in &state.pages {
            let Some(expected) = page.expected else { continue };
            let seen_by_cpu = match page.cpu {
                View::Fault => expected,
                View::Ram => page.ram.unwrap_or(GARBAGE),
                View::Device(device) => state.device[usize::from(device)],
            };
            let seen_by_device = page.table.map_or(expected, |device| state.device[usize::from(device)]);
            broken.require(facts::i27(seen_by_cpu, expected) && facts::i27(seen_by_device, expected), 27);
        }
        let folios = state.words.iter().filter(|word| **word != 0);
        let pages: i32 = folios.clone().map(|word| 1 << order_in(*word)).sum();
        broken.require(facts::i8(&Counted { counter: i32::from(state.live), truth: pages }), 8);
        let backings = state.backings.iter().map(|backing| i32::from(backing_parts(*backing).0)).sum();
        let truth = i32::try_from(folios.count()).unwrap_or(i32::MAX);
        broken.require(facts::i7(&Counted { counter: backings, truth }), 7);
        if state.running.iter().all(Option::is_none) {
            self.judge_quiet(state, broken);
        }
    }

    /// Judges a state in which no transaction is under way.
    fn judge_quiet(&self, state: &State, broken: &mut RuleSet) {
        let book = self.book();
        let blocks = state.blocks.map(|number| book.blocks.get(number).clone());
        let in_ram: u16 = blocks.iter().map(|place| place.ram().count()).sum();
        let taken = state.pages.iter().filter(|page| page.taken).count();
        let reserved = u16::from(state.ram_used).abs_diff(in_ram);
        let pieces = blocks.iter().flat_map(|place| place.pieces());
        let (mut count, mut right) = (0, true);
        for piece in pieces {
            count += 1;
            let word = state.words[(piece.pfn.get() & 7) as usize];
            right &= word != 0 && order_in(word) == piece.span.order().get();
        }
        broken.require(right, 14);
        let folios_hold_pages = count == state.words.iter().filter(|word| **word != 0).count();
        let (out_of_view, leaked) = (taken as u8, u8::try_from(reserved).unwrap_or(u8::MAX));
        let finalized = Finalized { out_of_view, leaked, folios_hold_pages };
        broken.require(facts::i12(&finalized), 12);
        broken.require(facts::i23(&finalized), 23);
        let tables = (0..VIRTUAL).all(|page| table_is_right(state, &blocks, page));
        broken.require(tables && blocks.iter().all(|place| place.check_consistency().is_ok()), 18);
    }
}

/// The device's table has a page if and only if its block says so, and the page's bytes are where it says.
fn table_is_right(state: &State, blocks: &[Block; BLOCKS], page: usize) -> bool {
    let (place, number) = (&blocks[page / BLOCK_PAGES], (page % BLOCK_PAGES) as u16);
    let it = &state.pages[page];
    let piece = place.piece_of(number);
    let at = piece.map(|piece| (piece.pfn.get() + u64::from(number - piece.span.first())) as u8);
    let mapped = piece.filter(|piece| piece.mapped).and(at);
    let bytes = match at {
        Some(device) => state.device.get(usize::from(device)).copied(),
        None if place.ram().contains(number) => it.ram,
        None => it.expected.map(|_| 0),
    };
    it.table == mapped && bytes == it.expected
}

fn put_in(map: &PageMap<Ledger>, state: &State) {
    map.restore(&state.words.map(unpack), u64::from(state.live));
    let ledger = map.pool();
    ledger.free.set(state.free);
    ledger.backings.set(state.backings);
    ledger.calls.set(Default::default());
}

fn take_out(map: &PageMap<Ledger>, mut state: State) -> State {
    let mut words = [0; PAGES];
    map.snapshot_words(&mut words);
    state.words = words.map(|word| pack(word).unwrap_or(u16::MAX));
    state.live = u8::try_from(map.snapshot_live()).unwrap_or(u8::MAX);
    (state.free, state.backings) = (map.pool().free.get(), map.pool().backings.get());
    state
}

impl Design for Transactions {
    type State = State;
    type Kept = State;
    type Scratch = Rc<PageMap<Ledger>>;

    fn scratch(&self) -> Self::Scratch {
        Ledger::pagemap(self.size.device, Fault::None)
    }

    fn initial(&self) -> State {
        let mut place = Block::new(self.kind);
        place.map(Run { first: 0, pages: u16::from(self.size.block_pages) });
        let number = self.book().blocks.number(&place);
        State {
            words: [0; PAGES],
            backings: [0; PAGES],
            device: [GARBAGE; PAGES],
            free: ((1u16 << self.size.device) - 1) as u8,
            live: 0,
            ram_used: 0,
            blocks: [number; BLOCKS],
            pages: std::array::from_fn(|page| Virtual {
                expected: self.exists(page).then_some(0),
                ..Virtual::default()
            }),
            running: [None; ACTORS],
        }
    }

    fn actions(&self, state: &State, out: &mut Vec<Action>) {
        for (number, page) in
            (0u8..).zip(&state.pages).filter(|(number, _)| self.exists(usize::from(*number)))
        {
            let mut push = |verb| out.push(Action { actor: OUTSIDE, verb, page: number, order: 0 });
            match (page.expected, Self::is_busy(state, usize::from(number) / BLOCK_PAGES)) {
                (Some(_), _) if page.cpu != View::Fault => push(verb::CPU_WRITE),
                (None, false) => push(verb::MAP),
                _ => {}
            }
            if page.expected.is_some() && page.table.is_some() {
                push(verb::DEVICE_WRITE);
            }
        }
        let mut idle_seen = false;
        for (actor, running) in (0u8..).zip(&state.running[..self.actors()]) {
            match running {
                None if idle_seen => {}
                None => {
                    idle_seen = true;
                    self.begin_actions(state, actor, out);
                }
                Some(running) => {
                    let step = self.book().step(running.step);
                    (0..ways(&step))
                        .for_each(|order| out.push(Action { actor, verb: verb::STEP, page: 0, order }));
                }
            }
        }
    }

    fn apply(&self, map: &mut Self::Scratch, state: &State, action: Action) -> Applied<State> {
        let mut applied = Applied::kept(*state);
        let page = state.pages[usize::from(action.page)];
        match action.verb {
            verb::CPU_WRITE => applied.state.write(action.page, page.cpu),
            verb::DEVICE_WRITE => {
                applied.state.write(action.page, page.table.map_or(View::Fault, View::Device));
            }
            verb::MAP => {
                applied.state.pages[usize::from(action.page)].expected = Some(0);
                let block = usize::from(action.page) / BLOCK_PAGES;
                let mut book = self.book();
                let mut place = book.blocks.get(applied.state.blocks[block]).clone();
                place.map(Run { first: u16::from(action.page) % BLOCK_PAGES as u16, pages: 1 });
                applied.state.blocks[block] = book.blocks.number(&place);
            }
            verb::STEP => self.step(map, &mut applied, action),
            _ => self.begin(&mut applied, action),
        }
        self.judge(&mut applied);
        applied
    }

    fn keep(&self, state: &State) -> State {
        let mut state = *state;
        let key = |running: &Option<Running>| running.map(|it| (it.block, it.machine, it.step, it.tried));
        state.running[..self.actors()].sort_unstable_by_key(key);
        state
    }

    fn restore(&self, kept: &State) -> State {
        *kept
    }

    fn expresses(&self) -> RuleSet {
        RuleSet::of(&[7, 8, 12, 14, 17, 18, 19, 22, 23, 27])
    }

    fn only_seen(&self) -> RuleSet {
        RuleSet::NONE
    }

    fn tell(&self, before: &State, action: Action, _after: &State) -> Told {
        let page = action.page;
        let text = match action.verb {
            verb::CPU_WRITE => format!("writes page {page}"),
            verb::DEVICE_WRITE => format!("writes page {page}"),
            verb::MAP => format!("maps page {page}"),
            verb::CPU_FAULT => format!("answers a CPU fault on page {page}"),
            verb::DEVICE_FAULT => format!("answers a device fault on page {page}"),
            verb::EVICT => format!("evicts the folio of page {page}"),
            verb::PREFETCH => format!("prefetches page {page} to the device"),
            verb::UNMAP => format!("unmaps page {page}"),
            verb::UNMAP_BLOCK => format!("unmaps the block of page {page}"),
            _ => {
                let running = before.running[usize::from(action.actor)];
                let step = running.map(|running| self.book().step(running.step));
                let way = ["", ", failing", ", the other way"][usize::from(action.order) % 3];
                step.map_or_else(String::new, |step| format!("{step:?}{way}"))
            }
        };
        let actor = match action.verb {
            verb::CPU_WRITE | verb::MAP => "program".to_owned(),
            verb::DEVICE_WRITE => "device".to_owned(),
            _ => format!("actor {}", action.actor + 1),
        };
        Told { actor, text }
    }

    fn view(&self, state: &State) -> Vec<String> {
        let pages = state.pages.iter().enumerate();
        let mut lines: Vec<String> =
            pages.map(|(number, page)| format!("virtual {number}: {page:?}")).collect();
        for page in 0..usize::from(self.size.device) {
            let (word, bytes) = (unpack(state.words[page]), state.device[page]);
            lines.push(format!("page {page}: {word:#x} bytes {bytes}"));
        }
        lines.push(format!("system memory: {} of {} pages", state.ram_used, self.size.ram));
        lines
    }

    fn scale(&self) -> String {
        let (pages, ram) = (self.size.device, self.size.ram);
        format!(
            "{} blocks of {} virtual pages, {pages} device pages, {ram} pages of system memory",
            self.size.blocks, self.size.block_pages
        )
    }
}
