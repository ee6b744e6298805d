//! `bifolio bench`: figures of the hot paths, each with its floor from the same run.

pub mod args;
mod live;
mod oversubscribe;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use bifolio_bench::{
    BenchError, Bound, Effort, Goal, Progress, Row, attach, buddy, check, fault, folio, migrate, scatter,
};
use bifolio_host::SetupError;
use console::Style;

use crate::bench::args::{BenchArgs, BenchCommand, BenchGroup, PatternArgs, TouchesArgs};
use crate::exit::{self, Failure};
use crate::output::{JsonTarget, OutputError};
use crate::{progress, table};

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchFailure {
    /// Nothing was measured.
    #[error("nothing could be measured")]
    Measuring(#[from] BenchError),
    /// The figures cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl Failure for BenchFailure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Measuring(BenchError::Uffd(_) | BenchError::Space(SetupError::Uffd(_))) => exit::REFUSED,
            _ => exit::FAILED,
        }
    }
}

/// Measures and reports; returns the exit code.
///
/// # Errors
///
/// If nothing can be measured, or the figures cannot be written.
pub fn bench(args: &BenchArgs) -> Result<u8, BenchFailure> {
    match &args.other {
        Some(BenchCommand::Oversubscribe(grid)) => return oversubscribe::oversubscribe(grid),
        Some(BenchCommand::Touches(touches)) => return touch(touches),
        Some(BenchCommand::Pattern(args)) => return touch_pattern(args),
        None => {}
    }
    let group = args.group.expect("required without a subcommand");
    let effort = if args.quick { Effort::Quick } else { Effort::Full };
    let rows = measure(group, effort)?;
    if args.json {
        JsonTarget::Stdout.write(&rows)?;
    } else {
        let judged = effort == Effort::Full;
        print(&mut io::stdout().lock(), group, &rows, judged).map_err(OutputError::from)?;
    }
    Ok(exit::OK)
}

/// Is the program that `bench run` runs.
fn touch(args: &TouchesArgs) -> Result<u8, BenchFailure> {
    let TouchesArgs { pages, touches, threads } = *args;
    let touched = scatter::Touches { pages, touches, threads }.run()?;
    writeln!(io::stdout(), "{}", touched.print()).map_err(OutputError::from)?;
    Ok(exit::OK)
}

/// Is the program that `bench oversubscribe --live` runs.
fn touch_pattern(args: &PatternArgs) -> Result<u8, BenchFailure> {
    let touched = bifolio_bench::oversubscribe::touch(args.pattern, args.pages)?;
    writeln!(io::stdout(), "{}", touched.print()).map_err(OutputError::from)?;
    Ok(exit::OK)
}

/// This command.
///
/// # Errors
///
/// If the kernel does not say where it is.
fn this_command() -> Result<PathBuf, BenchError> {
    std::env::current_exe()
        .map_err(|error| BenchError::Failed(format!("this command is not to be found: {error}")))
}

/// Measures a group, and shows on a terminal how far it is.
fn measure(group: BenchGroup, effort: Effort) -> Result<Vec<Row>, BenchError> {
    let bar = progress::bar(false);
    bar.set_style(progress::style("{elapsed_precise} measuring {msg} {bar:30} {pos}/{len}"));
    bar.enable_steady_tick(TICK);
    let mut watch = |progress: Progress<'_>| {
        bar.set_message(progress.name.to_owned());
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    };
    let rows = match group {
        BenchGroup::Fault => fault::rows(effort, &mut watch),
        BenchGroup::Migrate => migrate::rows(effort, &mut watch),
        BenchGroup::Attach => attach::rows(effort, &mut watch),
        BenchGroup::Buddy => buddy::rows(effort, &mut watch),
        BenchGroup::Folio => folio::rows(effort, &mut watch),
        BenchGroup::Check => check::rows(effort, &mut watch),
        BenchGroup::Run => this_command().and_then(|bifolio| scatter::rows(&bifolio, effort, &mut watch)),
    };
    bar.finish_and_clear();
    rows
}

/// How often the display moves: seldom, since it is drawn while something is measured.
const TICK: Duration = Duration::from_secs(1);

