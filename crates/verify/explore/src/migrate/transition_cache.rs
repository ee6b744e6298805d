//! [`TransitionCache`]: what the numbers in states stand for: blocks, and transactions under way. They are too large for a state.
//!
//! Machines are deterministic, so what one did once is stored and looked up the next time. The numbers
//! depend on the order of the search; *ranks* come from the content alone, so whatever is chosen by rank does not depend
//! on the number of threads.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash};

use bifolio_migrate::{Block, Outcome, PageRun, Step, Transaction};

use crate::migrate::action::Request;
use crate::migrate::state::BLOCK_PAGES;
use crate::set::{WordHasher, hash_of};

type Map<K, V> = HashMap<K, V, BuildHasherDefault<WordHasher>>;

/// A transaction under way, and what is known of it beside its machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Task {
    /// Why it was begun.
    pub request: Request,
    /// The page of its block that it was begun for.
    pub page: u8,
    /// The shipped machine.
    pub machine: Transaction,
    /// What it asks for now.
    pub step: Step,
    /// Order of the last allocation it tried.
    pub tried: u8,
    /// Whether it may use the reserve of system memory.
    pub making_room: bool,
}

/// A task without its machine.
#[derive(Clone, Copy, Debug)]
pub struct TaskView {
    /// See [`Task`].
    pub request: Request,
    /// See [`Task`].
    pub page: u8,
    /// See [`Task`].
    pub step: Step,
    /// See [`Task`].
    pub tried: u8,
    /// See [`Task`].
    pub making_room: bool,
    /// Whether its machine now changes the size of folios, and of entries in the device's page table with them.
    pub reshaping: bool,
}

/// An answer to a step.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Answer {
    /// What the machine is told.
    pub outcome: Outcome,
    /// Whether the reserve of system memory may be used from now on.
    pub making_room: bool,
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Answer {
        Answer { outcome, making_room: false }
    }
}

/// Where a page is, as its block says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Location {
    /// It belongs to no allocation.
    Dead,
    /// It was never touched.
    Empty,
    /// In system memory.
    Ram,
    /// On the device.
    Device {
        /// First device page of its folio.
        head: u8,
        /// Order of the folio.
        order: u8,
        /// Its own device page.
        at: u8,
        /// Whether the device's page table is said to have it.
        mapped: bool,
    },
}

/// What a block says of its pages.
#[derive(Clone, Copy, Debug)]
pub struct BlockView {
    /// Where its pages are.
    pub locations: [Location; BLOCK_PAGES],
    /// Which of them are pinned.
    pub pinned: [bool; BLOCK_PAGES],
    /// Whether its own walk finds no contradiction.
    pub consistent: bool,
}

/// Things with numbers.
#[derive(Debug)]
struct Numbered<T, S> {
    items: Vec<(T, S)>,
    ranks: Vec<u64>,
    numbers: Map<T, u16>,
}

impl<T: Clone + Eq + Hash, S> Numbered<T, S> {
    fn number(&mut self, item: &T, view: impl FnOnce(&T) -> S) -> u16 {
        if let Some(&number) = self.numbers.get(item) {
            return number;
        }
        let number = u16::try_from(self.items.len()).expect("small worlds have fewer than 65536 machines");
        self.items.push((item.clone(), view(item)));
        self.ranks.push(hash_of(item));
        self.numbers.insert(item.clone(), number);
        number
    }

    fn get(&self, number: u16) -> &(T, S) {
        &self.items[usize::from(number)]
    }
}

impl<T, S> Default for Numbered<T, S> {
    fn default() -> Self {
        Numbered { items: Vec::new(), ranks: Vec::new(), numbers: Map::default() }
    }
}

/// Blocks and tasks by number, and what the machines did before.
#[derive(Debug, Default)]
pub struct TransitionCache {
    blocks: Numbered<Block, BlockView>,
    tasks: Numbered<Task, TaskView>,
    moves: Map<(u16, u16, Answer), (u16, u16)>,
}

impl TransitionCache {
    /// The number of a block.
    pub fn block_number(&mut self, block: &Block) -> u16 {
        self.blocks.number(block, view_of)
    }

    /// The block of a number.
    pub fn block(&self, number: u16) -> &Block {
        &self.blocks.get(number).0
    }

    /// What the block of a number says of its pages.
    pub fn view(&self, number: u16) -> &BlockView {
        &self.blocks.get(number).1
    }

    /// The task of a number.
    pub fn task(&self, number: u16) -> TaskView {
        self.tasks.get(number).1
    }

    /// Ranks of a task and of a block.
    pub fn task_rank(&self, number: u16) -> u64 {
        self.tasks.ranks[usize::from(number)]
    }

    /// See [`TransitionCache::task_rank`].
    pub fn block_rank(&self, number: u16) -> u64 {
        self.blocks.ranks[usize::from(number)]
    }

    /// Begins a transaction on a block; returns the numbers of the task and of the block.
    pub fn begin(&mut self, task: Task, block: u16) -> (u16, u16) {
        self.run(task, block, Outcome::Start)
    }

    /// What came of an answer before.
    pub fn known(&self, task: u16, block: u16, answer: Answer) -> Option<(u16, u16)> {
        self.moves.get(&(task, block, answer)).copied()
    }

    /// Gives the answer to the shipped machine; returns the numbers of the task and of the block.
    pub fn advance(&mut self, number: u16, block: u16, answer: Answer) -> (u16, u16) {
        let mut task = self.tasks.get(number).0.clone();
        if let Step::FormFolio { run, .. } | Step::ReserveRam { run } = task.step {
            task.tried = run.order().get();
        }
        task.making_room |= answer.making_room;
        let reached = self.run(task, block, answer.outcome);
        self.moves.insert((number, block, answer), reached);
        reached
    }

    fn run(&mut self, mut task: Task, block: u16, outcome: Outcome) -> (u16, u16) {
        let mut place = self.block(block).clone();
        task.step = task.machine.step(&mut place, outcome);
        let view = |task: &Task| TaskView {
            request: task.request,
            page: task.page,
            step: task.step,
            tried: task.tried,
            making_room: task.making_room,
            reshaping: matches!(task.machine, Transaction::Split(_) | Transaction::Collapse(_)),
        };
        (self.tasks.number(&task, view), self.block_number(&place))
    }
}

fn view_of(block: &Block) -> BlockView {
    let locations = std::array::from_fn(|number| location(block, number as u16));
    let pinned = std::array::from_fn(|number| block.is_pinned(PageRun::single(number as u16)));
    BlockView { locations, pinned, consistent: block.check_consistency().is_ok() }
}

fn location(block: &Block, number: u16) -> Location {
    if let Some(piece) = block.piece_of(number) {
        let head = low(piece.pfn.get());
        let at = head + low(u64::from(number - piece.run.first()));
        return Location::Device { head, order: piece.run.order().get(), at, mapped: piece.is_mapped() };
    }
    match (block.ram().contains(number), block.live().contains(number)) {
        (true, _) => Location::Ram,
        (false, true) => Location::Empty,
        (false, false) => Location::Dead,
    }
}

/// A number of a small world.
fn low(number: u64) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}
