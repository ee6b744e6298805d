//! The table of designs and rules, made to be read at 80 columns: [`Table`].

use std::io::{self, Write};

use bifolio_explore::{Report, Subject, Verdict, find};
use bifolio_rules::Rule;
use console::{Style, StyledObject};

use crate::figures::grouped;

/// Width of a column of verdicts.
const VERDICT: usize = 4;

/// Which rules have a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Those that break in some design.
    Broken,
    /// All that some design can break.
    All,
}

/// Designs of one kind, and the rules that have a column for them.
#[derive(Debug)]
struct Section<'r> {
    subject: Subject,
    reports: Vec<&'r Report>,
    rules: Vec<Rule>,
}

/// Verdicts on designs, one row each: a section for each kind of design, in blocks of as many rules as fit.
#[derive(Debug)]
pub struct Table<'r> {
    sections: Vec<Section<'r>>,
    width: usize,
}

impl<'r> Section<'r> {
    fn new(subject: Subject, reports: &'r [Report], columns: Columns) -> Section<'r> {
        let of_subject = |report: &&Report| find(report.design).is_some_and(|entry| entry.subject == subject);
        let reports: Vec<&Report> = reports.iter().filter(of_subject).collect();
        let shown = |rule: &Rule| {
            reports.iter().any(|report| match report.verdict(*rule) {
                Verdict::Breaks(_) => true,
                Verdict::Absent => false,
                Verdict::Holds | Verdict::ByConstruction(_) | Verdict::Unfinished => columns == Columns::All,
            })
        };
        Section { subject, rules: Rule::all().filter(shown).collect(), reports }
    }

    /// Writes the section in blocks, no wider than `width` columns if the names leave room for a verdict.
    fn print(&self, out: &mut impl Write, width: usize) -> io::Result<()> {
        let names = self.reports.iter().map(|report| report.design.len());
        let names = names.chain([self.subject.heading().len()]).max().unwrap_or(0);
        let states =
            self.reports.iter().map(|report| grouped(report.states()).len()).max().unwrap_or(0).max(6);
        let room = width.saturating_sub(names + 2 + states) / VERDICT;
        let mut blocks = self.rules.chunks(room.max(1)).peekable();
        if blocks.peek().is_none() {
            return self.print_block(out, &[], names, Some(states));
        }
        while let Some(rules) = blocks.next() {
            // The number of states stands once, in the last block.
            let last = blocks.peek().is_none();
            self.print_block(out, rules, names, last.then_some(states))?;
            if !last {
                writeln!(out)?;
            }
        }
        Ok(())
    }

    fn print_block(
        &self,
        out: &mut impl Write,
        rules: &[Rule],
        names: usize,
        states: Option<usize>,
    ) -> io::Result<()> {
        write!(out, "{}", Style::new().bold().apply_to(format!("{:names$}", self.subject.heading())))?;
        for rule in rules {
            write!(out, "{:>VERDICT$}", rule.to_string())?;
        }
        writeln!(out, "{}", states.map(|width| format!("  {:>width$}", "states")).unwrap_or_default())?;
        for report in &self.reports {
            write!(out, "{:names$}", report.design)?;
            for rule in rules {
                write!(out, "{}", mark(report.verdict(*rule)))?;
            }
            let count = grouped(report.states());
            writeln!(out, "{}", states.map(|width| format!("  {count:>width$}")).unwrap_or_default())?;
        }
        Ok(())
    }
}

impl<'r> Table<'r> {
    /// Makes a table no wider than `width` columns, if names and figures leave room for a verdict.
    pub fn new(reports: &'r [Report], columns: Columns, width: usize) -> Table<'r> {
        let sections = Subject::ALL.map(|subject| Section::new(subject, reports, columns));
        let sections = sections.into_iter().filter(|section| !section.reports.is_empty()).collect();
        Table { sections, width }
    }

    /// The rules that have a column, in their order.
    pub fn rules(&self) -> Vec<Rule> {
        let shown = |rule: &Rule| self.sections.iter().any(|section| section.rules.contains(rule));
        Rule::all().filter(shown).collect()
    }

    /// Writes the table, with colours where standard output has them.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        for (at, section) in self.sections.iter().enumerate() {
            if at > 0 {
                writeln!(out)?;
            }
            section.print(out, self.width)?;
        }
        Ok(())
    }

