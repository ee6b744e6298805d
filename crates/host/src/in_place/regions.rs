//! Which addresses are registered: ranges that neither overlap nor touch.

use std::collections::BTreeMap;
use std::ops::Range;

use bifolio_sys::AddressRange;

/// A set of addresses, as whole pages.
#[derive(Clone, Debug, Default)]
pub(super) struct Regions {
    /// End of each range, by its start.
    ends: BTreeMap<usize, usize>,
}

impl Regions {
    /// Tells whether there is no range.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds a range, or what is not in the set of it.
    pub(super) fn insert(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        // Those that touch become one with it.
        let touching: Vec<_> =
            self.ends.range(..=end).rev().map(|(s, e)| (*s, *e)).take_while(|(_, e)| *e >= start).collect();
        for (first, last) in touching {
            self.ends.remove(&first);
            start = start.min(first);
            end = end.max(last);
        }
        self.ends.insert(start, end);
    }

    /// Takes a range away.
    pub(super) fn remove(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let within: Vec<_> = self
            .ends
            .range(..range.end)
            .rev()
            .map(|(s, e)| (*s, *e))
            .take_while(|(_, e)| *e > range.start)
            .collect();
        for (start, end) in within {
            self.ends.remove(&start);
            if start < range.start {
                self.ends.insert(start, range.start);
            }
            if end > range.end {
                self.ends.insert(range.end, end);
            }
        }
    }

    /// The range that holds `address`.
    pub(super) fn around(&self, address: usize) -> Option<Range<usize>> {
        let (start, end) = self.ends.range(..=address).next_back()?;
        (address < *end).then_some(*start..*end)
    }

    /// The first range that ends after `address`.
    pub(super) fn next_from(&self, address: usize) -> Option<Range<usize>> {
        self.around(address).or_else(|| self.ends.range(address..).next().map(|(start, end)| *start..*end))
    }

    /// Tells whether all of `range` is in the set.
    pub(super) fn contains_all(&self, range: &Range<usize>) -> bool {
        self.around(range.start).is_some_and(|around| range.end <= around.end)
    }

    /// The parts of `range` that are in the set.
    pub(super) fn within(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let mut at = range.start;
        while let Some(next) = self.next_from(at).filter(|next| next.start < range.end) {
            parts.push(next.start.max(range.start)..next.end.min(range.end));
            at = next.end;
        }
        parts
    }

    /// The parts of `range` that are not in the set.
    pub(super) fn others(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let mut at = range.start;
        for known in self.within(range.clone()) {
            parts.push(at..known.start);
            at = known.end;
        }
        parts.push(at..range.end);
        parts.retain(|part| !part.is_empty());
        parts
    }

    /// All ranges, by address.
    pub(super) fn all(&self) -> impl Iterator<Item = AddressRange> {
        self.ends.iter().map(|(start, end)| {
            AddressRange::new(*start, *end - *start).expect("ranges are whole pages and not empty")
        })
    }

    /// Empties the set, and returns its ranges.
    pub(super) fn take(&mut self) -> Vec<AddressRange> {
        let all = self.all().collect();
        self.ends.clear();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Compares with a set of numbers after each of many changes.
    #[test]
    fn ranges_are_those_of_a_plain_set() {
        let (mut regions, mut plain) = (Regions::default(), BTreeSet::new());
        let mut seed = 1_u64;
        let mut next = |most: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from((seed >> 33) % most).expect("small")
        };
        for _ in 0..20_000 {
            let start = next(64);
            let end = start + next(9);
            if next(2) == 0 {
                regions.insert(start..end);
                plain.extend(start..end);
            } else {
                regions.remove(start..end);
                plain.retain(|at| !(start..end).contains(at));
            }
            let listed: Vec<_> = regions.ends.iter().flat_map(|(start, end)| *start..*end).collect();
            assert!(listed.iter().eq(&plain), "{start}..{end}: {listed:?} {plain:?}");
            let apart =
                regions.ends.iter().zip(regions.ends.keys().skip(1)).all(|((_, end), next)| end < next);
            assert!(apart, "{:?}", regions.ends);
            let probe = next(70);
            assert_eq!(regions.around(probe).is_some(), plain.contains(&probe));
            let whole = (start..end.max(start + 1)).all(|at| plain.contains(&at));
            assert_eq!(regions.contains_all(&(start..end.max(start + 1))), whole);
            let inside: Vec<_> = regions.within(start..end).into_iter().flatten().collect();
            assert!(inside.iter().eq(plain.range(start..end)), "{inside:?}");
            let outside: Vec<_> = regions.others(start..end).into_iter().flatten().collect();
            assert!(outside.iter().copied().eq((start..end).filter(|at| !plain.contains(at))), "{outside:?}");
            let following = plain.iter().find(|at| **at >= probe);
            assert_eq!(regions.next_from(probe).map(|range| range.start.max(probe)), following.copied());
        }
    }
}
