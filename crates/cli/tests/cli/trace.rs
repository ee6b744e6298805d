//! Traces, as a person records and uses them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::command::{bifolio, command, device_works};

/// Records a short job; the file is in `folder`.
fn record(folder: &Path, more: &[&str]) -> (String, Value) {
    let path = folder.join("trace").to_str().expect("a plain name").to_owned();
    let args = ["demo", "pagerank", "--sources", "0", "--trace", &path, "--json", "-"];
    let rounds: &[&str] = if more.contains(&"--rounds") { &[] } else { &["--rounds", "2"] };
    let ran = bifolio(&[&args, rounds, more].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let figures = ran.json();
    (path, figures)
}

fn info(path: &str) -> Value {
    let ran = bifolio(&["trace", "info", "--json", path]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.json()
}

#[test]
fn trace_counts_what_the_report_counts() {
    if !device_works("trace_counts_what_the_report_counts") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (path, figures) = record(folder.path(), &[]);
    let info = info(&path);
    assert_eq!(info["damaged_bytes"], 0);
    // On a machine that is too busy for the writer events are lost, and counted. A handler may still answer a fault after
    // the figures were taken.
    const LATE: u64 = 8;
    let lost = info["lost"].as_u64().expect("a number");
    for (kind, side) in [("device_fault", "device"), ("cpu_fault", "cpu")] {
        let number = |value: &Value| value.as_u64().expect("a number");
        let (told, counted) = (number(&info["kinds"][kind]), number(&figures["faults"][side]));
        assert!(
            told <= counted + LATE && told + lost >= counted,
            "{kind}: {told} and {lost} lost of {counted}"
        );
    }
    // Closing brings folios home too, and is no part of the figures.
    let evicted = info["kinds"]["evicted"].as_u64().unwrap_or(0);
    assert!(Some(evicted + lost) >= figures["evictions"].as_u64(), "{info}");
    // Pages that the device used in place are no moves, and are told all the same.
    assert_eq!(info["kinds"]["remote"].is_u64(), figures["bytes"]["remote"] != 0, "{info}");
    assert!(info["notes"]["command"].as_str().is_some_and(|text| text.contains("demo pagerank")));
    assert!(info["bytes_per_event"].as_f64().is_some_and(|bytes| bytes <= 16.0), "{info}");
    let text = bifolio(&["trace", "info", &path]).stdout;
    // The command is as long as it is.
    assert!(text.lines().skip(1).all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn trace_of_a_run_tells_what_its_children_were_given() {
    if !device_works("trace_of_a_run_tells_what_its_children_were_given") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace");
    let path = path.to_str().expect("a plain name");
    // 48 MiB, of which half is away as the program forks.
    let script = "import os; all = [bytearray(b'x' * 12288) for _ in range(4000)]; os._exit(0) if os.fork() == 0 else os.wait()";
    let ran = bifolio(&["run", "-q", "--ram", "24M", "--trace", path, "--", "python3", "-c", script]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let forks: Vec<Value> =
        events(path).into_iter().map(|event| event["event"]["forked"]["pages"].clone()).collect();
    let pages: Vec<u64> = forks.iter().filter_map(Value::as_u64).collect();
    assert!(matches!(pages[..], [pages] if pages > 1000), "{pages:?}");
}

#[test]
fn trace_of_a_killed_program_is_read_up_to_its_last_block() {
    if !device_works("trace_of_a_killed_program_is_read_up_to_its_last_block") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace");
    let path = path.to_str().expect("a plain name");
    let mut child = command(&["demo", "pagerank", "--sources", "0", "--rounds", "10000", "--trace", path])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command was just built");
    let started = Instant::now();
    while std::fs::metadata(path).map_or(0, |file| file.len()) < 200_000 {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing is recorded");
        std::thread::sleep(Duration::from_millis(10));
    }
    // SIGKILL.
    child.kill().expect("it runs");
    child.wait().expect("it was started");
    let info = info(path);
    assert!(info["events"].as_u64().is_some_and(|events| events > 10_000), "{info}");
    assert_eq!(info["missing_blocks"], 0);
    let text = bifolio(&["trace", "info", path]).stdout;
    assert!(text.contains("did not come to its end"), "{text}");
}

#[test]
fn cut_has_the_events_of_its_time_and_what_was_where_before() {
    if !device_works("cut_has_the_events_of_its_time_and_what_was_where_before") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (path, _) = record(folder.path(), &[]);
    let whole = events(&path);
    let (from, last) = (time(&whole[whole.len() / 2]), time(&whole[whole.len() - 1]));
    let part = format!("{path}.part");
    let ran = bifolio(&["trace", "cut", &path, "--from", &format!("{from}ns"), "-o", &part]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let cut = events(&part);
    let kept: Vec<_> = whole.iter().filter(|event| time(event) >= from).collect();
    assert!(cut.len() > kept.len(), "nothing tells what was there before");
    assert!(cut[cut.len() - kept.len()..].iter().eq(kept));
    let after = bifolio(&["trace", "cut", &path, "--from", &format!("{}ns", last + 1), "-o", &part]);
    assert_eq!(after.code, Some(2));
    assert!(after.stderr.contains("leave nothing"), "{}", after.stderr);
}

fn events(path: &str) -> Vec<Value> {
    let ran = bifolio(&["trace", "export", "--format", "json", path, "-o", "-"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("an object in each line")).collect()
}

fn time(event: &Value) -> u64 {
    event["time_ns"].as_u64().expect("each event has a time")
}

#[test]
fn accesses_are_exported_for_cache_simulators_if_they_were_recorded() {
    if !device_works("accesses_are_exported_for_cache_simulators_if_they_were_recorded") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let out = out.to_str().expect("a plain name");
    let (path, _) = record(folder.path(), &[]);
    let refused = bifolio(&["trace", "export", "--format", "oracle-general", &path, "-o", out]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("--trace-accesses"), "{}", refused.stderr);
    let (path, _) = record(folder.path(), &["--rounds", "1", "--trace-accesses"]);
    let ran = bifolio(&["trace", "export", "--format", "oracle-general", &path, "-o", out]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let records = std::fs::read(out).expect("it was written");
    let pages: Vec<u64> = records.chunks(24).map(|record| number(&record[4..12])).collect();
    assert_eq!(Value::from(pages.len()), info(&path)["kinds"]["access"]);
    // Each record leads to the next one of its page.
    for (at, record) in records.chunks(24).enumerate().step_by(997) {
        let next = pages[at + 1..].iter().position(|page| *page == pages[at]);
        let next = next.map_or(u64::MAX, |distance| (at + 1 + distance) as u64);
        assert_eq!(number(&record[16..24]), next, "record {at}");
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

#[test]
fn perfetto_reads_what_is_exported_for_it() {
    let test = "perfetto_reads_what_is_exported_for_it";
    if !device_works(test) {
        return;
    }
    let Some(python) = python_with_perfetto(test) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (path, figures) = record(folder.path(), &[]);
    let out = format!("{path}.perfetto");
    assert_eq!(bifolio(&["trace", "export", &path, "-o", &out]).code, Some(0));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/read_trace_event.py");
    let read = Command::new(python).args([script, &out]).output().expect("it ran before");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let found: Value = serde_json::from_slice(&read.stdout).expect("the script prints JSON");
    let moved = figures["faults"]["device"].as_u64().expect("a number");
    let slices = |name: &str| found["slices"][name].as_u64().unwrap_or(0);
    assert_eq!(slices("device fault") + slices("fault without a move"), moved + cpu_without_move(&path));
    assert_eq!((&found["open_slices"], &found["loose_flows"]), (&0.into(), &0.into()));
    for track in
        ["device 0, unit 1", "device 0, unit 1: copies", "resident on device 0", "evictions, device 0"]
    {
        assert!(found["tracks"].as_array().is_some_and(|all| all.contains(&track.into())), "{found}");
    }
}

fn cpu_without_move(path: &str) -> u64 {
    let is_one = |event: &&Value| event["event"]["cpu_fault"]["answer"] == "already_there";
    events(path).iter().filter(is_one).count() as u64
}

/// A Python with Perfetto's own definitions: the system's, or one that fetches them from PyPI, once. Without one, says that `test` is
/// skipped.
fn python_with_perfetto(test: &str) -> Option<PathBuf> {
    let own = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("perfetto");
    let fetched = own.join("bin/python");
    let found = [PathBuf::from("python3"), fetched.clone()].into_iter().find(|python| has_perfetto(python));
    let made = || {
        let venv = Command::new("python3").args(["-m", "venv"]).arg(&own).output();
        let install = ["-m", "pip", "install", "--quiet", "perfetto==0.59.1"];
        let installed = venv.and_then(|_| Command::new(&fetched).args(install).output());
        (installed.is_ok() && has_perfetto(&fetched)).then(|| fetched.clone())
    };
    let python = found.or_else(made);
    if python.is_none() {
        // Past the test harness, which would hide it from those who count.
        let why = "python3 has no perfetto, and it cannot be fetched from PyPI";
        writeln!(std::io::stderr(), "SKIP {test}: {why}").expect("standard error is there");
    }
    python
}

fn has_perfetto(python: &Path) -> bool {
    let import = "import perfetto.protos.perfetto.trace.perfetto_trace_pb2";
    Command::new(python).args(["-c", import]).output().is_ok_and(|ran| ran.status.success())
}

#[test]
fn what_is_no_trace_is_refused_with_a_way_out() {
    let ran = bifolio(&["trace", "info", "Cargo.toml"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("record one with bifolio demo --trace"), "{}", ran.stderr);
    let ran = bifolio(&["demo", "pagerank", "--sources", "0", "--trace", "t", "--trace-limit", "1K"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("1 MiB at least"), "{}", ran.stderr);
}
