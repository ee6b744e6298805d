//! Jobs on the built-in device, on real userfaultfd.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};
use snapbox::{assert_data_eq, str};

use crate::command::{Ran, bifolio, bifolio_reads, command, device_works};

/// A small graph: a ring of four, and one that points to it.
const EDGES: &str = "# a ring\na b\nb c\nc d\nd a\ne a\na b\n";

fn count(json: &Value, field: &str) -> u64 {
    json[field].as_u64().unwrap_or_else(|| panic!("no number {field} in {json}"))
}

/// What must hold of the figures of every run: it ended well, folios of each order and bytes agree with each other.
fn check_figures(ran: &Ran) -> Value {
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    let json = ran.json();
    assert_eq!((&json["verified"], &json["violations"]), (&json!(true), &json!(0)));
    for direction in ["to_device", "to_ram"] {
        let orders = json["folios"][direction].as_object().expect("folios by order");
        assert_eq!(orders.keys().collect::<Vec<_>>(), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        let moved: u64 = orders
            .iter()
            .map(|(order, folios)| {
                let order: u32 = order.parse().expect("a number");
                folios.as_u64().expect("a number") * (4096 << order)
            })
            .sum();
        assert!(count(&json["bytes"], direction) <= moved, "{direction} of {json}");
    }
    json
}

/// Splits what a run printed into its result, and the labels of its report. Labels of rare events are left out, as two
/// units may meet or not.
fn result_and_labels(ran: &Ran) -> (&str, Vec<&str>) {
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    let (result, report) = ran.stdout.split_once("\n\ntime ").expect("a report follows the result");
    let labels = report.lines().skip(1).take_while(|line| !line.is_empty());
    let labels = labels.map(|line| line.split("  ").next().unwrap_or_default());
    let rare = ["", "retried", "smaller"];
    (result, labels.filter(|label| !rare.contains(label)).collect())
}

#[test]
fn search_of_a_random_graph_repeats() {
    if !device_works("search_of_a_random_graph_repeats") {
        return;
    }
    let json = check_figures(&bifolio(&["demo", "bfs", "--rmat", "17", "--seed", "7", "--json", "-"]));
    let nodes: u64 =
        json["result"].as_array().expect("levels").iter().filter_map(|level| level[1].as_u64()).sum();
    assert_eq!(nodes, 1 << 17);
    assert!(count(&json["folios"]["to_device"], "6") > 0, "{json}");
    let again = bifolio(&["demo", "bfs", "--rmat", "17", "--seed", "7", "--json", "-"]).json();
    assert_eq!(again["result"], json["result"]);
}

#[test]
fn packages_move_in_folios_of_every_order_and_split_where_a_batch_ends() {
    if !device_works("packages_move_in_folios_of_every_order_and_split_where_a_batch_ends") {
        return;
    }
    let json = bifolio(&["demo", "pagerank", "--rounds", "2", "--json", "-"]).json();
    assert_eq!(json["verified"], true);
    let moved = json["folios"]["to_device"].as_object().expect("a number for each order");
    assert!(moved.len() == 10 && moved.values().all(|folios| folios.as_u64() > Some(0)), "{moved:?}");
    assert!(json["splits"].as_u64() > Some(0), "{json}");
}

#[test]
fn pagerank_of_a_small_graph_prints_ranks_and_report() {
    if !device_works("pagerank_of_a_small_graph_prints_ranks_and_report") {
        return;
    }
    let ran = bifolio_reads(&["demo", "pagerank", "--vram", "16K", "--policy", "fixed", "-"], EDGES);
    let (result, labels) = result_and_labels(&ran);
    assert_data_eq!(
        result,
        str![[r#"
PageRank of standard input: 5 nodes, 5 edges, 20 rounds
repeated edges left out: 1
28 KiB of data, 16 KiB of private device memory, 2 device units

  a 0.2513   b 0.2436   d 0.2381   c 0.2370   e 0.0300

Correct: every rank equals that of a plain run within 1e-9 (worst 0.0e0).
"#]]
    );
    assert_eq!(labels, ["moved", "used", "faults", "evicted", "rules"]);
    assert!(
        ran.stdout.contains(" times the data\n") && ran.stdout.contains("\nWhy so much? "),
        "{}",
        ran.stdout
    );
}

#[test]
fn bfs_of_a_small_graph_prints_levels_and_report() {
    if !device_works("bfs_of_a_small_graph_prints_levels_and_report") {
        return;
    }
    let ran = bifolio_reads(&["demo", "bfs", "--root", "b", "--vram", "1/1", "--checked", "-"], EDGES);
    let (result, labels) = result_and_labels(&ran);
    assert_data_eq!(
        result,
        str![[r#"
Search of standard input: 5 nodes, 5 edges, from b
repeated edges left out: 1
28 KiB of data, 28 KiB of private device memory (1/1), 2 device units

  level 0     1   level 1     1   level 2     1   level 3     1   not reached 1

Correct: levels equal those of a plain run, and parents lead to their nodes.
"#]]
    );
    assert_eq!(labels, ["moved", "used", "faults", "evicted", "rules"]);
    assert!(ran.stdout.contains("0 broken, judged after every move\n"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("Why so much?"), "{}", ran.stdout);
}

#[test]
fn comments_and_headings_of_other_collections_are_no_edges() {
    if !device_works("comments_and_headings_of_other_collections_are_no_edges") {
        return;
    }
    for (edges, expected) in [
        ("// comment\n% directed\n1 2\n", "Search of standard input: 2 nodes, 1 edge, from 1\n28 "),
        (
            "FromNodeId\tToNodeId\n1\t2\n",
            "Search of standard input: 2 nodes, 1 edge, from 1\nheading left out: FromNodeId ToNodeId\n",
        ),
        ("# adjacency list\na b c\nb\n", "Search of standard input: 3 nodes, 2 edges, from a\n28 "),
    ] {
        let ran = bifolio_reads(&["demo", "bfs", "-"], edges);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        assert!(ran.stdout.starts_with(expected), "{}", ran.stdout);
    }
}

#[test]
fn names_that_would_upset_a_terminal_are_shown_harmlessly() {
    if !device_works("names_that_would_upset_a_terminal_are_shown_harmlessly") {
        return;
    }
    let edges = format!("a\x1b[2Jb\x07 {}\n", "x".repeat(60_000));
    let ran = bifolio_reads(&["demo", "pagerank", "-"], &edges);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.contains("a\\u{1b}[2Jb\\u{7}"), "{}", ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    assert!(!ran.stdout.contains(|letter: char| letter.is_control() && letter != '\n'), "{:?}", ran.stdout);
}

#[test]
fn packages_rank_with_libc6_first_in_a_sixteenth_of_their_memory() {
    if !device_works("packages_rank_with_libc6_first_in_a_sixteenth_of_their_memory") {
        return;
    }
    let ran =
        bifolio(&["demo", "pagerank", "--sources", "0", "--vram", "1/16", "--rounds", "3", "--json", "-"]);
    let json = check_figures(&ran);
    assert_eq!(json["result"].as_array().map(Vec::len), Some(10));
    assert_eq!(json["result"][0][0], "libc6");
    assert!(count(&json, "evictions") > 0);
}

#[test]
fn packages_are_searched_exactly_at_each_size_of_device_memory() {
    if !device_works("packages_are_searched_exactly_at_each_size_of_device_memory") {
        return;
    }
    let found = ["1/2", "1/4", "1/16"].map(|vram| {
        let json = check_figures(&bifolio(&["demo", "bfs", "--vram", vram, "--json", "-"]));
        assert!(count(&json, "evictions") > 0, "at {vram}");
        json["result"].clone()
    });
    assert!(found.iter().all(|result| *result == found[0]));
}

#[test]
fn limited_system_memory_gives_the_same_result() {
    if !device_works("limited_system_memory_gives_the_same_result") {
        return;
    }
    let args = ["demo", "bfs", "--ram", "3/4", "--vram", "3/4", "--json", "-"];
    check_figures(&bifolio(&args));
}

#[test]
fn limit_of_system_memory_above_the_data_is_none() {
    if !device_works("limit_of_system_memory_above_the_data_is_none") {
        return;
    }
    // Too little for anything else than such a small graph.
    check_figures(&bifolio_reads(&["demo", "bfs", "--ram", "3/2", "--json", "-", "-"], EDGES));
    check_figures(&bifolio_reads(
        &["demo", "bfs", "--ram", "1/1", "--vram", "8K", "--json", "-", "-"],
        EDGES,
    ));
}

#[test]
fn coherent_memory_gives_the_same_result() {
    if !device_works("coherent_memory_gives_the_same_result") {
        return;
    }
    check_figures(&bifolio(&["demo", "bfs", "--memory", "coherent", "--json", "-"]));
}

#[test]
fn two_devices_give_the_same_result() {
    if !device_works("two_devices_give_the_same_result") {
        return;
    }
    let args =
        ["demo", "pagerank", "--sources", "0", "--devices", "2", "--vram", "1/8", "--checked", "--json", "-"];
    let json = check_figures(&bifolio(&args));
    assert_eq!(json["devices"], json!(2));
    assert!(count(&json, "evictions") > 0);
    let ran = bifolio(&["demo", "bfs", "--devices", "2", "--root", "bash"]);
    assert!(
        ran.stdout.contains("12.4 MiB of data, 2 devices: each 3.1 MiB of private memory (1/4), 2 units\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    let refused = bifolio(&["demo", "pagerank", "--devices", "9"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("expected a number from 1 to 8"), "{}", refused.stderr);
}

#[test]
fn folios_reset_on_form_give_the_same_result() {
    if !device_works("folios_reset_on_form_give_the_same_result") {
        return;
    }
    let args = ["demo", "bfs", "--reset", "reinit-on-form", "--vram", "1/16", "--checked", "--json", "-"];
    check_figures(&bifolio(&args));
}

/// A graph of about 200 KiB: each node points to a few that follow it, and to some far away.
fn scattered_edges() -> String {
    let mut text = String::new();
    for node in 0_u64..1000 {
        for step in [1, 7, node * node + 13, node * 31 + 5] {
            text += &format!("{node} {}\n", (node + step) % 1000);
        }
    }
    text
}

/// Runs a job on each kind of memory with a pool, checked: everything must be as without it.
fn pool_gives_the_same_result(test: &str, pool: &str) {
    if !device_works(test) {
        return;
    }
    let edges = scattered_edges();
    for (job, memory, vram) in [
        (&["pagerank", "--rounds", "1", "--sources", "0"][..], "private", "1/3"),
        (&["bfs"], "coherent", "128K"),
    ] {
        let options = ["--pool", pool, "--memory", memory, "--vram", vram, "--checked", "--json", "-", "-"];
        let json = check_figures(&bifolio_reads(&[&["demo"], job, &options].concat(), &edges));
        assert!(count(&json, "evictions") > 0, "{job:?} on {memory} memory: {json}");
    }
}

#[test]
fn free_lists_give_the_same_result() {
    pool_gives_the_same_result("free_lists_give_the_same_result", "freelist");
}

#[test]
fn shared_objects_give_the_same_result() {
    pool_gives_the_same_result("shared_objects_give_the_same_result", "coherent");
}

#[test]
fn mirror_gives_the_same_result() {
    pool_gives_the_same_result("mirror_gives_the_same_result", "mirror");
}

#[test]
fn coherent_pool_has_coherent_memory_unless_told_otherwise() {
    if !device_works("coherent_pool_has_coherent_memory_unless_told_otherwise") {
        return;
    }
    for (memory, expected) in [(&[][..], "coherent"), (&["--memory", "private"], "private")] {
        let args = [&["demo", "bfs", "--pool", "coherent", "--vram", "256K"], memory, &["-"]].concat();
        let ran = bifolio_reads(&args, EDGES);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        assert!(ran.stdout.contains(&format!("{expected} device memory")), "{}", ran.stdout);
    }
}

#[test]
fn buffers_compete_with_the_data_and_both_keep_their_bytes() {
    if !device_works("buffers_compete_with_the_data_and_both_keep_their_bytes") {
        return;
    }
    for (job, pool) in [("bfs", "buddy"), ("bfs", "freelist")] {
        let args =
            ["demo", job, "--vram", "1/8", "--buffers", "1/8", "--pool", pool, "--checked", "--json", "-"];
        let json = check_figures(&bifolio(&args));
        let objects = &json["objects"];
        assert_eq!(objects["verified"], json!(true), "{args:?}");
        assert!(count(objects, "count") >= 8 && count(objects, "uses") > 0, "{objects}");
        assert!(count(objects, "evictions") > 0 && count(objects, "returns") > 0, "{objects}");
        assert!(count(&json, "evictions") > 0);
    }
}

#[test]
fn buffers_are_told_of_in_the_text() {
    if !device_works("buffers_are_told_of_in_the_text") {
        return;
    }
    let ran = bifolio_reads(&["demo", "bfs", "--root", "b", "--vram", "16K", "--buffers", "32K", "-"], EDGES);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let said = "\nCorrect: 8 buffer objects of 32 KiB hold what was written last\n(32 uses, ";
    assert!(ran.stdout.contains(said), "{}", ran.stdout);
}

#[test]
fn buffers_without_system_memory_to_be_evicted_to_are_refused() {
    let ran = bifolio_reads(&["demo", "bfs", "--ram", "1M", "--buffers", "1M", "-"], EDGES);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("--ram of 1 MiB is too little: give at least"), "{}", ran.stderr);
}

#[test]
fn one_unit_and_many_give_the_same_result() {
    if !device_works("one_unit_and_many_give_the_same_result") {
        return;
    }
    for units in ["1", "16"] {
        check_figures(&bifolio(&["demo", "bfs", "--units", units, "--json", "-"]));
    }
}

#[test]
fn json_has_the_promised_fields_in_their_order() {
    if !device_works("json_has_the_promised_fields_in_their_order") {
        return;
    }
    let ran = bifolio_reads(&["demo", "bfs", "--root", "e", "--json", "-", "-"], EDGES);
    check_figures(&ran);
    let digits_hidden =
        ran.stdout.replace("e-", "_").replace(|digit: char| digit.is_ascii_digit() || digit == '.', "_");
    let fields: String = digits_hidden.split('_').filter(|text| !text.is_empty()).collect();
    assert_data_eq!(
        fields,
        str![[r#"
{"result":[[,],[,],[,],[,],[,]],"verified":true,"data":,"devices":,"devicememory":,"plainseconds":,"faults":{"cpu":,"device":},"folios":{"todevice":{"":,"":,"":,"":,"":,"":,"":,"":,"":,"":},"toram":{"":,"":,"":,"":,"":,"":,"":,"":,"":,"":}},"bytes":{"todevice":,"toram":,"remote":,"useful":},"evictions":,"splits":,"fallbacks":,"violations":,"seconds":{"wait":,"copy":,"compute":,"total":}}

"#]]
    );
}

#[test]
fn json_file_has_the_same_figures_as_the_text() {
    if !device_works("json_file_has_the_same_figures_as_the_text") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report.json");
    let ran = bifolio_reads(&["demo", "bfs", "--json", file.to_str().expect("text"), "-"], EDGES);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let json: Value = serde_json::from_slice(&fs::read(file).expect("it was written")).expect("JSON");
    let faults = json["faults"]["device"].as_u64().expect("a number");
    let line = ran.stdout.lines().find(|line| line.starts_with("faults")).expect("a line");
    assert_eq!(line.split_whitespace().nth(1), Some(faults.to_string().as_str()));
}

#[test]
fn json_goes_through_a_link_to_a_file_that_is_yet_to_be_made() {
    if !device_works("json_goes_through_a_link_to_a_file_that_is_yet_to_be_made") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (file, link) = (folder.path().join("report.json"), folder.path().join("link"));
    std::os::unix::fs::symlink(&file, &link).expect("links are had");
    let ran = bifolio_reads(&["demo", "bfs", "--quiet", "--json", link.to_str().expect("text"), "-"], EDGES);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(link.is_symlink());
    let json: Value = serde_json::from_slice(&fs::read(file).expect("it was made")).expect("JSON");
    assert_eq!(json["verified"], json!(true));
}

#[test]
fn json_file_that_cannot_be_written_is_an_error() {
    if !device_works("json_file_that_cannot_be_written_is_an_error") {
        return;
    }
    let ran = bifolio_reads(&["demo", "bfs", "--quiet", "--json", "/no/such/folder/report.json", "-"], EDGES);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(4), ""));
    assert_data_eq!(
        ran.stderr,
        str![[r#"
bifolio: writing /no/such/folder/report.json failed: No such file or directory (os error 2)

"#]]
    );
}

#[test]
fn quiet_prints_nothing() {
    if !device_works("quiet_prints_nothing") {
        return;
    }
    let ran = bifolio_reads(&["demo", "bfs", "--quiet", "-"], EDGES);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn reader_that_goes_away_is_no_error() {
    if !device_works("reader_that_goes_away_is_no_error") {
        return;
    }
    let mut child = command(&["demo", "bfs"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command was just built");
    drop(child.stdout.take());
    let ran: Ran = child.wait_with_output().expect("it ends").into();
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}
