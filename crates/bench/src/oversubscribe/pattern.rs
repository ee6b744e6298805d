//! In which order the data is touched: [`Pattern`], and the string of accesses of each.

use bifolio_demo::rmat::SplitMix;
use bifolio_replay::Touch;
use serde::Serialize;

use super::search;
use crate::row::BenchError;

/// Accesses of 64 bytes that a page takes which is read from its first byte to its last.
const LINES: u32 = 64;
/// From one page to the next of a strided walk: odd, so that each page has its turn.
const STRIDE: usize = 17;
/// Pages of a row of the matrix that is read by columns.
const ROW: u64 = 8;
/// Columns of it that are read: each page has eight of them.
const COLUMNS: u64 = ROW * 8;
/// How often a walk is repeated.
const PASSES: u64 = 4;
/// Accesses for each page where they are drawn at random.
const DRAWS: u64 = 8;
/// One in so many of them writes.
const WRITES: u64 = 4;
/// The seed of everything that is drawn.
const SEED: u64 = 1;

/// An order of touches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// Page after page, read and written in turns.
    Sequential,
    /// Every 17th page, until each had its turn.
    Strided,
    /// A matrix of rows of 32 KiB, by columns.
    Columns,
    /// Any page as likely as any other.
    Random,
    /// Few pages much more likely than the rest: the chance of a page falls as its rank to the power of 0.99.
    Zipf,
    /// Page after page of one random cycle.
    Chase,
    /// A search of the graph of Debian's packages by breadth.
    Bfs,
    /// Sequential, then random in a sixteenth of the data, then strided, then Zipf.
    Phases,
}

impl Pattern {
    /// All patterns.
    pub const ALL: [Pattern; 8] = [
        Pattern::Sequential,
        Pattern::Strided,
        Pattern::Columns,
        Pattern::Random,
        Pattern::Zipf,
        Pattern::Chase,
        Pattern::Bfs,
        Pattern::Phases,
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Pattern::Sequential => "sequential",
            Pattern::Strided => "strided",
            Pattern::Columns => "columns",
            Pattern::Random => "random",
            Pattern::Zipf => "zipf",
            Pattern::Chase => "chase",
            Pattern::Bfs => "bfs",
            Pattern::Phases => "phases",
        }
    }

    /// What it is.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Pattern::Sequential => "Page after page, read and written in turns",
            Pattern::Strided => "Every 17th page, until each had its turn",
            Pattern::Columns => "A matrix of rows of 32 KiB, by columns",
            Pattern::Random => "Any page as likely as any other",
            Pattern::Zipf => "Few pages much more likely than the rest (exponent 0.99)",
            Pattern::Chase => "Page after page of one random cycle",
            Pattern::Bfs => "A search of the graph of Debian's packages; its data is 12.4 MiB",
            Pattern::Phases => "Sequential, random in a part, strided, Zipf",
        }
    }

    /// The accesses to `pages` pages of data; the graph is as large as it is.
    ///
    /// # Errors
    /// If the graph cannot be searched.
    pub fn accesses(self, pages: u64) -> Result<AccessString, BenchError> {
        let touches = match self {
            Pattern::Bfs => return search::accesses(),
            Pattern::Sequential => sequential(pages, PASSES),
            Pattern::Strided => strided(pages, PASSES),
            Pattern::Columns => columns(pages),
            Pattern::Random => random(0..pages, pages * DRAWS),
            Pattern::Zipf => zipf(pages, pages * DRAWS),
            Pattern::Chase => chase(pages),
            Pattern::Phases => phases(pages),
        };
        Ok(AccessString { pages, touches })
    }
}

/// Touches of some pages, all of which hold data before.
#[derive(Clone, Debug)]
pub struct AccessString {
    /// Number of pages.
    pub pages: u64,
    /// The touches, in order.
    pub touches: Vec<Touch>,
}

impl AccessString {
    /// Single accesses.
    #[must_use]
    pub fn accesses(&self) -> u64 {
        self.touches.iter().map(|touch| u64::from(touch.accesses)).sum()
    }
}

fn sequential(pages: u64, passes: u64) -> Vec<Touch> {
    let pass = |pass| (0..pages).map(move |page| whole(page, pass % 2 == 1));
    (0..passes).flat_map(pass).collect()
}

/// Reads a whole page, or writes it.
fn whole(page: u64, write: bool) -> Touch {
    Touch { accesses: LINES, write, ..Touch::read(page) }
}

