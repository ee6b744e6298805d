//! What a trace tells of touches, and of the bytes that pages have before them.

use std::collections::BTreeMap;
use std::ops::Range;

use bifolio_folio::PAGE_SIZE;
use bifolio_trace::{Answer, Kind, Trace};
use rangemap::RangeSet;

use crate::requests::{BLOCK_PAGES, Limited, Requests, Source, Touch, Unmap};

impl Requests {
    /// Takes the touches of a trace: accesses of devices, or their faults where no accesses were recorded; and faults of the
    /// CPU that brought something home. If no device touched anything, those of the CPU are touches of the limited memory,
    /// and include first touches. Pages that are unmapped lose their bytes.
    #[must_use]
    pub fn of(trace: &Trace) -> Requests {
        let has = |wanted: fn(&Kind) -> bool| trace.events().any(|event| wanted(&event.kind));
        let source = match has(|kind| matches!(kind, Kind::Access { .. })) {
            true if trace.has_no_gaps() => Source::Accesses,
            true => Source::SomeAccesses,
            false => Source::Faults,
        };
        let by_device = |kind: &Kind| matches!(kind, Kind::Access { .. } | Kind::DeviceFault { .. });
        let limited = if has(by_device) { Limited::Device } else { Limited::System };
        let mut reader = Reader::new(source, limited);
        trace.events().for_each(|event| reader.read(&event.kind));
        reader.finish()
    }
}

/// What the events so far told.
struct Reader {
    source: Source,
    limited: Limited,
    touches: Vec<Touch>,
    unmaps: Vec<Unmap>,
    /// Pages that were mapped, or unmapped, and not heard of since: they have no bytes.
    empty: RangeSet<u64>,
    /// Pages that were touched, and whether each had bytes when it was first.
    begins_filled: BTreeMap<u64, bool>,
}

impl Reader {
    fn new(source: Source, limited: Limited) -> Reader {
        let (touches, unmaps) = (Vec::new(), Vec::new());
        let (empty, begins_filled) = (RangeSet::new(), BTreeMap::new());
        Reader { source, limited, touches, unmaps, empty, begins_filled }
    }

    fn read(&mut self, kind: &Kind) {
        match *kind {
            Kind::Mapped { address, pages } => self.now_empty(pages_at(address, pages)),
            Kind::Unmapped { address, pages } => {
                let pages = pages_at(address, pages);
                self.unmap(pages.clone());
                self.now_empty(pages);
            }
            Kind::Filled { address, pages } => self.fill(pages_at(address, pages)),
            // A damaged trace may name any order.
            Kind::Populated { address, order } if u32::from(order) <= BLOCK_PAGES.ilog2() => {
                self.fill(pages_at(address, 1 << order));
            }
            _ => {}
        }
        if let Some(touch) = touch(self.source, self.limited, kind) {
            let was_empty = self.empty.contains(&touch.page);
            if was_empty {
                self.empty.remove(touch.page..touch.page + 1);
            }
            let is_fresh = match self.limited {
                Limited::Device => was_empty,
                Limited::System => matches!(kind, Kind::CpuFault { answer: Answer::Populated, .. }),
            };
            self.begins_filled.entry(touch.page).or_insert(!is_fresh);
            self.touches.push(touch);
        }
    }

    fn now_empty(&mut self, pages: Range<u64>) {
        if !pages.is_empty() {
            self.empty.insert(pages);
        }
    }

    /// Pages get bytes in system memory: before the first touch, or later, by the CPU.
    fn fill(&mut self, pages: Range<u64>) {
        if self.limited == Limited::System || pages.is_empty() {
            return;
        }
        let touched = self.begins_filled.range(pages.clone()).map(|(page, _)| *page);
        let again = touched.filter(|page| self.empty.contains(page));
        self.touches.extend(again.map(|page| Touch { write: true, by_cpu: true, ..Touch::read(page) }));
        self.empty.remove(pages);
    }

    /// Those pages of `pages` that were touched lose their bytes.
    fn unmap(&mut self, pages: Range<u64>) {
        let before = self.touches.len();
        for (&page, _) in self.begins_filled.range(pages) {
            match self.unmaps.last_mut() {
                Some(last)
                    if last.before == before && last.pages().end == page && page % BLOCK_PAGES != 0 =>
                {
                    last.count += 1;
                }
                _ => self.unmaps.push(Unmap { before, first: page, count: 1 }),
            }
        }
    }

    fn finish(self) -> Requests {
        let begins_filled = self.begins_filled;
        Requests::packed(self.source, self.limited, self.touches, self.unmaps, |page| begins_filled[&page])
    }
}

fn pages_at(address: u64, pages: u32) -> Range<u64> {
    let first = address / PAGE_SIZE;
    first..first + u64::from(pages)
}

fn touch(source: Source, limited: Limited, kind: &Kind) -> Option<Touch> {
    let (address, write, by_cpu) = match *kind {
        Kind::Access { address, write, .. } => (address, write, false),
        Kind::DeviceFault { address, write, .. } if source == Source::Faults => (address, write, false),
        // The CPU does not say whether it writes; a page that it wants leaves the device either way.
        Kind::CpuFault { address, answer: Answer::Moved | Answer::Populated, .. }
            if limited == Limited::System =>
        {
            (address, true, false)
        }
        Kind::CpuFault { address, answer: Answer::Moved, .. } => (address, true, true),
        _ => return None,
    };
    Some(Touch { write, by_cpu, ..Touch::read(address / PAGE_SIZE) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = PAGE_SIZE;

    fn requests(kinds: &[Kind]) -> Requests {
        let mut reader = Reader::new(Source::Accesses, Limited::Device);
        kinds.iter().for_each(|kind| reader.read(kind));
        reader.finish()
    }

    fn access(page: u64) -> Kind {
        Kind::Access { address: page * PAGE, unit: 0, write: true }
    }

    #[test]
    fn page_has_bytes_unless_it_was_mapped_and_not_filled() {
        let kinds = [
            Kind::Mapped { address: 0, pages: 8 },
            Kind::Filled { address: 2 * PAGE, pages: 1 },
            Kind::Populated { address: 4 * PAGE, order: 1 },
            access(1),
            access(2),
            access(4),
            access(5),
            access(9),
        ];
        let found = requests(&kinds);
        assert_eq!((found.filled, found.touches.len()), (vec![2, 4, 5, 9], 5));
    }

    #[test]
    fn bytes_that_the_cpu_writes_after_an_unmap_are_a_touch() {
        let unmapped = Kind::Unmapped { address: 0, pages: 600 };
        let populated = Kind::Populated { address: 0, order: 0 };
        let found = requests(&[access(0), access(513), unmapped, populated, access(0), access(1)]);
        let by_cpu: Vec<(u64, bool)> = found.touches.iter().map(|touch| (touch.page, touch.by_cpu)).collect();
        assert_eq!(by_cpu, [(0, false), (513, false), (0, true), (0, false), (1, false)]);
        assert_eq!(found.unmaps, [0, 513].map(|first| Unmap { before: 2, first, count: 1 }));
        assert_eq!(found.filled, [0, 513], "page 1 is empty when it is heard of first");
    }
}
