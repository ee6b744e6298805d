//! Which stack allocated an address, and which instructions touched a range.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::rc::Rc;

use bifolio_folio::PAGE_SIZE;
use bifolio_trace::{Kind, Trace};

/// A stack: addresses of code, the innermost first.
type Stack = Rc<[u64]>;

/// The call sites of a trace.
#[derive(Debug, Default)]
pub struct CallSites {
    /// Allocations that do not overlap, by their starts: ends, and who called.
    allocations: BTreeMap<u64, (u64, Stack)>,
    /// How often each instruction faulted on a page.
    faults: BTreeMap<u64, HashMap<u64, u64>>,
}

impl CallSites {
    /// Takes the call sites of a trace.
    #[must_use]
    pub fn of(trace: &Trace) -> CallSites {
        let (mut sites, mut frames) = (CallSites::default(), HashMap::<u32, Vec<u64>>::new());
        for event in trace.events() {
            match event.kind {
                Kind::Frame { pc } => frames.entry(event.thread).or_default().push(pc),
                Kind::Allocated { address, pages, frames: count } => {
                    let told = frames.remove(&event.thread).unwrap_or_default();
                    // Some may have been lost, or replaced by newer events.
                    let whole = told.len() == count as usize;
                    let stack = if whole { told } else { Vec::new() };
                    sites.allocate(address..address + u64::from(pages) * PAGE_SIZE, stack.into());
                }
                Kind::FaultPc { address, pc } => {
                    *sites.faults.entry(address / PAGE_SIZE).or_default().entry(pc).or_default() += 1;
                }
                _ => {}
            }
        }
        sites
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.allocations.is_empty() && self.faults.is_empty()
    }

    /// The stack of the allocation that has most of these addresses, the innermost caller first; empty if none is known.
    #[must_use]
    pub fn allocation_of(&self, range: &Range<u64>) -> &[u64] {
        let first =
            self.allocations.range(..range.start).next_back().map_or(range.start, |(start, _)| *start);
        let shared = |start: u64, end: u64| end.min(range.end).saturating_sub(start.max(range.start));
        let within = self.allocations.range(first..range.end.max(first));
        let most = within.max_by_key(|(start, (end, _))| shared(**start, *end));
        let most = most.filter(|(start, (end, _))| shared(**start, *end) > 0);
        most.map_or(&[], |(_, (_, stack))| stack)
    }

    /// The instructions that faulted on these addresses, with how often; most often first.
    #[must_use]
    pub fn faults_of(&self, range: &Range<u64>) -> Vec<(u64, u64)> {
        let mut counts: HashMap<u64, u64> = HashMap::new();
        for (pc, count) in self
            .faults
            .range(range.start / PAGE_SIZE..range.end.div_ceil(PAGE_SIZE))
            .flat_map(|(_, page)| page)
        {
            *counts.entry(*pc).or_default() += count;
        }
        let mut faults: Vec<(u64, u64)> = counts.into_iter().collect();
        faults.sort_by_key(|(pc, count)| (std::cmp::Reverse(*count), *pc));
        faults
    }

    /// Notes an allocation, in place of what was there before.
    fn allocate(&mut self, range: Range<u64>, stack: Stack) {
        let before: Vec<(u64, (u64, Stack))> = self
            .allocations
            .range(..range.end)
            .rev()
            .take_while(|(_, (end, _))| *end > range.start)
            .map(|(start, (end, stack))| (*start, (*end, Rc::clone(stack))))
            .collect();
        for (start, (end, stack)) in before {
            self.allocations.remove(&start);
            if start < range.start {
                self.allocations.insert(start, (range.start, Rc::clone(&stack)));
            }
            if end > range.end {
                self.allocations.insert(range.end, (end, stack));
            }
        }
        self.allocations.insert(range.start, (range.end, stack));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_allocation_replaces_what_it_covers() {
        let mut sites = CallSites::default();
        let stack = |pc: u64| -> Stack { vec![pc].into() };
        sites.allocate(0x1000..0x9000, stack(1));
        sites.allocate(0x3000..0x4000, stack(2));
        sites.allocate(0x8000..0xa000, stack(3));
        let of = |start, end| sites.allocation_of(&(start..end)).to_vec();
        assert_eq!([of(0x1000, 0x2000), of(0x3000, 0x4000), of(0x4000, 0x5000)], [vec![1], vec![2], vec![1]]);
        assert_eq!([of(0x7000, 0xb000), of(0x3800, 0x9000)], [vec![3], vec![1]]);
        assert_eq!([of(0xa000, 0xb000), of(0, 0x1000)], [vec![], vec![]]);
    }

    #[test]
    fn faults_are_counted_by_instruction() {
        let mut sites = CallSites::default();
        for (page, pc) in [(1, 7), (1, 7), (2, 8), (2, 7), (9, 9)] {
            *sites.faults.entry(page).or_default().entry(pc).or_default() += 1;
        }
        assert_eq!(sites.faults_of(&(0x1000..0x3000)), [(7, 3), (8, 1)]);
    }
}
