//! `check --rules`: what each rule says.

use std::io::{self, Write};

use bifolio_rules::Rule;
use serde::Serialize;

use crate::check::text::wrap;
use crate::output::{JsonTarget, OutputError};

/// A rule as data, for `--json`.
#[derive(Debug, Serialize)]
struct Row {
    rule: String,
    short: &'static str,
    sentence: &'static str,
    source: &'static str,
}

/// Lists one rule, or all of them.
pub fn print(only: Option<Rule>, json: bool) -> Result<(), OutputError> {
    let rules = Rule::all().filter(|rule| only.is_none_or(|only| only == *rule));
    if json {
        let row = |rule: Rule| {
            let info = rule.info();
            Row { rule: rule.to_string(), short: info.short, sentence: info.sentence, source: info.source }
        };
        return JsonTarget::Stdout.write(&rules.map(row).collect::<Vec<_>>());
    }
    let out = &mut io::stdout().lock();
    for rule in rules {
        print_rule(out, rule)?;
    }
    Ok(out.flush()?)
}

fn print_rule(out: &mut impl Write, rule: Rule) -> io::Result<()> {
    let info = rule.info();
    let debated = if rule.is_debated() { " (debated)" } else { "" };
    writeln!(out, "{:<5}{}{debated}", rule.to_string(), info.short)?;
    for line in wrap(info.sentence, 75) {
        writeln!(out, "     {line}")?;
    }
    for (at, line) in wrap(info.source, 67).iter().enumerate() {
        writeln!(out, "     {}{line}", if at == 0 { "source: " } else { "        " })?;
    }
    Ok(())
}
