//! Which block leaves system memory next: the blocks that have pages there, and the policy of system memory.

use bifolio_folio::{BLOCK_PAGES, PAGE_SHIFT};
use bifolio_policy::{Object, ObjectId, Policy, Removal};
use slab::Slab;

use crate::blocks::{BLOCK_LEN, BlockId};

/// The blocks that have pages in system memory.
pub(crate) struct RamOrder {
    pub(crate) policy: Box<dyn Policy>,
    blocks: Slab<BlockId>,
}

impl RamOrder {
    /// No block has any.
    pub(crate) fn new(policy: Box<dyn Policy>) -> RamOrder {
        RamOrder { policy, blocks: Slab::new() }
    }

    /// Adds the block at `base`.
    pub(crate) fn push(&mut self, block: BlockId, base: usize) -> ObjectId {
        debug_assert!(base.is_multiple_of(BLOCK_LEN), "{base:#x} is the address of a block");
        let key = self.blocks.insert(block);
        let id = ObjectId(u32::try_from(key).expect("there are fewer than 2^32 blocks"));
        let object = Object { name: base as u64 >> PAGE_SHIFT, pages: u32::from(BLOCK_PAGES) };
        self.policy.eviction().insert(id, object);
        id
    }

    /// Says that a block was used.
    pub(crate) fn touch(&mut self, id: ObjectId) {
        self.policy.eviction().touch(id);
    }

    /// Removes a block that has no pages any more.
    pub(crate) fn remove(&mut self, id: ObjectId) {
        self.policy.eviction().remove(id, Removal::Evicted);
        self.blocks.remove(id.0 as usize);
    }

    /// The next `count` blocks that would leave.
    pub(crate) fn victims(&mut self, count: usize) -> Vec<BlockId> {
        let mut victims = Vec::new();
        self.policy.eviction().victims(count, &mut |_| false, &mut victims);
        victims.into_iter().map(|id| self.blocks[id.0 as usize]).collect()
    }
}
