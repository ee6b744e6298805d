//! `docs/rules.md` says what the code says: every rule, its sentence, where it is judged, and what breaks it.

use std::fs;
use std::path::Path;

use bifolio_rules::Rule;

const CHECKED: &str = "crates/engine/src/checked";

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cells of each row, by rule.
fn rows() -> Vec<(Rule, Vec<String>)> {
    let page = read("docs/rules.md");
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = page.lines().filter(|line| line.starts_with("| I")).map(cells).collect();
    assert_eq!(rows.len(), usize::from(bifolio_rules::COUNT));
    Rule::all().zip(rows).collect()
}

/// The names between backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_rule_has_its_row_and_its_sentence() {
    for (rule, cells) in rows() {
        assert_eq!((cells[1].as_str(), cells[2].as_str()), (rule.to_string().as_str(), rule.info().sentence));
    }
}

#[test]
fn every_rule_is_judged_where_the_page_says() {
    for (rule, cells) in rows() {
        assert!(names(&cells[3]).count() > 0, "{rule} is judged nowhere");
        for file in names(&cells[3]) {
            let source = read(&format!("{CHECKED}/{file}"));
            let call = format!("facts::i{}", rule.number());
            let called = |at: usize| source[at + call.len()..].starts_with(['(', '_']);
            assert!(source.match_indices(&call).any(|(at, _)| called(at)), "{rule} is not judged in {file}");
        }
    }
}

#[test]
fn tests_that_the_page_names_break_the_rule() {
    let tests = read(&format!("{CHECKED}/tests.rs"));
    for (rule, cells) in rows() {
        for name in names(&cells[4]) {
            let test = tests.split("#[test]").find(|test| test.contains(&format!("fn {name}()")));
            let breaks = format!("breaks({})", rule.number());
            assert!(test.is_some_and(|test| test.contains(&breaks)), "{name} does not break {rule}");
        }
    }
}

#[test]
fn faults_and_designs_that_the_page_names_are_there() {
    let folios = read("crates/verify/explore/src/folio/mutations.rs");
    let transactions = read("crates/verify/explore/src/migrate/mutations.rs");
    let designs = ["kernels", "thread", "bifolio", "bifolio_reinit", "buddy_dirty_lost", "migration"]
        .map(|file| read(&format!("crates/verify/explore/src/designs/{file}.rs")))
        .concat();
    for (rule, cells) in rows() {
        for name in names(&cells[5]) {
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
fn compile_errors_that_the_page_names_are_those_of_the_file() {
    for (rule, cells) in rows() {
        let file = names(&cells[6]).find(|name| name.ends_with(".rs"));
        for code in names(&cells[6]).filter(|name| name.starts_with("E0")) {
            let file = file.expect("a file is named with the error");
            let (source, error) = match file.contains("/tests/ui/") {
                true => (file.replace(".rs", ".stderr"), format!("error[{code}]")),
                false => (file.to_owned(), format!("compile_fail,{code}")),
            };
            let found = read(&format!("crates/{source}")).contains(&error);
            assert!(found, "{rule}: {source} has no {error}");
        }
    }
}

#[test]
fn every_rule_is_broken_by_something() {
    for (rule, cells) in rows() {
        assert!(names(&cells[4]).chain(names(&cells[5])).count() > 0, "{rule} is broken by nothing");
    }
}
