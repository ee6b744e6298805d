//! Draws how a pool fragments while blocks of all orders come and go, and how it recovers.
//!
//! Run with `cargo run -p bifolio-buddy --example fragmentation`.

#![expect(clippy::print_stdout, reason = "an example shows its results")]

use bifolio_buddy::{Buddy, BuddyBlock};
use std::error::Error;

const PAGES: u64 = 1 << 16;

/// A small pseudo-random generator (xorshift), so that every run draws the same.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound
    }
}

/// One line: a picture, and the figures behind it.
fn draw(step: usize, buddy: &Buddy) {
    let figures = buddy.figures();
    let picture = buddy.picture(64).to_string();
    let strip = picture.trim_end().split_once('|').map_or("", |(_, strip)| strip);
    let free_percent = figures.free_pages * 100 / figures.pages;
    println!(
        "{step:6} |{strip} {free_percent:3} % free, fragmentation {:.2}, without use for 2 MiB {:.2}",
        figures.fragmentation(),
        figures.unusable_share(9)
    );
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut buddy, mut random) = (Buddy::new(PAGES)?, Random(7));
    let mut live: Vec<BuddyBlock> = Vec::new();
    for step in 0..20_000 {
        // Fill to seven eighths, then replace blocks of random orders.
        while buddy.free_pages() < PAGES / 8 {
            let block = live.swap_remove(random.below(live.len()));
            buddy.free(block.page, block.order)?;
        }
        let order = u32::try_from(random.below(10))?;
        if let Ok(page) = buddy.allocate(order) {
            live.push(BuddyBlock { page, order });
        }
        if step % 1000 == 0 {
            draw(step, &buddy);
        }
    }
    println!("all blocks but one in a hundred are freed:");
    let kept = live.iter().copied().step_by(100).collect::<Vec<_>>();
    for block in live.iter().filter(|block| !kept.contains(block)) {
        buddy.free(block.page, block.order)?;
    }
    draw(20_000, &buddy);
    buddy.free_list(&kept)?;
    draw(20_000, &buddy);
    Ok(())
}
