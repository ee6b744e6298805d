//! What is replayed: touches of pages, of which a trace has some or all.

use std::collections::BTreeMap;

use bifolio_folio::PAGE_SIZE;
use bifolio_trace::{Answer, Kind, Trace};

use crate::machine::ReplayError;

/// Pages of a block of 2 MiB.
const BLOCK_PAGES: u64 = 512;

/// What a trace tells of touches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Every page that devices accessed.
    Accesses,
    /// Pages that devices accessed, some of which are missing: events were lost, or a part of the file is damaged.
    SomeAccesses,
    /// Faults: what was touched while it was there is not known, so that a policy looks better or worse than it is.
    Faults,
}

/// A touch of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Touch {
    /// The page, counted from the first block on; blocks of which nothing is told are left out.
    pub page: u64,
    /// Whether it is written.
    pub write: bool,
    /// Whether the CPU touches it, rather than the device.
    pub by_cpu: bool,
    /// How many accesses in a row it stands for. A trace does not say, so there it is 1.
    pub accesses: u32,
}

impl Touch {
    /// One read of a page by the device.
    #[must_use]
    pub fn read(page: u64) -> Touch {
        Touch { page, write: false, by_cpu: false, accesses: 1 }
    }
}

/// Which memory is too small for all of the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limited {
    /// That of the device, which touches what it needs there.
    Device,
    /// System memory: only the CPU touches pages, and what does not fit is on the device.
    System,
}

impl Limited {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Limited::Device => "device",
            Limited::System => "system",
        }
    }
}

/// The touches of a trace.
#[derive(Clone, Debug)]
pub struct Requests {
    /// What they are.
    pub source: Source,
    /// Which memory they need.
    pub limited: Limited,
    /// Pages that hold data before the first touch, in order; others begin as zeros.
    pub filled: Vec<u64>,
    /// The touches, in order.
    pub touches: Vec<Touch>,
    /// Number of blocks of 2 MiB.
    pub blocks: usize,
}

impl Requests {
    /// Takes the touches of a trace: accesses of devices, or their faults where no accesses were recorded; and faults of the
    /// CPU that brought something home. If no device touched anything, those of the CPU are touches of the limited memory,
    /// and include first touches.
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
        let kinds = trace.events().map(|event| event.kind);
        let mut touches: Vec<(Touch, bool)> = kinds
            .filter_map(|kind| touch(source, limited, &kind).map(|touch| (touch, is_fresh(&kind))))
            .collect();
        let blocks = pack(&mut touches);
        let filled = filled(&touches);
        Requests {
            source,
            limited,
            filled,
            touches: touches.into_iter().map(|(touch, _)| touch).collect(),
            blocks,
        }
    }
}

impl Requests {
    /// Takes touches of some pages, from number 0 on, all of which hold data before.
    #[must_use]
    pub fn of_touches(touches: Vec<Touch>, pages: u64, limited: Limited) -> Requests {
        let blocks = usize::try_from(pages.div_ceil(BLOCK_PAGES)).unwrap_or(usize::MAX);
        Requests { source: Source::Accesses, limited, filled: (0..pages).collect(), touches, blocks }
    }

    /// Takes accesses of pages by their numbers, which need not be near each other: those of another program's trace. All
    /// are reads.
    #[must_use]
    pub fn of_pages(numbers: &[u64]) -> Requests {
        let mut distinct = numbers.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let spread = distinct.last().zip(distinct.first()).map_or(0, |(last, first)| last - first);
        // Numbers of objects tell nothing of where they are: then each gets the next page.
        let is_spread = spread / SPREAD > distinct.len() as u64;
        let mut pages = BTreeMap::new();
        let mut touches: Vec<(Touch, bool)> = Vec::with_capacity(numbers.len());
        for number in numbers {
            let next = pages.len() as u64;
            let page = if is_spread { *pages.entry(*number).or_insert(next) } else { *number };
            touches.push((Touch::read(page), false));
        }
        let blocks = pack(&mut touches);
        let filled = filled(&touches);
        let touches = touches.into_iter().map(|(touch, _)| touch).collect();
        Requests { source: Source::Accesses, limited: Limited::Device, filled, touches, blocks }
    }
}

impl Requests {
    /// Tells whether every touch is known, as the optimum and misses by size need.
    ///
    /// # Errors
    /// [`ReplayError::FaultsOnly`] if the trace has faults alone: what was touched without a fault is not known; and
    /// [`ReplayError::Gaps`] if events are missing from it.
    pub fn check_exact(&self) -> Result<(), ReplayError> {
        match self.source {
            Source::Accesses => Ok(()),
            Source::SomeAccesses => Err(ReplayError::Gaps),
            Source::Faults => Err(ReplayError::FaultsOnly),
        }
    }
}

/// Numbers of pages are those of places if at least one of so many is there.
const SPREAD: u64 = 16;

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

/// Whether a touch found that its page had no data.
fn is_fresh(kind: &Kind) -> bool {
    matches!(kind, Kind::CpuFault { answer: Answer::Populated, .. })
}

/// The pages whose first touch found data.
fn filled(touches: &[(Touch, bool)]) -> Vec<u64> {
    let mut first = BTreeMap::new();
    for (touch, is_fresh) in touches {
        first.entry(touch.page).or_insert(*is_fresh);
    }
    first.into_iter().filter(|(_, is_fresh)| !is_fresh).map(|(page, _)| page).collect()
}

/// Moves blocks together; returns how many there are.
fn pack(touches: &mut [(Touch, bool)]) -> usize {
    let mut places: BTreeMap<u64, u64> =
        touches.iter().map(|(touch, _)| (touch.page / BLOCK_PAGES, 0)).collect();
    (0..).zip(places.values_mut()).for_each(|(place, slot)| *slot = place);
    for (touch, _) in touches {
        touch.page = places[&(touch.page / BLOCK_PAGES)] * BLOCK_PAGES + touch.page % BLOCK_PAGES;
    }
    places.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_packed_and_pages_keep_their_place_in_them() {
        let touch = |page| (Touch::read(page), false);
        let mut touches = [touch(7 * 512 + 3), touch(2 * 512 + 5), touch(7 * 512)];
        assert_eq!(pack(&mut touches), 2);
        assert_eq!(touches.map(|(touch, _)| touch.page), [512 + 3, 5, 512]);
    }

    #[test]
    fn numbers_of_objects_become_pages_beside_each_other() {
        let pages = |numbers: &[u64]| {
            Requests::of_pages(numbers).touches.iter().map(|touch| touch.page).collect::<Vec<u64>>()
        };
        assert_eq!(pages(&[1 << 40, 7, 1 << 40, 1 << 50]), [0, 1, 0, 2]);
        assert_eq!(pages(&[512, 514, 512]), [0, 2, 0]);
    }

    #[test]
    fn page_has_data_if_its_first_touch_found_some() {
        let touch = |page, is_fresh| (Touch::read(page), is_fresh);
        let touches = [touch(3, true), touch(1, false), touch(3, false), touch(1, true)];
        assert_eq!(filled(&touches), [1]);
    }
}
