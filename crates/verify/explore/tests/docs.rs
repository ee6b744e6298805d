//! The stories in the docs are what the checker prints, left-out lines aside, and the tables have its verdicts.

use bifolio_explore::rules::Rule;
use bifolio_explore::{Bounds, MemoryOrder, Options, Report, Story, Subject, Verdict, find};

/// A story that a page quotes: the words after "```text", which are design, rule, and sizes as the command takes them.
struct Quoted {
    head: Vec<String>,
    lines: Vec<String>,
}

/// The stories of a page.
fn quoted(page: &str) -> Vec<Quoted> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(head) = line.strip_prefix("```text ") else { continue };
        let lines = lines.by_ref().take_while(|line| *line != "```").map(str::to_owned).collect();
        blocks.push(Quoted { head: head.split(' ').map(str::to_owned).collect(), lines });
    }
    blocks
}

fn story(head: &[String]) -> String {
    let entry = find(&head[0]).expect("a design");
    let size = |name: &str, default: u8| {
        let at = head.iter().position(|word| word == name);
        at.map_or(default, |at| head[at + 1].parse().expect("a number"))
    };
    let Bounds { pages, order, actors } = entry.bounds;
    let bounds = Bounds::of(size("--pages", pages), size("--max-order", order), actors);
    let weak = head.iter().any(|word| word == "weak");
    let memory_order = if weak { MemoryOrder::Weak } else { MemoryOrder::Sequential };
    let options = Options { bounds: Some(bounds), memory_order, ..Options::default() };
    let report = entry.run(&options, &mut |_| ()).expect("good bounds");
    let mut stories = report.stories().filter(|story| story.rule.to_string() == head[1]);
    stories.next().map(Story::to_string).expect("the rule breaks")
}

#[test]
fn docs_quote_stories_as_they_are_printed() {
    let pages = [
        include_str!("../../../../docs/the-thread-replayed.md"),
        include_str!("../../../../docs/device-pages-keep-flags.md"),
        include_str!("../../../../docs/adding-a-design.md"),
        include_str!("../../../../README.md"),
    ];
    let blocks: Vec<_> = pages.iter().flat_map(|page| quoted(page)).collect();
    assert!(blocks.len() >= 13, "{}", blocks.len());
    for Quoted { head, lines } in blocks {
        let text = story(&head);
        let mut printed = text.lines();
        for line in lines {
            let found = printed.any(|other| other == line);
            assert!(found, "{head:?}: not printed, or not in this order: {line}");
        }
    }
}

/// The cells of the rows of a table, for each design of Linux; and the heads of its columns.
fn tables(page: &str) -> Vec<(Vec<String>, Vec<Vec<String>>)> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().replace("**", "")).collect()
    };
    let mut tables = Vec::new();
    for block in page.split("\n\n").filter(|block| block.starts_with("| design")) {
        let mut lines = block.lines().map(cells);
        let head = lines.next().expect("a head");
        let linux = |row: &Vec<String>| find(&row[0]).is_some_and(|entry| entry.subject != Subject::Shipped);
        tables.push((head, lines.filter(linux).collect()));
    }
    tables
}

fn explored(name: &str, bounds: Option<Bounds>, memory_order: MemoryOrder) -> Report {
    let options = Options { bounds, memory_order, ..Options::default() };
    find(name).expect("known").run(&options, &mut |_| ()).expect("good bounds")
}

/// The rules that a design breaks, each with what `told` says of its story.
fn broken(report: &Report, told: impl Fn(&Story) -> String) -> String {
    report.stories().map(told).collect::<Vec<_>>().join(", ")
}

/// A verdict as a cell of a table has it.
fn cell(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Breaks(story) => story.steps.len().to_string(),
        Verdict::Absent => "-".to_owned(),
        _ => "ok".to_owned(),
    }
}

#[test]
fn tables_have_the_verdicts_and_states_of_each_design() {
    let mut rows = 0;
    for (head, table) in tables(include_str!("../../../../docs/the-thread-replayed.md")) {
        for row in table {
            rows += 1;
            let name = &row[0];
            if head[1] == "sequential" {
                let orders = MemoryOrder::ALL.map(|order| {
                    let report = explored(name, Some(Bounds::of(2, 1, 2)), order);
                    broken(&report, |story| story.rule.to_string())
                });
                let weak = if row[2] == "the same" { &row[1] } else { &row[2] };
                assert_eq!([&row[1], weak], [&orders[0], &orders[1]], "{name}");
                continue;
            }
            let report = explored(name, None, MemoryOrder::Sequential);
            let states = row.last().expect("cells").replace(',', "");
            assert_eq!(states, report.states().to_string(), "states of {name}");
            if head[2] == "breaks" {
                let told = broken(&report, |story| format!("{} ({})", story.rule, story.steps.len()));
                assert_eq!(row[2], if told.is_empty() { "nothing".to_owned() } else { told }, "{name}");
                continue;
            }
            for (rule, shown) in head.iter().zip(&row).skip(1).take(head.len() - 2) {
                let rule = Rule::all().find(|known| known.to_string() == *rule).expect("a rule");
                assert_eq!(*shown, cell(report.verdict(rule)), "{name}, {rule}");
            }
        }
    }
    assert!(rows > 35, "{rows}");
}
