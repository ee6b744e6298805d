//! Which blocks of 2 MiB moved most: a table of fixed size, so that it can live in shared memory.
//!
//! A block has one of eight places, which follow from its number. Where all are taken, it takes that of the coldest, and
//! with it that one's count: so a block that stays hot is never lost, and no count is too small (Space-Saving, by Metwally,
//! Agrawal and El Abbadi, 2005).

use std::sync::Arc;

use bifolio_engine::blocks::BLOCK_LEN;
use bifolio_engine::event::EventKind;
use bifolio_engine::{Detail, Event, Observer};
use bifolio_migrate::Moved;
use bifolio_sys::{MapError, Mapping, Memfd, PAGE, Placement, Protection, SharedBytes};

/// Places of one block.
const WAYS: usize = 8;
/// Bytes of a place: the block's number and 1, and how much moved.
const PLACE: usize = 16;
const SETS: usize = PAGE / (WAYS * PLACE);

/// A block, and how much of it moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HotBlock {
    /// Its address.
    pub address: u64,
    /// Bytes that moved in either direction since the beginning, at most.
    pub moved: u64,
}

/// The table.
#[derive(Clone)]
pub struct Heat(Arc<Mapping>);

impl Heat {
    /// Uses the page of a file at an offset.
    pub(super) fn open(file: &Memfd, offset: usize) -> Result<Heat, MapError> {
        let page = Mapping::shared(file, offset, PAGE, Protection::ReadWrite, Placement::Anywhere)?;
        Ok(Heat(Arc::new(page)))
    }

    /// The blocks that are known.
    #[must_use]
    pub fn blocks(&self) -> Vec<HotBlock> {
        let places = (0..PAGE).step_by(PLACE);
        let known = places.filter_map(|at| {
            let number = load(self.page(), at).checked_sub(1)?;
            Some(HotBlock { address: number * BLOCK_LEN as u64, moved: load(self.page(), at + 8) })
        });
        known.collect()
    }

    /// Counts bytes that moved in the block at `base`.
    fn count(&self, base: usize, bytes: u64) {
        let block = (base / BLOCK_LEN) as u64 + 1;
        if let Some(at) = self.place(block) {
            self.page().fetch_add_u64(at + 8, bytes).expect(WITHIN);
        }
    }

    /// Where a block is counted; `None` if another thread has just taken its place.
    fn place(&self, block: u64) -> Option<usize> {
        let set = usize::try_from(block).expect("64 bits") % SETS;
        let places = || (0..WAYS).map(|way| (set * WAYS + way) * PLACE);
        if let Some(at) = places().find(|at| load(self.page(), *at) == block) {
            return Some(at);
        }
        let coldest = places().min_by_key(|at| load(self.page(), *at + 8)).expect("a set has places");
        let current = load(self.page(), coldest);
        let taken = self.page().compare_exchange_u64(coldest, current, block).expect(WITHIN);
        taken.is_ok().then_some(coldest)
    }

    fn page(&self) -> SharedBytes<'_> {
        self.0.all()
    }
}

const WITHIN: &str = "all places are within the page";

fn load(page: SharedBytes<'_>, at: usize) -> u64 {
    page.load_u64(at).expect(WITHIN)
}

impl Observer for Heat {
    fn detail(&self) -> Detail {
        Detail::Results
    }

    fn observe(&self, event: &Event<'_>) {
        if let EventKind::End { result: Ok(finished), context, .. } = event.kind
            && let Moved::ToDevice(run) | Moved::ToRam(run) = finished.moved
        {
            self.count(context.base(), u64::from(run.pages()) * PAGE as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heat() -> Heat {
        Heat::open(&Memfd::create("heat", PAGE).expect("memory"), 0).expect("mapped")
    }

    #[test]
    fn bytes_of_a_block_add_up() {
        let heat = heat();
        for _ in 0..3 {
            heat.count(5 * BLOCK_LEN, 100);
            heat.count(6 * BLOCK_LEN, 1);
        }
        let mut blocks = heat.blocks();
        blocks.sort_by_key(|block| block.address);
        let expected =
            [(5, 300), (6, 3)].map(|(number, moved)| HotBlock { address: number * BLOCK_LEN as u64, moved });
        assert_eq!(blocks, expected);
    }

    #[test]
    fn hot_blocks_stay_among_many_cold_ones() {
        let heat = heat();
        // All in one set: two that are hot, and ten times as many others as there are places.
        let base = |number: usize| number * SETS * BLOCK_LEN;
        for cold in 2..2 + 10 * WAYS {
            heat.count(base(0), 100);
            heat.count(base(1), 100);
            heat.count(base(cold), 1);
        }
        let blocks = heat.blocks();
        for hot in [0, 1] {
            let found = blocks.iter().find(|block| block.address == base(hot) as u64).expect("it is hot");
            assert_eq!(found.moved, 10 * WAYS as u64 * 100);
        }
        assert!(blocks.len() <= WAYS);
    }
}
