//! The stories in the docs are what the checker prints, left-out lines aside.

use bifolio_explore::{Bounds, Options, Story, find};

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
    let options = Options { bounds: Some(bounds), ..Options::default() };
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
