//! The table designs x rules.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::report::{Report, Verdict};
use bifolio_rules::Rule;

/// What the marks of the table mean.
pub const LEGEND: &str = "ok: holds in all states    ✗ n: breaks in n steps    built: cannot break, the doc says why    \
?: not all states visited    .: not expressed";

/// Draws the table: one line for each design, a column for each rule that any of them expresses.
#[must_use]
pub fn table(reports: &[Report]) -> String {
    let expressed = |rule: &Rule| reports.iter().any(|report| *report.verdict(*rule) != Verdict::Absent);
    let rules: Vec<Rule> = Rule::all().filter(expressed).collect();
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    let head = ["design".to_owned()].into_iter().chain(rules.iter().map(Rule::to_string));
    table.set_header(head.chain(["states".to_owned(), "depth".to_owned()]));
    for report in reports {
        let marks = rules.iter().map(|rule| mark(report.verdict(*rule)));
        let line = [report.design.to_owned()].into_iter().chain(marks);
        table.add_row(line.chain([report.states().to_string(), report.depth().to_string()]));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    if let Some(states) = table.column_mut(rules.len() + 1) {
        states.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

fn mark(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Holds => "ok".to_owned(),
        Verdict::ByConstruction(_) => "built".to_owned(),
        Verdict::Breaks(story) => format!("✗ {}", story.steps.len()),
        Verdict::Unfinished => "?".to_owned(),
        Verdict::Absent => ".".to_owned(),
    }
}
