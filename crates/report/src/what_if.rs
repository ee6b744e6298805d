//! What less or more device memory would do, from the accesses of a trace.

use bifolio_folio::PAGE_SIZE;
use bifolio_policy::MissCurve;
use bifolio_policy::belady::{Access, Touch};
use bifolio_trace::{Answer, Kind, Trace};

use crate::picture::Figure;
use crate::picture::miss_ratio::{Curve, draw};
use crate::svg::legend;
use crate::units::{bytes, grouped};

/// The share of the avoidable misses that the advice avoids, in percent.
const MOST: u64 = 95;
/// Points of the curve.
const POINTS: u64 = 128;

/// The misses of a trace in which every access is to be found.
pub(crate) struct WhatIf {
    curve: MissCurve,
    /// Pages that there were on all devices.
    pages: u64,
    devices: u64,
}

impl WhatIf {
    /// `None` if accesses were not recorded or some are missing, or the size of the memory is not known.
    pub(crate) fn of(trace: &Trace) -> Option<WhatIf> {
        let number = |name| trace.note(name).and_then(|text| text.parse::<u64>().ok());
        let (memory, devices) = (number("device_memory")?, number("devices").unwrap_or(1).max(1));
        let touches: Vec<Touch> = trace.events().flat_map(|event| touches(&event.kind)).collect();
        let curve = MissCurve::of(&touches);
        let exact =
            trace.has_no_gaps() && trace.events().any(|event| matches!(event.kind, Kind::Access { .. }));
        exact.then_some(WhatIf { curve, pages: memory / PAGE_SIZE * devices, devices })
    }

    /// How much memory is enough for most, if that is more than there was.
    pub(crate) fn advice(&self) -> Option<String> {
        let enough = self.curve.enough(self.pages, MOST);
        (enough > self.pages).then(|| {
            let each = (enough.div_ceil(self.devices) * PAGE_SIZE).next_multiple_of(1 << 20) >> 20;
            format!(
                "With --vram {each}M accesses of devices would miss {} times, not {} (pages of 4 KiB, least recently used \
                 out): more memory than that would do little.",
                grouped(self.curve.misses(enough)),
                grouped(self.curve.misses(self.pages)),
            )
        })
    }

    pub(crate) fn figure(&self) -> Figure {
        let last = self.curve.largest().max(self.pages);
        let share = |pages| self.curve.misses(pages) as f64 / self.curve.touches().max(1) as f64;
        let point = |part| (last * part / POINTS * PAGE_SIZE, share(last * part / POINTS));
        let curve = Curve { name: "lru, 4 KiB".to_owned(), points: (0..=POINTS).map(point).collect() };
        let rows = (1..=8).map(|part| last * part / 8);
        Figure {
            title: "What if there were more device memory, or less",
            says: "The share of the accesses of devices that would find no page, by the memory of all devices together: pages \
                   of 4 KiB, and the least recently used one goes. The line is the memory that there was."
                .to_owned(),
            picture: draw(&[curve], &[(self.pages * PAGE_SIZE, "recorded")]),
            legend: legend("", []),
            numbers: (
                vec!["memory", "misses"],
                rows.map(|pages| vec![bytes(pages * PAGE_SIZE), grouped(self.curve.misses(pages))]).collect(),
            ),
        }
    }
}

/// What an event says of pages, one by one.
fn touches(kind: &Kind) -> impl Iterator<Item = Touch> + use<> {
    let (address, pages, what) = match *kind {
        Kind::Access { address, write, .. } => (address, 1, if write { Access::Write } else { Access::Read }),
        Kind::CpuFault { address, answer: Answer::Moved, .. } => (address, 1, Access::Away),
        Kind::Unmapped { address, pages } => (address, pages, Access::Unmap),
        _ => (0, 0, Access::Read),
    };
    let first = address / PAGE_SIZE;
    (first..first + u64::from(pages)).map(move |page| Touch { page, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_the_memory_in_which_little_misses() {
        // A loop over 1,000 pages.
        let touches: Vec<Touch> = (0..10_000).map(|at| Touch::read(at % 1000)).collect();
        let of = |pages| WhatIf { curve: MissCurve::of(&touches), pages, devices: 2 }.advice();
        let advice = of(500).expect("half of them misses all");
        assert!(advice.contains("--vram 2M") && advice.contains("1,000 times, not 10,000"), "{advice}");
        assert_eq!(of(1000), None);
    }
}
