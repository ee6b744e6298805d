//! What the pictures show, counted in one pass over the events.

use std::collections::{BTreeMap, HashMap, HashSet};

use bifolio_folio::PAGE_SIZE;
use bifolio_trace::{Answer, Kind, Place, Residency, Trace};
use hdrhistogram::Histogram;

use crate::extent::{COLUMNS, Extent};

/// Orders of folios that fit a block.
pub(crate) const ORDERS: usize = 10;
/// Pages of a block of 2 MiB.
pub(crate) const BLOCK_PAGES: u64 = 512;

/// What the pictures show.
pub(crate) struct Analysis {
    pub(crate) extent: Extent,
    /// Pages that moved, by row of the address space and column of time.
    pub(crate) moved: Vec<[u64; COLUMNS]>,
    /// Where the pages of each row are at the end of each column.
    pub(crate) resident: Vec<Vec<Share>>,
    pub(crate) devices: BTreeMap<u8, DeviceMap>,
    pub(crate) cpu: Side,
    pub(crate) device: Side,
    pub(crate) blocks: BTreeMap<u64, Block>,
    pub(crate) totals: Totals,
    /// Pages that devices used.
    pub(crate) device_pages: HashSet<u64>,
}

/// Pages of a row, by where they are.
#[derive(Clone, Copy, Default)]
pub(crate) struct Share {
    pub(crate) ram: u64,
    /// On devices, by the order of their folios.
    pub(crate) device: [u64; ORDERS],
}

/// The memory of a device over time.
pub(crate) struct DeviceMap {
    /// Pages of each row.
    pub(crate) row_pages: u64,
    /// By column, for each row: pages by the order of their folios.
    pub(crate) columns: Vec<Vec<[u64; ORDERS]>>,
    /// By column: the largest order of which a free block is there.
    pub(crate) largest_free: Vec<Option<usize>>,
    /// By column: free pages.
    pub(crate) free: Vec<u64>,
}

/// Faults of one side.
pub(crate) struct Side {
    /// By column, by the order of the folio that answered.
    pub(crate) faults: [[u64; ORDERS]; COLUMNS],
    pub(crate) waits: Histogram<u64>,
}

/// What happened to a block of 2 MiB.
#[derive(Clone, Copy, Default)]
pub(crate) struct Block {
    /// Pages moved to a device.
    pub(crate) pages_in: u64,
    /// Pages moved to system memory.
    pub(crate) pages_out: u64,
    /// Pages that devices used, each time they were there.
    pub(crate) pages_used: u64,
    pub(crate) cpu_faults: u64,
    pub(crate) device_faults: u64,
    pub(crate) evictions: u64,
    pub(crate) written: bool,
}

/// Sums over the whole trace.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) bytes_to_device: u64,
    pub(crate) bytes_to_ram: u64,
    pub(crate) pages_used: u64,
    pub(crate) evictions: u64,
    /// Runs of pages that went to a device to make room in system memory.
    pub(crate) reclaims: u64,
    pub(crate) copy_ns: u64,
    pub(crate) wait_ns: u64,
}

/// Longer waits count as this one: a day.
const WAIT_MAX_NS: u64 = 86_400_000_000_000;

/// Rows of the map of a device, at most.
const DEVICE_ROWS: u64 = 32;

impl Analysis {
    pub(crate) fn of(trace: &Trace) -> Analysis {
        let mut analysis = Analysis::empty(Extent::of(trace));
        let (mut residency, mut column) = (Residency::new(), 0);
        for event in trace.events() {
            let now = analysis.extent.column(event.time_ns);
            while column < now {
                analysis.look(&residency);
                column += 1;
            }
            residency.apply(&event.kind);
            analysis.count(now, &event.kind);
        }
        while column < COLUMNS {
            analysis.look(&residency);
            column += 1;
        }
        analysis
    }

    /// Whether no device touched anything: devices only hold what has no room in system memory.
    pub(crate) fn is_cpu_alone(&self) -> bool {
        self.device.total() == 0 && self.device_pages.is_empty()
    }

    fn empty(extent: Extent) -> Analysis {
        let devices = extent.devices.iter().map(|(node, range)| {
            let row_pages = (range.end - range.start).div_ceil(DEVICE_ROWS).max(1);
            let (columns, largest_free, free) = (Vec::new(), Vec::new(), Vec::new());
            (*node, DeviceMap { row_pages, columns, largest_free, free })
        });
        Analysis {
            moved: vec![[0; COLUMNS]; extent.rows.count],
            resident: Vec::new(),
            devices: devices.collect(),
            cpu: Side::new(),
            device: Side::new(),
            blocks: BTreeMap::new(),
            totals: Totals::default(),
            device_pages: HashSet::new(),
            extent,
        }
    }

