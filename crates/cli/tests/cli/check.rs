//! `check`: verdicts, stories and exit codes, as a script and a person see them.

use std::process::Stdio;

use crate::command::{bifolio, command};

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
    assert_eq!(rows.len(), 28);
    for row in rows {
        assert_ne!(row["holds"], false, "{row}");
        assert_eq!(row["steps"].as_array().map(Vec::len), Some(0), "{row}");
    }
}

#[test]
fn shipped_pools_keep_every_rule_and_are_for_shipped_folios_only() {
    let world = ["--pages", "2", "--max-order", "1", "--actors", "2"];
    for pool in ["buddy", "freelist", "coherent", "mirror"] {
        let ran =
            bifolio(&[&["check", "--worlds", "--design", "bifolio", "--pool", pool][..], &world].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{pool}");
        assert!(ran.stdout.contains(&format!("bifolio/{pool}: 2 pages")), "{}", ran.stdout);
    }
    let ran = bifolio(&["check", "--design", "linux-v3", "--pool", "buddy"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("bifolio or bifolio-reinit"), "{}", ran.stderr);
}

#[test]
fn table_has_a_legend_a_conclusion_and_hints_within_80_columns() {
    let small = ["--pages", "2", "--max-order", "1", "--actors", "2"];
    for more in [&["--all-rules"][..], &["--worlds"], &[]] {
        let ran = bifolio(&[&["check"][..], &small, more].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""));
        let wide = ran.stdout.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None);
        for part in ["I5  hands off after free", "states, all visited", "See how: bifolio check --design"] {
            assert!(ran.stdout.contains(part), "{part} in\n{}", ran.stdout);
        }
        assert_eq!(ran.stdout.contains("I27 bytes"), more == ["--all-rules"]);
        assert_eq!(ran.stdout.contains("bifolio/room: 2 pages"), more == ["--worlds"]);
    }
}

#[test]
fn rules_are_listed_with_sentence_and_source() {
    let all = bifolio(&["check", "--rules"]);
    assert_eq!((all.code, all.stderr.as_str()), (Some(0), ""));
    assert!(all.stdout.lines().all(|line| line.chars().count() <= 80), "{}", all.stdout);
    let one = bifolio(&["check", "--rules", "--rule", "I4"]);
    assert!(one.stdout.starts_with("I4   order is told once\n") && all.stdout.contains(&one.stdout));
    let rows = bifolio(&["check", "--rules", "--json"]).json();
    assert_eq!((&rows[3]["rule"], &rows[3]["short"]), (&"I4".into(), &"order is told once".into()));
}

#[test]
fn unknown_names_are_wrong_use() {
    for args in [["check", "--design", "linux-v99"], ["check", "--rule", "I29"]] {
        let ran = bifolio(&args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
        assert!(ran.stderr.contains("is not known"), "{}", ran.stderr);
    }
}

#[test]
fn rule_that_is_kept_or_not_expressed_is_named_and_ends_with_0() {
    for (rule, said) in
        [("I1", "linux-v3 keeps I1 in all 411,390 states"), ("I7", "linux-v3 does not express I7")]
    {
        let ran = bifolio(&["check", "--design", "linux-v3", "--rule", rule]);
        assert_eq!((ran.code, ran.stdout.lines().last()), (Some(0), Some(said)));
    }
    let ran = bifolio(&["check", "--design", "linux-v3", "--rule", "I4", "--json"]);
    let rows = ran.json();
    assert_eq!((ran.code, rows.as_array().map(Vec::len), &rows[0]["rule"]), (Some(1), Some(1), &"I4".into()));
}

#[test]
fn bounds_that_cannot_be_are_wrong_use_and_named() {
    let wrong =
        [("--pages", "9"), ("--pages", "0"), ("--max-order", "10"), ("--actors", "4"), ("--pages", "3")];
    for (bound, value) in wrong {
        let ran = bifolio(&["check", "--design", "linux-v3", bound, value]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
        assert!(ran.stderr.contains(bound) && ran.stderr.contains(value), "{}", ran.stderr);
    }
}

#[test]
fn weak_order_of_memory_shows_what_a_barrier_is_for() {
    let small = ["--memory-order", "weak", "--pages", "2", "--max-order", "1"];
    let run = |more: &[&str]| bifolio(&[&["check"][..], &small, more].concat());
    let ran = run(&["--design", "split-without-barrier", "--rule", "I6"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""));
    for part in ["stores of a freeing path may be seen late", "seen only now", "=> breaks I6"] {
        assert!(ran.stdout.contains(part), "{part} in\n{}", ran.stdout);
    }
    let all = run(&["--json"]).json();
    let named = |row: &serde_json::Value, name: &str| row["design"] == name;
    let rows = all.as_array().expect("rows");
    assert!(rows.iter().any(|row| named(row, "linux-v3")) && !rows.iter().any(|row| named(row, "bifolio")));
    let ran = run(&["--design", "bifolio"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("--memory-order weak is for designs"), "{}", ran.stderr);
}

#[test]
fn file_that_cannot_be_saved_to_is_refused_before_the_work() {
    let ran = bifolio(&["check", "--all", "--save", "/no-such-folder/file"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("/no-such-folder/file cannot be written"), "{}", ran.stderr);
}

#[test]
fn verdict_is_told_though_the_table_is_not_read() {
    let mut child = command(&["check", "--design", "linux-v3"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command was just built");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
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
fn damaged_and_foreign_files_are_not_gone_on_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("exploration");
    let name = file.to_str().expect("a plain name");
    let design = ["check", "--design", "linux-v3"];
    bifolio(&[&design[..], &["--memory", "64K", "--save", name]].concat());
    let mut bytes = std::fs::read(&file).expect("it was saved");
    *bytes.last_mut().expect("it is not empty") ^= 1;
    std::fs::write(&file, bytes).expect("there is room");
    for (file, why) in
        [(name, "is damaged"), ("/dev/zero", "not a saved exploration"), ("/dev/null", "not a saved")]
    {
        let ran = bifolio(&[&design[..], &["--resume", file]].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{file}");
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    }
}

#[test]
fn full_disk_is_told_and_ends_with_4() {
    let ran = bifolio(&["check", "--design", "linux-v3", "--memory", "64K", "--save", "/dev/full"]);
    assert_eq!(ran.code, Some(4));
    assert!(ran.stderr.contains("/dev/full cannot be written"), "{}", ran.stderr);
}

#[test]
fn all_is_the_list_of_all_designs() {
    let ran = bifolio(&["check", "--all", "--pages", "1", "--max-order", "0", "--actors", "1"]);
    for design in ["linux-v2", "linux-mainline", "buddy-dirty-lost", "bifolio", "bifolio-reinit"] {
        assert!(ran.stdout.contains(design), "{}", ran.stdout);
    }
    assert_eq!(bifolio(&["check", "--all", "--design", "bifolio"]).code, Some(2));
}
