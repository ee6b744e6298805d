//! The README shows what the command prints.

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
fn transcripts_show_what_the_commands_print() {
    if !device_works("transcripts_show_what_the_commands_print") {
        return;
    }
    let transcripts = transcripts();
    assert!(!transcripts.is_empty());
    for shown in transcripts {
        let ran = bifolio(&shown.args);
        assert_eq!(ran.code, Some(0), "{:?}: {}", shown.args, ran.stderr);
        let printed: BTreeSet<_> = ran.stdout.lines().map(words).collect();
        for line in shown.lines.into_iter().filter(|line| !is_rare(line)) {
            assert!(
                printed.contains(&words(line)),
                "{:?} does not print {line:?}:\n{}",
                shown.args,
                ran.stdout
            );
        }
    }
}

/// Tells whether a line is about something that not every run meets.
fn is_rare(line: &str) -> bool {
    let line = line.trim_start();
    ["folios", "smaller", "retried"].iter().any(|rare| line.starts_with(rare))
        || line.contains(" of them found ")
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
