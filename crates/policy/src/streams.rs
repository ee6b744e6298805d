//! Walks through memory, seen from their faults: several side by side, each with its own trust.
//!
//! ```text
//!   fault:    17         18  19-20      21-24               dense: begins where the last one ended
//!   fault:  5       25       45       65       85           strided: as far on as the last time
//!   fault:   6       26                                     begins again, beside where it began
//! ```
//!
//! A lone fault says nothing about its neighbours. A fault just behind (or before) what an earlier one brought, or as far
//! from it as the one before, is a step of a walk. Trust grows with each step, and falls when what was brought ahead of a
//! walk leaves unused.
//!
//! Scattered faults look like a step now and then. So it is counted how many walks went on after so many steps: where few do, a
//! fault that is the first or second step of a walk is no more than a lone fault.

use alloc::vec::Vec;
use core::ops::Range;

use bifolio_folio::{Order, PAGE_SHIFT, PageSet};

use crate::fact::Coming;
use crate::fault::Prefetch;
use crate::memory::Memory;

/// Walks that are followed at the same time.
const STREAMS: usize = 32;
/// How far, in pages, two faults of one strided walk can be apart.
const REACH: u64 = 16_384;
/// By how much the order of a dense walk grows at each step.
const ORDERS_A_STEP: u8 = 2;
/// Trust grows no further.
const TRUST_MAX: u8 = 8;

/// Pages that a dense walk may leave out at a step, or one in so many of what it brought, if that is more. If it could leave out
/// as much as it brings, scattered faults would look like walks once much is brought.
const SLACK: u64 = 4;
const SLACK_PART: u64 = 4;
/// A walk that has not gone on for so many faults may leave out nothing at its next step: a large slack is hit by chance sooner or later.
const LATELY: u64 = STREAMS as u64;
/// Faults in which a walk that does not go on loses one step of trust.
const FADE: u64 = 128;
/// A strided walk is brought ahead by at most 2 to the power of this many steps.
const AHEAD_MAX: u8 = 6;
/// A walk that passes pages which are there already goes on after at most so many steps, and before so many other faults: scattered
/// ones hit one of so many places by chance.
const PASSED: u64 = 64;
const PASSED_LATELY: u64 = 8;
/// A walk begins again at most so many pages from where it began: the next column of a matrix, the next pass of a loop.
const NEAR: u64 = 2;
/// Trust that a dense walk needs to begin again where it began. Chance makes pairs of neighbours.
const TRUST_TO_RETURN: u8 = 3;

/// Trusts at which it is counted whether walks go on.
const COUNTED: usize = 3;
/// A walk that goes on outweighs so many that end.
const GOING_ON: i8 = 3;
const BALANCE_MOST: i8 = 12;

/// One walk.
#[derive(Clone, Debug)]
struct Stream {
    unit: u32,
    /// The page that faulted last.
    last: u64,
    /// The page where it began.
    first: u64,
    /// From one fault to the next, in pages; 0 while there was only one.
    stride: i64,
    /// Pages that the last fault brought, or steps of the stride.
    brought: Range<u64>,
    ahead: u64,
    trust: u8,
    /// When it last went on, in faults.
    used: u64,
}

/// What a fault is within its walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Steps before it that went the same way, less what was in vain; 0 for a lone fault.
    pub trust: u8,
    /// Distance from the fault before it, in pages; ±1 for a walk that leaves nothing out, 0 for a lone fault.
    pub stride: i64,
    stream: usize,
}

impl Step {
    /// How much a walk that leaves nothing out brings: four times as much at each step. A single page otherwise.
    #[must_use]
    pub fn order(&self) -> Order {
        let steps = if self.stride.abs() == 1 { self.trust } else { 0 };
        Order::new(steps.saturating_mul(ORDERS_A_STEP)).unwrap_or(Order::MAX)
    }

    /// Whether it is a step of a walk that leaves pages out.
    #[must_use]
    pub fn is_strided(&self) -> bool {
        self.trust > 0 && self.stride.abs() > 1
    }
}

/// The walks that are followed.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    streams: Vec<Stream>,
    faults: u64,
    /// Nothing tells which pages were used.
    blind: bool,
    /// For each trust below [`COUNTED`]: walks that went on, weighted, less those that ended.
    balances: [i8; COUNTED],
}

impl Streams {
    /// Follows nothing yet.
    #[must_use]
    pub fn new() -> Streams {
        Streams::default()
    }

    /// Follows nothing yet in a memory. Where nothing tells which pages were used, a walk must go on just behind what was brought: one
    /// that leaves out more would bring all of it at each step, and never learn that it is not used.
    #[must_use]
    pub fn of(memory: &Memory) -> Streams {
        Streams { blind: memory.blind, ..Streams::default() }
    }

