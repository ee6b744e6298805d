//! Replays, as a person compares policies.

use crate::command::{bifolio, device_works};

/// Records a short job with these options; returns the file.
fn record(folder: &std::path::Path, more: &[&str]) -> String {
    let path = folder.join("trace").to_str().expect("a plain name").to_owned();
    let args = ["demo", "pagerank", "-q", "--sources", "0", "--rounds", "1", "--trace", &path];
    let ran = bifolio(&[&args, more].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    path
}

#[test]
fn replays_are_the_same_each_time_and_none_beats_the_optimum() {
    if !device_works("replays_are_the_same_each_time_and_none_beats_the_optimum") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = record(folder.path(), &["--trace-accesses"]);
    let args = ["replay", &path, "--policy", "auto", "--policy", "fixed+lru", "--json"];
    let ran = bifolio(&args);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let (found, again) = (ran.json(), bifolio(&args).json());
    assert_eq!(found, again);
    assert_eq!(found["exact"], true);
    let best = found["optimum"]["bytes_in"].as_u64().expect("the trace is exact");
    let rows = found["rows"].as_array().expect("a list");
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(
            row["bytes_in"].as_u64().is_some_and(|bytes| bytes >= best) || row["policy"] == "auto",
            "{row}"
        );
        assert!(row["faults"].as_u64().is_some_and(|faults| faults > 0), "{row}");
    }
    assert_ne!(rows[0]["log"], rows[1]["log"]);
}

#[test]
fn trace_without_accesses_has_no_optimum_and_says_why() {
    if !device_works("trace_without_accesses_has_no_optimum_and_says_why") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = record(folder.path(), &[]);
    let ran = bifolio(&["replay", &path, "--policy", "fixed+lru"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("--trace-accesses") && !ran.stdout.contains("\noptimum"), "{}", ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
}
