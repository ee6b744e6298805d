//! How long faults took: the distribution, on a logarithmic scale.

use crate::analysis::{Analysis, Side};
use crate::picture::Figure;
use crate::svg::{Canvas, LEFT, RIGHT, TOP, legend, thirds};
use crate::units::{grouped, time};

const HEIGHT: f64 = 170.0;
/// Points of the curve in a decade.
const PER_DECADE: f64 = 24.0;
/// Percentiles that are marked.
const MARKED: [(f64, &str); 3] = [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")];

pub(crate) fn waits(analysis: &Analysis) -> Figure {
    let sides = [("device", "cold", &analysis.device), ("CPU", "warm", &analysis.cpu)];
    let seen: Vec<_> = sides.into_iter().filter(|(_, _, side)| side.total() > 0).collect();
    let first =
        seen.iter().map(|(_, _, side)| decade(side.waits.min())).fold(f64::INFINITY, f64::min).floor();
    let first = if first.is_finite() { first } else { 0.0 };
    let last = seen.iter().map(|(_, _, side)| decade(side.waits.max())).fold(first + 0.1, f64::max).ceil();
    let share = |ns: f64| (ns.log10() - first) / (last - first);
    let x = |ns: f64| LEFT + share(ns) * (RIGHT - LEFT);
    let mut canvas = Canvas::new(HEIGHT);
    canvas.y_axis(HEIGHT, "faults answered by then", &thirds(100.0, |percent| format!("{percent:.0} %")));
    for (name, class, side) in &seen {
        let mut points = vec![(x(power(first)), TOP + HEIGHT)];
        let steps = ((last - first) * PER_DECADE).ceil();
        let mut step = 0.0;
        while step <= steps {
            let until = power(first + step / PER_DECADE);
            let share = side.waits.count_between(0, rounded(until)) as f64 / side.total() as f64;
            points.push((x(until).min(RIGHT), TOP + HEIGHT * (1.0 - share)));
            step += 1.0;
        }
        canvas.line(&format!("curve {class}"), &points);
        mark(&mut canvas, (name, class), side, x);
    }
    let mut labels = Vec::new();
    let mut at = first;
    while at <= last {
        labels.push((share(power(at)), time(rounded(power(at).round()))));
        at += 1.0;
    }
    canvas.x_labels(HEIGHT, "time from a fault to its answer, logarithmic", &labels);
    let numbers = seen.iter().map(|(name, _, side)| row(name, side)).collect();
    Figure {
        title: "How long faults took",
        says: "The curve says which share of the faults was answered within a time; the dots are the median, and what 1 of \
               100 and 1 of 1,000 faults exceed."
            .to_owned(),
        picture: canvas.finish("Share of faults that were answered, by time"),
        legend: legend("", seen.iter().map(|(name, class, _)| (*class, format!("faults of the {name}")))),
        numbers: (vec!["faults of the", "count", "p50", "p99", "p99.9", "longest"], numbers),
    }
}

fn mark(canvas: &mut Canvas, (name, class): (&str, &str), side: &Side, x: impl Fn(f64) -> f64) {
    for (share, percentile) in MARKED {
        let ns = side.waits.value_at_quantile(share);
        let (x, y) = (x(ns as f64), TOP + HEIGHT * (1.0 - share));
        let said = format!("{name}: {percentile} {}", time(ns));
        canvas.rect(&format!("dot {class}"), (x - 4.0, y - 4.0), (8.0, 8.0), &said);
    }
}

fn row(name: &str, side: &Side) -> Vec<String> {
    let at = |share| time(side.waits.value_at_quantile(share));
    vec![name.to_owned(), grouped(side.total()), at(0.5), at(0.99), at(0.999), time(side.waits.max())]
}

fn decade(ns: u64) -> f64 {
    (ns.max(1) as f64).log10()
}

fn power(decade: f64) -> f64 {
    10_f64.powf(decade)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time, not negative")]
fn rounded(ns: f64) -> u64 {
    ns as u64
}