    /// Finds the walk that a fault belongs to, or begins one.
    pub fn step(&mut self, unit: u32, page: u64) -> Step {
        self.faults += 1;
        let (stream, stride) = match self.find(unit, page) {
            Some(found) => found,
            None => (self.begin(unit, page), 0),
        };
        let walk = &mut self.streams[stream];
        if walk.returns_to(unit, page) {
            walk.first = page;
        }
        let trusted = walk.trust;
        let goes_on = stride != 0 && (stride.abs() == 1 || stride == walk.stride);
        let faded =
            walk.trust.saturating_sub(u8::try_from((self.faults - walk.used) / FADE).unwrap_or(u8::MAX));
        // A walk that leaves pages out earns no trust for one that does not.
        let before = if stride.abs() == 1 && walk.stride.abs() > 1 { 0 } else { faded };
        walk.trust = if goes_on { (before + 1).min(TRUST_MAX) } else { 0 };
        if !goes_on {
            walk.first = walk.last;
        }
        (walk.last, walk.stride, walk.used) = (page, stride, self.faults);
        (walk.brought, walk.ahead) = (page..page + 1, 0);
        let trust = walk.trust;
        self.count(trusted, goes_on && before == trusted);
        let is_lone = self.balances.get(usize::from(trust)).is_some_and(|balance| *balance < 0);
        if is_lone { Step { trust: 0, stride: 0, stream } } else { Step { trust, stride, stream } }
    }

    /// Counts that a walk of some trust went on, or ended.
    fn count(&mut self, trust: u8, went_on: bool) {
        if let Some(balance) = self.balances.get_mut(usize::from(trust)).filter(|_| trust > 0) {
            let change = if went_on { GOING_ON } else { -1 };
            *balance = (*balance + change).clamp(-BALANCE_MOST, BALANCE_MOST);
        }
    }

    /// Tells the walk of a fault which pages were decided to come.
    pub fn brings(&mut self, step: Step, pages: Range<u64>) {
        let walk = &mut self.streams[step.stream];
        let (start, end) = (walk.brought.start.min(pages.start), walk.brought.end.max(pages.end));
        walk.brought = start..end;
    }

    /// What is to come ahead of a walk that leaves pages out, after a fault at `address`: single pages, twice as many at each
    /// step, up to `most`. `None` if the fault is no step of such a walk.
    pub fn run_ahead(&mut self, step: Step, address: usize, most: u32) -> Option<Prefetch> {
        if !step.is_strided() {
            return None;
        }
        let count = (1u32 << step.trust.min(AHEAD_MAX)).min(most);
        let stride = isize::try_from(step.stride << PAGE_SHIFT).ok()?;
        let first = address.checked_add_signed(stride)?;
        self.streams[step.stream].ahead = u64::from(count);
        Some(Prefetch { first, stride, pages: 1, count })
    }

    /// What came at `page` left unused: the walk that was nearest loses trust. What came before it was touched was brought ahead of
    /// a walk that leaves pages out, and other folios by one that does not.
    pub fn distrust(&mut self, page: u64, came: Coming) {
        let leaves_out = came == Coming::Prefetch;
        let same_kind = self.streams.iter_mut().filter(|walk| (walk.stride.abs() > 1) == leaves_out);
        let nearest = same_kind.min_by_key(|walk| walk.last.abs_diff(page));
        if let Some(walk) = nearest {
            walk.trust /= 2;
        }
    }

    /// The walk that a fault continues, and its distance from the last one: a dense walk first, then one of the same
    /// stride, then one that begins again, then the nearest that has no trust yet.
    fn find(&self, unit: u32, page: u64) -> Option<(usize, i64)> {
        let dense = self.streams.iter().enumerate().find_map(|(at, walk)| {
            let lately = self.faults - walk.used <= LATELY;
            Some((at, walk.dense_step(page, lately, self.blind)?))
        });
        let strided = || {
            let same = |(at, walk): (usize, &Stream)| {
                let lately = self.faults - walk.used <= PASSED_LATELY;
                walk.is_step(unit, page, lately).then_some((at, walk.stride))
            };
            self.streams.iter().enumerate().find_map(same)
        };
        let returning = || {
            let back =
                |(at, walk): (usize, &Stream)| walk.returns_to(unit, page).then_some((at, walk.stride));
            self.streams.iter().enumerate().find_map(back)
        };
        dense.or_else(strided).or_else(returning).or_else(|| self.nearest(unit, page))
    }

