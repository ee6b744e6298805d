//! Bytes as calls: what the fuzzer runs, and what replays its corpus in ordinary tests.

use bifolio_buddy::{Buddy, BuddyBlock, Request};
use std::collections::BTreeMap;

/// The allocator, and the blocks that must be allocated, by first page.
struct Run {
    buddy: Buddy,
    used: BTreeMap<u64, BuddyBlock>,
}

impl Run {
    /// Adds a block that was just allocated; it must not overlap its neighbours.
    fn add(&mut self, block: BuddyBlock) {
        let before = self.used.range(..block.end()).next_back();
        assert!(before.is_none_or(|(_, before)| before.end() <= block.page), "{block:?} overlaps {before:?}");
        self.used.insert(block.page, block);
    }

    fn nth(&self, nth: u64) -> Option<BuddyBlock> {
        let count = self.used.len().max(1);
        self.used.values().nth(usize::try_from(nth).ok()? % count).copied()
    }

    fn free(&mut self, block: BuddyBlock, cleared: bool) {
        let BuddyBlock { page, order } = block;
        let freed = if cleared { self.buddy.free_cleared(page, order) } else { self.buddy.free(page, order) };
        assert_eq!(freed.is_ok(), self.used.get(&page) == Some(&block), "{block:?}: {freed:?}");
        if freed.is_ok() {
            self.used.remove(&page);
        }
    }

    /// Makes the call that the bytes stand for.
    fn call(&mut self, [call, order, low, high]: [u8; 4]) {
        let (order, number) = (u32::from(order % 14), u64::from(u16::from_le_bytes([low, high])));
        match call % 12 {
            0..=2 => {
                let page = self.buddy.allocate(order);
                page.into_iter().for_each(|page| self.add(BuddyBlock { page, order }));
            }
            3 => {
                let range = self.buddy.allocate_contiguous(number % 900);
                range.into_iter().flat_map(BuddyBlock::cut).for_each(|block| self.add(block));
            }
            4 => {
                let range = number..number + u64::from(order) * 9;
                let request = Request::pages(range.end - range.start).within(range);
                let grants = self.buddy.allocate_with(&request);
                grants.into_iter().flatten().for_each(|grant| self.add(grant.block));
            }
            5 => {
                let request = Request::pages(number % 2000).min_order(order % 5).align_order(order);
                let request = if number % 3 == 0 { request.top_down() } else { request.prefer_cleared() };
                let grants = self.buddy.allocate_with(&request);
                grants.into_iter().flatten().for_each(|grant| self.add(grant.block));
            }
            6 | 7 => self.nth(number).into_iter().for_each(|block| self.free(block, call % 2 == 0)),
            8 => self.free(BuddyBlock { page: number, order }, false),
            9 => {
                if let Some(block) = self.nth(number) {
                    let end = block.page + 1 + number % block.pages();
                    assert_eq!(self.buddy.trim(block, block.page..end), Ok(()));
                    self.used.remove(&block.page);
                    BuddyBlock::cut(block.page..end).for_each(|block| self.add(block));
                }
            }
            10 => {
                if let Some(block) = self.nth(number) {
                    let order = order.min(block.order);
                    assert_eq!(self.buddy.split(block, order), Ok(()));
                    self.used.remove(&block.page);
                    block.range().step_by(1 << order).for_each(|page| self.add(BuddyBlock { page, order }));
                }
            }
            _ => drop(self.buddy.declare_cleared(number..number + u64::from(order) * 100)),
        }
    }
}

/// Makes an allocator of a size that the first bytes give, makes the calls that the rest stands for, four bytes each,
/// and checks everything after each of them.
pub fn run(bytes: &[u8]) {
    let [low, high, rest @ ..] = bytes else { return };
    let pages = u64::from(u16::from_le_bytes([*low, *high])) % 9000 + 1;
    let mut run = Run { buddy: Buddy::new(pages).expect("valid size"), used: BTreeMap::new() };
    let (calls, _) = rest.as_chunks::<4>();
    for call in calls {
        run.call(*call);
        assert_eq!(run.buddy.check_consistency(), Ok(()), "after {call:?}");
        assert!(run.buddy.used_blocks().eq(run.used.values().copied()), "after {call:?}");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_corpus_of_the_fuzzer_passes() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/calls");
        let files = std::fs::read_dir(corpus).expect("the corpus is there");
        let mut replayed = 0;
        for file in files {
            super::run(&std::fs::read(file.expect("a readable folder").path()).expect("a readable file"));
            replayed += 1;
        }
        assert!(replayed >= 8, "{replayed} files");
    }
}
