//! Memory that goes back and forth between two sides: seen by its faults, and slowed down.
//!
//! ```text
//!   here:   fault .... fault .... fault  -> a bounce each time it was taken away meanwhile, within the window
//!   there:        fault      fault
//! ```
//!
//! As in NVIDIA's driver: after three bounces a toucher waits for a while, so that the other side gets something done; after
//! ten waits the memory stays where it is and is mapped remotely, where that is possible.

use alloc::collections::BTreeMap;

/// Two faults further apart do not count, in nanoseconds.
const WINDOW_NS: u64 = 500_000;
/// Bounces that make a toucher wait.
const BOUNCES: u8 = 3;
/// Waits after which the memory stays where it is.
const WAITS: u8 = 10;
/// Regions that are remembered.
const REGIONS: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Region {
    fault_ns: u64,
    taken: bool,
    bounces: u8,
    waits: u8,
}

/// What is to be done about a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is answered as always.
    Go,
    /// It waits for so long first.
    Wait(u64),
    /// The memory stays where it is.
    Stay,
}

/// The regions of 64 KiB that faulted lately.
#[derive(Clone, Debug, Default)]
pub struct Bounces {
    regions: BTreeMap<u64, Region>,
}

/// The region of a page.
fn region_of(page: u64) -> u64 {
    page >> 4
}

impl Bounces {
    /// Judges a fault.
    pub fn judge(&mut self, page: u64, now_ns: u64) -> Verdict {
        self.forget_old(now_ns);
        let fresh = Region { fault_ns: now_ns, taken: false, bounces: 0, waits: 0 };
        let region = self.regions.entry(region_of(page)).or_insert(fresh);
        let soon = now_ns.saturating_sub(region.fault_ns) < WINDOW_NS;
        region.bounces = match (soon, region.taken) {
            (true, true) => region.bounces.saturating_add(1),
            (true, false) => region.bounces,
            (false, _) => 0,
        };
        (region.fault_ns, region.taken) = (now_ns, false);
        if region.waits >= WAITS {
            return Verdict::Stay;
        }
        if region.bounces < BOUNCES {
            return Verdict::Go;
        }
        region.bounces = 0;
        region.waits += 1;
        Verdict::Wait(WINDOW_NS)
    }

    /// Another side took a page away.
    pub fn taken(&mut self, page: u64) {
        if let Some(region) = self.regions.get_mut(&region_of(page)) {
            region.taken = true;
        }
    }

    fn forget_old(&mut self, now_ns: u64) {
        if self.regions.len() >= REGIONS {
            // What stays where it is is remembered for longer than what has only bounced.
            let recent = |region: &Region| {
                let window = WINDOW_NS * (1 + 1000 * u64::from(region.waits));
                now_ns.saturating_sub(region.fault_ns) < window
            };
            self.regions.retain(|_, region| recent(region));
        }
        if self.regions.len() >= REGIONS {
            self.regions.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// Faults so far apart, each after the other side took the page.
    fn bounce(bounces: &mut Bounces, times: u64, apart_ns: u64) -> Vec<Verdict> {
        let fault = |at| {
            let verdict = bounces.judge(3, at * apart_ns);
            bounces.taken(5);
            verdict
        };
        (0..times).map(fault).collect()
    }

    #[test]
    fn memory_that_bounces_waits_and_then_stays() {
        let verdicts = bounce(&mut Bounces::default(), 40, 1000);
        assert_eq!(verdicts[..4], [Verdict::Go, Verdict::Go, Verdict::Go, Verdict::Wait(WINDOW_NS)]);
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Wait(WINDOW_NS)).count(), 10);
        assert_eq!(verdicts[31..], [Verdict::Stay; 9]);
    }

    #[test]
    fn slow_exchange_is_no_bouncing() {
        assert_eq!(bounce(&mut Bounces::default(), 40, 2 * WINDOW_NS), [Verdict::Go; 40]);
    }

    #[test]
    fn faults_without_another_side_are_no_bouncing() {
        let mut bounces = Bounces::default();
        assert!((0..40).all(|at| bounces.judge(3, at * 1000) == Verdict::Go));
    }

    #[test]
    fn memory_for_regions_is_limited() {
        let mut bounces = Bounces::default();
        (0..10_000).for_each(|page| assert_eq!(bounces.judge(page << 4, 0), Verdict::Go));
        assert!(bounces.regions.len() <= REGIONS);
    }
}
