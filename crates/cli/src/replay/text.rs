//! The table of `bifolio replay`.

use std::io::{self, Write};

use bifolio_replay::{PageMisses, Source};
use console::Style;

use crate::figures::{bytes, grouped, percent};
use crate::replay::{Comparison, Row};
use crate::table;

/// Writes the table, with the best of each column marked by a star.
///
/// # Errors
///
/// If writing fails.
pub fn print(out: &mut impl Write, comparison: &Comparison) -> io::Result<()> {
    let rows = &comparison.rows;
    let touches = rows.first().map_or(0, |row| row.outcome.touches);
    let what = if comparison.source == Source::Faults { "fault" } else { "touch of a page" };
    let touches =
        if touches == 1 { format!("1 {what}") } else { format!("{} {}", grouped(touches), plural(what)) };
    writeln!(out, "{touches}, {} of {} memory\n", bytes(comparison.memory), comparison.limited)?;
    let mut table = table::plain();
    table.add_row(table::row([
        "policy", "faults", "moved", "used", "evicted", "back", "stalled", "p50", "p99",
    ]));
    for row in rows {
        table.add_row(table::row(cells(row, rows)));
    }
    if let Some(optimum) = comparison.optimum {
        let moved = optimum.bytes_moved();
        let none = String::new;
        table.add_row(table::row([
            "optimum".to_owned(),
            none(),
            bytes(moved),
            none(),
            none(),
            none(),
            none(),
            none(),
            none(),
        ]));
    }
    table::print(out, &mut table, |_| Style::new())?;
    writeln!(out, "\n* the best of its column; back: folios that were evicted and came back")?;
    print_unknown(out, comparison)?;
    print_orders(out, comparison)?;
    for Row { policy, outcome } in rows {
        writeln!(out, "log of {policy}: {:016x}", outcome.log)?;
    }
    Ok(())
}

/// Tells what misses under each order of use alone.
fn print_orders(out: &mut impl Write, comparison: &Comparison) -> io::Result<()> {
    if comparison.orders.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nMisses of single pages of 4 KiB, each touch known, by the order of use alone:\n")?;
    let mut table = table::plain();
    table.add_row(table::row(["order", "misses", "ratio"]));
    for PageMisses { order, misses, miss_ratio } in &comparison.orders {
        table.add_row(table::row([(*order).to_owned(), grouped(*misses), format!("{miss_ratio:.4}")]));
    }
    table::print(out, &mut table, |_| Style::new())?;
    writeln!(out)
}

/// Says why there is no optimum.
fn print_unknown(out: &mut impl Write, comparison: &Comparison) -> io::Result<()> {
    match comparison.source {
        Source::Accesses => Ok(()),
        Source::SomeAccesses => {
            writeln!(out, "Events are missing from the trace: what was touched meanwhile is not known, and")?;
            writeln!(out, "neither is the optimum.")
        }
        Source::Faults => {
            writeln!(
                out,
                "The trace has faults only: what was touched while it was there is not known, and"
            )?;
            let way_out =
                if comparison.limited == "device" { " Record it with --trace-accesses." } else { "" };
            writeln!(out, "neither is the optimum.{way_out}")
        }
    }
}

fn plural(what: &str) -> &'static str {
    if what == "fault" { "faults" } else { "touches of pages" }
}

fn cells(row: &Row, all: &[Row]) -> [String; 9] {
    let outcome = &row.outcome;
    let star = |text: String, figure: fn(&Row) -> u64| {
        let best = all.iter().map(figure).min();
        let marked = all.len() > 1 && best == Some(figure(row));
        if marked { format!("{text}*") } else { text }
    };
    let used = percent(outcome.bytes_useful, outcome.bytes_in + outcome.bytes_out);
    [
        row.policy.clone(),
        star(grouped(outcome.faults), |row| row.outcome.faults),
        star(bytes(outcome.bytes_moved()), |row| row.outcome.bytes_moved()),
        used,
        star(grouped(outcome.evictions), |row| row.outcome.evictions),
        star(grouped(outcome.returns), |row| row.outcome.returns),
        star(time(outcome.stall_ns), |row| row.outcome.stall_ns),
        star(time(outcome.p50_ns), |row| row.outcome.p50_ns),
        star(time(outcome.p99_ns), |row| row.outcome.p99_ns),
    ]
}

/// A time in the unit that keeps it short.
fn time(nanoseconds: u64) -> String {
    match nanoseconds {
        0..10_000_000 => format!("{:.1}us", nanoseconds as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.0}ms", nanoseconds as f64 / 1e6),
        _ => format!("{:.1}s", nanoseconds as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!([2256, 15_000_000, 12_000_000_000].map(time), ["2.3us", "15ms", "12.0s"]);
    }
}
