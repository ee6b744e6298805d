//! What the life of a folio costs, by order: form it, unlock it, put it, undo it, hand it back.
//!
//! The floor is the same life at order 0: a folio of any order is formed and freed by writing one word, so a larger
//! one should cost no more than that.

use std::hint::black_box;
use std::time::Instant;

use bifolio_folio::{FreeRange, MemoryKind, Order, PageMap, Pfn, Pool, Reset};

use crate::progress::{Watch, repeat};
use crate::row::{BenchError, Effort, Row};
use crate::samples::middle;

/// Most that a life at order 9 may cost, in lives at order 0.
const O9_OVER_O0: f64 = 1.5;
/// Device memory: 64 MiB, so that the words stay in the cache and the work is what is measured.
const PAGES: u64 = 1 << 14;
/// Lives between two looks at the clock.
const BATCH: u32 = 20_000;

/// A pool that forgets what it gets back: the ranges are claimed anew by the loop, which owns the whole memory.
struct Forgets;

impl Pool for Forgets {
    fn folio_free(&self, range: FreeRange, _data: u32) {
        black_box(range.surrender());
    }

    fn folio_split(&self, _head: Pfn, _from: Order, _to: Order, _data: u32) {}

    fn folio_collapse(&self, _head: Pfn, _from: Order, _to: Order, _data: u32) {}
}

/// Measures all rows of folios: one for each way to reset them, all measured in turns.
///
/// # Errors
/// If there is no memory for the page words.
pub fn rows(effort: Effort, watch: &mut Watch<'_>) -> Result<Vec<Row>, BenchError> {
    let rounds = match effort {
        Effort::Quick => 20,
        Effort::Full => 400,
    };
    let mut lives = [Lives::new(Reset::OnFree)?, Lives::new(Reset::OnForm)?];
    repeat("folio.life", rounds, watch, |_| lives.iter_mut().try_for_each(Lives::measure))?;
    Ok(lives.into_iter().map(Lives::into_row).collect())
}

/// Lives in a pagemap with one way to reset folios.
struct Lives {
    pagemap: PageMap<Forgets>,
    large_ns: Vec<f64>,
    small_ns: Vec<f64>,
}

impl Lives {
    fn new(reset: Reset) -> Result<Lives, BenchError> {
        let pagemap = PageMap::with_reset(reset, MemoryKind::Private, Pfn::ZERO, PAGES, Forgets)
            .map_err(|error| BenchError::Failed(error.to_string()))?;
        Ok(Lives { pagemap, large_ns: Vec::new(), small_ns: Vec::new() })
    }

    fn measure(&mut self) -> Result<(), BenchError> {
        self.large_ns.push(lives_ns(&self.pagemap, Order::PMD)?);
        self.small_ns.push(lives_ns(&self.pagemap, Order::ZERO)?);
        Ok(())
    }

    fn into_row(self) -> Row {
        let name = match self.pagemap.reset() {
            Reset::OnFree => "folio.life.o9_over_o0",
            Reset::OnForm => "folio.life.o9_over_o0.reinit",
        };
        Row::cost(name, "ns", middle(self.large_ns), middle(self.small_ns), O9_OVER_O0)
    }
}

/// Nanoseconds of one life at `order`.
fn lives_ns(pagemap: &PageMap<Forgets>, order: Order) -> Result<f64, BenchError> {
    let start = Instant::now();
    for life in 0..u64::from(BATCH) {
        let head = Pfn::new(life * order.pages() % PAGES);
        let formed = pagemap.form(FreeRange::claim(head, order), 0);
        drop(formed.map_err(|refused| BenchError::Failed(refused.kind.to_string()))?.unlock());
    }
    Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH))
}
