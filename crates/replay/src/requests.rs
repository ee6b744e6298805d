//! What is replayed: touches of pages, of which a trace has some or all.

use std::collections::BTreeMap;

use bifolio_folio::PAGE_SIZE;
use bifolio_trace::{Answer, Kind, Trace};

/// Pages of a block of 2 MiB.
const BLOCK_PAGES: u64 = 512;

/// What a trace tells of touches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Every page that devices accessed.
    Accesses,
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
}

/// The touches of a trace.
#[derive(Clone, Debug)]
pub struct Requests {
    /// What they are.
    pub source: Source,
    /// The touches, in order.
    pub touches: Vec<Touch>,
    /// Number of blocks of 2 MiB.
    pub blocks: usize,
}

impl Requests {
    /// Takes the touches of a trace: accesses of devices, or their faults where no accesses were recorded; and faults of the
    /// CPU that brought something home.
    #[must_use]
    pub fn of(trace: &Trace) -> Requests {
        let exact = trace.events().any(|event| matches!(event.kind, Kind::Access { .. }));
        let source = if exact { Source::Accesses } else { Source::Faults };
        let mut touches: Vec<Touch> = trace.events().filter_map(|event| touch(source, &event.kind)).collect();
        let blocks = pack(&mut touches);
        Requests { source, touches, blocks }
    }
}

fn touch(source: Source, kind: &Kind) -> Option<Touch> {
    let (address, write, by_cpu) = match *kind {
        Kind::Access { address, write, .. } => (address, write, false),
        Kind::DeviceFault { address, write, .. } if source == Source::Faults => (address, write, false),
        // The CPU does not say whether it writes; a page that it wants leaves the device either way.
        Kind::CpuFault { address, answer: Answer::Moved, .. } => (address, true, true),
        _ => return None,
    };
    Some(Touch { page: address / PAGE_SIZE, write, by_cpu })
}

/// Moves blocks together; returns how many there are.
fn pack(touches: &mut [Touch]) -> usize {
    let mut places: BTreeMap<u64, u64> = touches.iter().map(|touch| (touch.page / BLOCK_PAGES, 0)).collect();
    (0..).zip(places.values_mut()).for_each(|(place, slot)| *slot = place);
    for touch in touches {
        touch.page = places[&(touch.page / BLOCK_PAGES)] * BLOCK_PAGES + touch.page % BLOCK_PAGES;
    }
    places.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_packed_and_pages_keep_their_place_in_them() {
        let touch = |page| Touch { page, write: false, by_cpu: false };
        let mut touches = [touch(7 * 512 + 3), touch(2 * 512 + 5), touch(7 * 512)];
        assert_eq!(pack(&mut touches), 2);
        assert_eq!(touches.map(|touch| touch.page), [512 + 3, 5, 512]);
    }
}
