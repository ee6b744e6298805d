//! All measurements: everything that is compared is measured in turns, and medians are reported.

use crate::latency;
use crate::plot::Series;
use crate::rivals::{Eager, Frames, Offset, RangeAlloc};
use crate::row::{Row, median};
use bifolio_buddy::Buddy;
use bifolio_buddy_cases::fragmented;
use bifolio_buddy_cases::trace::{LIVE, Outcome, POOL, SCALE_LIVE, SCALES, Trace};
use std::time::Instant;

/// What was measured: the rows, the plot, and every single figure.
pub struct Results {
    pub rows: Vec<Row>,
    pub series: Vec<Series>,
    /// Name of the figure, round, figure.
    pub raw: Vec<(String, usize, f64)>,
}

/// How much to measure.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    pub steps: u32,
}

impl Results {
    /// Measures everything.
    pub fn measure(effort: Effort) -> Self {
        let mut results = Self { rows: Vec::new(), series: Vec::new(), raw: Vec::new() };
        results.mixed(effort);
        results.fragmented(effort);
        results.scale(effort);
        results.batches(effort);
        results.metadata();
        results.latencies(effort);
        results
    }

    fn keep(&mut self, name: &str, figures: &[f64]) {
        self.raw.extend(figures.iter().enumerate().map(|(round, figure)| (name.to_owned(), round, *figure)));
    }

    fn mixed(&mut self, effort: Effort) {
        type Run = fn(&Trace, u64) -> Outcome;
        let rivals: Vec<(&str, Run)> = vec![
            ("bifolio_buddy", Trace::run::<Buddy>),
            ("offset_allocator", Trace::run::<Offset>),
            ("buddy_system", Trace::run::<Frames>),
            ("range_alloc", Trace::run::<RangeAlloc>),
            ("bifolio_buddy_merging_at_once", Trace::run::<Eager>),
            #[cfg(feature = "vk-mem")]
            ("vk_mem", Trace::run::<crate::rivals::VirtualBlock>),
        ];
        let mut figures = vec![Vec::new(); rivals.len()];
        for round in 0..effort.rounds {
            let trace = Trace::new(round as u64 + 1, LIVE, effort.steps);
            for ((name, run), figures) in rivals.iter().zip(&mut figures) {
                let outcome = run(&trace, POOL);
                assert_eq!(outcome.failed, 0, "{name} failed to serve the trace");
                figures.push(outcome.ns_per_call());
            }
        }
        self.rows.push(Row::alone("buddy.mixed.absolute", &figures[0], "ns/call", Some(20.0)));
        for (at, (name, _)) in rivals.iter().enumerate() {
            self.keep(&format!("mixed.{name}"), &figures[at]);
            let goal = match *name {
                "offset_allocator" => Some(0.6),
                "buddy_system" => Some(0.3),
                _ => None,
            };
            if at > 0 {
                let row = Row::beside(
                    &format!("buddy.mixed.vs_{name}"),
                    &figures[0],
                    &figures[at],
                    "ns/call",
                    goal,
                );
                self.rows.push(row);
            }
        }
    }

