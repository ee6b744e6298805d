//! What is replayed: touches of pages, of which a trace has some or all.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::ops::Range;

use crate::machine::ReplayError;

/// Pages of a block of 2 MiB.
pub(crate) const BLOCK_PAGES: u64 = 512;

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

/// Pages that lose their bytes, all in one block of 2 MiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unmap {
    /// How many touches come before.
    pub before: usize,
    /// The first page, counted as those of touches.
    pub first: u64,
    /// Number of pages.
    pub count: u64,
}

impl Unmap {
    /// The pages.
    #[must_use]
    pub fn pages(&self) -> Range<u64> {
        self.first..self.first + self.count
    }
}

/// What is done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step<'r> {
    /// A page is touched.
    Touch(&'r Touch),
    /// Pages lose their bytes.
    Unmap(&'r Unmap),
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
    /// What is unmapped between them, in order.
    pub unmaps: Vec<Unmap>,
    /// Number of blocks of 2 MiB.
    pub blocks: usize,
}

impl Requests {
    /// Takes touches of some pages, from number 0 on, all of which hold data before.
    #[must_use]
    pub fn of_touches(touches: Vec<Touch>, pages: u64, limited: Limited) -> Requests {
        let blocks = usize::try_from(pages.div_ceil(BLOCK_PAGES)).unwrap_or(usize::MAX);
        Requests {
            source: Source::Accesses,
            limited,
            filled: (0..pages).collect(),
            touches,
            unmaps: Vec::new(),
            blocks,
        }
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
        let place = |number: &u64| {
            let next = pages.len() as u64;
            if is_spread { *pages.entry(*number).or_insert(next) } else { *number }
        };
        let touches = numbers.iter().map(place).map(Touch::read).collect();
        Requests::packed(Source::Accesses, Limited::Device, touches, Vec::new(), |_| true)
    }

    /// Takes touches and unmaps of pages by their numbers, of which `begins_filled` tells whether they hold data before. Blocks
    /// move together: those that are never touched are left out.
    pub(crate) fn packed(
        source: Source,
        limited: Limited,
        mut touches: Vec<Touch>,
        mut unmaps: Vec<Unmap>,
        begins_filled: impl Fn(u64) -> bool,
    ) -> Requests {
        let mut places: BTreeMap<u64, u64> =
            touches.iter().map(|touch| (touch.page / BLOCK_PAGES, 0)).collect();
        (0..).zip(places.values_mut()).for_each(|(place, slot)| *slot = place);
        let place = |page: u64| Some(places.get(&(page / BLOCK_PAGES))? * BLOCK_PAGES + page % BLOCK_PAGES);
        let distinct: BTreeSet<u64> = touches.iter().map(|touch| touch.page).collect();
        let filled = distinct.into_iter().filter(|page| begins_filled(*page)).filter_map(place).collect();
        unmaps.retain_mut(|unmap| place(unmap.first).map(|first| unmap.first = first).is_some());
        for touch in &mut touches {
            touch.page = place(touch.page).expect("its block is touched");
        }
        Requests { source, limited, filled, touches, unmaps, blocks: places.len() }
    }

    /// Touches, and what is unmapped between them, in order. What is unmapped after the last touch is left out.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let mut touches = self.touches.iter().enumerate().peekable();
        let mut unmaps = self.unmaps.iter().peekable();
        iter::from_fn(move || {
            let (at, _) = *touches.peek()?;
            let unmap = unmaps.next_if(|unmap| unmap.before <= at).map(Step::Unmap);
            unmap.or_else(|| touches.next().map(|(_, touch)| Step::Touch(touch)))
        })
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_packed_and_pages_keep_their_place_in_them() {
        let touches = [7 * 512 + 3, 2 * 512 + 5, 7 * 512].map(Touch::read).to_vec();
        let unmap = |first| Unmap { before: 1, first, count: 2 };
        let unmaps = vec![unmap(3 * 512), unmap(7 * 512 + 3)];
        let packed =
            Requests::packed(Source::Accesses, Limited::Device, touches, unmaps, |page| page != 7 * 512);
        assert_eq!(packed.touches.iter().map(|touch| touch.page).collect::<Vec<u64>>(), [512 + 3, 5, 512]);
        assert_eq!((packed.blocks, packed.filled), (2, vec![5, 512 + 3]));
        assert_eq!(packed.unmaps, [unmap(512 + 3)], "no touch tells of block 3");
    }

    #[test]
    fn numbers_of_objects_become_pages_beside_each_other() {
        let pages = |numbers: &[u64]| {
            Requests::of_pages(numbers).touches.iter().map(|touch| touch.page).collect::<Vec<u64>>()
        };
        assert_eq!(pages(&[1 << 40, 7, 1 << 40, 1 << 50]), [0, 1, 0, 2]);
        assert_eq!(pages(&[512, 514, 512]), [0, 2, 0]);
    }
}