/// What the floor of a group is.
fn floor_of(group: BenchGroup) -> &'static str {
    match group {
        BenchGroup::Fault => {
            "a fault answered by hand and a copy of as many bytes; of checked, traced: plain"
        }
        BenchGroup::Migrate => "a copy of as many bytes",
        BenchGroup::Attach => "a load; unmapping from the CPU and a copy; a barrier and a word to and fro",
        BenchGroup::Buddy => "one bit turned over for each call; of buddy.scale, the cheapest size of pool",
        BenchGroup::Folio => "the life of a folio of 4 KiB",
        BenchGroup::Check => "as many states put into a set, without any step",
        BenchGroup::Run => "a fault answered by hand and a copy; one thread; the kernel's swap on zram",
    }
}

/// Writes the rows; goals only if they are judged, which figures of a short run are not.
fn print(out: &mut impl Write, group: BenchGroup, rows: &[Row], judged: bool) -> io::Result<()> {
    writeln!(out, "The floor is the same work without Bifolio, in the same run:")?;
    writeln!(out, "{}.\n", floor_of(group))?;
    let mut figures = table::plain();
    let head = ["", "value", "floor", "ratio", "goal", ""];
    figures.set_header(table::row::<_, 6>(head).into_iter().take(if judged { 6 } else { 4 }));
    for row in rows {
        let measured = |value: f64| format!("{value:.2} {}", row.unit);
        let ratio = format!("{:.2}", row.ratio);
        let met = if row.met { "met" } else { NOT_MET }.to_owned();
        let cells = [row.name.clone(), measured(row.value), measured(row.floor), ratio, goal_of(row), met];
        figures.add_row(table::row(cells).into_iter().take(if judged { 6 } else { 4 }));
    }
    table::print(
        out,
        &mut figures,
        |line| {
            if line.ends_with(NOT_MET) { Style::new().red() } else { Style::new() }
        },
    )?;
    if group == BenchGroup::Run && rows.iter().all(|row| row.name != scatter::ZRAM_ROW) {
        writeln!(out, "\nSKIP {}: it {}.", scatter::ZRAM_ROW, scatter::ZRAM_SKIPPED)?;
    }
    if !judged {
        writeln!(out, "\nA quick look; without --quick the figures are judged by their goals.")?;
    }
    out.flush()
}

const NOT_MET: &str = "NOT MET";

fn goal_of(row: &Row) -> String {
    let bound = match row.bound {
        Bound::AtMost => "<=",
        Bound::AtLeast => ">=",
    };
    match row.goal_is {
        Goal::Ratio => format!("{bound} {:.2}", row.goal),
        Goal::Value => format!("{bound} {:.2} {}", row.goal, row.unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    fn printed(rows: &[Row], judged: bool) -> String {
        let mut text = Vec::new();
        print(&mut text, BenchGroup::Buddy, rows, judged).expect("a vector takes all");
        String::from_utf8(text).expect("text")
    }

    /// The words of the row as the table shows it.
    fn shown(row: Row) -> String {
        printed(&[row], true)
            .lines()
            .last()
            .unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn table_shows_value_and_floor_in_their_unit() {
        let row = Row::time("fault.cpu.4k", 12.0, 8.0, 1.15);
        assert_eq!(shown(row), "fault.cpu.4k 12.00 us 8.00 us 1.50 <= 1.15 NOT MET");
    }

    #[test]
    fn table_shows_a_rate_with_a_goal_of_its_own() {
        let row = Row::at_least("check.states_per_s", "M/s", 0.5, 5.0, 1.0);
        assert_eq!(shown(row), "check.states_per_s 0.50 M/s 5.00 M/s 0.10 >= 1.00 M/s NOT MET");
    }

    #[test]
    fn table_shows_the_unit_of_a_goal_for_the_value_itself() {
        let row = Row::limited("buddy.fragmented.alloc", "ms", 16.0, 0.5, 20.0);
        assert_eq!(shown(row), "buddy.fragmented.alloc 16.00 ms 0.50 ms 32.00 <= 20.00 ms met");
    }

    #[test]
    fn quick_looks_are_not_judged() {
        let text = printed(&[Row::time("fault.cpu.4k", 12.0, 8.0, 1.15)], false);
        assert!(!text.contains("MET") && !text.contains("goal  ") && text.contains("1.50"), "{text}");
    }

    #[test]
    fn table_fits_eighty_columns() {
        let text = printed(&[Row::limited("buddy.fragmented.reverse_free", "ms", 116.0, 100.5, 20.0)], true);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let groups = BenchGroup::value_variants().iter();
        assert!(groups.map(|&group| floor_of(group)).all(|floor| floor.chars().count() < 80));
    }
}
