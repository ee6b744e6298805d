//! First in, first out, but pages that come back soon after they have left stay for a time.
//!
//! ```text
//!   page leaves ----> comes back, before 5/8 of memory's worth of pages have left ----> is granted a time, longer than the last one
//!        ^                                                                                 |
//!        +------ it is over <------ its object's turn to leave comes: it stays <-----------+
//! ```
//!
//! So nothing has to tell which pages are used: one that is used often is missed soon. It pays where some pages are used more often
//! than others, and in loops. Times are told in pages that left, not in turns of an object: the more pages stay, the sooner each
//! object's turn comes again. Where most pages have a time it would only look for what can leave, so now and then all are ignored
//! for a while. An object of which pages stayed rests until a 16th of it may leave: each look costs time, and so does each eviction, of
//! one page as of many.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bifolio_folio::{BLOCK_PAGES, PageRun, PageSet};

use super::queue::{Entries, Queue};
use super::{Eviction, Object, ObjectId, Removal};

/// Time is told in parts of memory's worth of pages that left.
const PARTS: u64 = 64;
/// Each page that comes stays for so many parts: its object's turn may be next, which a walk would run into at each step.
const FRESH: u16 = 4;
/// A page that comes back within so many parts comes back soon.
const SOON: u16 = 40;
/// Parts that a page is granted when it first comes back soon: little more than that, since its use may be over soon.
const GRANT: u16 = 48;
/// Each further time it is granted so many times as much, up to the most.
const GRANT_FACTOR: u16 = 8;
const GRANT_MOST: u16 = 32 * 64;
/// A page that leaves is worth looking at so many that stay.
const LOOKS: u64 = 64;
/// After so many looks beyond that, in parts of memory, nothing stays until another part has left.
const VAIN_PART: u64 = 2;
const PAUSE_PART: u64 = 64;
/// Such a share of an object leaves at a time, rather than page by page.
const WORTH_PART: u32 = 16;
/// An object rests for so many parts at most.
const REST_MOST: u16 = SOON;
/// Blocks that are remembered: so many times as many as fill the memory, and a few in any case.
const BLOCKS_FACTOR: u64 = 4;
const BLOCKS_LEAST: u64 = 64;

/// What is known of one page.
#[derive(Clone, Copy, Debug, Default)]
struct Page {
    state: State,
    /// Parts that it was granted last.
    granted: u16,
}

/// Where one page is. Parts are counted round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// It has no time to stay.
    #[default]
    Idle,
    /// It left in this part.
    Left(u16),
    /// It is here, and stays until this part.
    Granted(u16),
}

/// What is known of an object.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Its first page.
    name: u64,
    pages: u32,
    rest: Option<Rest>,
}

/// Few pages of an object may leave before a time.
#[derive(Clone, Copy, Debug)]
struct Rest {
    /// In parts, counted from the beginning.
    until: u64,
    /// Pages that stay.
    pages: u64,
    /// Pages that came since.
    came: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Refault {
    objects: Entries<Known>,
    queue: Queue,
    /// The number of each object, by its first page.
    numbers: BTreeMap<u64, ObjectId>,
    /// The object whose turn it is, which may be inserted again.
    turn: Option<Known>,
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
        Refault {
            objects: Entries::default(),
            queue: Queue::default(),
            numbers: BTreeMap::new(),
            turn: None,
            pages: pages.max(PARTS),
            left: 0,
            blocks: BTreeMap::new(),
            vain: 0,
            paused_until: 0,
        }
    }

    /// Parts since the beginning.
    fn parts(&self) -> u64 {
        self.left * PARTS / self.pages
    }

    /// The part of now.
    fn now(&self) -> u16 {
        u16::try_from(self.parts() % (1 << u16::BITS)).expect("counted round")
    }

    /// Tells whether nothing stays for now: what may leave was looked for too long.
    fn is_paused(&mut self) -> bool {
        if self.left >= self.paused_until && self.vain > self.pages / VAIN_PART {
            (self.vain, self.paused_until) = (0, self.left + self.pages / PAUSE_PART);
        }
        self.left < self.paused_until
    }

