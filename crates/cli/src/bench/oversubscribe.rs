//! `bifolio bench oversubscribe`: policies side by side where the data is larger than the memory.

use std::io::{self, Write};

use bifolio_bench::Progress;
use bifolio_bench::oversubscribe::{Cell, Grid, Pattern};
use bifolio_policy::PolicyName;
use bifolio_replay::Limited;
use bifolio_report::Panel;
use comfy_table::Table;
use console::Style;

use crate::bench::args::GridArgs;
use crate::bench::{BenchFailure, live};
use crate::exit;
use crate::output::{JsonTarget, OutputError};
use crate::{progress, table};

/// The default should take at most so many times as long as the best policy.
const NEAR_BEST: f64 = 1.2;

/// Compares, and reports; returns the exit code.
///
/// # Errors
///
/// If nothing can be simulated, or the figures cannot be written.
pub fn oversubscribe(args: &GridArgs) -> Result<u8, BenchFailure> {
    let target = args.svg.clone().map(JsonTarget::File);
    target.iter().try_for_each(JsonTarget::check)?;
    let grid = grid(args);
    if args.live {
        return live::live(&live_part(args, grid), args.json);
    }
    let cells = simulate(&grid)?;
    if let Some(path) = &args.svg {
        let drawn = bifolio_report::oversubscription_svg(&grid.sizes, &panels(&grid, &cells));
        std::fs::write(path, drawn).map_err(|source| OutputError::File { path: path.clone(), source })?;
    }
    if args.json {
        JsonTarget::Stdout.write(&cells)?;
    } else {
        print(&mut io::stdout().lock(), &grid, &cells).map_err(OutputError::from)?;
    }
    Ok(exit::OK)
}

/// The part of the grid that was asked for.
fn grid(args: &GridArgs) -> Grid {
    let GridArgs { pattern, size, policy, side, data, .. } = args;
    let mut grid = Grid { data: data.0, ..Grid::whole() };
    if !pattern.is_empty() {
        grid.patterns.clone_from(pattern);
    }
    if !size.is_empty() {
        grid.sizes.clone_from(size);
    }
    if !policy.is_empty() {
        grid.policies.clone_from(policy);
    }
    grid.sides = side.map_or(grid.sides, |side| vec![side]);
    grid
}

/// The same where real programs take their time: fewer sizes and policies, unless they were asked for.
fn live_part(args: &GridArgs, mut grid: Grid) -> Grid {
    if args.size.is_empty() {
        grid.sizes = vec![1.25, 2.0, 4.0];
    }
    if args.policy.is_empty() {
        grid.policies = vec![PolicyName::default()];
    }
    grid
}

/// Simulates all cells, and shows on a terminal how far it is.
fn simulate(grid: &Grid) -> Result<Vec<Cell>, BenchFailure> {
    let bar = progress::bar(false);
    bar.set_style(progress::style("{elapsed_precise} simulating {msg} {bar:30} {pos}/{len}"));
    let mut watch = |progress: Progress<'_>| {
        bar.set_message(progress.name.to_owned());
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    };
    let cells = grid.cells(&mut watch);
    bar.finish_and_clear();
    Ok(cells?)
}

/// The cells of one side and pattern.
fn part(cells: &[Cell], side: Limited, pattern: Pattern) -> Vec<&Cell> {
    cells.iter().filter(|cell| cell.side == side.as_str() && cell.pattern == pattern).collect()
}

