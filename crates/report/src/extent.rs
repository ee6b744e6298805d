//! How far a trace reaches: in time, in addresses, and in the memory of each device.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use bifolio_folio::PAGE_SIZE;
use bifolio_trace::{Kind, Trace};

use crate::analysis::BLOCK_PAGES;

/// Pages of the address space that are looked at together: 64 KiB.
const GRANULE_PAGES: u64 = 16;
/// Rows of a map, at most.
const ROWS_MAX: usize = 48;
/// Columns of all that goes over time.
pub(crate) const COLUMNS: usize = 96;

/// How far a trace reaches.
pub(crate) struct Extent {
    /// The time of the last event.
    pub(crate) end_ns: u64,
    /// The address space, without what was never touched.
    pub(crate) rows: Rows,
    /// Device pages, by device.
    pub(crate) devices: BTreeMap<u8, Range<u64>>,
    /// Pages of each device, if they are known.
    pub(crate) device_pages: Option<u64>,
}

/// The address space in rows of equal size. Addresses of which nothing is told are left out.
pub(crate) struct Rows {
    /// The granules that are there, in order, and the place of each.
    granules: Vec<u64>,
    places: HashMap<u64, usize>,
    pub(crate) count: usize,
}

impl Extent {
    pub(crate) fn of(trace: &Trace) -> Extent {
        let (mut end_ns, mut granules, mut devices) = (1, BTreeSet::new(), BTreeMap::new());
        for event in trace.events() {
            end_ns = event.time_ns.max(end_ns);
            if let Some((page, pages)) = pages_of(&event.kind) {
                granules.extend(page / GRANULE_PAGES..(page + pages).div_ceil(GRANULE_PAGES));
            }
            if let Kind::ToDevice { order, node, pfn, .. } | Kind::Reshaped { order, node, pfn, .. } =
                event.kind
            {
                let range: &mut Range<u64> = devices.entry(node).or_insert(pfn..pfn);
                *range = range.start.min(pfn)..range.end.max(pfn + (1 << order));
            }
        }
        let told: Option<u64> = trace.note("device_memory").and_then(|bytes| bytes.parse().ok());
        let device_pages = told.map(|bytes| bytes.div_ceil(PAGE_SIZE));
        widen(device_pages.unwrap_or(0), &mut devices);
        Extent { end_ns, rows: Rows::new(granules), devices, device_pages }
    }

    /// The column of a time.
    pub(crate) fn column(&self, time_ns: u64) -> usize {
        let column = u128::from(time_ns) * COLUMNS as u128 / (u128::from(self.end_ns) + 1);
        usize::try_from(column).map_or(COLUMNS - 1, |column| column.min(COLUMNS - 1))
    }

    /// When a column ends.
    pub(crate) fn column_end_ns(&self, column: usize) -> u64 {
        let end = u128::from(self.end_ns) * (column as u128 + 1) / COLUMNS as u128;
        u64::try_from(end).unwrap_or(u64::MAX)
    }
}

/// The memory of a device may be larger than what was used of it: it is drawn whole, unless most of it never was.
fn widen(pages: u64, devices: &mut BTreeMap<u8, Range<u64>>) {
    for range in devices.values_mut() {
        // The first page of a device is aligned further than any of its folios.
        range.start = range.start / LARGEST * LARGEST;
        let used = range.end - range.start;
        let drawn = if pages > 2 * used { used.next_multiple_of(BLOCK_PAGES) } else { pages.max(used) };
        range.end = range.start + drawn;
    }
}

/// Pages of the largest folio that a device may have: 1 GiB.
const LARGEST: u64 = 1 << 18;

/// The pages that an event is about, if it tells of a touch or a move.
fn pages_of(kind: &Kind) -> Option<(u64, u64)> {
    let pages = match *kind {
        Kind::ToDevice { order, .. } | Kind::ToRam { order, .. } | Kind::Populated { order, .. } => {
            1 << order
        }
        Kind::CpuFault { .. } | Kind::DeviceFault { .. } | Kind::Access { .. } => 1,
        _ => return None,
    };
    Some((kind.address()? / PAGE_SIZE, pages))
}

impl Rows {
    fn new(granules: BTreeSet<u64>) -> Rows {
        let granules: Vec<u64> = granules.into_iter().collect();
        let places = granules.iter().enumerate().map(|(place, granule)| (*granule, place)).collect();
        Rows { count: granules.len().min(ROWS_MAX), granules, places }
    }

    /// The row of a page, if it is in one.
    pub(crate) fn of(&self, page: u64) -> Option<usize> {
        let place = self.places.get(&(page / GRANULE_PAGES))?;
        Some(place * self.count / self.granules.len())
    }

    /// Number of pages in a row.
    pub(crate) fn pages(&self, row: usize) -> u64 {
        let first = |row: usize| (row * self.granules.len()).div_ceil(self.count);
        (first(row + 1) - first(row)) as u64 * GRANULE_PAGES
    }

    /// The first address of a row.
    pub(crate) fn address(&self, row: usize) -> u64 {
        let first = (row * self.granules.len()).div_ceil(self.count);
        self.granules[first] * GRANULE_PAGES * PAGE_SIZE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_never_used_is_left_out_if_it_is_most() {
        let drawn = |used: u64, pages| {
            let mut devices = BTreeMap::from([(0, 0..used)]);
            widen(pages, &mut devices);
            devices[&0].clone()
        };
        assert_eq!([drawn(600, 1000), drawn(600, 0), drawn(600, 100_000)], [0..1000, 0..600, 0..1024]);
    }

    #[test]
    fn every_granule_is_in_the_row_whose_address_comes_before_it() {
        let rows = Rows::new((0..100).map(|granule| granule * 3).collect());
        assert_eq!(rows.count, ROWS_MAX);
        for granule in 0..100 {
            let page = granule * 3 * GRANULE_PAGES;
            let row = rows.of(page).expect("it is there");
            assert!(rows.address(row) <= page * PAGE_SIZE);
            assert!(row + 1 == rows.count || rows.address(row + 1) > page * PAGE_SIZE);
        }
        assert_eq!((0..rows.count).map(|row| rows.pages(row)).sum::<u64>(), 100 * GRANULE_PAGES);
        assert_eq!(rows.of(GRANULE_PAGES), None);
    }
}
