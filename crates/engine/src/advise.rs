//! What the program says of its memory: [`Engine::advise`].
//!
//! Advice is kept by addresses, until other advice replaces it or the pages are unmapped; of a range that is unmapped in part the
//! rest keeps it. It comes into the question that a policy is asked, and shapes the decision of a policy that heeds none
//! ([`Decision::advised`](bifolio_policy::Decision::advised)).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::PoisonError;

use bifolio_migrate::Failure;
use bifolio_policy::Advice;

use crate::engine::Engine;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::view::CpuView;

/// Ends and advice of ranges that do not overlap, by their starts.
type Ranges = BTreeMap<usize, (usize, Advice)>;

/// The advice of all memory.
#[derive(Debug, Default)]
pub(crate) struct Advised {
    /// Whether there was ever any: most programs give none, and faults need not look.
    any: AtomicBool,
    ranges: Mutex<Ranges>,
}

impl Advised {
    /// What was said of an address, if anything.
    pub(crate) fn of(&self, address: usize) -> Option<Advice> {
        // Relaxed: advice that is given meanwhile may come too late for a fault.
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let ranges = self.ranges();
        let (_, (end, advice)) = ranges.range(..=address).next_back()?;
        (address < *end).then_some(*advice)
    }

    /// Replaces what was said of a range.
    fn set(&self, range: Range<usize>, advice: Option<Advice>) {
        let mut ranges = self.ranges();
        let earlier = ranges.range(..range.end).rev().map(|(start, (end, advice))| (*start, *end, *advice));
        let overlapping: Vec<_> = earlier.take_while(|(_, end, _)| *end > range.start).collect();
        for (start, end, before) in overlapping {
            ranges.remove(&start);
            if start < range.start {
                ranges.insert(start, (range.start, before));
            }
            if end > range.end {
                ranges.insert(range.end, (end, before));
            }
        }
        if let Some(advice) = advice {
            ranges.insert(range.start, (range.end, advice));
            self.any.store(true, Ordering::Relaxed);
        }
    }

    /// Forgets what was said of a range.
    pub(crate) fn forget(&self, range: Range<usize>) {
        if self.any.load(Ordering::Relaxed) {
            self.set(range, None);
        }
    }

    fn ranges(&self) -> MutexGuard<'_, Ranges> {
        // A range is replaced as a whole, or a panic has lost advice, which is no more than that.
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: CpuView> Engine<V> {
    /// Says how page-aligned addresses will be used, from the next fault on; nothing moves now. [`Advice::default`] takes back
    /// what was said before.
    ///
    /// # Errors
    /// [`Failure::NotMapped`] if a page belongs to no allocation; nothing changed.
    pub fn advise(&self, addresses: Range<usize>, advice: Advice) -> Result<(), Failure> {
        for (found, run) in self.parts(addresses.clone())? {
            if !self.lock(&found).block.live().contains_all(run) {
                return Err(Failure::NotMapped);
            }
        }
        self.advised.set(addresses.clone(), (advice != Advice::default()).then_some(advice));
        // What devices use where it is, by what was said before, faults again.
        for (found, run) in self.parts(addresses)? {
            self.revoke_remote(&found, &mut self.lock(&found), run);
        }
        Ok(())
    }

    /// What was said of the page at `address`.
    #[must_use]
    pub fn advice_of(&self, address: usize) -> Advice {
        self.advised.of(address).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifolio_policy::Pattern;

    fn pattern(pattern: Pattern) -> Advice {
        Advice { pattern, ..Advice::default() }
    }

    #[test]
    fn advice_of_a_part_leaves_that_of_the_rest() {
        let advised = Advised::default();
        assert_eq!(advised.of(15), None);
        let (walk, random) = (pattern(Pattern::Sequential), pattern(Pattern::Random));
        advised.set(10..50, Some(walk));
        advised.set(20..30, Some(random));
        advised.forget(40..60);
        let found = [9, 10, 19, 20, 29, 30, 39, 40, 55].map(|at| advised.of(at));
        let (walk, random) = (Some(walk), Some(random));
        assert_eq!(found, [None, walk, walk, random, random, walk, walk, None, None]);
        advised.set(0..100, None);
        assert!(advised.ranges().is_empty());
    }
}
