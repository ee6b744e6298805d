//! The README shows what the commands print, and its links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{bifolio, device_works};

const README: &str = include_str!("../../../../README.md");
const PROMPT: &str = "$ cargo run --release -- ";

/// A command in the README, and what the README says it prints.
struct Shown<'r> {
    args: Vec<&'r str>,
    lines: Vec<&'r str>,
}

fn transcripts() -> Vec<Shown<'static>> {
    let blocks = README.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks
        .filter_map(|block| {
            let (first, rest) = block.split_once('\n')?;
            let args = first.strip_prefix(PROMPT)?.split(' ').collect();
            Some(Shown { args, lines: rest.lines().collect() })
        })
        .collect()
}

/// The words of a line, without figures, which differ from run to run.
fn words(line: &str) -> String {
    let is_word = |word: &&str| word.chars().all(|letter| letter.is_alphabetic() || letter == ':');
    line.split_whitespace().filter(is_word).collect::<Vec<_>>().join(" ")
}

#[test]
fn readme_shows_what_a_job_prints() {
    if !device_works("readme_shows_what_a_job_prints") {
        return;
    }
    let transcripts = transcripts();
    let jobs: Vec<_> = transcripts.iter().filter(|shown| shown.args[0] == "demo").collect();
    assert!(!jobs.is_empty());
    for Shown { args, lines } in jobs {
        let ran = bifolio(args);
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
        let printed: BTreeSet<_> = ran.stdout.lines().map(words).collect();
        for line in lines.iter().filter(|line| !is_rare(line)) {
            assert!(printed.contains(&words(line)), "{args:?} does not print {line:?}:\n{}", ran.stdout);
        }
    }
}

/// Tells whether a line is about something that not every run meets.
fn is_rare(line: &str) -> bool {
    line.trim_start().starts_with("folios")
}

#[test]
fn readme_shows_the_very_lines_that_check_prints() {
    let transcripts = transcripts();
    let explored: Vec<_> = transcripts.iter().filter(|shown| shown.args[0] == "check").collect();
    assert!(!explored.is_empty());
    for Shown { args, lines } in explored {
        let ran = bifolio(args);
        let mut printed = ran.stdout.lines();
        for line in lines {
            assert!(printed.any(|other| other == *line), "{args:?} does not print {line:?}:\n{}", ran.stdout);
        }
    }
}

#[test]
fn readme_names_every_subcommand() {
    let help = bifolio(&["--help"]).stdout;
    let (_, commands) = help.split_once("Commands:\n").expect("a list of subcommands");
    let names = commands.lines().map_while(|line| line.strip_prefix("  ")?.split(' ').next());
    for name in names.filter(|name| *name != "help") {
        assert!(README.contains(&format!("| `{name} ")) || README.contains(&format!("| `{name}`")), "{name}");
    }
}

/// The pages for readers, by their paths in the project.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let docs =
        fs::read_dir(root.join("docs")).expect("a folder").map(|entry| entry.expect("readable").path());
    let others =
        ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "data/README.md"].map(|page| root.join(page));
    others.into_iter().chain(docs.filter(|page| page.extension().is_some_and(|end| end == "md"))).collect()
}

/// The anchors of a page's headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| line.trim_start_matches('#').trim());
    let kept = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_';
    headings
        .map(|text| text.to_lowercase().replace(' ', "-").chars().filter(|&letter| kept(letter)).collect())
        .collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    for path in pages() {
        let page = fs::read_to_string(&path).expect("a page");
        for target in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file =
                if file.is_empty() { path.clone() } else { path.parent().expect("a folder").join(file) };
            assert!(file.exists(), "{}: {target}", path.display());
            if !anchor.is_empty() {
                let there = anchors(&fs::read_to_string(&file).expect("a page"));
                assert!(there.contains(anchor), "{}: {target} of {there:?}", path.display());
            }
        }
    }
}
