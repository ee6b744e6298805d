//! `check`: verdicts, stories and exit codes, as a script and a person see them.

use crate::command::bifolio;

#[test]
fn broken_rule_ends_with_1_and_tells_its_story() {
    let ran = bifolio(&["check", "--design", "linux-v3", "--rule", "I4"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""));
    assert!(ran.stdout.contains("linux-v3 breaks I4"), "{}", ran.stdout);
    assert!(ran.stdout.contains("=> breaks I4"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("breaks I5"), "only the rule that was asked for");
}

#[test]
fn shipped_code_keeps_every_rule_and_ends_with_0() {
    let ran = bifolio(&["check", "--design", "bifolio", "--pages", "4", "--json"]);
    assert_eq!(ran.code, Some(0));
    let json = ran.json();
    let rows = json.as_array().expect("rows");
    assert_eq!(rows.len(), 27);
    for row in rows {
        assert_ne!(row["holds"], false, "{row}");
        assert_eq!(row["steps"].as_array().map(Vec::len), Some(0), "{row}");
    }
}

#[test]
fn unknown_names_are_wrong_use() {
    for args in [["check", "--design", "linux-v99"], ["check", "--rule", "I28"]] {
        let ran = bifolio(&args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
        assert!(ran.stderr.contains("is not known"), "{}", ran.stderr);
    }
}

#[test]
fn stories_come_as_graphs() {
    let ran = bifolio(&["check", "--design", "buddy-dirty-lost", "--dot"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.starts_with("digraph"), "{}", ran.stdout);
}
