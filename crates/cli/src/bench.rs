//! `bifolio bench`: figures of the hot paths, each with its floor from the same run.

use std::io::{self, Write};

use bifolio_bench::{BenchError, Effort, Goal, Row, buddy, check, fault, folio, migrate};
use bifolio_host::SetupError;

use crate::args::{BenchArgs, BenchGroup};
use crate::exit::{self, Failure};
use crate::output::{JsonTarget, OutputError};
use crate::table;

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
    let effort = if args.quick { Effort::Quick } else { Effort::Full };
    let rows = match args.group {
        BenchGroup::Fault => fault::rows(effort),
        BenchGroup::Migrate => migrate::rows(effort),
        BenchGroup::Buddy => buddy::rows(effort),
        BenchGroup::Folio => folio::rows(effort),
        BenchGroup::Check => check::rows(effort),
    }?;
    if args.json {
        JsonTarget::Stdout.write(&rows)?;
    } else {
        print(&mut io::stdout().lock(), &rows).map_err(OutputError::from)?;
    }
    Ok(exit::OK)
}

fn print(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let mut figures = table::plain();
    figures.set_header(table::row(["", "value", "floor", "ratio", "goal", ""]));
    for row in rows {
        let measured = |value: f64| format!("{value:.2} {}", row.unit);
        let goal = match row.goal_is {
            Goal::Ratio => format!("{:.2}", row.goal),
            Goal::Value => measured(row.goal),
        };
        figures.add_row(table::row([
            row.name.clone(),
            measured(row.value),
            measured(row.floor),
            format!("{:.2}", row.ratio),
            goal,
            if row.met { "met" } else { "NOT MET" }.to_owned(),
        ]));
    }
    table::print(out, &mut figures)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of the row as the table shows it.
    fn shown(row: Row) -> String {
        let mut text = Vec::new();
        print(&mut text, &[row]).expect("a vector takes all");
        let text = String::from_utf8(text).expect("text");
        text.lines().last().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn table_shows_value_and_floor_in_their_unit() {
        let row = Row::time("fault.cpu.4k", 12.0, 8.0, 1.15);
        assert_eq!(shown(row), "fault.cpu.4k 12.00 us 8.00 us 1.50 1.15 NOT MET");
    }

    #[test]
    fn table_shows_a_rate_with_a_goal_of_its_own() {
        let row = Row::at_least("check.states_per_s", "M/s", 0.5, 5.0, 1.0);
        assert_eq!(shown(row), "check.states_per_s 0.50 M/s 5.00 M/s 0.10 1.00 M/s NOT MET");
    }

    #[test]
    fn table_shows_the_unit_of_a_goal_for_the_value_itself() {
        let row = Row::limited("buddy.fragmented.alloc", "ms", 16.0, 0.5, 20.0);
        assert_eq!(shown(row), "buddy.fragmented.alloc 16.00 ms 0.50 ms 32.00 20.00 ms met");
    }
}
