//! How much of the program's private memory is managed, and why the rest is not: for the report.

use std::time::{Duration, Instant};

use bifolio_sys::{AddressRange, Backing, MapsEntry, PAGE, resident_pages};

use crate::gauges::Outside;
use crate::in_place::eligible::{Place, places};
use crate::in_place::service::{STORE, Service};

/// Measured so often: while nothing is registered, and while something is.
const IDLE: Duration = Duration::from_secs(1);
const ENGAGED: Duration = Duration::from_millis(100);
/// A measurement may take this share of the time: 1 in so many parts.
const SHARE: u32 = 50;
/// What could not be managed for this time is not managed.
const UNMANAGEABLE: Duration = Duration::from_millis(500);
/// Pages that are asked for at once.
const CHUNK: usize = 1 << 14;

impl Service {
    /// Measures, if it is time.
    pub(super) fn measure_at_times(&mut self, now: Instant) {
        if now < self.next_measure {
            return;
        }
        self.measure();
        let interval = if self.engaged { ENGAGED } else { IDLE };
        self.next_measure = now + interval.max(now.elapsed() * SHARE);
    }

    /// Measures.
    pub(super) fn measure(&mut self) {
        let (Ok(memory), Ok(entries)) = (self.meter.read(), self.maps.read()) else { return };
        let mut managed = 0;
        let unmanageable = self.unmanageable_since.is_some_and(|since| since.elapsed() > UNMANAGEABLE);
        let mut outside = [0; Outside::ALL.len()];
        let mut counted = 0;
        for (entry, place) in places(entries, &self.exclusions) {
            let Some(place) = place else { continue };
            let resident = resident_bytes(&entry, &mut self.presence);
            counted += resident;
            match place {
                Place::Data if unmanageable => outside[Outside::Refused as usize] += resident,
                Place::Data if self.refused.contains_all(&(entry.range.start()..entry.range.end())) => {
                    outside[Outside::Refused as usize] += resident;
                }
                Place::Data => managed += resident,
                Place::Outside(reason) => outside[reason as usize] += resident,
                Place::Own => {}
            }
        }
        // Pages of files that were written are private memory too.
        let total = memory.anonymous() * PAGE as u64;
        outside[Outside::Variables as usize] += total.saturating_sub(counted);
        let forked = (self.forked_pages * PAGE as u64).min(managed);
        outside[Outside::Forked as usize] = forked;
        managed -= forked;
        let away = self.stored_pages() * PAGE as u64;
        self.gauges.see_managed(managed.min(total), away);
        self.gauges.see_used([away]);
        self.gauges.see_outside(&outside);
    }

    /// Pages in the store.
    pub(super) fn stored_pages(&self) -> u64 {
        self.engine.node(STORE).pagemap().live_pages()
    }
}

fn resident_bytes(entry: &MapsEntry, presence: &mut Vec<u8>) -> u64 {
    if entry.is_inaccessible() || entry.backing == Backing::File {
        return 0;
    }
    presence.resize(CHUNK, 0);
    let mut pages = 0_u64;
    for offset in (0..entry.range.len()).step_by(CHUNK * PAGE) {
        let len = (entry.range.len() - offset).min(CHUNK * PAGE);
        let part: AddressRange = entry.range.part(offset, len).expect("within the mapping");
        let there = &mut presence[..part.pages()];
        if resident_pages(part, there).is_ok() {
            pages += there.iter().map(|byte| u64::from(byte & 1)).sum::<u64>();
        }
    }
    pages * PAGE as u64
}
