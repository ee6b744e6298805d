//! First in, first out, but pages that come back soon after they have left stay for some rounds.
//!
//! ```text
//!   page leaves ----> comes back, before a quarter of memory's worth of pages has left ----> is granted rounds, two more than the last time
//!        ^                                                                                       |
//!        +------ none is left <----- its object's turn to leave comes: it stays, for one round <-+
//! ```
//!
//! So nothing has to tell which pages are used: one that is used often is missed soon. It pays where some pages are used more often
//! than others, and in loops. Where most pages have rounds it would only look for what can leave, so now and then all are ignored
//! for a while; that also ends what pages hold that were used once.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bifolio_folio::{BLOCK_PAGES, PageRun, PageSet};

use super::fifo::Fifo;
use super::{Eviction, Object, ObjectId, Removal};

/// Time is told in parts of memory's worth of pages that left.
const PARTS: u64 = 64;
/// A page that comes back within so many parts comes back soon.
const SOON: u16 = 16;
/// Rounds that a page is granted which comes back soon: so many more than the last time, up to the most.
const ROUNDS: u8 = 2;
const ROUNDS_MOST: u8 = 8;
/// A page that leaves is worth looking at so many that stay.
const LOOKS: u64 = 64;
/// After so many looks beyond that, in parts of memory, nothing stays until another part has left.
const VAIN_PART: u64 = 2;
const PAUSE_PART: u64 = 4;
/// Blocks that are remembered: so many times as many as fill the memory, and a few in any case.
const BLOCKS_FACTOR: u64 = 4;
const BLOCKS_LEAST: u64 = 64;

/// What is known of one page.
#[derive(Clone, Copy, Debug, Default)]
struct Page {
    /// The part in which it left, counted round; `None` while it is here, or has never left.
    left: Option<u16>,
    /// Rounds that it was granted last.
    granted: u8,
    /// Those that are left of them.
    rounds: u8,
}

/// See the module.
#[derive(Debug)]
pub struct Refault {
    order: Fifo,
    /// Pages of the memory.
    pages: u64,
    /// Pages that have left since the beginning.
    left: u64,
    /// Blocks of which pages have left.
    blocks: BTreeMap<u64, Box<[Page; BLOCK_PAGES as usize]>>,
    /// Looks at pages that stayed, less what those were worth that left.
    vain: u64,
    /// Nothing stays before so many pages have left.
    paused_until: u64,
}

impl Refault {
    /// Nothing has left yet a memory of `pages` pages.
    #[must_use]
    pub fn new(pages: u64) -> Refault {
        let (order, blocks, pages) = (Fifo::default(), BTreeMap::new(), pages.max(PARTS));
        Refault { order, pages, left: 0, blocks, vain: 0, paused_until: 0 }
    }

    /// The part of now.
    fn now(&self) -> u16 {
        let parts = self.left * PARTS / self.pages;
        u16::try_from(parts % (1 << u16::BITS)).expect("counted round")
    }
}

/// The number of a page's block, and the page's place there.
fn split(page: u64) -> (u64, usize) {
    let pages = u64::from(BLOCK_PAGES);
    (page / pages, usize::try_from(page % pages).expect("a page of a block"))
}

impl Eviction for Refault {
    fn insert(&mut self, id: ObjectId, object: Object) {
        self.order.insert(id, object);
    }

    fn touch(&mut self, id: ObjectId) {
        self.order.touch(id);
    }

    fn remove(&mut self, id: ObjectId, why: Removal) {
        self.order.remove(id, why);
    }

    fn victims(
        &mut self,
        count: usize,
        was_used: &mut dyn FnMut(ObjectId) -> bool,
        victims: &mut Vec<ObjectId>,
    ) {
        self.order.victims(count, was_used, victims);
    }

