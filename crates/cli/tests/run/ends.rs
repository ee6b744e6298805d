//! How the command ends, and what signals to it do.

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
