//! Walks through memory, seen from their faults: several side by side, each with its own trust.
//!
//! ```text
//!   fault:    17         18  19-20      21-24               dense: begins where the last one ended
//!   fault:  5       25       45       65       85           strided: as far on as the last time
//!   fault:   6       26                                     begins again, beside where it began
//! ```
//!
//! A stride need not be a whole number of pages: it is told in bytes, and where faults tell the very address that was touched, a walk
//! down the columns of any matrix is followed exactly.
//!
//! A lone fault says nothing about its neighbours. A fault just behind (or before) what an earlier one brought, or as far
//! from it as the one before, is a step of a walk. Trust grows with each step, and falls when what was brought ahead of a
//! walk leaves unused.
//!
//! Scattered faults look like a step now and then. So it is counted how many walks went on after so many steps: where few do, a
//! fault that is the first or second step of a walk is no more than a lone fault.

mod stream;

use alloc::vec::Vec;
use core::ops::Range;

use bifolio_folio::{Order, PageSet};

use self::stream::{PAGE, PASSED_LATELY, Stream, TRUST_MAX, is_dense, page_of};
use crate::fact::Coming;
use crate::fault::Prefetch;
use crate::memory::Memory;

/// Walks that are followed at the same time.
const STREAMS: usize = 32;
/// How far, in pages, two faults of one strided walk can be apart.
const REACH: u64 = 16_384;
/// By how much the order of a dense walk grows at each step.
const ORDERS_A_STEP: u8 = 2;
/// A walk that has not gone on for so many faults may leave out nothing at its next step: a large slack is hit by chance sooner or later.
const LATELY: u64 = STREAMS as u64;
/// Faults in which a walk that does not go on loses one step of trust.
const FADE: u64 = 128;
/// A strided walk is brought ahead by at most 2 to the power of this many steps.
const AHEAD_MAX: u8 = 6;

/// Trusts at which it is counted whether walks go on.
const COUNTED: usize = 3;
/// A walk that goes on outweighs so many that end.
const GOING_ON: i8 = 3;
const BALANCE_MOST: i8 = 12;

/// What a fault is within its walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Steps before it that went the same way, less what was in vain; 0 for a lone fault.
    pub trust: u8,
    /// Distance from the step before it, in bytes; a page for a walk that leaves nothing out, 0 for a lone fault.
    pub stride: i64,
    /// Where it begins: the address that was touched, or before it if that is a later part of the step.
    start: u64,
    stream: usize,
}

impl Step {
    /// How much a walk that leaves nothing out brings: four times as much at each step. A single page otherwise.
    #[must_use]
    pub fn order(&self) -> Order {
        let steps = if is_dense(self.stride) { self.trust } else { 0 };
        Order::new(steps.saturating_mul(ORDERS_A_STEP)).unwrap_or(Order::MAX)
    }

