//! How long single calls take, up to the slowest of all, on a pool that is as fragmented as the mixed trace makes it.
//!
//! The same calls are made in every round, and each call counts with its shortest time: what remains is what the
//! allocator does, not what the machine did meanwhile.

use bifolio_buddy::{Buddy, Request};
use bifolio_buddy_cases::Random;
use std::time::Instant;

/// The time that a share of the calls does not exceed; the times are sorted.
pub fn quantile(times: &[u64], share: f64) -> f64 {
    let last = times.len() - 1;
    times[((last as f64 * share) as usize).min(last)] as f64
}

/// The shortest time of each call over some rounds, sorted.
pub fn shortest(rounds: usize, calls: usize) -> Vec<u64> {
    let mut shortest = measure(1, calls);
    for _ in 1..rounds {
        shortest.iter_mut().zip(measure(1, calls)).for_each(|(least, time)| *least = time.min(*least));
    }
    shortest.sort_unstable();
    shortest
}

/// Times in nanoseconds of every call of a mix of all kinds: plain, cleared, aligned, within a range, contiguous, and failing ones.
fn measure(seed: u64, calls: usize) -> Vec<u64> {
    let mut buddy = Buddy::new(1 << 20).expect("valid size");
    let (mut random, mut live) = (Random::new(seed), Vec::new());
    let mut times = Vec::with_capacity(calls * 2);
    for _ in 0..calls {
        if live.len() > 4096 {
            let (page, order) = live.swap_remove(random.below(live.len() as u32) as usize);
            let clear = random.below(4) == 0;
            let begun = Instant::now();
            let freed = if clear { buddy.free_cleared(page, order) } else { buddy.free(page, order) };
            times.push(begun.elapsed().as_nanos() as u64);
            freed.expect("allocated before");
        }
        let order = random.below(10);
        let start = u64::from(random.below(1 << 19));
        let kind = random.below(20);
        let request = match kind {
            0 => Request::block(order).within(start..start + (1 << 18)),
            1 => Request::block(order).top_down(),
            2 => Request::block(order).prefer_cleared(),
            3 => Request::pages(1 << 21),
            _ => Request::block(order),
        };
        let begun = Instant::now();
        match kind {
            0..=3 => {
                let grants = buddy.allocate_with(&request);
                times.push(begun.elapsed().as_nanos() as u64);
                live.extend(grants.into_iter().flatten().map(|grant| (grant.block.page, grant.block.order)));
            }
            4 => {
                let page = buddy.allocate_aligned(order, order + 3);
                times.push(begun.elapsed().as_nanos() as u64);
                live.extend(page.map(|page| (page, order)));
            }
            _ => {
                let page = buddy.allocate(order);
                times.push(begun.elapsed().as_nanos() as u64);
                live.extend(page.map(|page| (page, order)));
            }
        }
    }
    times
}
