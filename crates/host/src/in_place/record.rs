//! What a trace is told beside what the engine tells: what happens to pages that are not in the store.

use std::ops::Range;

use bifolio_folio::Order;
use bifolio_sys::{AddressRange, PAGE, threads};
use bifolio_trace::Kind;

use crate::in_place::service::{Fault, Service};

impl Service {
    /// Records that the first `bytes` of a range are zeros in system memory now.
    pub(super) fn record_zeros(&self, range: AddressRange, bytes: usize) {
        let Some(events) = self.gauges.events() else { return };
        for (page, order) in aligned_runs(range.start() / PAGE..(range.start() + bytes) / PAGE) {
            events.put(Kind::Populated { address: (page * PAGE) as u64, order });
        }
    }

    /// Records that the program has dropped or unmapped a range.
    pub(super) fn record_unmapped(&self, range: &Range<usize>) {
        if let Some(events) = self.gauges.events() {
            let pages = u32::try_from(range.len() / PAGE).unwrap_or(u32::MAX);
            events.put(Kind::Unmapped { address: range.start as u64, pages });
        }
    }

    /// Records where the program is that waits for a page, if call sites are recorded.
    pub(super) fn record_place(&self, fault: Fault) {
        if !self.control.records_call_sites() {
            return;
        }
        let pc = threads::program_counter(self.program, fault.thread);
        if let Some((events, pc)) = self.gauges.events().zip(pc) {
            events.put(Kind::FaultPc { address: (fault.address & !(PAGE - 1)) as u64, pc });
        }
    }

    /// Records that the program forks while so many bytes are away.
    pub(super) fn record_fork(&self, bytes: usize) {
        if let Some(events) = self.gauges.events() {
            events.put(Kind::Forked { pages: (bytes / PAGE) as u64 });
        }
    }
}

/// Naturally aligned runs that make up a range of pages, each with its order: as few as can be.
fn aligned_runs(pages: Range<usize>) -> impl Iterator<Item = (usize, u8)> {
    let mut at = pages.start;
    std::iter::from_fn(move || {
        let left = pages.end.checked_sub(at).filter(|left| *left > 0)?;
        let aligned = u8::try_from(at.trailing_zeros()).unwrap_or(u8::MAX);
        let fits = u8::try_from(left.ilog2()).unwrap_or(u8::MAX);
        let run = (at, aligned.min(fits).min(Order::PMD.get()));
        at += 1 << run.1;
        Some(run)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_aligned_and_cover_the_range() {
        assert!(aligned_runs(3..14).eq([(3, 0), (4, 2), (8, 2), (12, 1)]));
        assert!(aligned_runs(0..1536).eq([(0, 9), (512, 9), (1024, 9)]));
        assert_eq!(aligned_runs(7..7).count(), 0);
    }
}
