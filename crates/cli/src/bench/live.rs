//! `bifolio bench oversubscribe --live`: the patterns as programs under `run`, beside the kernel's swap.

use std::io::{self, Write};

use bifolio_bench::Progress;
use bifolio_bench::oversubscribe::{Grid, LiveCell, live as measure};
use bifolio_bench::scatter::ZRAM_SKIPPED;
use console::Style;

use crate::bench::oversubscribe::{line, short};
use crate::bench::{BenchFailure, this_command};
use crate::exit;
use crate::output::{JsonTarget, OutputError};
use crate::{progress, table};

/// Measures and reports; returns the exit code.
///
/// # Errors
///
/// If a program cannot be run, or the figures cannot be written.
pub fn live(grid: &Grid, json: bool) -> Result<u8, BenchFailure> {
    let bar = progress::bar(false);
    bar.set_style(progress::style("{elapsed_precise} measuring {msg} {bar:30} {pos}/{len}"));
    let mut watch = |progress: Progress<'_>| {
        bar.set_message(progress.name.to_owned());
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    };
    let cells = measure(grid, &this_command()?, &mut watch);
    bar.finish_and_clear();
    let cells = cells?;
    if json {
        JsonTarget::Stdout.write(&cells)?;
    } else {
        print(&mut io::stdout().lock(), &cells).map_err(OutputError::from)?;
    }
    Ok(exit::OK)
}

/// Writes a line for each cell.
fn print(out: &mut impl Write, cells: &[LiveCell]) -> io::Result<()> {
    writeln!(out, "Time of all touches, over that without a limit; zram over run: above 1 run is faster.\n")?;
    let mut figures = table::plain();
    let head = ["size", "plain, ms", "run", "zram", "zram/run", "policy"];
    figures.add_row(line("", head.into_iter().map(str::to_owned)));
    for cell in cells {
        let over_plain = |ms: f64| short(ms / cell.plain_ms);
        let without = if cell.zram_killed { "killed" } else { "-" };
        let swapped = |text: &dyn Fn(f64) -> String| cell.zram_ms.map_or(without.to_owned(), text);
        let texts = [
            cell.size.to_string(),
            short(cell.plain_ms),
            over_plain(cell.run_ms),
            swapped(&over_plain),
            cell.zram_ms.map_or("-".to_owned(), |ms| short(ms / cell.run_ms)),
            cell.policy.clone(),
        ];
        figures.add_row(line(cell.pattern.as_str(), texts.into_iter()));
    }
    table::print(out, &mut figures, |_| Style::new())?;
    if cells.iter().any(|cell| cell.zram_killed) {
        writeln!(out, "\nkilled: the kernel ended the program in the cgroup for want of memory.")?;
    }
    if cells.iter().any(|cell| cell.zram_ms.is_none() && !cell.zram_killed) {
        writeln!(out, "\nSKIP zram: it {ZRAM_SKIPPED}.")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use bifolio_bench::oversubscribe::Pattern;

    use super::*;

    #[test]
    fn times_are_told_over_that_of_the_plain_program() {
        let cell = |zram_ms, zram_killed| LiveCell {
            pattern: Pattern::Zipf,
            size: 1.25,
            policy: "auto".into(),
            plain_ms: 10.0,
            run_ms: 25.0,
            run_faults: 3.0,
            zram_ms,
            zram_killed,
        };
        let mut text = Vec::new();
        print(&mut text, &[cell(Some(50.0), false), cell(None, false), cell(None, true)])
            .expect("a vector takes all");
        let text = String::from_utf8(text).expect("text");
        let words =
            |line: usize| text.lines().nth(line).expect("a line").split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(3), ["zipf", "1.25", "10.0", "2.50", "5.00", "2.00", "auto"], "{text}");
        assert_eq!(words(4), ["zipf", "1.25", "10.0", "2.50", "-", "-", "auto"]);
        assert_eq!(words(5), ["zipf", "1.25", "10.0", "2.50", "killed", "-", "auto"]);
        assert!(text.contains("SKIP zram"), "{text}");
    }
}
