//! `bench`: the rows that are promised, each with its floor.

use crate::command::{bifolio, device_works};

fn names(group: &str) -> Vec<String> {
    let ran = bifolio(&["bench", group, "--quick", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let json = ran.json();
    let rows = json.as_array().expect("an array of rows");
    for row in rows {
        let fields: Vec<_> = row.as_object().expect("a row").keys().collect();
        assert_eq!(fields, ["floor", "goal", "met", "name", "ratio", "unit", "value"]);
        assert!(row["floor"].as_f64().is_some_and(|floor| floor > 0.0), "{row}");
    }
    rows.iter().map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn rows_of_faults_are_those_promised() {
    if device_works("rows_of_faults_are_those_promised") {
        let expected = [
            "fault.cpu.4k",
            "fault.cpu.64k",
            "fault.cpu.2m",
            "fault.toucher.4k",
            "fault.toucher.4k.two",
            "fault.device.2m",
            "checked.fault.2m",
            "traced.fault.4k",
        ];
        assert_eq!(names("fault"), expected);
    }
}

#[test]
fn rows_of_migration_are_those_promised() {
    if device_works("rows_of_migration_are_those_promised") {
        assert_eq!(names("migrate"), ["migrate.out.2m", "migrate.back.2m"]);
    }
}

#[test]
fn rows_of_attached_devices_are_those_promised() {
    if device_works("rows_of_attached_devices_are_those_promised") {
        let expected = [
            "attach.read.rust",
            "attach.read.c",
            "attach.translate",
            "attach.fault.4k",
            "attach.fault.64k",
            "attach.fault.2m",
            "attach.invalidate",
        ];
        assert_eq!(names("attach"), expected);
    }
}

#[test]
fn rows_of_programs_are_those_promised() {
    if device_works("rows_of_programs_are_those_promised") {
        let mut names = names("run");
        // Only where the machine has zram.
        names.retain(|name| name != "run.scatter.zram");
        assert_eq!(names, ["run.scatter.4k", "run.scatter.two"]);
    }
}

#[test]
fn rows_of_the_allocator_are_those_promised() {
    let expected =
        ["buddy.fragmented.alloc", "buddy.fragmented.reverse_free", "buddy.mixed.absolute", "buddy.scale"];
    assert_eq!(names("buddy"), expected);
}

#[test]
fn rows_of_the_explorer_are_those_promised() {
    assert_eq!(names("check"), ["check.states_per_s", "check.8p3o3a"]);
}

#[test]
fn grid_has_a_row_for_each_policy_in_each_cell_and_draws_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let svg = folder.path().join("grid.svg");
    let args = ["bench", "oversubscribe", "--data", "2M", "--pattern", "chase,zipf", "--size", "1,2"];
    let policies = ["--policy", "auto,stride+sieve", "--svg", svg.to_str().expect("a plain name"), "--json"];
    let ran = bifolio(&[&args[..], &policies].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let json = ran.json();
    let cells = json.as_array().expect("an array of cells");
    // Two sides, patterns, sizes and policies.
    assert_eq!(cells.len(), 16);
    for cell in cells {
        for figure in ["time", "over_best", "moved"] {
            assert!(cell[figure].as_f64().is_some_and(|ratio| ratio > 0.0), "{cell}");
        }
        assert!(cell["p50_ns"].as_u64() <= cell["p999_ns"].as_u64(), "{cell}");
    }
    let picture = std::fs::read_to_string(svg).expect("it was written");
    assert_eq!(picture.matches("<polyline class=\"curve").count(), 8, "two curves for each side and pattern");
}

#[test]
fn grid_that_cannot_be_is_refused() {
    for (args, named) in
        [(["--size", "0"], "--size"), (["--pattern", "none"], "--pattern"), (["--policy", "best"], "best")]
    {
        let ran = bifolio(&[&["bench", "oversubscribe"][..], &args].concat());
        assert_eq!(ran.code, Some(2));
        assert!(ran.stderr.contains(named), "{}", ran.stderr);
    }
}
