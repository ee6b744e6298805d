//! The objects of a buddy pool: what device memory was allocated for, who still uses it, and which of them are dead.
//!
//! Nothing here calls the allocator or takes a lock.

use bifolio_buddy::BuddyBlock;
use bifolio_folio::{Order, Pfn};

use crate::backing::Backing;
use crate::counted::Counted;
use crate::{Rmap, Usage};

/// Where an object is.
#[derive(Clone, Debug)]
pub(crate) enum Memory {
    /// One block, for the bytes of its owner.
    Folios(Backing),
    /// Any number of blocks, which no folio is formed from.
    Plain(Vec<BuddyBlock>),
}

impl Memory {
    fn pages(&self) -> u64 {
        match self {
            Memory::Folios(backing) => backing.order.pages(),
            Memory::Plain(blocks) => pages_of(blocks),
        }
    }

    fn blocks(self) -> Vec<BuddyBlock> {
        match self {
            Memory::Folios(Backing { head, order, .. }) => {
                vec![BuddyBlock { page: head.get(), order: u32::from(order.get()) }]
            }
            Memory::Plain(blocks) => blocks,
        }
    }
}

/// All objects that hold memory, by number.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    pub(crate) objects: Counted<Memory>,
    /// Pages of all objects, the dead included: they hold their memory until it is taken.
    pages: u64,
}

impl Objects {
    pub(super) fn new() -> Objects {
        Objects { objects: Counted::new(), pages: 0 }
    }

    /// Adds an object of one block, with one reference; `None` if there is no number for it.
    pub(super) fn insert_folio(&mut self, backing: Backing) -> Option<u32> {
        let number = self.objects.insert(Memory::Folios(backing), 1).ok()?;
        self.pages += backing.order.pages();
        Some(number)
    }

    /// Adds blocks to plain object `number`, or to a new one, with a reference for each block; `None` if there is no
    /// number for it, or no block.
    pub(super) fn add_blocks(&mut self, number: Option<u32>, blocks: &[BuddyBlock]) -> Option<u32> {
        if blocks.is_empty() {
            return None;
        }
        let references = u32::try_from(blocks.len()).expect("an object has fewer than 2^32 blocks");
        let number = match number {
            None => self.objects.insert(Memory::Plain(blocks.to_vec()), references).ok()?,
            Some(number) => {
                let Memory::Plain(held) = self.objects.get_mut(number)? else {
                    unreachable!("only plain objects grow");
                };
                held.extend_from_slice(blocks);
                self.objects.take(number, references);
                number
            }
        };
        self.pages += pages_of(blocks);
        Some(number)
    }

    /// Takes further references of an object that lives.
    pub(super) fn take_references(&mut self, number: u32, references: u32) {
        self.objects.take(number, references);
    }

    /// Drops references. The object dies with the last one, and holds its memory until [`Objects::take_dead`].
    /// Returns whether it died.
    pub(super) fn drop_references(&mut self, number: u32, references: u32) -> bool {
        self.objects.put(number, references)
    }

    /// Removes the object that died last and returns its blocks.
    pub(super) fn take_dead(&mut self) -> Option<Vec<BuddyBlock>> {
        let memory = self.objects.take_dead()?;
        self.pages -= memory.pages();
        Some(memory.blocks())
    }

    /// Whose bytes `page` holds.
    pub(super) fn rmap_of(&self, page: Pfn, number: u32) -> Option<Rmap> {
        match self.objects.get(number)? {
            Memory::Folios(backing) => backing.rmap_of(page),
            Memory::Plain(_) => None,
        }
    }

    /// The order of an object of one block.
    pub(super) fn order(&self, number: u32) -> Option<Order> {
        match self.objects.get(number)? {
            Memory::Folios(backing) => Some(backing.order),
            Memory::Plain(_) => None,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let (objects, references) = (self.objects.len(), self.objects.references());
        Usage { objects, references, pages: self.pages }
    }

    pub(super) fn check_consistency(&self) -> Result<(), String> {
        self.objects.check_consistency()
    }
}

fn pages_of(blocks: &[BuddyBlock]) -> u64 {
    blocks.iter().map(|block| block.pages()).sum()
}