    fn count(&mut self, column: usize, kind: &Kind) {
        match *kind {
            Kind::CpuFault { order, wait_ns, answer, .. } => {
                self.cpu.add(column, order, wait_ns);
                self.totals.wait_ns += wait_ns;
                self.totals.pages_used += u64::from(answer == Answer::Moved);
                self.block(kind).cpu_faults += 1;
            }
            Kind::DeviceFault { served, wait_ns, .. } => {
                self.device.add(column, served.order, wait_ns);
                self.totals.wait_ns += wait_ns;
                self.block(kind).device_faults += 1;
            }
            Kind::ToDevice { address, order, .. } => {
                self.block(kind).pages_in += 1 << order;
                self.add_moved(column, address, order);
            }
            Kind::ToRam { address, order, .. } => {
                self.block(kind).pages_out += 1 << order;
                self.add_moved(column, address, order);
            }
            Kind::Copied { to_device, bytes, time_ns, .. } => {
                let total = &mut self.totals;
                total.copy_ns += time_ns;
                *(if to_device { &mut total.bytes_to_device } else { &mut total.bytes_to_ram }) += bytes;
            }
            Kind::Evicted { .. } => {
                self.totals.evictions += 1;
                self.block(kind).evictions += 1;
            }
            Kind::Reclaimed { .. } => self.totals.reclaims += 1,
            Kind::Used { address, pages, written, .. } => {
                self.totals.pages_used += u64::from(pages);
                let first = address / PAGE_SIZE;
                self.device_pages.extend(first..first + u64::from(pages));
                let block = self.block(kind);
                block.pages_used += u64::from(pages);
                block.written |= written;
            }
            _ => {}
        }
    }

    fn block(&mut self, kind: &Kind) -> &mut Block {
        let page = kind.address().unwrap_or(0) / PAGE_SIZE;
        self.blocks.entry(page / BLOCK_PAGES).or_default()
    }

    fn add_moved(&mut self, column: usize, address: u64, order: u8) {
        let first = address / PAGE_SIZE;
        for page in first..first + (1 << order) {
            if let Some(row) = self.extent.rows.of(page) {
                self.moved[row][column] += 1;
            }
        }
    }

    /// Looks at where everything is, at the end of a column.
    fn look(&mut self, residency: &Residency) {
        let mut shares = vec![Share::default(); self.extent.rows.count];
        let mut on: HashMap<u8, Vec<(u64, usize)>> = HashMap::new();
        for (first, order, place) in residency.folios() {
            let at = usize::from(order).min(ORDERS - 1);
            for page in first..first + (1 << order) {
                let Some(row) = self.extent.rows.of(page) else { continue };
                match place {
                    Place::Ram => shares[row].ram += 1,
                    Place::Device { .. } => shares[row].device[at] += 1,
                }
            }
            if let Place::Device { node, pfn } = place {
                on.entry(node).or_default().push((pfn, at));
            }
        }
        self.resident.push(shares);
        for (node, map) in &mut self.devices {
            let mut folios = on.remove(node).unwrap_or_default();
            folios.sort_unstable();
            map.look(&self.extent.devices[node], &folios);
        }
    }
}

impl DeviceMap {
    /// Takes note of the folios on a device: first page and order, by page.
    fn look(&mut self, memory: &std::ops::Range<u64>, folios: &[(u64, usize)]) {
        let rows = (memory.end - memory.start).div_ceil(self.row_pages);
        let mut column = vec![[0; ORDERS]; usize::try_from(rows).unwrap_or(0)];
        let (mut free, mut largest, mut next) = (0, None, memory.start);
        for &(pfn, order) in folios {
            free += pfn.saturating_sub(next);
            largest = largest.max(largest_block(next..pfn));
            next = pfn + (1 << order);
            for page in pfn..next {
                let row = usize::try_from(page.saturating_sub(memory.start) / self.row_pages);
                if let Some(cell) = row.ok().and_then(|row| column.get_mut(row)) {
                    cell[order] += 1;
                }
            }
        }
        free += memory.end.saturating_sub(next);
        self.largest_free.push(largest.max(largest_block(next..memory.end)));
        self.free.push(free);
        self.columns.push(column);
    }
}

/// The largest order, up to that of a block, of an aligned range in these pages.
fn largest_block(pages: std::ops::Range<u64>) -> Option<usize> {
    (0..ORDERS).rev().find(|order| pages.start.next_multiple_of(1 << order) + (1 << order) <= pages.end)
}

impl Side {
    fn new() -> Side {
        let waits = Histogram::new_with_bounds(1, WAIT_MAX_NS, 3).expect("three digits are possible");
        Side { faults: [[0; ORDERS]; COLUMNS], waits }
    }

    fn add(&mut self, column: usize, order: u8, wait_ns: u64) {
        self.faults[column][usize::from(order).min(ORDERS - 1)] += 1;
        self.waits.saturating_record(wait_ns.max(1));
    }

    /// Number of faults.
    pub(crate) fn total(&self) -> u64 {
        self.waits.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_told_as_they_were() {
        let mut side = Side::new();
        (1..=1000).for_each(|wait| side.add(0, 3, wait * 1000));
        assert_eq!((side.total(), side.faults[0][3]), (1000, 1000));
        assert!(side.waits.value_at_quantile(0.5).abs_diff(500_000) < 1000);
    }

    #[test]
    fn largest_free_block_is_aligned() {
        assert_eq!(largest_block(1..9), Some(2));
        assert_eq!(largest_block(0..4096), Some(9));
        assert_eq!(largest_block(3..3), None);
    }
}
