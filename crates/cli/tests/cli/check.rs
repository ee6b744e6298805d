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

#[test]
fn exploration_that_ran_out_of_memory_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("exploration");
    let file = file.to_str().expect("a plain name");
    let design = ["check", "--design", "linux-v3"];
    let whole = bifolio(&[&design[..], &["--json"]].concat());
    let stopped = bifolio(&[&design[..], &["--memory", "2M", "--save", file]].concat());
    assert_eq!(stopped.code, Some(1), "{}", stopped.stderr);
    assert!(stopped.stdout.contains("need more memory"), "{}", stopped.stdout);
    assert!(stopped.stderr.contains("--resume"), "{}", stopped.stderr);
    let other = bifolio(&["check", "--design", "linux-v4", "--resume", file]);
    assert_eq!(
        (other.code, other.stderr.contains("not of --design linux-v4")),
        (Some(2), true),
        "{}",
        other.stderr
    );
    let resumed = bifolio(&[&design[..], &["--json", "--resume", file]].concat());
    assert_eq!(resumed.json(), whole.json());
}

#[test]
fn all_is_the_list_of_all_designs() {
    let ran = bifolio(&["check", "--all", "--pages", "1", "--max-order", "0", "--actors", "1"]);
    for design in ["linux-v2", "linux-mainline", "buddy-dirty-lost", "bifolio", "bifolio-reinit"] {
        assert!(ran.stdout.contains(design), "{}", ran.stdout);
    }
    assert_eq!(bifolio(&["check", "--all", "--design", "bifolio"]).code, Some(2));
}