    /// Whether it is a step of a walk that leaves pages out.
    #[must_use]
    pub fn is_strided(&self) -> bool {
        self.trust > 0 && !is_dense(self.stride)
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

    /// Finds the walk that a fault at an address belongs to, or begins one.
    pub fn step(&mut self, unit: u32, address: u64) -> Step {
        self.faults += 1;
        if let Some((stream, start)) = self.find_part(unit, address) {
            return self.take_part(stream, start, address);
        }
        let (stream, stride) = match self.find(unit, address) {
            Some(found) => found,
            None => (self.begin(unit, address), 0),
        };
        let walk = &mut self.streams[stream];
        if walk.returns_to(unit, address) {
            walk.first = address;
        }
        let trusted = walk.trust;
        let goes_on = stride != 0 && (is_dense(stride) || stride == walk.stride);
        let faded =
            walk.trust.saturating_sub(u8::try_from((self.faults - walk.used) / FADE).unwrap_or(u8::MAX));
        // A walk that leaves pages out earns no trust for one that does not.
        let before = if is_dense(stride) && !is_dense(walk.stride) { 0 } else { faded };
        walk.trust = if goes_on { (before + 1).min(TRUST_MAX) } else { 0 };
        if !goes_on {
            (walk.first, walk.width) = (walk.last, 1);
        }
        (walk.stride, walk.used) = (stride, self.faults);
        walk.go_to(address);
        self.count(trusted, goes_on && before == trusted);
        self.told(stream, address)
    }

    /// The walk that a fault is a later part of a step of, and where the step begins. A dense walk that is trusted goes before it.
    fn find_part(&self, unit: u32, address: u64) -> Option<(usize, u64)> {
        let part = self.any(|walk, ago| walk.start_of_part(unit, address).filter(|_| ago <= LATELY))?;
        let dense = self.any(|walk, ago| {
            let is_trusted = walk.trust > 1 && is_dense(walk.stride);
            walk.dense_step(address, ago <= LATELY, self.blind).filter(|_| is_trusted)
        });
        dense.is_none().then_some(part)
    }

    fn take_part(&mut self, stream: usize, start: u64, address: u64) -> Step {
        let walk = &mut self.streams[stream];
        walk.take_part(start, address);
        walk.brought = page_of(address)..page_of(address) + 1;
        walk.used = self.faults;
        self.told(stream, start)
    }

    /// What is told of a fault in a walk: where few walks go on after as many steps, it is a lone one.
    fn told(&self, stream: usize, start: u64) -> Step {
        let Stream { trust, stride, .. } = self.streams[stream];
        let is_lone = self.balances.get(usize::from(trust)).is_some_and(|balance| *balance < 0);
        let (trust, stride) = if is_lone { (0, 0) } else { (trust, stride) };
        Step { trust, stride, start, stream }
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

    /// What is to come ahead of a walk that leaves pages out, after a step of it: what later steps touch, of twice as many after each
    /// step, up to `most`. `None` if the fault is no step of such a walk.
    pub fn run_ahead(&mut self, step: Step, most: u32) -> Option<Prefetch> {
        if !step.is_strided() {
            return None;
        }
        let walk = &mut self.streams[step.stream];
        let count = (1u32 << step.trust.min(AHEAD_MAX)).min(most);
        let stride = isize::try_from(step.stride).ok()?;
        let first = usize::try_from(step.start).ok()?.checked_add_signed(stride)?;
        walk.ahead = u64::from(count);
        Some(Prefetch { first, stride, bytes: usize::try_from(walk.width).ok()?, count })
    }

    /// What came at `page` left unused: the walk that was nearest loses trust. What came before it was touched was brought ahead of
    /// a walk that leaves pages out, and other folios by one that does not.
    pub fn distrust(&mut self, page: u64, came: Coming) {
        let leaves_out = came == Coming::Prefetch;
        let same_kind =
            self.streams.iter_mut().filter(|walk| (walk.stride.unsigned_abs() > PAGE) == leaves_out);
        let nearest = same_kind.min_by_key(|walk| page_of(walk.last).abs_diff(page));
        if let Some(walk) = nearest {
            walk.trust /= 2;
        }
    }

    /// The walk that a fault continues, and its distance from the last one: a strided walk whose step is at this very address, then a
    /// dense walk, then one of the same stride, then one that begins again, then the nearest that has no trust yet.
    fn find(&self, unit: u32, address: u64) -> Option<(usize, i64)> {
        let exact = || self.any(|walk, _| walk.is_exact_step(unit, address).then_some(walk.stride));
        let dense = || self.any(|walk, ago| walk.dense_step(address, ago <= LATELY, self.blind));
        let strided =
            || self.any(|walk, ago| walk.is_step(unit, address, ago <= PASSED_LATELY).then_some(walk.stride));
        let returning = || self.any(|walk, _| walk.returns_to(unit, address).then_some(walk.stride));
        exact().or_else(dense).or_else(strided).or_else(returning).or_else(|| self.nearest(unit, address))
    }

    /// The first walk that something is found of, asked with the faults since it went on.
    fn any<T>(&self, find: impl Fn(&Stream, u64) -> Option<T>) -> Option<(usize, T)> {
        let ask = |(at, walk): (usize, &Stream)| Some((at, find(walk, self.faults - walk.used)?));
        self.streams.iter().enumerate().find_map(ask)
    }

    fn nearest(&self, unit: u32, address: u64) -> Option<(usize, i64)> {
        let pages = |walk: &Stream| page_of(walk.last).abs_diff(page_of(address));
        let loose = self.streams.iter().enumerate().filter(|(_, walk)| walk.unit == unit && walk.trust == 0);
        let (at, walk) = loose.min_by_key(|(_, walk)| (pages(walk), walk.used))?;
        let apart = if pages(walk) == 1 { PAGE } else { walk.last.abs_diff(address) };
        let stride = i64::try_from(apart).ok().filter(|_| (1..=REACH).contains(&pages(walk)))?;
        Some((at, if address > walk.last { stride } else { -stride }))
    }

    fn begin(&mut self, unit: u32, address: u64) -> usize {
        let fresh = Stream::new(unit, address, self.faults);
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

/// Whether pages that leave were not worth what a walk brought: brought ahead and not used, or more than half of a folio unused.
#[must_use]
pub fn is_in_vain(came: Coming, pages: u32, used: &PageSet) -> bool {
    let used = u32::from(used.count());
    used == 0 && came == Coming::Prefetch || used * 2 < pages
}

#[cfg(test)]
mod tests;
