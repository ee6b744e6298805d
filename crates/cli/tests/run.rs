//! `bifolio run` as a person uses it: real programs print what they print without it, and end as they end.
//!
//! A program that this machine does not have, or a kernel that grants no faults, skips its test by name.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn skip(test: &str, why: &str) {
    // Past the test harness, which would hide it from `.ci/run`.
    writeln!(std::io::stderr(), "SKIP {test}: {}", why.trim_end()).expect("standard error is there");
}

fn bifolio() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bifolio"))
}

/// Runs a program under `bifolio run` with these options; `None` where it or a full heap is not to be had.
fn run(test: &str, options: &[&str], program: &[&str]) -> Option<Output> {
    if Command::new(program[0]).arg("--version").stdin(Stdio::null()).output().is_err() {
        skip(test, &format!("there is no {}", program[0]));
        return None;
    }
    let output = bifolio().arg("run").args(options).arg("--").args(program).stdin(Stdio::null()).output();
    let output = output.expect("the command is there");
    let refused = output.status.code() == Some(3);
    if refused {
        skip(test, &String::from_utf8_lossy(&output.stderr));
    }
    (!refused).then_some(output)
}

/// Runs a program plainly and with too little memory, and compares all that it tells the world.
fn same_as_plain(test: &str, ram: &str, program: &[&str]) {
    same_as_plain_with(test, &["--quiet", "--checked", "--ram", ram], program);
}

fn same_as_plain_with(test: &str, options: &[&str], program: &[&str]) {
    let Some(run) = run(test, options, program) else { return };
    let plain = Command::new(program[0]).args(&program[1..]).stdin(Stdio::null()).output().expect("there");
    assert_eq!(run.status, plain.status, "{}", String::from_utf8_lossy(&run.stderr));
    assert!(run.stdout == plain.stdout, "output of {program:?} differs");
}

fn figures(test: &str, options: &[&str], program: &[&str]) -> Option<serde_json::Value> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a plain name");
    run(test, &[options, &["--quiet", "--json", path]].concat(), program)?;
    Some(serde_json::from_slice(&std::fs::read(file.path()).expect("written")).expect("JSON"))
}

const LISTS: &str = "
blocks = [bytes([i % 251]) * 100_000 for i in range(300)]
numbers = list(range(1_000_000))
names = {i: str(i) for i in range(200_000)}
for turn in range(2):
    print(sum(sum(block[::997]) for block in blocks), sum(numbers), len(''.join(names.values())))
    blocks.reverse()
";

#[test]
fn python_computes_the_same_in_a_quarter_of_its_memory() {
    same_as_plain("python_computes_the_same_in_a_quarter_of_its_memory", "12M", &["python3", "-c", LISTS]);
}

#[test]
fn moves_are_reported_and_no_rule_breaks() {
    let Some(figures) = figures(
        "moves_are_reported_and_no_rule_breaks",
        &["--checked", "--ram", "8M"],
        &["python3", "-c", LISTS],
    ) else {
        return;
    };
    assert!(figures["bytes"]["to_device"].as_u64() > Some(1 << 20), "{figures}");
    assert!(figures["faults"]["cpu"].as_u64() > Some(0), "{figures}");
    assert_eq!((&figures["violations"], &figures["exit"]), (&0.into(), &0.into()), "{figures}");
}

const FORKS: &str = "
import os, subprocess
blocks = [bytes([i % 251]) * 100_000 for i in range(300)]
def total(): return sum(sum(block[::997]) for block in blocks)
want = total()
for turn in range(3):
    child = os.fork()
    if child == 0:
        right = total() == want
        blocks[7] = bytes(300_000)
        blocks.clear()
        os._exit(0 if right else 1)
    print(os.waitpid(child, 0)[1], total() == want)
print(subprocess.run(['echo', 'started'], capture_output=True).stdout)
print(os.system('exit 5'))
";

#[test]
fn children_and_parents_have_their_bytes() {
    same_as_plain("children_and_parents_have_their_bytes", "8M", &["python3", "-c", FORKS]);
}

const THREADS: &str = "
import threading
kept = {}
def work(name):
    blocks = [bytes([(name + i) % 251]) * 70_000 for i in range(60)]
    for turn in range(5): blocks = [block[1:] + block[:1] for block in blocks]
    kept[name] = sum(sum(block[::501]) for block in blocks)
threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sorted(kept.items()))
";

#[test]
fn threads_share_the_heap() {
    same_as_plain("threads_share_the_heap", "4M", &["python3", "-c", THREADS]);
}