    fn fragmented(&mut self, effort: Effort) {
        let (mut alloc, mut reverse) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            alloc.push(fragmented::alloc().as_secs_f64() * 1e3);
            reverse.push(fragmented::reverse_free().as_secs_f64() * 1e3);
        }
        self.keep("fragmented.alloc", &alloc);
        self.keep("fragmented.reverse_free", &reverse);
        self.rows.push(Row::alone("buddy.fragmented.alloc", &alloc, "ms", Some(20.0)));
        self.rows.push(Row::alone("buddy.fragmented.reverse_free", &reverse, "ms", Some(20.0)));
        // 4000 slots of 256 KiB keep 128 KiB each at least: 500 MiB.
        let order_5 = [fragmented::order_5_free_mib()];
        self.rows.push(Row::alone("buddy.fragmented.aligned_order_5_free", &order_5, "MiB", Some(500.0)));
    }

    fn scale(&mut self, effort: Effort) {
        let ours = ["#c0392b", "#e59866"];
        self.scale_of(effort, "bifolio-buddy", ours, "buddy.scale", Trace::run::<Buddy>);
        let offset = ["#2980b9", "#85c1e9"];
        self.scale_of(
            effort,
            "offset-allocator",
            offset,
            "buddy.scale.offset_allocator",
            Trace::run::<Offset>,
        );
        let frames = ["#27ae60", "#82e0aa"];
        self.scale_of(
            effort,
            "buddy_system_allocator",
            frames,
            "buddy.scale.buddy_system",
            Trace::run::<Frames>,
        );
    }

    /// Two lines for an allocator, with few live blocks and on pools half full, and a row for each: the dearest size by
    /// the cheapest.
    fn scale_of(
        &mut self,
        effort: Effort,
        name: &'static str,
        colors: [&'static str; 2],
        row: &str,
        run: fn(&Trace, u64) -> Outcome,
    ) {
        for (at, color) in colors.into_iter().enumerate() {
            let suffix = ["", ".half_full"][at];
            // A block has 102.3 pages on average.
            let live = |order: u32| if at == 0 { SCALE_LIVE } else { (1 << order) / 205 };
            let mut points = Vec::new();
            for order in SCALES {
                let figures: Vec<f64> = (0..effort.rounds)
                    .map(|round| {
                        let trace = Trace::new(round as u64 + 100, live(order), effort.steps / 4);
                        run(&trace, 1 << order).ns_per_call()
                    })
                    .collect();
                self.keep(&format!("scale.{name}{suffix}.2^{order}"), &figures);
                points.push((order, median(&figures)));
            }
            let least = points.iter().map(|(_, cost)| *cost).fold(f64::INFINITY, f64::min);
            let most = points.iter().map(|(_, cost)| *cost).fold(0.0, f64::max);
            let goal = (row == "buddy.scale" && suffix.is_empty()).then_some(2.0);
            self.rows.push(Row::beside(&format!("{row}{suffix}"), &[most], &[least], "ns/call", goal));
            let name = format!("{name}{}", if suffix.is_empty() { "" } else { ", half full" });
            self.series.push(Series { name, color, points });
        }
    }

    fn batches(&mut self, effort: Effort) {
        let (mut batched, mut single) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            let mut buddy = Buddy::new(1 << 20).expect("valid size");
            let mut pages = [0; 512];
            let begun = Instant::now();
            for _ in 0..1000 {
                buddy.allocate_many(0, &mut pages).expect("space is left");
                buddy.free_many(0, &pages).expect("just allocated");
            }
            batched.push(begun.elapsed().as_nanos() as f64 / 512_000.0);
            let begun = Instant::now();
            for _ in 0..1000 {
                pages.iter_mut().for_each(|page| *page = buddy.allocate(0).expect("space is left"));
                pages.iter().for_each(|page| buddy.free(*page, 0).expect("just allocated"));
            }
            single.push(begun.elapsed().as_nanos() as f64 / 512_000.0);
        }
        self.keep("batch.512", &batched);
        self.keep("batch.512.single", &single);
        self.rows.push(Row::beside("buddy.batch.512_pages", &batched, &single, "ns/page", None));
    }

    fn metadata(&mut self) {
        for order in [20, 28] {
            let buddy = Buddy::new(1 << order).expect("valid size");
            let bits = buddy.metadata_bytes() as f64 * 8.0 / f64::exp2(f64::from(order));
            self.rows.push(Row::alone(&format!("buddy.metadata.2^{order}"), &[bits], "bits/page", Some(2.0)));
        }
    }

    fn latencies(&mut self, effort: Effort) {
        let times = latency::shortest(effort.rounds, effort.steps as usize / 4);
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999), ("p100", 1.0)] {
            let figures = [latency::quantile(&times, share)];
            self.keep(&format!("latency.{name}"), &figures);
            self.rows.push(Row::alone(&format!("buddy.latency.{name}"), &figures, "ns", None));
        }
    }
}
