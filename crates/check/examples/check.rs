//! Prints the table of designs and rules, or the stories of one design.
//!
//! ```text
//! cargo run --release -p bifolio-check --example check                     the table
//! cargo run --release -p bifolio-check --example check -- linux-v3         one design: verdicts and stories
//! cargo run --release -p bifolio-check --example check -- linux-v3 I4      one story
//! cargo run --release -p bifolio-check --example check -- linux-v3 I4 --dot
//! cargo run --release -p bifolio-check --example check -- [DESIGN] --json  rows
//! options: --bounds PAGES,ORDER,ACTORS  --threads N  --memory MIB
//! ```
//!
//! Ends with 1 if a rule breaks, 0 if all hold, 2 for wrong use.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks")]

use std::process::ExitCode;

use bifolio_check::table::{LEGEND, table};
use bifolio_check::{Bounds, Options, Report, designs, find};

#[derive(Default)]
struct Asked {
    design: Option<String>,
    rule: Option<String>,
    json: bool,
    dot: bool,
    options: Options,
}

fn main() -> ExitCode {
    let asked = match parse(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) => return wrong(&why),
    };
    let chosen: Vec<_> = match &asked.design {
        None => designs().iter().collect(),
        Some(name) => match find(name) {
            Some(entry) => vec![entry],
            None => return wrong(&format!("no design {name}; there are {}", names())),
        },
    };
    let mut reports = Vec::new();
    for entry in chosen {
        let report = entry.run(&asked.options, &mut |progress| {
            eprint!("\r{}: {} states, depth {}   ", entry.name, progress.states, progress.depth);
        });
        eprintln!();
        match report {
            Ok(report) => reports.push(report),
            Err(why) => return wrong(&why.to_string()),
        }
    }
    print(&asked, &reports);
    ExitCode::from(u8::from(reports.iter().any(Report::breaks)))
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked::default();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => asked.json = true,
            "--dot" => asked.dot = true,
            "--bounds" => asked.options.bounds = Some(bounds(&args.next().unwrap_or_default())?),
            "--threads" => asked.options.limits.threads = number(&args.next().unwrap_or_default())?,
            "--memory" => asked.options.limits.bytes = number(&args.next().unwrap_or_default())? << 20,
            rule if rule.starts_with('I') => asked.rule = Some(arg),
            flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
            _ => asked.design = Some(arg),
        }
    }
    Ok(asked)
}

fn bounds(text: &str) -> Result<Bounds, String> {
    let numbers: Vec<u8> = text.split(',').filter_map(|part| part.parse().ok()).collect();
    match numbers[..] {
        [pages, order, actors] => Ok(Bounds { pages, order, actors }),
        _ => Err("--bounds wants PAGES,ORDER,ACTORS".to_owned()),
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

fn wrong(why: &str) -> ExitCode {
    eprintln!("check: {why}");
    ExitCode::from(2)
}

fn names() -> String {
    designs().iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ")
}

fn print(asked: &Asked, reports: &[Report]) {
    if asked.json {
        let rows: Vec<_> = reports.iter().flat_map(Report::rows).collect();
        return println!("{}", serde_json::to_string_pretty(&rows).expect("rows are plain data"));
    }
    let stories = reports.iter().flat_map(Report::stories);
    let wanted =
        stories.filter(|story| asked.rule.as_ref().is_none_or(|rule| *rule == story.rule.to_string()));
    if asked.dot {
        return wanted.for_each(|story| print!("{}", story.dot()));
    }
    println!("{}\n{LEGEND}", table(reports));
    for part in reports.iter().flat_map(|report| report.parts.iter().map(move |part| (report.design, part))) {
        let (name, part) = part;
        let rate = part.states as f64 / part.time.as_secs_f64().max(1e-9);
        println!(
            "{name}/{}: {:?}, {} states, {} steps, depth {}, {} in {:.2?}, {rate:.0} states/s",
            part.model, part.bounds, part.states, part.steps, part.depth, part.end, part.time
        );
    }
    if asked.design.is_some() {
        wanted.for_each(|story| println!("\n{story}"));
    }
}
