//! The stories in the docs are what the checker prints, left-out lines aside.

use bifolio_explore::{Options, Story, find};

/// Blocks of a page that begin with "```text DESIGN RULE": design, rule, lines.
fn quoted(page: &str) -> Vec<(String, String, Vec<String>)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some((design, rule)) = line.strip_prefix("```text ").and_then(|head| head.split_once(' ')) else {
            continue;
        };
        let inside = lines.by_ref().take_while(|line| *line != "```").map(str::to_owned).collect();
        blocks.push((design.to_owned(), rule.to_owned(), inside));
    }
    blocks
}

fn story(design: &str, rule: &str) -> String {
    let report = find(design).expect("a design").run(&Options::default(), &mut |_| ()).expect("good bounds");
    let mut stories = report.stories().filter(|story| story.rule.to_string() == rule);
    stories.next().map(Story::to_string).expect("the rule breaks")
}

#[test]
fn docs_quote_stories_as_they_are_printed() {
    let pages = [
        include_str!("../../../../docs/the-thread-replayed.md"),
        include_str!("../../../../docs/adding-a-design.md"),
        include_str!("../../../../README.md"),
    ];
    let blocks: Vec<_> = pages.iter().flat_map(|page| quoted(page)).collect();
    assert_eq!(blocks.len(), 10);
    for (design, rule, lines) in blocks {
        let text = story(&design, &rule);
        let mut printed = text.lines();
        for line in lines {
            assert!(
                printed.any(|other| other == line),
                "{design} {rule}: not printed, or not in this order: {line}"
            );
        }
    }
}