    /// Lets objects that rest have their turn, as the newest.
    fn pass_over_resting(&mut self) {
        for _ in 0..self.numbers.len() {
            let Some(id) = self.queue.oldest().filter(|_| !self.is_paused()) else { return };
            let now = self.parts();
            let Some(rest) = self.objects.data(id).rest.filter(|rest| rest.until > now) else { return };
            self.vain += rest.pages;
            self.objects.renew(&mut self.queue, id);
        }
    }

    /// A page came to an object, and stays until a time.
    fn ends_rest(&mut self, page: u64, until: u64) {
        let Some((_, id)) = self.numbers.range(..=page).next_back() else { return };
        let known = self.objects.data(*id);
        if page < known.name + u64::from(known.pages)
            && let Some(rest) = &mut known.rest
        {
            rest.came += 1;
            if rest.came >= worth(known.pages) {
                rest.until = rest.until.min(until);
            }
        }
    }

    /// Of the object whose turn it is, pages stay for so many parts.
    fn note_stay(&mut self, times: &mut [u16]) {
        let now = self.parts();
        let Some(turn) = self.turn.as_mut().filter(|_| !times.is_empty()) else { return };
        let enough = times.len().min(worth(turn.pages) as usize) - 1;
        let (_, time, _) = times.select_nth_unstable(enough);
        let until = now + u64::from((*time).min(REST_MOST));
        let before = turn.rest.unwrap_or(Rest { until, pages: 0, came: 0 });
        turn.rest =
            Some(Rest { until: before.until.min(until), pages: before.pages + times.len() as u64, came: 0 });
    }
}

/// The number of a page's block, and the page's place there.
fn split(page: u64) -> (u64, usize) {
    let pages = u64::from(BLOCK_PAGES);
    (page / pages, usize::try_from(page % pages).expect("a page of a block"))
}

impl Eviction for Refault {
    fn insert(&mut self, id: ObjectId, Object { name, pages }: Object) {
        let turn = self.turn.take().filter(|turn| turn.name == name);
        let rest = turn.and_then(|turn| turn.rest);
        self.objects.insert(&mut self.queue, id, pages, Known { name, pages, rest });
        self.numbers.insert(name, id);
    }

    fn touch(&mut self, _id: ObjectId) {}

    fn remove(&mut self, id: ObjectId, why: Removal) {
        self.objects.unlink(&mut self.queue, id);
        let known = *self.objects.data(id);
        self.numbers.remove(&known.name);
        self.turn = (why == Removal::Evicted).then_some(Known { rest: None, ..known });
    }

    fn victims(
        &mut self,
        count: usize,
        _was_used: &mut dyn FnMut(ObjectId) -> bool,
        victims: &mut Vec<ObjectId>,
    ) {
        self.pass_over_resting();
        self.objects.oldest(&self.queue, count, victims);
    }

    fn pages_came(&mut self, first: u64, count: u32, touched: Option<u64>) {
        let now = self.now();
        for at in first..first + u64::from(count) {
            let (block, place) = split(at);
            let page = self.blocks.get_mut(&block).map(|pages| &mut pages[place]);
            let Some((page, left)) = page.and_then(|page| match page.state {
                State::Left(left) => Some((page, left)),
                _ => None,
            }) else {
                self.ends_rest(at, 0);
                continue;
            };
            page.granted = match now.wrapping_sub(left) <= SOON {
                true if touched.is_none_or(|touched| touched == at) => {
                    (page.granted * GRANT_FACTOR).clamp(GRANT, GRANT_MOST)
                }
                // It came beside one that was touched: that it is used is no news, nor that it is not.
                true => page.granted,
                false => 0,
            };
            let granted = page.granted.max(FRESH);
            page.state = State::Granted(now.wrapping_add(granted));
            self.ends_rest(at, self.parts() + u64::from(granted));
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
            known[at + usize::from(page)].state = State::Left(now);
        }
    }

