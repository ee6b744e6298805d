//! How much of a program's memory is managed, and how much of it is resident.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::command::{figures, skip};
use crate::compiled::{Compiled, User, ran};

/// Programs that take 25 MiB and more, each by an allocator or mappings of its own.
const PROGRAMS: [&[&str]; 8] = [
    &[
        "gawk",
        "BEGIN { for (i = 0; i < 300000; i++) a[i] = \"x\" i; for (i in a) n += length(a[i]); print n }",
    ],
    &[
        "mawk",
        "BEGIN { for (i = 0; i < 400000; i++) a[i] = \"x\" i; for (i in a) n += length(a[i]); print n }",
    ],
    &["perl", "-e", "my %h; $h{$_} = \"x$_\" for 0..300000; print scalar keys %h"],
    &["python3", "-c", "names = {i: str(i) for i in range(400_000)}\nprint(len(''.join(names.values())))"],
    &["jq", "-n", "[range(300000) | {a: ., b: \"x\\(.)\"}] | map(.a) | add"],
    &[
        "ruby",
        "-e",
        "names = {}; 400000.times { |i| names[i] = \"v#{i}\" }; puts names.values.map(&:size).sum",
    ],
    &[
        "sqlite3",
        ":memory:",
        "create table t(a, b); with recursive c(x) as (select 1 union all select x + 1 from c where x < 1200000) \
         insert into t select x, hex(x) || x from c; select sum(a), sum(length(b)) from t;",
    ],
    &[
        "vim",
        "-u",
        "NONE",
        "-es",
        "-c",
        "call append(0, map(range(300000), 'v:val . repeat(\"x\", 60)'))",
        "-c",
        "qa!",
    ],
];

#[test]
fn nearly_all_private_memory_is_managed() {
    let test = "nearly_all_private_memory_is_managed";
    for program in PROGRAMS {
        let Some(figures) = figures(test, &["--ram", "16M", "--vram", "512M"], program) else { continue };
        let bytes = |name: &str| figures[name].as_u64().expect("a number");
        let (managed, outside) = (bytes("managed_peak"), bytes("outside_peak"));
        assert!(managed > 24 << 20, "{program:?} is to take more than 24 MiB: {figures}");
        // 95 % at least.
        assert!(managed >= 19 * outside, "{program:?}: {managed} managed, {outside} not");
    }
}

/// Bytes of private memory that are resident, seen from outside.
fn resident(pid: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// Runs a program that says its number once its memory is nearly full, and tells the most that was resident from then on.
fn assert_stays_within(test: &str, name: &str, ram_mib: u64, more: u64) {
    let Some(program) = Compiled::new(test, name, &[]) else { return };
    for user in User::all(test) {
        let mut command = program.managed(user, &["--ram", &format!("{ram_mib}M"), "--vram", "512M"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it can be run");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        output.read_line(&mut line).expect("a line");
        if line.is_empty() {
            let ended = child.wait().expect("our child");
            return skip(test, &format!("memory cannot be managed here: {ended}"));
        }
        let (pid, end) = (line.trim(), Instant::now() + Duration::from_secs(60));
        let (mut most, mut samples) = (0, 0);
        while let Some(bytes) = resident(pid).filter(|_| Instant::now() < end) {
            (most, samples) = (most.max(bytes), samples + 1);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(child.wait().expect("our child").code(), Some(0), "{user:?}");
        assert!(samples > 20, "{samples} samples");
        let ram = ram_mib << 20;
        assert!(most <= ram + ram / 20 + more, "{user:?}: {} KiB were resident", most >> 10);
    }
}

#[test]
fn four_fast_threads_stay_within_their_memory() {
    assert_stays_within("four_fast_threads_stay_within_their_memory", "fast", 32, 2 << 20);
}

/// Of what grows in new mappings no fault tells: what was touched last leaves, so that the program waits. Beside other tests the
/// service may have the processor late, hence the 20 MiB, where 8 are usual; it was 30 to 100 once.
#[test]
fn memory_that_grows_in_small_mappings_stays_within_its_limit() {
    assert_stays_within(
        "memory_that_grows_in_small_mappings_stays_within_its_limit",
        "small_blocks",
        40,
        20 << 20,
    );
}

/// An allocator that has a thread of its own begins it past the library.
#[test]
fn programs_with_threads_that_the_library_did_not_begin_are_managed() {
    let test = "programs_with_threads_that_the_library_did_not_begin_are_managed";
    let Some(program) = Compiled::new(test, "hidden_thread", &[]) else { return };
    for user in User::all(test) {
        let report = program.folder.path().join(format!("{user:?}.json"));
        let options = ["--ram", "8M", "--vram", "64M", "--json", report.to_str().expect("plain")];
        let Some(ran) = ran(test, program.managed(user, &options)) else { return };
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "failed 0, wrong 0\n", "{user:?}: {said}");
        assert_eq!(ran.status.code(), Some(0), "{user:?}: {said}");
        let report: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&report).expect("written")).expect("JSON");
        let left = report["bytes"]["to_device"].as_u64().expect("a number");
        assert!(left > 8 << 20, "{user:?}: {report}");
    }
}
