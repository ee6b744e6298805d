//! How events are packed: postcard's wire format, after times and addresses were made small.
//!
//! Times and pages are differences from the event before, with the sign in the lowest bit, so that near ones take one byte
//! or two. The first event of each block differs from zero: every block can be read alone.

use crate::event::Event;

/// Bits of an address within a page.
const PAGE_BITS: u32 = 12;
/// More bytes than any packed event has: each number takes ten at most.
pub(crate) const EVENT_MAX: usize = 128;

/// What the next event differs from.
#[derive(Default)]
pub(crate) struct Before {
    time_ns: u64,
    page: u64,
}

impl Before {
    /// Packs an event; returns how many bytes of `to` it took.
    pub(crate) fn pack(&mut self, event: &Event, to: &mut [u8]) -> usize {
        let mut event = *event;
        let time_ns = std::mem::replace(&mut self.time_ns, event.time_ns);
        event.time_ns = zigzag(event.time_ns.wrapping_sub(time_ns));
        if let Some(address) = event.kind.address_mut() {
            let page = *address >> PAGE_BITS;
            *address = zigzag(page.wrapping_sub(std::mem::replace(&mut self.page, page)));
        }
        postcard::to_slice(&event, to).expect("an event is short").len()
    }

    /// Unpacks the first event of `from`; returns it with what comes after it, or `None` if there is no whole one.
    pub(crate) fn unpack<'b>(&mut self, from: &'b [u8]) -> Option<(Event, &'b [u8])> {
        let (mut event, rest): (Event, _) = postcard::take_from_bytes(from).ok()?;
        self.time_ns = self.time_ns.wrapping_add(unzigzag(event.time_ns));
        event.time_ns = self.time_ns;
        if let Some(address) = event.kind.address_mut() {
            self.page = self.page.wrapping_add(unzigzag(*address));
            *address = self.page << PAGE_BITS;
        }
        Some((event, rest))
    }
}

/// A difference, in two's complement, as a small number if it is near zero.
fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ (difference >> 63).wrapping_neg()
}

fn unzigzag(small: u64) -> u64 {
    (small >> 1) ^ (small & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_differences_are_small_numbers() {
        let small = [0, 1, -1, 2, -2, i64::MIN].map(|difference| zigzag(difference.cast_unsigned()));
        assert_eq!(small, [0, 2, 1, 4, 3, u64::MAX]);
        assert!(small.iter().zip([0, 1, -1, 2, -2, i64::MIN]).all(|(s, d)| unzigzag(*s).cast_signed() == d));
    }
}
