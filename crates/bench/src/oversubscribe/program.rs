//! A program that touches real memory in the order of a pattern, and finds there what it wrote.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use bifolio_sys::PAGE;

use super::pattern::Pattern;
use crate::row::BenchError;
use crate::scatter::{Touched, faults};

/// The subcommand of `bifolio bench` that is this program.
pub const COMMAND: &str = "pattern";

const WORDS: usize = PAGE / size_of::<u64>();
/// Words that an access of 64 bytes goes on by.
const LINE: usize = 64 / size_of::<u64>();

/// Fills as many pages as the pattern has, touches them in its order, and checks every word.
///
/// # Errors
/// If there is no such string of accesses, or a word is not what was written.
pub fn touch(pattern: Pattern, pages: u64) -> Result<Touched, BenchError> {
    let string = pattern.accesses(pages)?;
    let words = usize::try_from(string.pages).expect("pages that can be touched") * WORDS;
    let memory: Vec<AtomicU64> = (0..words).map(|at| AtomicU64::new(number(at))).collect();
    let (before, start) = (faults(), Instant::now());
    let (mut read, mut written) = (0_u64, 0_u64);
    for touch in &string.touches {
        let page = usize::try_from(touch.page).expect("one of the pages") * WORDS;
        for access in 0..touch.accesses as usize {
            let word = &memory[page + access * LINE % WORDS];
            if touch.write {
                word.fetch_add(1, Relaxed);
                written += 1;
            } else {
                read = read.wrapping_add(word.load(Relaxed));
            }
        }
    }
    let touched = Touched { time: start.elapsed(), faults: faults() - before };
    std::hint::black_box(read);
    let grown = |(at, word): (usize, &AtomicU64)| word.load(Relaxed).wrapping_sub(number(at));
    let found = memory.iter().enumerate().map(grown).fold(0, u64::wrapping_add);
    if found == written {
        return Ok(touched);
    }
    Err(BenchError::Failed(format!("of {written} writes {found} are there")))
}

/// What a word holds at first: nothing that can be compressed.
fn number(at: usize) -> u64 {
    let mixed = (at as u64 ^ 0x5bd1_e995).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_finds_what_it_wrote() {
        for pattern in Pattern::ALL {
            let touched = touch(pattern, 64).expect("memory that stays loses nothing");
            assert!(touched.time.as_nanos() > 0, "{pattern:?}");
        }
    }
}
