//! Call sites of a program that knows nothing of it: where it allocates and where it touches, by name.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::command::{bifolio, device_works};

/// Builds the program with these flags beside -O1; `None` without a compiler.
fn build(test: &str, folder: &Path, flags: &[&str]) -> Option<PathBuf> {
    let program = folder.join("call_sites");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/call_sites.c");
    let built = Command::new("gcc").args(["-O1", source, "-o"]).arg(&program).args(flags).status();
    let Ok(status) = built else {
        // Past the test harness, which would hide it from those who count.
        writeln!(std::io::stderr(), "SKIP {test}: there is no gcc").expect("standard error is there");
        return None;
    };
    assert!(status.success());
    Some(program)
}

/// Records it in a third of the memory that it needs; returns trace and report.
fn record(folder: &Path, program: &Path) -> Option<(String, String)> {
    let at = |name: &str| folder.join(name).to_str().expect("a plain name").to_owned();
    let (trace, report, program) = (at("trace"), at("report.html"), program.to_str().expect("a plain name"));
    let ran = bifolio(&[
        "run",
        "--ram",
        "16M",
        "--call-sites",
        "--trace",
        &trace,
        "--report",
        &report,
        "--",
        program,
    ]);
    if ran.code == Some(3) {
        return None;
    }
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "92160\n"), "{}", ran.stderr);
    Some((trace, report))
}

/// The cells of the rows of hot ranges.
fn hot_ranges(report: &str) -> Vec<Vec<String>> {
    let html = std::fs::read_to_string(report).expect("it was written");
    let part = html.split("Hot ranges").nth(1).expect("there is such a table");
    let part = part.split("</table>").next().expect("it ends").split("<tbody>").nth(1).expect("it has rows");
    let text =
        |cell: &str| cell.split('>').nth(1).map(|text| text.split("</td").next().unwrap_or("").to_owned());
    let cells = |row: &str| row.split("<td").skip(1).filter_map(text).collect();
    part.split("<tr").skip(1).map(cells).collect()
}

#[test]
fn hot_ranges_name_the_functions_that_allocated_and_touched_them() {
    let test = "hot_ranges_name_the_functions_that_allocated_and_touched_them";
    if !device_works(test) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let Some(program) = build(test, folder.path(), &["-g"]) else { return };
    let Some((trace, report)) = record(folder.path(), &program) else { return };
    let rows = hot_ranges(&report);
    let of_index = rows.iter().filter(|row| {
        row.iter().any(|cell| cell.starts_with("make_index (call_sites.c:9) &lt; main (call_sites.c:25)"))
            && row.iter().any(|cell| cell.starts_with("walk_index (call_sites.c:20)"))
            && row.iter().any(|cell| cell.contains("more system memory"))
    });
    // The index has twelve blocks, and a report lists as many; the log is written once.
    assert!(of_index.count() >= 8, "{rows:#?}");
    let json = bifolio(&["trace", "export", "--format", "json", &trace, "-o", "-"]).stdout;
    let named = |name: &str| json.lines().filter(|line| line.contains(&format!("\"at\":\"{name} ("))).count();
    let found = [named("make_log"), named("walk_index")];
    assert!(found[0] >= 1 && found[1] > 20, "{found:?}");
}

#[test]
fn functions_are_named_without_debug_information_and_libraries_without_symbols() {
    let test = "functions_are_named_without_debug_information_and_libraries_without_symbols";
    if !device_works(test) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for (flags, expected) in [(&[][..], "make_index (call_sites)"), (&["-s"][..], "call_sites")] {
        let Some(program) = build(test, folder.path(), flags) else { return };
        let Some((_, report)) = record(folder.path(), &program) else { return };
        let rows = hot_ranges(&report);
        assert!(rows.iter().flatten().any(|cell| cell.starts_with(expected)), "{rows:#?}");
    }
}

#[test]
fn python_prints_the_same_while_its_call_sites_are_recorded() {
    let test = "python_prints_the_same_while_its_call_sites_are_recorded";
    if !device_works(test) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace");
    let trace = trace.to_str().expect("a plain name");
    // Threads, a child, and a program that it starts, while half of the data is away.
    let script = "\
import os, subprocess, threading
rows = [bytearray(b'x' * 12288) for _ in range(3000)]
def walk(start):
    for row in rows[start::2]: row[0] += 1
for _ in range(3):
    walkers = [threading.Thread(target=walk, args=(start,)) for start in range(2)]
    [walker.start() for walker in walkers]; [walker.join() for walker in walkers]
child = os.fork()
if child == 0: os._exit(rows[7][0] - ord('x'))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), subprocess.check_output(['echo', 'started']), sum(row[0] for row in rows))
";
    let args = ["run", "-q", "--ram", "20M", "--call-sites", "--trace", trace, "--", "python3", "-c", script];
    let ran = bifolio(&args);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "3 b'started\\n' 369000\n"), "{}", ran.stderr);
    let info = bifolio(&["trace", "info", "--json", trace]).json();
    let count = |kind: &str| info["kinds"][kind].as_u64().unwrap_or(0);
    assert!(count("allocated") > 10 && count("frame") > 50 && count("fault_pc") > 100, "{info}");
    assert_eq!(info["lost"], Value::from(0));
}
