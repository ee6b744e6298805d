//! Ranges that the program is about to drop: pages that are there may be old still, or new already.
//!
//! The kernel tells of `MADV_DONTNEED` and `MADV_FREE` before it drops anything, and not when it is done. A page of before that
//! went to the store in between would come back; one that was written after it must not be lost. So pages of such a range
//! stay where they are, but those that were missing and have begun as zeros since. The kernel is done long before
//! [`TIME`] is over; what is there then stays in use (`MADV_FREE` keeps pages).

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::in_place::regions::Regions;

/// A range is kept so long at least, twice as long at most.
const TIME: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Dropping {
    /// Since `since`.
    young: Regions,
    /// Before.
    old: Regions,
    since: Instant,
}

impl Dropping {
    pub(super) fn new(now: Instant) -> Dropping {
        Dropping { young: Regions::default(), old: Regions::default(), since: now }
    }

    /// The program is about to drop a range.
    pub(super) fn begin(&mut self, range: Range<usize>, now: Instant) {
        self.pass_time(now);
        self.young.insert(range);
    }

    /// Nothing of before is there any more.
    pub(super) fn end(&mut self, range: &Range<usize>) {
        self.young.remove(range.clone());
        self.old.remove(range.clone());
    }

    /// The parts of a range whose pages may be of before.
    pub(super) fn within(&mut self, range: &Range<usize>, now: Instant) -> Vec<Range<usize>> {
        self.pass_time(now);
        let mut parts = self.young.within(range.clone());
        parts.extend(self.old.within(range.clone()));
        parts
    }

    fn pass_time(&mut self, now: Instant) {
        if now - self.since > TIME {
            let long_ago = now - self.since > 2 * TIME;
            self.old = std::mem::take(&mut self.young);
            if long_ago {
                self.old.take();
            }
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stay_until_they_are_new_or_their_time_is_over() {
        let start = Instant::now();
        let at = |tenths: u32| start + TIME / 10 * tenths;
        let mut dropping = Dropping::new(start);
        dropping.begin(0x1000..0x5000, at(5));
        dropping.end(&(0x2000..0x3000));
        assert_eq!(dropping.within(&(0..0x4000), at(6)), [0x1000..0x2000, 0x3000..0x4000]);
        assert_eq!(
            dropping.within(&(0..0x2000), at(14)).first(),
            Some(&(0x1000..0x2000)),
            "a second is not over"
        );
        dropping.begin(0x8000..0x9000, at(15));
        assert_eq!(dropping.within(&(0..0xa000), at(26)).first(), Some(&(0x8000..0x9000)));
        assert_eq!(dropping.within(&(0..0x8000), at(26)), []);
        assert_eq!(dropping.within(&(0..0xa000), at(60)), []);
    }
}