/// Two threads drop pages while a third fills them and they leave: a page may go in the middle of its move.
const DROPS: &str = "
import ctypes, mmap, random, threading, time
PAGES, CLEAR = 4096, 4
region = mmap.mmap(-1, PAGES * 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
start = ctypes.addressof(ctypes.c_char.from_buffer(region))
madvise = ctypes.CDLL(None).madvise
madvise.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
end = time.time() + 4
def drop(seed):
    choose = random.Random(seed)
    while time.time() < end: madvise(start + choose.randrange(PAGES - 64) * 4096, 64 * 4096, CLEAR)
threads = [threading.Thread(target=drop, args=(seed,)) for seed in range(2)]
for thread in threads: thread.start()
while time.time() < end: ctypes.memset(start, 1, PAGES * 4096)
for thread in threads: thread.join()
print(set(region[::4096]) <= {0, 1})
";

#[test]
fn pages_are_dropped_while_they_leave() {
    same_as_plain_with(
        "pages_are_dropped_while_they_leave",
        &["--quiet", "--ram", "12M"],
        &["python3", "-c", DROPS],
    );
}

/// Two mappings side by side that are one as soon as both are withheld from children.
const NEIGHBOURS: &str = "
import ctypes, mmap
HALF, WITHHELD = 16 << 20, 10
region = mmap.mmap(-1, 2 * HALF, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
start = ctypes.addressof(ctypes.c_char.from_buffer(region))
madvise = ctypes.CDLL(None).madvise
madvise.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
assert madvise(start, HALF, WITHHELD) == 0
for page in range(2 * HALF >> 12): region[page << 12] = page % 251
print(sum(region[page << 12] for page in range(2 * HALF >> 12)))
";

#[test]
fn mappings_that_become_one_are_managed() {
    same_as_plain("mappings_that_become_one_are_managed", "8M", &["python3", "-c", NEIGHBOURS]);
}

#[test]
fn perl_computes_the_same() {
    let script = "my %h; $h{$_} = $_ x 3 for 0..20000; my $s = join ',', map { $h{$_} } sort keys %h; \
                  my $t = $s x 4; $t =~ tr/0-9/1-90/; print length $t, substr($t, 234567, 40), qq(\\n);";
    same_as_plain("perl_computes_the_same", "4M", &["perl", "-e", script]);
}

/// A text of unordered lines.
fn lines() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let mut state = 1_u64;
    for _ in 0..200_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        writeln!(file, "{:x} {}", state >> 20, state % 1000).expect("room");
    }
    file
}

#[test]
fn sort_sorts_the_same() {
    same_as_plain("sort_sorts_the_same", "4M", &["sort", lines().path().to_str().expect("a plain name")]);
}

const BLOCKS: &str = "
blocks = [bytes([i % 251]) * 100_000 for i in range(200)]
for turn in range(2): print(sum(sum(block[::997]) for block in blocks))
";

/// Runs programs in too little system memory, on device memory of a pool.
fn programs_run_the_same_on(test: &str, pool: &str) {
    let file = lines();
    let path = file.path().to_str().expect("a plain name");
    let options = ["--quiet", "--checked", "--vram", "64M", "--pool", pool, "--ram"];
    same_as_plain_with(test, &[&options[..], &["4M"]].concat(), &["sort", path]);
    same_as_plain_with(test, &[&options[..], &["4M"]].concat(), &["gzip", "-c", path]);
    same_as_plain_with(test, &[&options[..], &["8M"]].concat(), &["python3", "-c", BLOCKS]);
}

/// Touches pages at random, and prints how much private memory is resident then.
const SCATTERED: &str = "
import random
pages, choose = bytearray(48 << 20), random.Random(1)
for page in range(len(pages) >> 12): pages[page << 12] = page % 251
for turn in range(30_000): pages[choose.randrange(len(pages) >> 12) << 12 | 1] = 1
print(next(line for line in open('/proc/self/status') if line.startswith('RssAnon')).split()[1])
assert all(pages[page << 12] == page % 251 for page in range(len(pages) >> 12))
";

#[test]
fn scattered_pages_take_no_more_of_the_store_than_is_away() {
    let test = "scattered_pages_take_no_more_of_the_store_than_is_away";
    // About 55 MiB in 24 and 40: less would do only if pages that came home kept none of the store.
    let options = ["--quiet", "--ram", "24M", "--vram", "40M"];
    let Some(output) = run(test, &options, &["python3", "-c", SCATTERED]) else { return };
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let resident: usize = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number");
    assert!(resident < 26 << 10, "{resident} KiB are resident where 24 MiB may be");
}

#[test]
fn programs_run_the_same_on_free_lists() {
    programs_run_the_same_on("programs_run_the_same_on_free_lists", "freelist");
}

