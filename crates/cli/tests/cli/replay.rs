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
fn replay_of_the_default_moves_about_as_much_as_the_run() {
    if !device_works("replay_of_the_default_moves_about_as_much_as_the_run") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("run.json");
    let path = record(folder.path(), &["--trace-accesses", "--json", json.to_str().expect("a plain name")]);
    let text = std::fs::read(json).expect("it was written");
    let live: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let replayed = bifolio(&["replay", &path, "--policy", "auto", "--json"]).json();
    let row = &replayed["rows"][0];
    assert!(row["bytes_remote"].as_u64().is_some_and(|bytes| bytes > 0), "{row}");
    let sum = |of: &serde_json::Value, names: [&str; 3]| -> u64 {
        names.iter().map(|name| of[name].as_u64().expect("a number of bytes")).sum()
    };
    let live = sum(&live["bytes"], ["to_device", "to_ram", "remote"]);
    let replayed = sum(row, ["bytes_in", "bytes_out", "bytes_remote"]);
    assert!(
        (live / 2..live * 2).contains(&replayed),
        "{live} bytes moved in the run, {replayed} in its replay"
    );
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

#[test]
fn what_if_tells_misses_of_every_size_in_step_with_replays() {
    if !device_works("what_if_tells_misses_of_every_size_in_step_with_replays") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = record(folder.path(), &["--trace-accesses"]);
    let svg = folder.path().join("misses.svg");
    let args = ["replay", &path, "--what-if", "--json", "--svg", svg.to_str().expect("a plain name")];
    let found = bifolio(&[&args[..], &["--policy", "fixed+lru"]].concat()).json();
    let curves = found["curves"].as_array().expect("a list");
    let misses = |curve: &serde_json::Value| -> Vec<u64> {
        let points = curve["points"].as_array().expect("a list").iter();
        points.map(|point| point["misses"].as_u64().expect("a number")).collect()
    };
    let (lru, simulated) = (misses(&curves[0]), misses(&curves[1]));
    assert!(lru.is_sorted_by(|less, more| less >= more) && lru[0] > lru[7], "{found}");
    // A replay in one of the sizes tells the same as the curve.
    let memory = curves[1]["points"][3]["memory"].as_u64().expect("a number") >> 10;
    let memory = format!("{memory}K");
    let one = bifolio(&["replay", &path, "--policy", "fixed+lru", "--vram", &memory, "--json"]).json();
    assert_eq!(one["rows"][0]["faults"].as_u64(), Some(simulated[3]), "{one}");
    let picture = std::fs::read_to_string(svg).expect("it was written");
    assert!(picture.starts_with("<svg xmlns=") && picture.matches("<polyline class=\"curve").count() == 2);
}

#[test]
fn accesses_of_another_program_are_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("loop.oracleGeneral");
    // A loop over 100 objects with numbers that are no pages.
    let record = |at: u64| {
        let next = if at + 100 < 1000 { i64::try_from(at + 100).expect("small") } else { -1 };
        let number = (at % 100) << 40;
        [&[0; 4], &number.to_le_bytes()[..], &4096_u32.to_le_bytes(), &next.to_le_bytes()].concat()
    };
    std::fs::write(&path, (0..1000).flat_map(record).collect::<Vec<u8>>()).expect("room");
    let path = path.to_str().expect("a plain name");
    let curve = bifolio(&["replay", path, "--what-if", "--json"]).json();
    assert_eq!((&curve["touches"], &curve["enough"]), (&1000.into(), &(100 * 4096).into()));
    assert_eq!(curve["curves"][0]["points"][6]["misses"], 1000, "{curve}");
    assert_eq!(curve["curves"][0]["points"][7]["misses"], 100, "{curve}");
    let ran = bifolio(&["replay", path, "--vram", "200K", "--policy", "fixed+lru", "--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.json()["rows"][0]["touches"], 1000);
    let refused = bifolio(&["replay", path, "--policy", "fixed+lru"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("--vram"), "{}", refused.stderr);
}