    fn pages_came(&mut self, first: u64, count: u32) {
        let now = self.now();
        for page in first..first + u64::from(count) {
            let (block, at) = split(page);
            let Some(page) = self.blocks.get_mut(&block).map(|pages| &mut pages[at]) else { continue };
            let Some(left) = page.left.take() else { continue };
            let soon = now.wrapping_sub(left) <= SOON;
            page.granted = if soon { (page.granted + ROUNDS).min(ROUNDS_MOST) } else { 0 };
            page.rounds = page.granted;
        }
    }

    fn pages_left(&mut self, first: u64, pages: &PageSet) {
        let count = u64::from(pages.count());
        self.left += count;
        self.vain = self.vain.saturating_sub(count * LOOKS);
        let (now, (block, at)) = (self.now(), split(first));
        let most = (self.pages / u64::from(BLOCK_PAGES) * BLOCKS_FACTOR).max(BLOCKS_LEAST);
        if self.blocks.len() as u64 >= most && !self.blocks.contains_key(&block) {
            self.blocks.clear();
        }
        let known = self.blocks.entry(block).or_insert_with(|| Box::new([Page::default(); _]));
        for page in pages.runs(PageRun::BLOCK).flatten() {
            let page = &mut known[at + usize::from(page)];
            (page.left, page.rounds) = (Some(now), 0);
        }
    }