#[test]
fn programs_run_the_same_on_shared_objects() {
    programs_run_the_same_on("programs_run_the_same_on_shared_objects", "coherent");
}

#[test]
fn programs_run_the_same_on_a_mirror() {
    programs_run_the_same_on("programs_run_the_same_on_a_mirror", "mirror");
}

#[test]
fn exit_code_is_the_programs() {
    let Some(output) =
        run("exit_code_is_the_programs", &["--quiet"], &["sh", "-c", "echo out; echo err >&2; exit 7"])
    else {
        return;
    };
    assert_eq!(output.status.code(), Some(7));
    assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
}

#[test]
fn program_that_is_not_there_or_cannot_be_run_exits_as_in_a_shell() {
    for (program, code) in [("no-such-program", 127), ("/etc/passwd", 126)] {
        let output = bifolio().args(["run", "--", program]).output().expect("the command is there");
        assert_eq!(output.status.code(), Some(code), "{program}");
    }
}

/// Fills 64 MiB with the number of each page, says where they are, and waits for a line.
const NUMBERED_PAGES: &str = "
import ctypes, os
pages = bytearray(64 << 20)
for page in range(len(pages) >> 12):
    pages[page << 12:(page << 12) + 8] = page.to_bytes(8, 'little')
print(os.getpid(), ctypes.addressof(ctypes.c_char.from_buffer(pages)), flush=True)
input()
";

/// Pages of the program that a debugger would not read as they are.
fn pages_not_read(pid: &str, address: u64) -> usize {
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).expect("our own child");
    let is_read = |page: u64| {
        let mut number = [0; 8];
        memory.read_exact_at(&mut number, address + page * 4096).is_ok() && number == page.to_le_bytes()
    };
    (0..64 << 8).filter(|page| !is_read(*page)).count()
}