    fn nearest(&self, unit: u32, page: u64) -> Option<(usize, i64)> {
        let loose = self.streams.iter().enumerate().filter(|(_, walk)| walk.unit == unit && walk.trust == 0);
        let (at, walk) = loose.min_by_key(|(_, walk)| (walk.last.abs_diff(page), walk.used))?;
        let apart = walk.last.abs_diff(page);
        let stride = i64::try_from(apart).ok().filter(|_| (1..=REACH).contains(&apart))?;
        Some((at, if page > walk.last { stride } else { -stride }))
    }

    fn begin(&mut self, unit: u32, page: u64) -> usize {
        let brought = page..page + 1;
        let fresh = Stream {
            unit,
            last: page,
            first: page,
            stride: 0,
            brought,
            ahead: 0,
            trust: 0,
            used: self.faults,
        };
        if self.streams.len() < STREAMS {
            self.streams.push(fresh);
            return self.streams.len() - 1;
        }
        let oldest = self.streams.iter().enumerate().min_by_key(|(_, walk)| walk.used);
        let (at, _) = oldest.expect("streams are followed");
        let ended = core::mem::replace(&mut self.streams[at], fresh);
        self.count(ended.trust, false);
        at
    }
}

impl Stream {
    /// The direction of a step that begins where the last one ended; or leaves out a little, if that was lately.
    fn dense_step(&self, page: u64, lately: bool, blind: bool) -> Option<i64> {
        let Range { start, end } = self.brought;
        let most = if blind { SLACK } else { SLACK.max((end - start) / SLACK_PART) };
        let slack = if lately { most.min(end - start) } else { 1 };
        if (end..end.saturating_add(slack)).contains(&page) {
            return Some(1);
        }
        (start.saturating_sub(slack)..start).contains(&page).then_some(-1)
    }

    /// Whether a fault begins this walk again, near where it began before.
    fn returns_to(&self, unit: u32, page: u64) -> bool {
        // The page that faulted last faults again if what was brought ahead took its place. That must end.
        let is_trusted = self.trust >= if self.stride.abs() > 1 { 1 } else { TRUST_TO_RETURN };
        self.unit == unit && is_trusted && page != self.last && self.first.abs_diff(page) <= NEAR
    }

    /// Whether a fault is a step of this walk's stride: the next one, or the first that was not brought, or one behind it. A walk
    /// that is trusted, and went on lately, also goes on behind pages that are there already.
    fn is_step(&self, unit: u32, page: u64, lately: bool) -> bool {
        let (apart, forward) = (page.abs_diff(self.last), page > self.last);
        let stride = self.stride.unsigned_abs();
        let same_way = self.unit == unit && stride > 1 && forward == (self.stride > 0);
        if !same_way || !apart.is_multiple_of(stride) {
            return false;
        }
        let steps = apart / stride;
        let passed = if self.trust > 1 && lately { PASSED } else { 2 };
        (1..=2).contains(&steps) || (1..=passed).contains(&steps.saturating_sub(self.ahead))
    }
}