    /// Writes what the marks mean that the table has, and what the rules say in short.
    pub fn print_legend(&self, out: &mut impl Write) -> io::Result<()> {
        let marks = [
            ("-", "the design has nothing to break"),
            ("*", "cannot break, by construction"),
            ("?", "not all states visited"),
        ];
        let used = marks.iter().filter(|(mark, _)| self.has(mark));
        let used: Vec<String> = used.map(|(mark, meaning)| format!("{mark}  {meaning}")).collect();
        print_columns(out, &used, self.width)?;
        let shorts =
            self.rules().into_iter().map(|rule| format!("{:<4}{}", rule.to_string(), rule.info().short));
        print_columns(out, &shorts.collect::<Vec<_>>(), self.width)
    }

    fn has(&self, wanted: &str) -> bool {
        let marked = |section: &Section<'_>| {
            let mut pairs = section
                .reports
                .iter()
                .flat_map(|report| section.rules.iter().map(move |rule| (report, *rule)));
            pairs.any(|(report, rule)| plain(report.verdict(rule)) == wanted)
        };
        self.sections.iter().any(marked)
    }
}

/// Writes texts in as many columns as fit, each column from top to bottom.
fn print_columns(out: &mut impl Write, texts: &[String], width: usize) -> io::Result<()> {
    let each = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0) + 2;
    let columns = (width / each.max(1)).max(1);
    let rows = texts.len().div_ceil(columns);
    for row in 0..rows {
        let line: String = texts.iter().skip(row).step_by(rows).map(|text| format!("{text:each$}")).collect();
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A verdict in three characters at most.
fn plain(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Holds => "ok".to_owned(),
        Verdict::ByConstruction(_) => "*".to_owned(),
        Verdict::Breaks(story) => story.steps.len().to_string(),
        Verdict::Unfinished => "?".to_owned(),
        Verdict::Absent => "-".to_owned(),
    }
}

fn mark(verdict: &Verdict) -> StyledObject<String> {
    let style = match verdict {
        Verdict::Breaks(_) => Style::new().red(),
        Verdict::Holds | Verdict::ByConstruction(_) => Style::new().green(),
        Verdict::Unfinished => Style::new().yellow(),
        Verdict::Absent => Style::new().dim(),
    };
    style.apply_to(format!("{:>VERDICT$}", plain(verdict)))
}

#[cfg(test)]
mod tests {
    use bifolio_explore::{Bounds, Options};

    use super::*;

    fn reports(names: &[&str]) -> Vec<Report> {
        let options = Options { bounds: Some(Bounds::of(2, 1, 1)), ..Options::default() };
        let run =
            |name: &&str| find(name).expect("a design").run(&options, &mut |_| ()).expect("good bounds");
        names.iter().map(run).collect()
    }

    fn printed(print: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let reports = reports(&["linux-v3", "linux-mainline", "bifolio"]);
        for width in [60, 80, 132] {
            let table = Table::new(&reports, Columns::All, width);
            let text = printed(|out| table.print(out)) + &printed(|out| table.print_legend(out));
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
        }
    }

    #[test]
    fn rules_that_no_design_breaks_have_no_column_unless_asked_for() {
        let reports = reports(&["linux-v4"]);
        let broken = Table::new(&reports, Columns::Broken, 80);
        assert!(broken.rules().iter().all(|rule| matches!(reports[0].verdict(*rule), Verdict::Breaks(_))));
        assert!(Table::new(&reports, Columns::All, 80).rules().len() > broken.rules().len());
    }

    #[test]
    fn texts_go_down_the_columns() {
        let texts = ["one", "two", "three", "four", "five"].map(str::to_owned);
        assert_eq!(printed(|out| print_columns(out, &texts, 16)), "one    four\ntwo    five\nthree\n");
    }
}
