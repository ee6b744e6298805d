//! Where the time went, and what the bytes that moved were good for: bars of one picture each.

use bifolio_trace::Trace;
use serde_json::Value;

use crate::analysis::Analysis;
use crate::picture::Figure;
use crate::svg::{Canvas, LEFT, RIGHT, TOP, legend};
use crate::units::{bytes, time};

/// Height of a bar, with what is between two.
const BAR: f64 = 34.0;
/// Length of the longest bar, which leaves room for the figure behind it.
const BARS: f64 = RIGHT - LEFT - 80.0;

pub(crate) fn moved(analysis: &Analysis) -> Figure {
    let totals = &analysis.totals;
    let all = totals.bytes_to_device + totals.bytes_to_ram;
    let used = totals.pages_used * 4096;
    let mut bars = vec![
        ("to devices", "cold", totals.bytes_to_device),
        ("to system memory", "warm", totals.bytes_to_ram),
    ];
    let share = if all == 0 { 0.0 } else { 100.0 * used as f64 / all as f64 };
    let (title, says) = if analysis.is_cpu_alone() {
        let says = "What left system memory to make room, and what came back. How much of it the program used is not \
                    recorded.";
        ("Bytes that moved", says.to_owned())
    } else {
        bars.push(("used", "o4", used));
        let says = format!(
            "{share:.0} % of the bytes that moved belong to pages of 4 KiB that the side which got them touched before they \
             moved on. The rest was moved for nothing."
        );
        ("Bytes that moved, and bytes that were used", says)
    };
    Figure {
        title,
        says,
        picture: horizontal(&bars, bytes, "bytes", "Bytes moved and used"),
        legend: legend("", []),
        numbers: (
            vec!["what", "bytes"],
            bars.iter().map(|(name, _, value)| vec![(*name).to_owned(), bytes(*value)]).collect(),
        ),
    }
}

pub(crate) fn time_split(trace: &Trace, analysis: &Analysis) -> Figure {
    let figures: Option<Value> = trace.note("figures").and_then(|text| serde_json::from_str(text).ok());
    let compute = figures.as_ref().and_then(|figures| figures["seconds"]["compute"].as_f64());
    let (copy, wait) = (analysis.totals.copy_ns, analysis.totals.wait_ns);
    let mut bars = vec![("waiting", "warm", wait.saturating_sub(copy)), ("copying", "cold", copy)];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time, not negative")]
    bars.extend(compute.map(|seconds| ("computing", "o4", (seconds * 1e9) as u64)));
    let says = if analysis.is_cpu_alone() {
        // The program's own work is not measured.
        bars.truncate(2);
        "Added up over all threads: waiting for faults to be answered, in which pages are copied home, and copying them out."
    } else {
        "Added up over all threads: waiting for faults to be answered (copies left out), copying for them, and computing on \
         devices."
    };
    let all = bars.iter().map(|bar| bar.2).sum::<u64>().max(1);
    let numbers = bars.iter().map(|(name, _, ns)| {
        vec![(*name).to_owned(), time(*ns), format!("{:.0} %", 100.0 * *ns as f64 / all as f64)]
    });
    Figure {
        title: "Where the time went",
        says: says.to_owned(),
        picture: horizontal(&bars, time, "time, added up over threads", "Time by what it was spent on"),
        legend: legend("", []),
        numbers: (vec!["what", "time", "share"], numbers.collect()),
    }
}

fn horizontal(bars: &[(&str, &str, u64)], label: fn(u64) -> String, axis: &str, told: &str) -> maud::Markup {
    let most = bars.iter().map(|bar| bar.2).max().unwrap_or(0).max(1);
    let height = BAR * bars.len() as f64;
    let mut canvas = Canvas::new(height);
    for (number, (name, class, value)) in bars.iter().enumerate() {
        let width = *value as f64 / most as f64 * BARS;
        let y = TOP + number as f64 * BAR;
        canvas.text((LEFT - 8.0, y + 20.0), "end", name);
        canvas.rect(class, (LEFT, y + 5.0), (width, BAR - 12.0), &format!("{name}: {}", label(*value)));
        canvas.text((LEFT + width + 8.0, y + 20.0), "start", &label(*value));
    }
    canvas.y_labels(height, "", &[]);
    // The longest bar ends before the axis does.
    let end = most as f64 * (RIGHT - LEFT) / BARS;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a label, not negative")]
    canvas.x_axis(
        height,
        axis,
        |share| if share == 0.0 { "0".to_owned() } else { label((share * end) as u64) },
    );
    canvas.finish(told)
}
