//! `docs/rules.md` says what the code says: every rule, its sentence and source, where it is judged, and what breaks it.

use std::fs;
use std::path::{Path, PathBuf};

use bifolio_rules::Rule;

const JUDGE: &str = "crates/rules/src/judge";
const CHECKER: &str = "crates/checker/src";

fn path(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// All files of a folder, one after the other.
fn read_all(folder: &str) -> String {
    let entries = fs::read_dir(path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let files = entries.map(|entry| entry.expect("a file").path()).filter(|path| path.is_file());
    files.map(|path| fs::read_to_string(path).expect("a text")).collect()
}

/// What the page says of a rule.
struct Section {
    rule: Rule,
    title: String,
    sentence: String,
    lines: Vec<String>,
}

impl Section {
    /// The line that begins with `- BEGIN`.
    fn line(&self, begin: &str) -> &str {
        let begin = format!("- {begin} ");
        let found = self.lines.iter().find_map(|line| line.strip_prefix(&begin));
        found.unwrap_or_else(|| panic!("{} has no line that begins with `{begin}`", self.rule))
    }

    /// The names that break the rule in tests of a kind.
    fn broken(&self, kind: &str) -> Vec<String> {
        let parts = self.line("Broken in tests,").split("; ");
        let of_kind = parts.filter_map(|part| part.strip_prefix(&format!("{kind}: ")));
        of_kind.flat_map(names).map(str::to_owned).collect()
    }
}

/// The names between backticks.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn sections() -> Vec<Section> {
    let page = read("docs/rules.md");
    let page = page.split("\n## ").next().expect("a first part");
    let sections: Vec<&str> = page.split("\n### ").skip(1).collect();
    assert_eq!(sections.len(), usize::from(bifolio_rules::COUNT));
    let section = |(rule, text): (Rule, &&str)| {
        let mut lines = text.lines().filter(|line| !line.is_empty()).map(str::to_owned);
        let mut next = || lines.next().expect("a line");
        Section { rule, title: next(), sentence: next(), lines: lines.collect() }
    };
    Rule::all().zip(&sections).map(section).collect()
}

/// The first letter in lower case, without the full stop.
fn plain(sentence: &str) -> String {
    let mut letters = sentence.trim_end_matches('.').chars();
    letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect()
}

#[test]
fn every_rule_has_its_title_its_sentence_and_its_source() {
    for Section { rule, title, sentence, .. } in &sections() {
        assert_eq!(*title, format!("{rule}: {}", rule.info().short));
        assert_eq!(plain(sentence), plain(rule.info().sentence));
    }
    for section in sections() {
        assert_eq!(section.line("Source:").trim_end_matches('.'), section.rule.info().source);
    }
}

#[test]
fn every_rule_is_judged_by_the_functions_of_the_file_that_the_page_names() {
    for section in sections() {
        for part in section.line("Judged by").split("; ") {
            let (functions, file) = part.split_once(" in ").expect("functions in a file");
            let source = read(&format!("{JUDGE}/{}", names(file).next().expect("a file")));
            for function in names(functions) {
                let found = source.split("\n\n").find(|item| item.contains(&format!("\npub fn {function}")));
                let doc = found.unwrap_or_else(|| panic!("{function} is not in {file}")).trim_start();
                let rule = section.rule.to_string();
                let head = doc.lines().next().expect("documentation");
                assert!(head.split([' ', ',', ':']).any(|word| word == rule), "{function}: {head}");
            }
        }
    }
}

#[test]
fn files_of_the_checker_that_see_a_rule_say_so() {
    let overview = read(&format!("{CHECKER}/lib.rs"));
    for section in sections() {
        let files: Vec<&str> = names(section.line("Seen live in")).collect();
        assert!(!files.is_empty());
        for file in files {
            assert!(path(&format!("{CHECKER}/{file}")).exists(), "{file}");
            let row = format!("//! | `{}` |", file.trim_end_matches(".rs"));
            let row = overview.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("{row}"));
            let rule = section.rule.to_string();
            assert!(row.split([' ', ',']).any(|word| word == rule), "{rule} is not in {row}");
        }
    }
}

#[test]
fn tests_that_the_page_names_break_the_rule() {
    let (events, live) = (read_all("crates/rules/tests/events"), read_all("crates/checker/src/tests"));
    for section in sections() {
        for (kind, tests) in [("by events", &events), ("live", &live)] {
            for name in section.broken(kind) {
                let test = tests.split("#[test]").find(|test| test.contains(&format!("fn {name}()")));
                let test = test.unwrap_or_else(|| panic!("{name} is not there"));
                let lists = test.split("breaks(").skip(1).filter_map(|rest| rest.split(')').next());
                let number = section.rule.number().to_string();
                let mut numbers = lists.flat_map(|list| list.split(['&', '[', ']', ',', ' ']));
                assert!(numbers.any(|found| found == number), "{name} does not break {}", section.rule);
            }
        }
    }
}

#[test]
fn every_rule_is_broken_by_events() {
    for section in sections() {
        assert!(!section.broken("by events").is_empty(), "{}", section.rule);
    }
}

#[test]
fn mutations_and_designs_that_the_page_names_are_there() {
    let folios = read("crates/verify/explore/src/folio/mutations.rs");
    let transactions = read("crates/verify/explore/src/migrate/mutations.rs");
    let designs = read_all("crates/verify/explore/src/designs");
    for section in sections() {
        let rule = section.rule;
        for name in section.broken("explored") {
            let of_folios = folios.contains(&format!("{name} by \"{rule}\""));
            let ends = format!(" by {},", rule.number());
            let of_transactions = transactions
                .lines()
                .any(|line| line.trim().starts_with(&format!("{name} in ")) && line.ends_with(&ends));
            let of_designs = designs.contains(&format!("\"{name}\""));
            assert!(of_folios || of_transactions || of_designs, "{name} of {rule} is not there");
        }
    }
}

#[test]
fn each_judgement_of_the_explorers_own_has_a_row() {
    let page = read("docs/rules.md");
    let own = page.split("\n## ").find(|part| part.starts_with("Judgements of the explorer's own"));
    let rows = |file: &str| {
        let row = format!("| `crates/verify/explore/src/{file}");
        own.expect("a section").lines().filter(|line| line.starts_with(&row)).count()
    };
    let judged = |text: &str| text.matches("broken.require(").count();
    for file in ["folio/judge.rs", "folio/pooled/world.rs"] {
        assert_eq!(rows(file), judged(&read(&format!("crates/verify/explore/src/{file}"))), "{file}");
    }
    let folders = ["", "designs", "explore", "folio", "folio/pooled", "linux", "linux/migration", "migrate"];
    let all: usize =
        folders.iter().map(|folder| judged(&read_all(&format!("crates/verify/explore/src/{folder}")))).sum();
    assert_eq!(rows(""), all);
}

#[test]
fn compile_errors_that_the_page_names_are_shown_by_the_file() {
    for section in sections() {
        let holds = section.line("Holds");
        let file = names(holds).find(|name| name.ends_with(".rs"));
        for code in names(holds).filter(|name| name.starts_with("E0")) {
            let file = format!("crates/{}", file.expect("a file is named with the error"));
            let shown = if file.contains("/ui/") {
                read(&file.replace(".rs", ".stderr")).contains(&format!("error[{code}]"))
            } else {
                read(&file).contains(&format!("compile_fail,{code}"))
            };
            assert!(shown, "{}: {code} is not shown by {file}", section.rule);
        }
    }
}
