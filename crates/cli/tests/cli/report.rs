//! Reports, as a person opens them.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::command::{bifolio, device_works};

#[test]
fn report_of_a_run_is_one_file_with_every_picture_and_its_numbers() {
    if !device_works("report_of_a_run_is_one_file_with_every_picture_and_its_numbers") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let html = record(folder.path());
    let html = std::fs::read_to_string(html).expect("it was written");
    for title in
        ["What moved", "Where pages were", "Device memory", "How long faults took", "Hot ranges", "Rules"]
    {
        assert!(html.contains(title), "{title}");
    }
    // No script, nothing to fetch: not even a name of another host.
    for word in ["<script", "http://", "https://", "src=", "url("] {
        assert!(!html.contains(word), "{word}");
    }
    assert!(html.contains("demo pagerank"), "the command is named");
}

#[test]
fn first_picture_is_a_file_of_its_own_if_its_name_says_so() {
    if !device_works("first_picture_is_a_file_of_its_own_if_its_name_says_so") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("a plain name").to_owned();
    let (trace, picture) = (at("trace"), at("map.svg"));
    assert_eq!(bifolio(&["demo", "bfs", "-q", "--trace", &trace]).code, Some(0));
    assert_eq!(bifolio(&["report", &trace, "-o", &picture]).code, Some(0));
    let text = std::fs::read_to_string(&picture).expect("it was written");
    assert!(text.starts_with("<svg xmlns=") && text.ends_with("</svg>"), "{picture}");
    assert!(text.contains("<rect class=\"h") && !text.contains("<section"), "{picture}");
}

#[test]
fn trace_and_run_are_drawn_alike() {
    if !device_works("trace_and_run_are_drawn_alike") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("a plain name").to_owned();
    let (trace, one, two) = (at("trace"), at("one.html"), at("two.html"));
    let args = ["demo", "bfs", "-q", "--trace", &trace, "--report", &one];
    assert_eq!(bifolio(&args).code, Some(0));
    assert_eq!(bifolio(&["report", &trace, "-o", &two]).code, Some(0));
    let read = |path: &str| std::fs::read_to_string(path).expect("it was written");
    assert!(read(&one) == read(&two), "{one} and {two} differ");
}

#[test]
fn report_renders_without_errors_and_fits_its_window() {
    let test = "report_renders_without_errors_and_fits_its_window";
    let browser =
        ["/usr/bin/chromium", "/usr/bin/chromium-browser"].into_iter().find(|path| Path::new(path).exists());
    let (Some(browser), true, true) = (browser, node_has_playwright(), device_works(test)) else {
        // Past the test harness, which would hide it from those who count.
        writeln!(
            std::io::stderr(),
            "SKIP {test}: needs chromium, and playwright-core in $NODE_MODULES_FOLDER"
        )
        .expect("standard error is there");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let html = record(folder.path());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/look_at_report.mjs");
    let mut node = Command::new("node");
    node.args([script, &html, browser]).current_dir(modules_folder());
    let ran = node.output().expect("it ran before");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let views: Vec<Value> = serde_json::from_slice(&ran.stdout).expect("the script prints JSON");
    assert_eq!(views.len(), 4);
    for view in &views {
        assert_eq!(view["said"], Value::Array(Vec::new()), "{view}");
        assert_eq!((&view["overflow"], &view["unnamed"]), (&0.into(), &0.into()), "{view}");
        assert_eq!(view["cut"], Value::Array(Vec::new()), "{view}");
        // The file itself, and nothing else.
        assert_eq!(view["asked"], 1, "{view}");
        assert!(view["pictures"].as_u64().is_some_and(|pictures| pictures >= 9), "{view}");
    }
    assert_ne!(views[0]["ground"], views[2]["ground"], "light and dark look alike");
}

/// Records and draws a short job; returns the file.
fn record(folder: &Path) -> String {
    let html = folder.join("report.html").to_str().expect("a plain name").to_owned();
    let ran = bifolio(&["demo", "pagerank", "-q", "--sources", "0", "--rounds", "2", "--report", &html]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    html
}

/// Where `node_modules` is that has playwright-core.
fn modules_folder() -> String {
    std::env::var("NODE_MODULES_FOLDER").unwrap_or_else(|_| ".".to_owned())
}

fn node_has_playwright() -> bool {
    let mut node = Command::new("node");
    node.args(["-e", "require('playwright-core')"]).current_dir(modules_folder());
    node.output().is_ok_and(|ran| ran.status.success())
}
