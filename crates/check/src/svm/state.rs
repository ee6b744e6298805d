//! State of a world of transactions, and the table of blocks, machines and steps that it points into.

use std::collections::HashMap;
use std::hash::Hash;

use bifolio_svm::{Block, Outcome, Step, Transaction};

/// Room for device pages.
pub const PAGES: usize = 8;
/// Blocks of virtual memory.
pub const BLOCKS: usize = 2;
/// Room for pages in use in each block.
pub const BLOCK_PAGES: usize = 2;
/// Virtual pages.
pub const VIRTUAL: usize = BLOCKS * BLOCK_PAGES;
/// Actors that run transactions.
pub const ACTORS: usize = 2;

/// Bytes of a page: nothing that anyone may read.
pub const GARBAGE: u8 = 15;

/// One page of the program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Virtual {
    /// What it must read as, if it is mapped: 0 is zero, 1 + its number is what was written last. What was written
    /// before that is garbage, wherever it is.
    pub expected: Option<u8>,
    /// Bytes in system memory.
    pub ram: Option<u8>,
    /// Where the program's page table leads.
    pub cpu: View,
    /// Device page in the device's page table.
    pub table: Option<u8>,
    /// Taken out of view by a transaction.
    pub taken: bool,
}

/// Where the program's page table leads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum View {
    /// Nowhere: a touch faults.
    #[default]
    Fault,
    /// System memory.
    Ram,
    /// A coherent device page.
    Device(u8),
}

/// A transaction under way; numbers are of the [`Book`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Running {
    /// The machine.
    pub machine: u16,
    /// The block it works on.
    pub block: u8,
    /// The step that is to be done next.
    pub step: u16,
    /// Order of the last allocation it tried.
    pub tried: u8,
}

/// All of a world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// Words of the pagemap, packed.
    pub words: [u16; PAGES],
    /// Backings, packed.
    pub backings: [u8; PAGES],
    /// Bytes of device pages.
    pub device: [u8; PAGES],
    /// Free device pages.
    pub free: u8,
    /// The pagemap's counter.
    pub live: u8,
    /// Pages of system memory in use.
    pub ram_used: u8,
    /// Blocks; numbers of the [`Book`].
    pub blocks: [u16; BLOCKS],
    /// Pages of the program.
    pub pages: [Virtual; VIRTUAL],
    /// Transactions under way.
    pub running: [Option<Running>; ACTORS],
}

/// Things that are too large for a state: a number stands for each.
#[derive(Debug)]
pub struct Numbered<T> {
    items: Vec<T>,
    numbers: HashMap<T, u16>,
}

impl<T: Clone + Eq + Hash> Numbered<T> {
    /// The number of a thing.
    pub fn number(&mut self, item: &T) -> u16 {
        if let Some(&number) = self.numbers.get(item) {
            return number;
        }
        let number = u16::try_from(self.items.len()).expect("small worlds have fewer than 65536 machines");
        self.items.push(item.clone());
        self.numbers.insert(item.clone(), number);
        number
    }

    /// The thing of a number.
    pub fn get(&self, number: u16) -> &T {
        &self.items[usize::from(number)]
    }
}

impl<T> Default for Numbered<T> {
    fn default() -> Numbered<T> {
        Numbered { items: Vec::new(), numbers: HashMap::new() }
    }
}

/// What numbers in states stand for, and what machines did before: they are deterministic.
#[derive(Debug, Default)]
pub struct Book {
    /// Blocks.
    pub blocks: Numbered<Block>,
    /// Machines.
    pub machines: Numbered<Transaction>,
    steps: Vec<Step>,
}

impl Book {
    /// The number of a step.
    pub fn step_number(&mut self, step: Step) -> u16 {
        let known = self.steps.iter().position(|other| *other == step);
        let number = known.unwrap_or_else(|| {
            self.steps.push(step);
            self.steps.len() - 1
        });
        u16::try_from(number).expect("small worlds have few steps")
    }

    /// The step of a number.
    pub fn step(&self, number: u16) -> Step {
        self.steps[usize::from(number)]
    }

    /// Runs the shipped machine: takes the outcome of the last step, returns machine, block and next step.
    pub fn advance(&mut self, machine: u16, block: u16, outcome: Outcome) -> (u16, u16, u16) {
        let mut transaction = self.machines.get(machine).clone();
        let mut place = self.blocks.get(block).clone();
        let step = transaction.step(&mut place, outcome);
        (self.machines.number(&transaction), self.blocks.number(&place), self.step_number(step))
    }
}

impl State {
    /// Writes a page through one of its mappings: every other copy is out of date from now on.
    pub fn write(&mut self, number: u8, through: View) {
        let value = 1 + number;
        let page = &mut self.pages[usize::from(number)];
        page.expected = Some(value);
        if page.ram == Some(value) {
            page.ram = Some(GARBAGE);
        }
        for bytes in self.device.iter_mut().filter(|bytes| **bytes == value) {
            *bytes = GARBAGE;
        }
        match through {
            View::Ram => page.ram = Some(value),
            View::Device(device) => self.device[usize::from(device)] = value,
            View::Fault => {}
        }
    }
}
