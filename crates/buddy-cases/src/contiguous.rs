//! Ranges of any length come and go in random places.

use bifolio_buddy::Buddy;
use std::ops::Range;

use crate::Random;

/// Pages of the pool.
const PAGES: u64 = 1 << 16;
/// Ranges that live at a time: with 200 pages on average, some two fifths of the pool.
const LIVE: u32 = 128;
/// Longest range.
const LONGEST: u32 = 400;

/// Replaces ranges of 1 to 400 pages, which need not be aligned, `steps` times; returns the calls made, filling
/// included.
///
/// # Panics
/// If the allocator is wrong.
#[must_use]
pub fn contiguous(seed: u64, steps: u32) -> u64 {
    let mut buddy = Buddy::new(PAGES).expect("valid size");
    let mut random = Random::new(seed);
    let take = |buddy: &mut Buddy, random: &mut Random| -> Range<u64> {
        let pages = u64::from(random.below(LONGEST)) + 1;
        buddy.allocate_contiguous(pages).expect("three fifths of the pool are free")
    };
    let mut live: Vec<Range<u64>> = (0..LIVE).map(|_| take(&mut buddy, &mut random)).collect();
    for _ in 0..steps {
        let victim = random.below(LIVE) as usize;
        buddy.free_range(live[victim].clone()).expect("allocated before");
        live[victim] = take(&mut buddy, &mut random);
    }
    u64::from(LIVE) + 2 * u64::from(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_serves_every_range_it_is_asked_for() {
        assert_eq!(contiguous(1, 1000), 2128);
    }
}