/// Whether pages that leave were not worth what a walk brought: brought ahead and not used, or more than half of a folio unused.
#[must_use]
pub fn is_in_vain(came: Coming, pages: u32, used: &PageSet) -> bool {
    let used = u32::from(used.count());
    used == 0 && came == Coming::Prefetch || used * 2 < pages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(streams: &mut Streams, pages: impl IntoIterator<Item = u64>) -> Vec<(u8, i64)> {
        let step = |page| {
            let Step { trust, stride, .. } = streams.step(0, page);
            (trust, stride)
        };
        pages.into_iter().map(step).collect()
    }

    #[test]
    fn trust_in_a_dense_walk_grows_with_its_steps() {
        let mut streams = Streams::new();
        assert_eq!(steps(&mut streams, 100..104), [(0, 0), (1, 1), (2, 1), (3, 1)]);
        assert_eq!(steps(&mut streams, [99_000, 98_999, 98_998]), [(0, 0), (1, -1), (2, -1)]);
    }

    #[test]
    fn a_stride_is_trusted_when_it_is_seen_again() {
        let mut streams = Streams::new();
        let pages = (0..5).map(|at| 1000 + at * 20);
        assert_eq!(steps(&mut streams, pages), [(0, 0), (0, 20), (1, 20), (2, 20), (3, 20)]);
    }

    #[test]
    fn walks_side_by_side_are_told_apart() {
        let mut streams = Streams::new();
        let pages = (0..6).flat_map(|at| [1 << 20, 2 << 20, 3 << 20].map(|base| base + at));
        let found = steps(&mut streams, pages);
        assert_eq!(found[15..], [(5, 1); 3]);
    }

    #[test]
    fn a_step_may_leave_out_what_was_brought_ahead() {
        let mut streams = Streams::new();
        steps(&mut streams, [0, 20]);
        let step = streams.step(0, 40);
        let ahead = streams.run_ahead(step, 40 << PAGE_SHIFT, 64).expect("a strided walk");
        assert_eq!((ahead.first >> PAGE_SHIFT, ahead.count), (60, 2));
        assert_eq!(steps(&mut streams, [40 + 3 * 20]), [(2, 20)]);
        let step = streams.step(0, 1 << 30);
        streams.brings(step, (1 << 30)..(1 << 30) + 16);
        assert_eq!(steps(&mut streams, [(1 << 30) + 16]), [(1, 1)]);
    }

    #[test]
    fn what_left_unused_costs_the_walk_trust_that_brought_it() {
        let mut streams = Streams::new();
        steps(&mut streams, 100..109);
        streams.distrust(112, Coming::Prefetch);
        assert_eq!(steps(&mut streams, [109]), [(8, 1)], "nothing was brought ahead of it");
        streams.distrust(112, Coming::Fault);
        assert_eq!(steps(&mut streams, [110]), [(5, 1)]);
    }

    #[test]
    fn walk_that_begins_again_is_trusted_at_once() {
        let mut streams = Streams::new();
        steps(&mut streams, (0..6).map(|at| 1000 + at * 20));
        assert_eq!(steps(&mut streams, [1001, 1021, 1002]), [(5, 20), (6, 20), (7, 20)]);
        steps(&mut streams, 50_000..50_006);
        assert_eq!(steps(&mut streams, [50_000, 50_001]), [(6, 1), (7, 1)], "the next pass of a loop");
    }

    #[test]
    fn page_that_left_before_it_was_used_is_no_walk_that_begins_again() {
        let mut streams = Streams::new();
        steps(&mut streams, (0..6).map(|at| 1000 + at * 20));
        // What is brought ahead at the second fault may have taken the page's place: it must not come again for ever.
        let trusts: Vec<u8> = steps(&mut streams, [1001; 4]).into_iter().map(|(trust, _)| trust).collect();
        assert_eq!(trusts, [5, 0, 0, 0]);
    }

    #[test]
    fn walk_goes_on_behind_pages_that_are_there() {
        let mut streams = Streams::new();
        steps(&mut streams, (0..5).map(|at| 1000 + at * 20));
        assert_eq!(steps(&mut streams, [1080 + 50 * 20]), [(4, 20)]);
        assert_eq!(steps(&mut streams, [2080 + 100 * 20])[0].0, 0, "too far");
    }

    #[test]
    fn walk_that_leaves_pages_out_earns_no_trust_for_one_that_does_not() {
        let mut streams = Streams::new();
        steps(&mut streams, (0..8).map(|at| 1000 + at * 20));
        assert_eq!(steps(&mut streams, [1141]), [(1, 1)]);
    }

    #[test]
    fn strided_walk_is_no_dense_one_where_much_is_brought_and_nothing_tells_that_it_is_not_used() {
        let mut streams = Streams::of(&Memory { blind: true, ..Memory::device(1 << 16) });
        let mut trusted = 0;
        for at in 0..200_u64 {
            let page = at * 530;
            let step = streams.step(0, page);
            streams.brings(step, page & !511..(page & !511) + 512);
            trusted += u64::from(step.trust > 0 && !step.is_strided());
        }
        assert_eq!(trusted, 0);
    }

    #[test]
    fn scattered_faults_are_no_walk() {
        let mut streams = Streams::new();
        let pages = (0..100u64).map(|at| (at * 7919 % 1009) << 20);
        assert!(steps(&mut streams, pages).iter().all(|(trust, _)| *trust == 0));
    }

    #[test]
    fn walk_that_has_ended_is_forgotten_while_scattered_faults_go_on() {
        let mut streams = Streams::new();
        // A pass over 64 MiB, which brings 2 MiB at its last steps.
        for page in [0, 1, 5, 21, 85, 341, 512, 1024, 1536].into_iter().chain((4..32).map(|at| at * 512)) {
            let step = streams.step(0, page);
            streams.brings(step, page..(page + 1).next_multiple_of(1 << (2 * step.trust).min(9)));
        }
        let scattered = (1..4000u64).map(|at| (at * at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50);
        let mut brought = 0;
        for page in scattered {
            let step = streams.step(0, page);
            let pages = 1 << (2 * step.trust).min(9);
            streams.brings(step, page & !(pages - 1)..(page & !(pages - 1)) + pages);
            brought += pages;
        }
        assert!(brought < 2 * 4000, "{brought} pages");
    }

    #[test]
    fn scattered_faults_are_no_walk_however_much_is_brought() {
        let mut streams = Streams::new();
        let scattered = (1..200u64).map(|at| (at * at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44);
        for page in scattered {
            let step = streams.step(0, page);
            assert!(step.trust <= 1, "page {page}: {step:?}");
            streams.brings(step, page & !63..(page & !63) + 64);
        }
    }
}
