//! How the command ends, and what signals to it do.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use crate::command::{bifolio, run, send, started};

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

#[test]
fn signal_that_ends_the_program_ends_the_command() {
    let Some(output) =
        run("signal_that_ends_the_program_ends_the_command", &["--quiet"], &["sh", "-c", "kill -TERM $$"])
    else {
        return;
    };
    assert_eq!(output.status.signal(), Some(15));
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

/// A program that uses more than may be resident, for ever, and has forked. It tells of zeros where it had written none.
const BUSY: &str = "
import os
blocks = [bytearray([i % 250 + 1]) * 100_000 for i in range(200)]
if os.fork() == 0: os._exit(0)
os.wait()
print(os.getpid(), flush=True)
while True:
    for block in blocks:
        if 0 in block[::4096]: os.write(2, b'lost bytes')
";

/// Processes whose parent is this one: numbers and names.
fn children_of(parent: u32) -> Vec<(u32, String)> {
    let processes = std::fs::read_dir("/proc").expect("there").flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let stats =
        numbers.filter_map(|pid| Some((pid, std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)));
    let named = stats.filter_map(|(pid, stat)| {
        // The name is in brackets, and may hold spaces; the state and the parent follow.
        let (before, after) = stat.rsplit_once(") ")?;
        let name = before.split_once('(')?.1.to_owned();
        (after.split(' ').nth(1)?.parse() == Ok(parent)).then_some((pid, name))
    });
    named.collect()
}

/// Waits until none of these processes is left.
fn wait_for_the_end_of(pids: &[u32]) {
    // A process that has ended waits for the one that inherits it.
    let lives = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
    };
    let end = Instant::now() + Duration::from_secs(20);
    while pids.iter().any(lives) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(pids.iter().filter(|pid| lives(pid)).count(), 0, "something goes on");
}

#[test]
fn everything_ends_with_a_command_that_is_killed() {
    let Some((mut child, pid)) = started("everything_ends_with_a_command_that_is_killed", BUSY) else {
        return;
    };
    let pids: Vec<u32> = children_of(child.id()).into_iter().map(|(pid, _)| pid).collect();
    assert!(pids.len() > 1 && pids.contains(&pid.parse().expect("a number")), "{pids:?}");
    send("KILL", child.id());
    assert_eq!(child.wait().expect("our child").signal(), Some(9));
    wait_for_the_end_of(&pids);
}

#[test]
fn everything_ends_with_a_service_that_is_killed_and_the_command_says_so() {
    let test = "everything_ends_with_a_service_that_is_killed_and_the_command_says_so";
    let Some((mut child, _)) = started(test, BUSY) else { return };
    let processes = children_of(child.id());
    // A shell script that starts the program has had a service of its own, which may not have ended yet.
    let services = processes.iter().filter(|(_, name)| name == "bifolio-serve").map(|(pid, _)| *pid);
    send("KILL", services.max().expect("a service"));
    assert_eq!(child.wait().expect("our child").code(), Some(4));
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    assert!(said.contains("the service process ended before its program"), "{said}");
    assert!(!said.contains("lost bytes"), "{said}");
    wait_for_the_end_of(&processes.iter().map(|(pid, _)| *pid).collect::<Vec<_>>());
}

#[test]
fn service_of_a_program_that_was_replaced_ends() {
    let fill = "import os, sys\nblocks = [bytearray([i % 250 + 1]) * 100_000 for i in range(200)]\n";
    let step = format!("{fill}os.execv(sys.executable, [sys.executable, '-c', sys.argv[1], *sys.argv[2:]])");
    let replace = step.replace("sys.argv[1], *sys.argv[2:]", &format!("{step:?}, {BUSY:?}"));
    let Some((mut child, _)) = started("service_of_a_program_that_was_replaced_ends", &replace) else {
        return;
    };
    let services = || children_of(child.id()).into_iter().filter(|(_, name)| name == "bifolio-serve").count();
    let end = Instant::now() + Duration::from_secs(20);
    while services() > 1 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(services(), 1, "the one of the program that runs now");
    child.kill().expect("it runs");
    child.wait().expect("our child");
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