/// The cells of each side and pattern, in the order of the grid.
fn parts<'g>(
    grid: &'g Grid,
    cells: &'g [Cell],
) -> impl Iterator<Item = (Limited, Pattern, Vec<&'g Cell>)> + 'g {
    let pairs = grid.sides.iter().flat_map(|side| grid.patterns.iter().map(move |pattern| (*side, *pattern)));
    pairs.map(|(side, pattern)| (side, pattern, part(cells, side, pattern)))
}

fn panels(grid: &Grid, cells: &[Cell]) -> Vec<Panel> {
    let curve = |cells: &[&Cell], number: usize| {
        let policy = grid.policies[number].to_string();
        let times = cells.iter().skip(number).step_by(grid.policies.len()).map(|cell| cell.time);
        (policy, times.collect())
    };
    let panel = |(side, pattern, cells): (Limited, Pattern, Vec<&Cell>)| Panel {
        name: format!("{}, {}", pattern.as_str(), side.as_str()),
        curves: (0..grid.policies.len()).map(|number| curve(&cells, number)).collect(),
    };
    parts(grid, cells).map(panel).collect()
}

/// Writes two tables for each side and pattern, and where the first policy is not near the best.
fn print(out: &mut impl Write, grid: &Grid, cells: &[Cell]) -> io::Result<()> {
    writeln!(out, "By the size of the data over that of the memory:")?;
    writeln!(out, "time over that with all data there from the beginning, and")?;
    writeln!(out, "bytes that moved both ways over the fewest (Belady, pages of 4 KiB)")?;
    for (side, pattern, cells) in parts(grid, cells) {
        let by_policy = |figures: &mut Table, of: fn(&Cell) -> f64| {
            for (number, policy) in grid.policies.iter().enumerate() {
                let of_policy = cells.iter().skip(number).step_by(grid.policies.len());
                figures.add_row(line(&policy.to_string(), of_policy.map(|cell| short(of(cell)))));
            }
        };
        let sizes = || grid.sizes.iter().map(f64::to_string);
        writeln!(out, "\n{}, {} memory", pattern.as_str(), side.as_str())?;
        let mut figures = table::plain();
        figures.add_row(line("time", sizes()));
        by_policy(&mut figures, |cell| cell.time);
        figures.add_row(line("bytes", sizes()));
        by_policy(&mut figures, |cell| cell.moved);
        let first: Vec<&&Cell> = cells.iter().step_by(grid.policies.len()).collect();
        figures.add_row(line(&first[0].policy, sizes()));
        let mut of_first = |what: &str, of: fn(&Cell) -> f64| {
            figures.add_row(line(what, first.iter().map(|cell| short(of(cell)))));
        };
        of_first("used, %", |cell| cell.touched * 100.0);
        of_first("p50, us", |cell| cell.p50_ns as f64 / 1e3);
        of_first("p99, us", |cell| cell.p99_ns as f64 / 1e3);
        of_first("p99.9, us", |cell| cell.p999_ns as f64 / 1e3);
        table::print(out, &mut figures, |_| Style::new())?;
    }
    print_far(out, grid, cells)
}

/// Where the first policy is not near the best one.
fn print_far(out: &mut impl Write, grid: &Grid, cells: &[Cell]) -> io::Result<()> {
    let name = grid.policies[0].to_string();
    let (mut far, mut total) = (Vec::new(), 0);
    for group in cells.chunks(grid.policies.len()) {
        let best = group.iter().min_by(|one, other| one.time.total_cmp(&other.time));
        total += 1;
        far.extend(best.filter(|_| group[0].over_best > NEAR_BEST).map(|best| (&group[0], best)));
    }
    let near = total - far.len();
    writeln!(out, "\n{name} is within {NEAR_BEST} x the best policy's time in {near} of {total} cells")?;
    for (cell, best) in far {
        let Cell { side, pattern, size, over_best, .. } = cell;
        let pattern = pattern.as_str();
        writeln!(out, "  {pattern}, {side} memory, {size}: {over_best:.2} x {}", best.policy)?;
    }
    out.flush()
}

pub(super) fn line(name: &str, figures: impl Iterator<Item = String>) -> Vec<comfy_table::Cell> {
    let figures =
        figures.map(|text| comfy_table::Cell::new(text).set_alignment(comfy_table::CellAlignment::Right));
    std::iter::once(comfy_table::Cell::new(name)).chain(figures).collect()
}

/// A ratio in at most four characters, as far as it is below 10,000.
pub(super) fn short(ratio: f64) -> String {
    match ratio {
        ..9.995 => format!("{ratio:.2}"),
        ..99.95 => format!("{ratio:.1}"),
        _ => format!("{ratio:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_short() {
        assert_eq!([0.5, 1.004, 12.34, 99.96, 1234.5].map(short), ["0.50", "1.00", "12.3", "100", "1234"]);
    }

    #[test]
    fn tables_name_every_policy_and_fit_eighty_columns() {
        let grid = Grid { patterns: vec![Pattern::Chase], data: 1 << 20, ..Grid::whole() };
        let cells = grid.cells(&mut |_| ()).expect("it can be simulated");
        let mut text = Vec::new();
        print(&mut text, &grid, &cells).expect("a vector takes all");
        let text = String::from_utf8(text).expect("text");
        for policy in &grid.policies {
            let lines = text.lines().filter(|line| line.starts_with(&format!("{policy} ")));
            assert!(lines.count() >= 4, "two tables for each side: {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(panels(&grid, &cells).len(), 2);
    }
}