    fn stay(&mut self, first: u64, there: &PageSet) -> PageSet {
        let mut staying = PageSet::EMPTY;
        if self.left < self.paused_until {
            return staying;
        }
        if self.vain > self.pages / VAIN_PART {
            (self.vain, self.paused_until) = (0, self.left + self.pages / PAUSE_PART);
            return staying;
        }
        let (block, at) = split(first);
        let Some(known) = self.blocks.get_mut(&block) else { return staying };
        for page in there.runs(PageRun::BLOCK).flatten() {
            let rounds = &mut known[at + usize::from(page)].rounds;
            if *rounds > 0 {
                *rounds -= 1;
                staying.insert(PageRun::single(page));
            }
        }
        self.vain += u64::from(staying.count());
        staying
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn set(pages: &[u16]) -> PageSet {
        let mut set = PageSet::EMPTY;
        pages.iter().for_each(|page| set.insert(PageRun::single(*page)));
        set
    }

    #[test]
    fn page_that_comes_back_soon_stays_for_two_rounds_more_each_time() {
        let mut policy = Refault::new(4096);
        let there = set(&[3, 4]);
        for rounds in [2, 4, 6, 8, 8] {
            policy.pages_left(512, &set(&[3]));
            policy.pages_came(512 + 3, 1);
            for _ in 0..rounds {
                assert_eq!(policy.stay(512, &there), set(&[3]));
            }
            assert_eq!(policy.stay(512, &there), PageSet::EMPTY);
        }
    }

    #[test]
    fn page_that_comes_back_late_does_not_stay() {
        let mut policy = Refault::new(512);
        policy.pages_left(512, &set(&[3]));
        for page in 0..200 {
            policy.pages_left(1024, &set(&[page]));
        }
        policy.pages_came(512 + 3, 1);
        assert_eq!(policy.stay(512, &set(&[3])), PageSet::EMPTY);
    }

    #[test]
    fn no_more_is_remembered_than_a_few_times_what_fits() {
        let mut policy = Refault::new(16 * 512);
        (0..200).for_each(|block| policy.pages_left(block * 512, &set(&[3])));
        assert!((1..=64).contains(&policy.blocks.len()));
        assert_eq!(size_of::<Page>() * usize::from(BLOCK_PAGES), 6 * 512);
    }

    #[test]
    fn something_leaves_though_every_page_would_stay() {
        let mut policy = Refault::new(1024);
        let all = set(&(0..512).collect::<Vec<_>>());
        policy.pages_left(0, &all);
        policy.pages_came(0, 512);
        for _ in 0..2 {
            policy.pages_left(512, &all);
        }
        policy.pages_came(512, 512);
        let looks = (0..).take_while(|_| !policy.stay(512, &all).is_empty()).count();
        assert_eq!(looks, 2);
        policy.pages_left(512, &all);
        policy.pages_came(512, 512);
        assert_eq!(policy.stay(512, &all), all, "the pause is over");
    }

    /// A memory from which blocks leave as a policy says.
    struct World {
        policy: Box<dyn Eviction>,
        blocks: Vec<(PageSet, bool)>,
        free: usize,
        misses: usize,
    }

    impl World {
        fn touch(&mut self, page: usize) {
            let (block, at) = (page / 512, u16::try_from(page % 512).expect("a page of a block"));
            if self.blocks[block].0.contains(at) {
                return;
            }
            self.misses += 1;
            while self.free == 0 {
                self.evict();
            }
            self.free -= 1;
            self.blocks[block].0.insert(PageRun::single(at));
            self.add(block);
            self.policy.pages_came(page as u64, 1);
        }

        fn add(&mut self, block: usize) {
            if !core::mem::replace(&mut self.blocks[block].1, true) {
                let object = Object { name: block as u64 * 512, pages: 512 };
                self.policy.insert(ObjectId(u32::try_from(block).expect("few")), object);
            }
        }

        fn evict(&mut self) {
            let mut victims = Vec::new();
            self.policy.victims(1, &mut |_| false, &mut victims);
            let (block, first) = (victims[0].index(), victims[0].index() as u64 * 512);
            self.policy.remove(victims[0], Removal::Evicted);
            let (mut leaving, _) = self.blocks[block];
            let stay = self.policy.stay(first, &leaving);
            stay.runs(PageRun::BLOCK).for_each(|run| leaving.remove(run));
            self.policy.pages_left(first, &leaving);
            self.free += usize::from(leaving.count());
            self.blocks[block] = (stay, false);
            if !stay.is_empty() {
                self.add(block);
            }
        }
    }

    /// What misses, in percent of what does under [`Fifo`].
    fn percent_of_fifo(pages: usize, touches: &[usize]) -> usize {
        let fifo: Box<dyn Eviction> = Box::new(Fifo::default());
        let both = [fifo, Box::new(Refault::new(pages as u64))].map(|policy| {
            let blocks = vec![(PageSet::EMPTY, false); 128];
            let mut world = World { policy, blocks, free: pages, misses: 0 };
            touches.iter().for_each(|page| world.touch(*page));
            world.misses
        });
        both[1] * 100 / both[0]
    }

    fn random(below: usize) -> impl FnMut() -> usize {
        let mut state = 1_u64;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).expect("31 bits") % below
        }
    }

    #[test]
    fn pages_in_use_stay_beside_a_walk_through_others() {
        let mut used = random(6400);
        let walk = |at: usize| 10_000 + at / 100 % 20_000;
        let touches: Vec<_> = (0..800_000).map(|at| if at % 100 == 0 { walk(at) } else { used() }).collect();
        let percent = percent_of_fifo(6656, &touches);
        assert!(percent <= 65, "{percent} %");
    }

    #[test]
    fn part_of_a_loop_that_is_larger_than_memory_stays() {
        let touches: Vec<_> = (0..600_000).map(|at| at % 40_960).collect();
        let percent = percent_of_fifo(32_768, &touches);
        assert!(percent <= 65, "{percent} %");
    }

    #[test]
    fn little_more_misses_where_nothing_is_used_more_often_or_all_changes() {
        let mut page = random(65_536);
        let touches: Vec<_> = (0..800_000).map(|_| page()).collect();
        let percent = percent_of_fifo(32_768, &touches);
        assert!(percent <= 101, "{percent} % at random");
        let mut page = random(24_576);
        let touches: Vec<_> = (0..1_000_000).map(|at| (at / 200_000 * 17_000 + page()) % 65_536).collect();
        let percent = percent_of_fifo(32_768, &touches);
        assert!(percent <= 125, "{percent} % of sets that change");
    }
}
