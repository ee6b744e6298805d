//! What `check` writes for people: the table, its legend, a conclusion, stories, hints.

use std::io::{self, Write};

use bifolio_explore::{Bounds, Report, Verdict};
use bifolio_rules::Rule;
use console::Term;

use crate::check::Found;
use crate::check::table::{Columns, Table};
use crate::figures::grouped;

/// Width of the output where it is not a terminal.
const WIDTH: usize = 80;

/// Writes what was found.
pub fn print(out: &mut impl Write, found: &Found<'_>) -> io::Result<()> {
    if found.args.dot {
        found.stories().try_for_each(|story| write!(out, "{}", story.dot()))?;
        return out.flush();
    }
    print_table(out, found)?;
    print_conclusion(out, found)?;
    if found.args.worlds {
        writeln!(out)?;
        found.reports.iter().try_for_each(|report| print_worlds(out, report))?;
    }
    if found.is_of_one_design() || found.rule.is_some() {
        found.stories().try_for_each(|story| writeln!(out, "\n{story}"))?;
    }
    match found.rule {
        Some(rule) => print_unbroken(out, rule, &found.reports)?,
        None => print_hints(out, found)?,
    }
    out.flush()
}

fn print_table(out: &mut impl Write, found: &Found<'_>) -> io::Result<()> {
    let columns = if found.args.all_rules { Columns::All } else { Columns::Broken };
    let table = Table::new(&found.reports, columns, width());
    if found.is_of_one_design() && table.rules().is_empty() {
        return Ok(());
    }
    if !found.is_of_one_design() {
        let count = found.reports.len();
        writeln!(out, "Every interleaving of {count} designs of device memory, in small worlds.")?;
    }
    writeln!(out, "A number: the rule breaks, and the shortest sequence has that many steps.\n")?;
    table.print(out)?;
    writeln!(out)?;
    table.print_legend(out)?;
    let others = Table::new(&found.reports, Columns::All, WIDTH).rules().len() - table.rules().len();
    if others > 0 {
        writeln!(out, "{others} more rules: no design here breaks them (--all-rules)")?;
    }
    writeln!(out)
}

/// Says how many states there were, and which designs keep every rule.
fn print_conclusion(out: &mut impl Write, found: &Found<'_>) -> io::Result<()> {
    let states = grouped(found.reports.iter().map(Report::states).sum());
    let (seconds, list) =
        (found.time.as_secs_f64(), if found.args.worlds { "" } else { " (--worlds lists them)" });
    if found.reports.iter().all(Report::is_complete) {
        writeln!(out, "{states} states, all visited, in {seconds:.1} s{list}.")?;
    } else {
        writeln!(out, "{states} states visited in {seconds:.1} s, which are not all{list}:")?;
        for part in found.reports.iter().flat_map(|report| &report.parts).filter(|part| !part.is_complete()) {
            writeln!(out, "  {}: {}", part.model, part.end)?;
        }
    }
    for report in found.reports.iter().filter(|report| report.is_complete() && !report.breaks()) {
        let count =
            |wanted: fn(&Verdict) -> bool| Rule::all().filter(|rule| wanted(report.verdict(*rule))).count();
        let (kept, built) = (
            count(|verdict| matches!(verdict, Verdict::Holds)),
            count(|verdict| matches!(verdict, Verdict::ByConstruction(_))),
        );
        writeln!(
            out,
            "{} keeps {kept} rules in all its states, and {built} by construction.",
            report.design
        )?;
    }
    Ok(())
}

/// The worlds of one design: how large they are, and how long it took.
fn print_worlds(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for part in &report.parts {
        let Bounds { pages, order, actors } = part.bounds;
        let (states, steps, seconds) = (grouped(part.states), grouped(part.steps), part.time.as_secs_f64());
        writeln!(out, "{}/{}: {pages} pages, orders to {order}, {actors} actors", report.design, part.model)?;
        writeln!(
            out,
            "  {states} states, {steps} steps, depth {}, {seconds:.2} s: {}",
            part.depth, part.end
        )?;
    }
    Ok(())
}

/// The designs that have no story of a rule, and why not.
fn print_unbroken(out: &mut impl Write, rule: Rule, reports: &[Report]) -> io::Result<()> {
    writeln!(out)?;
    for report in reports {
        let (design, states) = (report.design, grouped(report.states()));
        let why = match report.verdict(rule) {
            Verdict::Breaks(_) => continue,
            Verdict::Holds => format!("{design} keeps {rule} in all {states} states"),
            Verdict::ByConstruction(reason) => format!("{design} cannot break {rule}: {reason}"),
            Verdict::Unfinished => {
                format!("{design} keeps {rule} in the {states} states visited, which are not all")
            }
            Verdict::Absent => format!("{design} does not express {rule}"),
        };
        wrap(&why, width()).iter().try_for_each(|line| writeln!(out, "{line}"))?;
    }
    Ok(())
}

/// Says which command shows more.
fn print_hints(out: &mut impl Write, found: &Found<'_>) -> io::Result<()> {
    let Some(story) = found.stories().next() else {
        return writeln!(out, "\nWhat the rules say: bifolio check --rules");
    };
    if !found.is_of_one_design() {
        writeln!(out, "\nSee how: bifolio check --design {} --rule {}", story.design, story.rule)?;
    }
    writeln!(out, "What {} says: bifolio check --rules --rule {}", story.rule, story.rule)
}

/// Columns of the terminal, or those that a page has.
fn width() -> usize {
    Term::stdout().size_checked().map_or(WIDTH, |(_, columns)| usize::from(columns))
}

/// Breaks a text into lines of at most `width` characters, at blanks.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_blanks() {
        assert_eq!(wrap("a bc def gh", 4), ["a bc", "def", "gh"]);
        assert_eq!(wrap("longer than that", 3), ["longer", "than", "that"]);
    }
}
