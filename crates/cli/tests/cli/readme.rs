//! The README shows what the commands print, and names them all.

use std::collections::BTreeSet;

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

#[test]
fn readme_counts_the_designs_and_the_rules() {
    let designs = format!("for {} designs:", bifolio_explore::designs().len());
    let rules = format!("[{} rules]", bifolio_rules::COUNT);
    assert!(README.contains(&designs) && README.contains(&rules), "{designs} {rules}");
}
