//! The traces of `data/traces`: real runs, replayed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::command::bifolio;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/traces")
}

fn path(name: &str) -> String {
    folder().join(name).to_str().expect("a plain name").to_owned()
}

/// File and command of each row of the list.
fn listed() -> Vec<(String, String)> {
    let list = std::fs::read_to_string(folder().join("README.md")).expect("it is there");
    let quoted = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((quoted(cells.next()?), quoted(cells.next()?)))
    };
    list.lines().filter_map(row).collect()
}

fn replayed(name: &str, options: &[&str]) -> Value {
    let ran = bifolio(&[&["replay", &path(name), "--json"], options].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.json()
}

#[test]
fn traces_are_those_that_are_listed_with_the_commands_that_recorded_them() {
    let entries = std::fs::read_dir(folder()).expect("it is there");
    let names = entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("plain"));
    let there: BTreeSet<String> = names.filter(|name| name.ends_with(".bifolio")).collect();
    let listed = listed();
    assert_eq!(there, listed.iter().map(|(name, _)| name.clone()).collect());
    let mut bytes = 0;
    for (name, command) in listed {
        let info = bifolio(&["trace", "info", "--json", &path(&name)]).json();
        assert_eq!(info["notes"]["command"], command.as_str(), "{name}");
        assert_eq!((&info["lost"], &info["damaged_bytes"]), (&0.into(), &0.into()), "{name}");
        bytes += std::fs::metadata(path(&name)).expect("it is there").len();
    }
    assert!(bytes < 2 << 20, "{bytes} bytes");
}

#[test]
fn replays_of_each_trace_are_the_same_each_time() {
    // `.ci/run` asks for more.
    let times = std::env::var("BIFOLIO_REPLAYS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    for (name, _) in listed() {
        let policies = ["--policy", "auto", "--policy", "fixed+s3fifo"];
        let first = replayed(&name, &policies);
        assert!((1..times).all(|_| replayed(&name, &policies) == first), "{name}: {first}");
    }
}

#[test]
fn what_a_report_advises_lowers_the_time_that_a_program_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["sqlite3.bifolio", "python3.bifolio", "sort.bifolio"] {
        let report = folder.path().join("report.html");
        let report = report.to_str().expect("a plain name");
        assert_eq!(bifolio(&["report", &path(name), "-o", report]).code, Some(0));
        let html = std::fs::read_to_string(report).expect("it was written");
        let (_, advice) = html.split_once("with --ram ").expect("it advises more memory");
        let ram = advice.split_whitespace().next().expect("so much");
        for policy in ["auto", "fixed+lru"] {
            let stalled = |options: &[&str]| {
                let row = replayed(name, &[&["--policy", policy], options].concat())["rows"][0].clone();
                let number = |field: &str| row[field].as_u64().expect("a number");
                (number("stall_ns"), number("evictions"), number("faults"))
            };
            let (before, followed) = (stalled(&[]), stalled(&["--ram", ram]));
            let told = format!("{name}, {policy}, --ram {ram}: {before:?}, then {followed:?}");
            assert!(followed.0 < before.0 && followed.2 < before.2, "{told}");
            // What leaves then is what a policy brought ahead, and not what the program needs.
            assert!(before.1 > 0 && followed.1 * 10 < before.1, "{told}");
        }
    }
}
