//! Runs that are recorded.

use std::io::Write;

use crate::command::{figures, said};

/// Lines in no order.
fn unsorted_lines() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut out = std::io::BufWriter::new(file.as_file());
    let mut state = 1_u64;
    for _ in 0..400_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        writeln!(out, "{state:016x} {:08x}", state >> 40).expect("room");
    }
    out.flush().expect("room");
    drop(out);
    file
}

#[test]
fn trace_of_a_sort_counts_what_the_report_counts_and_is_replayed() {
    let (lines, folder) = (unsorted_lines(), tempfile::tempdir().expect("a folder"));
    let at = |name: &str| folder.path().join(name).to_str().expect("a plain name").to_owned();
    let (trace, html) = (at("trace"), at("report.html"));
    let sort = ["sort", "--parallel=1", "-S", "64M", lines.path().to_str().expect("a plain name")];
    let test = "trace_of_a_sort_counts_what_the_report_counts_and_is_replayed";
    let recorded = ["--ram", "8M", "--trace", &trace, "--report", &html];
    let Some(figures) = figures(test, &recorded, &sort) else { return };
    let info = said(&["trace", "info", "--json", &trace]);
    let lost = info["lost"].as_u64().expect("a number");
    let counted = figures["faults"]["cpu"].as_u64().expect("a number");
    let told = info["kinds"]["cpu_fault"].as_u64().unwrap_or(0);
    assert!(counted > 0 && told <= counted && told + lost >= counted, "{figures} {info}");
    assert!(info["kinds"]["reclaimed"].as_u64() > Some(0), "{info}");
    assert!(info["bytes_per_event"].as_f64().is_some_and(|bytes| bytes <= 16.0), "{info}");
    let policies = ["--policy", "auto", "--policy", "fixed+lru", "--policy", "fixed+s3fifo"];
    let replay = [&["replay", "--json", &trace], &policies[..]].concat();
    let (once, again) = (said(&replay), said(&replay));
    assert_eq!(once, again);
    assert_eq!((&once["limited"], &once["memory"]), (&"system".into(), &(8 << 20).into()));
    let rows = once["rows"].as_array().expect("a list");
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row["faults"].as_u64() > Some(0)), "{once}");
}

#[test]
fn report_of_a_sort_tells_the_memory_in_which_nothing_leaves() {
    let (lines, folder) = (unsorted_lines(), tempfile::tempdir().expect("a folder"));
    let html = folder.path().join("report.html");
    let html = html.to_str().expect("a plain name");
    let sort = ["sort", "--parallel=1", "-S", "64M", lines.path().to_str().expect("a plain name")];
    let test = "report_of_a_sort_tells_the_memory_in_which_nothing_leaves";
    let Some(before) = figures(test, &["--ram", "8M", "--report", html], &sort) else { return };
    assert!(before["bytes"]["to_device"].as_u64() > Some(0), "{before}");
    let html = std::fs::read_to_string(html).expect("it was written");
    let advice = html.split("with --ram ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let advice = advice.expect("an advice");
    let Some(after) = figures(test, &["--ram", advice], &sort) else { return };
    assert_eq!(after["bytes"]["to_device"], 0, "--ram {advice}: {after}");
}

#[test]
fn program_that_replaces_itself_is_recorded_to_its_end() {
    let (lines, folder) = (unsorted_lines(), tempfile::tempdir().expect("a folder"));
    let trace = folder.path().join("trace");
    let trace = trace.to_str().expect("a plain name");
    let script = format!("exec sort --parallel=1 -S 64M {}", lines.path().display());
    let test = "program_that_replaces_itself_is_recorded_to_its_end";
    let options = ["--ram", "8M", "--trace", trace];
    let Some(figures) = figures(test, &options, &["bash", "-c", &script]) else { return };
    let info = said(&["trace", "info", "--json", trace]);
    assert!(info["kinds"]["reclaimed"].as_u64() > Some(0), "{info}");
    assert_eq!((&figures["exit"], info["notes"]["figures"].is_string()), (&0.into(), true), "{info}");
}
