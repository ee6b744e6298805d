//! The objects of a buddy pool: what device memory was allocated for, who still uses it, and which of them are dead.
//!
//! ```text
//!   allocate --insert--> live --drop_references, the last--> dead --take_dead--> (its blocks are free again)
//! ```
//!
//! Nothing here calls the allocator or takes a lock, and dropping a reference allocates no memory: the list of the
//! dead goes through the objects themselves.

use bifolio_buddy::Block;
use bifolio_folio::{DATA_MAX, Order, Pfn};
use slab::Slab;

use crate::{Home, Usage};

/// Device memory allocated at once, until its last folio is freed.
#[derive(Debug)]
struct Object {
    memory: Memory,
    /// Live folios on it, and ranges handed out that no folio was formed from.
    references: u32,
    /// The object that died before this one.
    died_before: Option<u32>,
}

/// Where an object is.
#[derive(Debug)]
enum Memory {
    /// One block, for the bytes of `home` and of the pages after it.
    Folios { home: Home, head: Pfn, order: Order },
    /// Any number of blocks, which no folio is formed from.
    Plain(Vec<Block>),
}

impl Memory {
    fn pages(&self) -> u64 {
        match self {
            Memory::Folios { order, .. } => order.pages(),
            Memory::Plain(blocks) => blocks.iter().map(|block| block.pages()).sum(),
        }
    }

    fn blocks(self) -> Vec<Block> {
        match self {
            Memory::Folios { head, order, .. } => {
                vec![Block { page: head.get(), order: u32::from(order.get()) }]
            }
            Memory::Plain(blocks) => blocks,
        }
    }
}

/// All objects that hold memory, by number.
#[derive(Debug, Default)]
pub(super) struct Objects {
    objects: Slab<Object>,
    /// What they add up to, the dead included: they hold their memory until it is taken.
    usage: Usage,
    last_dead: Option<u32>,
}

impl Objects {
    /// The number that the next object gets; `None` if folios could not carry it.
    pub(super) fn next_number(&self) -> Option<u32> {
        u32::try_from(self.objects.vacant_key()).ok().filter(|number| *number <= DATA_MAX)
    }

    /// Adds an object of one block, with one reference.
    pub(super) fn insert_folio(&mut self, head: Pfn, order: Order, home: Home) {
        self.insert(Memory::Folios { home, head, order }, 1);
    }

    /// Adds blocks to plain object `number`, or to a new one, with a reference for each block.
    pub(super) fn add_blocks(&mut self, number: Option<u32>, blocks: &[Block]) {
        let references = u32::try_from(blocks.len()).expect("an object has fewer than 2^32 blocks");
        match number.and_then(|number| self.objects.get_mut(number as usize)) {
            None => self.insert(Memory::Plain(blocks.to_vec()), references),
            Some(object) => {
                let Memory::Plain(held) = &mut object.memory else {
                    unreachable!("only plain objects grow");
                };
                held.extend_from_slice(blocks);
                object.references += references;
                self.usage.references += u64::from(references);
                self.usage.pages += blocks.iter().map(|block| block.pages()).sum::<u64>();
            }
        }
    }

    fn insert(&mut self, memory: Memory, references: u32) {
        self.usage.objects += 1;
        self.usage.references += u64::from(references);
        self.usage.pages += memory.pages();
        self.objects.insert(Object { memory, references, died_before: None });
    }

    /// Takes further references of an object that lives.
    pub(super) fn take_references(&mut self, number: u32, references: u32) {
        if let Some(object) = self.objects.get_mut(number as usize) {
            object.references += references;
            self.usage.references += u64::from(references);
        }
    }

    /// Drops references. The object dies with the last one, and holds its memory until [`Objects::take_dead`].
    /// Returns whether it died; `None` if there is no such object that lives.
    pub(super) fn drop_references(&mut self, number: u32, references: u32) -> Option<bool> {
        let object = self.objects.get_mut(number as usize)?;
        object.references = object.references.checked_sub(references)?;
        self.usage.references -= u64::from(references);
        if object.references == 0 {
            object.died_before = self.last_dead.replace(number);
        }
        Some(object.references == 0)
    }

    /// Removes the object that died last and returns its blocks.
    pub(super) fn take_dead(&mut self) -> Option<Vec<Block>> {
        let object = self.objects.remove(self.last_dead? as usize);
        self.last_dead = object.died_before;
        self.usage.objects -= 1;
        self.usage.pages -= object.memory.pages();
        Some(object.memory.blocks())
    }

    /// Whose bytes `page` holds.
    pub(super) fn home(&self, page: Pfn, number: u32) -> Option<Home> {
        let Memory::Folios { home, head, order } = self.objects.get(number as usize)?.memory else {
            return None;
        };
        let into = page.offset_from(head).filter(|into| *into < order.pages())?;
        let page = home.page.checked_add(u16::try_from(into).ok()?)?;
        Some(Home { page, ..home })
    }

    /// The order of an object of one block.
    pub(super) fn order(&self, number: u32) -> Option<Order> {
        match self.objects.get(number as usize)?.memory {
            Memory::Folios { order, .. } => Some(order),
            Memory::Plain(_) => None,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }
}