fn strided(pages: u64, passes: u64) -> Vec<Touch> {
    let pass = |pass| {
        let starts = (0..STRIDE as u64).flat_map(move |start| (start..pages).step_by(STRIDE));
        starts.map(move |page| Touch { accesses: LINES / 8, write: pass % 2 == 1, ..Touch::read(page) })
    };
    (0..passes).flat_map(pass).collect()
}

fn columns(pages: u64) -> Vec<Touch> {
    let rows = pages / ROW;
    let column = |column: u64| (0..rows).map(move |row| Touch::read(row * ROW + column * ROW / COLUMNS));
    (0..COLUMNS).flat_map(column).collect()
}

fn random(pages: std::ops::Range<u64>, draws: u64) -> Vec<Touch> {
    let mut random = SplitMix(SEED);
    let (first, count) = (pages.start, pages.end - pages.start);
    (0..draws).map(|_| drawn(first + random.below(count), &mut random)).collect()
}

fn drawn(page: u64, random: &mut SplitMix) -> Touch {
    Touch { write: random.below(WRITES) == 0, ..Touch::read(page) }
}

fn zipf(pages: u64, draws: u64) -> Vec<Touch> {
    const EXPONENT: f64 = 0.99;
    let mut sum = 0.0;
    let upto: Vec<f64> = (1..=pages)
        .map(|rank| {
            sum += (rank as f64).powf(-EXPONENT);
            sum
        })
        .collect();
    let (places, mut random) = (shuffled(pages), SplitMix(SEED));
    let mut draw = || {
        let at = random.below(1 << 31) as f64 / (1_u64 << 31) as f64 * sum;
        let rank = upto.partition_point(|upto| *upto <= at).min(places.len() - 1);
        drawn(places[rank], &mut random)
    };
    (0..draws).map(|_| draw()).collect()
}

/// The pages in a random order.
fn shuffled(pages: u64) -> Vec<u64> {
    let (mut order, mut random) = ((0..pages).collect::<Vec<u64>>(), SplitMix(SEED + 1));
    for last in (1..order.len()).rev() {
        let other = random.below(last as u64 + 1);
        order.swap(last, usize::try_from(other).expect("a place"));
    }
    order
}

fn chase(pages: u64) -> Vec<Touch> {
    let order = shuffled(pages);
    (0..PASSES).flat_map(|_| order.iter().map(|page| Touch::read(*page))).collect()
}

fn phases(pages: u64) -> Vec<Touch> {
    let part = pages / 2..pages / 2 + pages.div_ceil(16);
    let phases = [sequential(pages, 2), random(part, pages * 2), strided(pages, 2), zipf(pages, pages * 2)];
    phases.concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAGES: u64 = 1024;

    #[test]
    fn patterns_touch_all_of_their_pages_and_no_others() {
        let whole =
            [Pattern::Sequential, Pattern::Strided, Pattern::Columns, Pattern::Chase, Pattern::Phases];
        for pattern in whole {
            let string = pattern.accesses(PAGES).expect("no graph");
            let touched: BTreeSet<u64> = string.touches.iter().map(|touch| touch.page).collect();
            assert!(touched.iter().eq(&(0..PAGES).collect::<Vec<u64>>()), "{pattern:?}");
        }
        for pattern in [Pattern::Random, Pattern::Zipf] {
            let string = pattern.accesses(PAGES).expect("no graph");
            assert!(string.touches.iter().all(|touch| touch.page < PAGES), "{pattern:?}");
        }
    }

    #[test]
    fn zipf_goes_to_a_tenth_of_the_pages_most_of_the_time() {
        let string = Pattern::Zipf.accesses(PAGES).expect("no graph");
        let mut counts = vec![0; string.touches.len() / 8];
        for touch in &string.touches {
            counts[usize::try_from(touch.page).expect("a page")] += 1;
        }
        counts.sort_unstable_by(|one, other| other.cmp(one));
        let busy: i32 = counts[..counts.len() / 10].iter().sum();
        let share = f64::from(busy) / string.touches.len() as f64;
        assert!((0.6..0.8).contains(&share), "{share}");
    }

    #[test]
    fn search_touches_the_data_of_the_graph_more_than_once() {
        let string = Pattern::Bfs.accesses(PAGES).expect("the graph is whole");
        let touched: BTreeSet<u64> = string.touches.iter().map(|touch| touch.page).collect();
        assert!(touched.last().is_some_and(|last| *last < string.pages), "{touched:?}");
        assert!(string.touches.len() > 10 * touched.len());
        assert!(string.touches.iter().any(|touch| touch.write));
    }
}