    fn stay(&mut self, first: u64, there: &PageSet) -> PageSet {
        let mut staying = PageSet::EMPTY;
        if self.is_paused() {
            return staying;
        }
        let mut times = Vec::new();
        let (now, (block, at)) = (self.now(), split(first));
        if let Some(known) = self.blocks.get(&block) {
            for page in there.runs(PageRun::BLOCK).flatten() {
                let State::Granted(until) = known[at + usize::from(page)].state else { continue };
                let left = until.wrapping_sub(now);
                if (1..=GRANT_MOST).contains(&left) {
                    staying.insert(PageRun::single(page));
                    times.push(left);
                }
            }
        }
        self.vain += times.len() as u64;
        self.note_stay(&mut times);
        staying
    }
}

/// So many pages of an object that leave are worth a look.
fn worth(pages: u32) -> u32 {
    (pages / WORTH_PART).max(1)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::eviction::fifo::Fifo;

    fn set(pages: &[u16]) -> PageSet {
        let mut set = PageSet::EMPTY;
        pages.iter().for_each(|page| set.insert(PageRun::single(*page)));
        set
    }

    /// So many other pages leave.
    fn others_leave(policy: &mut Refault, count: u64) {
        (0..count)
            .for_each(|at| policy.pages_left(1 << 20, &set(&[u16::try_from(at % 512).expect("a page")])));
    }

    #[test]
    fn page_that_comes_back_soon_stays_for_longer_each_time() {
        let mut policy = Refault::new(4096);
        let there = set(&[3, 4]);
        for granted in [48 * 64, 8 * 48 * 64, 32 * 4096, 32 * 4096] {
            policy.pages_left(512, &set(&[3]));
            policy.pages_came(512 + 3, 1, Some(512 + 3));
            others_leave(&mut policy, granted - 64);
            assert_eq!(policy.stay(512, &there), set(&[3]));
            others_leave(&mut policy, 64);
            assert_eq!(policy.stay(512, &there), PageSet::EMPTY);
        }
    }

    #[test]
    fn page_that_comes_beside_another_stays_as_long_as_before() {
        let mut policy = Refault::new(4096);
        policy.pages_left(512, &set(&[3, 4]));
        policy.pages_came(512 + 3, 2, Some(512 + 3));
        others_leave(&mut policy, 4 * 64);
        assert_eq!(policy.stay(512, &set(&[3, 4])), set(&[3]));
        policy.pages_left(512, &set(&[3, 4]));
        policy.pages_came(512 + 3, 2, Some(512 + 5));
        others_leave(&mut policy, 48 * 64 - 64);
        assert_eq!(policy.stay(512, &set(&[3, 4])), set(&[3]));
        others_leave(&mut policy, 64);
        assert_eq!(policy.stay(512, &set(&[3, 4])), PageSet::EMPTY);
    }

    #[test]
    fn page_that_is_brought_ahead_stays_like_one_that_is_touched() {
        let mut policy = Refault::new(4096);
        policy.pages_left(512, &set(&[3]));
        policy.pages_came(512 + 3, 1, None);
        others_leave(&mut policy, 48 * 64 - 64);
        assert_eq!(policy.stay(512, &set(&[3])), set(&[3]));
    }

    #[test]
    fn page_that_came_just_now_stays_though_the_turn_of_its_object_has_come() {
        let mut policy = Refault::new(4096);
        policy.pages_left(512, &set(&[3]));
        others_leave(&mut policy, 4096);
        policy.pages_came(512 + 3, 1, None);
        others_leave(&mut policy, 4 * 64 - 2);
        assert_eq!(policy.stay(512, &set(&[3, 4])), set(&[3]));
        others_leave(&mut policy, 2);
        assert_eq!(policy.stay(512, &set(&[3, 4])), PageSet::EMPTY);
    }

    #[test]
    fn page_that_comes_back_late_does_not_stay() {
        let mut policy = Refault::new(512);
        policy.pages_left(512, &set(&[3]));
        others_leave(&mut policy, 400);
        policy.pages_came(512 + 3, 1, Some(512 + 3));
        others_leave(&mut policy, 4 * 8);
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
        policy.pages_left(512, &all);
        (512..1024).for_each(|page| policy.pages_came(page, 1, Some(page)));
        let looks = (0..).take_while(|_| !policy.stay(512, &all).is_empty()).count();
        assert_eq!(looks, 2);
        policy.pages_left(512, &all);
        (512..1024).for_each(|page| policy.pages_came(page, 1, Some(page)));
        assert_eq!(policy.stay(512, &all), all, "the pause is over");
    }

    /// Of two objects of 64 pages, the older one has had its turn and 8 pages stayed: the next victim, after so many parts and
    /// further pages of it.
    fn next_of_two(parts: u64, came: u32) -> ObjectId {
        let [one, two] = [(0, 512), (1, 1024)].map(|(id, name)| (ObjectId(id), Object { name, pages: 64 }));
        let mut policy = Refault::new(4096);
        let stay = set(&(0..8).collect::<Vec<_>>());
        policy.pages_left(512, &stay);
        policy.pages_came(512, 8, None);
        policy.insert(one.0, one.1);
        policy.remove(one.0, Removal::Evicted);
        assert_eq!(policy.stay(512, &stay), stay);
        policy.insert(one.0, one.1);
        policy.insert(two.0, two.1);
        others_leave(&mut policy, parts * 64);
        policy.pages_came(512 + 32, came, None);
        let mut victims = Vec::new();
        policy.victims(1, &mut |_| false, &mut victims);
        victims[0]
    }

    #[test]
    fn object_of_which_little_may_leave_rests() {
        assert_eq!(next_of_two(0, 0), ObjectId(1));
        assert_eq!(next_of_two(39, 3), ObjectId(1));
        assert_eq!(next_of_two(40, 0), ObjectId(0), "it rests for so long at most");
        assert_eq!(next_of_two(0, 4), ObjectId(0), "a 16th of it came, and may leave");
    }

    /// Pages of an object.
    const PAGES: usize = 64;

    /// A memory from which objects leave as a policy says.
    struct World {
        policy: Box<dyn Eviction>,
        objects: Vec<(PageSet, bool)>,
        free: usize,
        misses: usize,
    }

    impl World {
        fn touch(&mut self, page: usize) {
            let (object, at) = (page / PAGES, u16::try_from(page % PAGES).expect("a page of an object"));
            if self.objects[object].0.contains(at) {
                return;
            }
            self.misses += 1;
            while self.free == 0 {
                self.evict();
            }
            self.free -= 1;
            self.objects[object].0.insert(PageRun::single(at));
            self.add(object);
            self.policy.pages_came(page as u64, 1, Some(page as u64));
        }

        fn add(&mut self, object: usize) {
            if !core::mem::replace(&mut self.objects[object].1, true) {
                let named = Object { name: (object * PAGES) as u64, pages: 64 };
                self.policy.insert(ObjectId(u32::try_from(object).expect("few")), named);
            }
        }

        fn evict(&mut self) {
            let mut victims = Vec::new();
            self.policy.victims(1, &mut |_| false, &mut victims);
            let (object, first) = (victims[0].index(), (victims[0].index() * PAGES) as u64);
            self.policy.remove(victims[0], Removal::Evicted);
            let (mut leaving, _) = self.objects[object];
            let stay = self.policy.stay(first, &leaving);
            stay.runs(PageRun::BLOCK).for_each(|run| leaving.remove(run));
            self.policy.pages_left(first, &leaving);
            self.free += usize::from(leaving.count());
            self.objects[object] = (stay, false);
            if !stay.is_empty() {
                self.add(object);
            }
        }
    }

    /// What misses, in percent of what does under [`Fifo`].
    fn percent_of_fifo(pages: usize, touches: &[usize]) -> usize {
        let fifo: Box<dyn Eviction> = Box::new(Fifo::default());
        let both = [fifo, Box::new(Refault::new(pages as u64))].map(|policy| {
            let objects = vec![(PageSet::EMPTY, false); 1024];
            let mut world = World { policy, objects, free: pages, misses: 0 };
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
        assert!(percent <= 60, "{percent} %");
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
        assert!(percent <= 105, "{percent} % of sets that change");
    }
}