#[test]
fn home_makes_every_byte_readable_for_a_debugger() {
    let test = "home_makes_every_byte_readable_for_a_debugger";
    if run(test, &["--quiet"], &["python3", "-c", ""]).is_none() {
        return;
    }
    let mut command = bifolio();
    command.args(["run", "--quiet", "--ram", "16M", "--", "python3", "-c", NUMBERED_PAGES]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it can be run");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let (pid, address) = line.trim().split_once(' ').expect("two numbers");
    let address = address.parse().expect("a number");
    assert!(pages_not_read(pid, address) > 0, "some of 64 MiB is away");
    let mut stats = said(&["stats", "--json", pid]);
    for _ in 0..100 {
        // What is away is measured at times.
        if stats["away"].as_u64() > Some(16 << 20) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        stats = said(&["stats", "--json", pid]);
    }
    assert!(stats["away"].as_u64() > Some(16 << 20), "{stats}");
    assert!(stats["bytes"]["to_device"].as_u64() >= stats["away"].as_u64(), "{stats}");
    assert!(stats["seconds"]["total"].as_f64() > Some(0.0), "{stats}");
    let ours = bifolio().args(["stats", &std::process::id().to_string()]).status().expect("it can be run");
    assert_eq!(ours.code(), Some(2), "this process was not started by run");
    let home = |args: &[&str]| bifolio().arg("home").args(args).status().expect("it can be run").code();
    assert_eq!((home(&[pid]), pages_not_read(pid, address)), (Some(0), 0));
    assert_eq!(home(&["--end", pid]), Some(0));
    assert_eq!(home(&[&std::process::id().to_string()]), Some(2), "this process was not started by run");
    drop(child.stdin.take().map(|mut input| input.write_all(b"\n")));
    assert_eq!(child.wait().expect("our child").code(), Some(0));
}

#[test]
fn signal_that_ends_the_program_ends_the_command() {
    let Some(output) =
        run("signal_that_ends_the_program_ends_the_command", &["--quiet"], &["sh", "-c", "kill -TERM $$"])
    else {
        return;
    };
    assert_eq!(output.status.signal(), Some(15));
}

/// Starts a program of Python under `run`, and returns the command and the first line that the program prints.
fn started(test: &str, script: &str) -> Option<(std::process::Child, String)> {
    run(test, &["--quiet"], &["python3", "-c", ""])?;
    let mut command = bifolio();
    command.args(["run", "--quiet", "--ram", "8M", "--", "python3", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it can be run");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    Some((child, line.trim().to_owned()))
}

fn send(signal: &str, pid: u32) {
    let sent = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().expect("kill is there");
    assert!(sent.success());
}

#[test]
fn signals_that_the_command_gets_reach_the_program() {
    for signal in ["INT", "QUIT", "TERM", "HUP", "USR1", "ALRM"] {
        let script = format!(
            "import os, signal\nsignal.signal(signal.SIG{signal}, lambda *_: os._exit(7))\nprint('ready', flush=True)\n\
             while True: signal.pause()"
        );
        let Some((mut child, _)) = started("signals_that_the_command_gets_reach_the_program", &script) else {
            return;
        };
        send(signal, child.id());
        assert_eq!(child.wait().expect("our child").code(), Some(7), "SIG{signal}");
    }
}

#[test]
fn program_ends_with_a_command_that_is_killed() {
    let script = "import os, signal\nprint(os.getpid(), flush=True)\nwhile True: signal.pause()";
    let Some((mut child, pid)) = started("program_ends_with_a_command_that_is_killed", script) else {
        return;
    };
    send("KILL", child.id());
    assert_eq!(child.wait().expect("our child").signal(), Some(9));
    // The state behind the name in brackets: a process that has ended waits for whoever inherits it.
    let lives = || {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
    };
    let end = Instant::now() + Duration::from_secs(20);
    while lives() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!lives(), "the program goes on without the command");
}

#[test]
fn limits_of_a_shell_change_no_result() {
    let total = "blocks = [bytes([i % 251]) * 100_000 for i in range(300)]\nprint(sum(sum(b[::997]) for b in blocks))";
    for limit in ["-n 64", "-v 1048576", "-d 524288", "-c 0", "-s 256"] {
        let limited = |command: String| {
            let script = format!("ulimit {limit} && exec {command} python3 -c \"$1\"");
            Command::new("sh")
                .args(["-c", &script, "sh", total])
                .stdin(Stdio::null())
                .output()
                .expect("a shell")
        };
        let ours = limited(format!("{} run --quiet --ram 8M --", env!("CARGO_BIN_EXE_bifolio")));
        if ours.status.code() == Some(3) {
            skip("limits_of_a_shell_change_no_result", &String::from_utf8_lossy(&ours.stderr));
            return;
        }
        let plain = limited(String::new());
        assert_eq!((ours.status, ours.stdout), (plain.status, plain.stdout), "ulimit {limit}");
    }
}

#[test]
fn files_of_no_size_are_refused_with_the_reason() {
    let script = format!("ulimit -f 0 && exec {} run --quiet -- true", env!("CARGO_BIN_EXE_bifolio"));
    let ran = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().expect("a shell");
    let reason = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(3), "{reason}");
    assert!(reason.contains("limit"), "{reason}");
}

#[test]
fn summary_goes_to_standard_error_only() {
    let Some(output) =
        run("summary_goes_to_standard_error_only", &["--ram", "8M"], &["sh", "-c", "echo out"])
    else {
        return;
    };
    assert_eq!(output.stdout, b"out\n");
    let summary = String::from_utf8_lossy(&output.stderr);
    assert!(summary.contains(" on the CPU") && summary.contains("0 broken"), "{summary}");
}

#[test]
fn heap_survives_a_program_that_closes_every_descriptor() {
    let script = "
import os
blocks = [bytes([i % 251]) * 100_000 for i in range(200)]
os.closerange(3, 2000)
print(sum(sum(block[::997]) for block in blocks))
";
    same_as_plain("heap_survives_a_program_that_closes_every_descriptor", "8M", &["python3", "-c", script]);
}

#[test]
fn heap_beyond_both_memories_is_no_failure() {
    let Some(figures) = figures(
        "heap_beyond_both_memories_is_no_failure",
        &["--ram", "4M", "--vram", "8M"],
        &["python3", "-c", LISTS],
    ) else {
        return;
    };
    assert_eq!((&figures["exit"], &figures["violations"]), (&0.into(), &0.into()));
}

#[test]
fn memory_that_is_away_comes_home_into_mappings_that_were_split() {
    let script = "
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
size = 32 << 20
memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, size, 4096): memory[at] = at // 4096 % 251
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
changed = [libc.mprotect(ctypes.c_void_p(start + at), 4096, 1) for at in range(0, size, 160 << 10)]
import os
def total(): return sum(memory[at] for at in range(0, size, 4096))
child = os.fork()
if child == 0: os._exit(total() % 251)
print(os.waitpid(child, 0)[1], total(), set(changed))
";
    let test = "memory_that_is_away_comes_home_into_mappings_that_were_split";
    same_as_plain(test, "8M", &["python3", "-c", script]);
}

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

/// What `bifolio` says to arguments, as JSON.
fn said(arguments: &[&str]) -> serde_json::Value {
    let output = bifolio().args(arguments).output().expect("the command is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
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
