//! Where the machine, or a shell, gives less than a program usually has.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::command::{same_as_plain, skip};
use crate::compiled::{Compiled, User, ran};

const TOTAL: &str =
    "blocks = [bytes([i % 251]) * 100_000 for i in range(300)]\nprint(sum(sum(b[::997]) for b in blocks))";

#[test]
fn limits_of_a_shell_change_no_result() {
    for limit in ["-n 64", "-v 1048576", "-d 524288", "-c 0", "-s 256"] {
        let limited = |command: String| {
            let script = format!("ulimit {limit} && exec {command} python3 -c \"$1\"");
            Command::new("sh")
                .args(["-c", &script, "sh", TOTAL])
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
fn refused_system_calls_change_no_result_or_are_the_reason() {
    let test = "refused_system_calls_change_no_result_or_are_the_reason";
    let Some(refuse) = Compiled::new(test, "refuse", &[]) else { return };
    let calls = [
        "madvise",
        "userfaultfd",
        "ioctl",
        "prctl",
        "pidfd_open",
        "memfd_create",
        "process_vm_readv",
        "membarrier",
        "mincore",
        "sigaltstack",
    ];
    for (user, call) in User::all(test).into_iter().flat_map(|user| calls.map(|call| (user, call))) {
        let mut command = refuse.plain(user);
        command.arg(call).arg(&refuse.bifolio).args(["run", "--quiet", "--ram", "8M", "--"]);
        let ran = command.args(["python3", "-c", TOTAL]).output().expect("it can be run");
        let said = String::from_utf8_lossy(&ran.stderr);
        let code = ran.status.code();
        let right = code == Some(0) && ran.stdout == b"3287651\n";
        let refused = code == Some(3) && said.starts_with("bifolio: ");
        assert!(right || refused, "call {call} {user:?}: {code:?} {said}");
        assert!(call != "madvise" || refused, "{said}");
    }
}

#[test]
fn name_space_of_processes_without_its_own_list_changes_no_result() {
    let test = "name_space_of_processes_without_its_own_list_changes_no_result";
    let apart = ["--pid", "--fork", "--kill-child"];
    if !Command::new("unshare").args(apart).arg("true").status().is_ok_and(|status| status.success()) {
        return skip(test, "no name space of processes can be had");
    }
    let bifolio = env!("CARGO_BIN_EXE_bifolio");
    let mut command = Command::new("unshare");
    command.args(apart).args([bifolio, "run", "--quiet", "--ram", "8M", "--", "python3", "-c", TOTAL]);
    let Some(output) = ran(test, command) else { return };
    assert_eq!(output.stdout, b"3287651\n", "{}", String::from_utf8_lossy(&output.stderr));
    // A program that replaces itself there is managed still, or runs plain, or says why not.
    let mut command = Command::new("unshare");
    let script = format!("exec python3 -c '{}'", TOTAL);
    command.args(apart).args([bifolio, "run", "--quiet", "--ram", "8M", "--", "sh", "-c", &script]);
    let Some(output) = ran(test, command) else { return };
    assert_eq!(output.stdout, b"3287651\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn processes_that_may_not_be_are_the_reason_and_few_are_enough() {
    let test = "processes_that_may_not_be_are_the_reason_and_few_are_enough";
    let Some(program) = Compiled::new(test, "usable_size", &[]) else { return };
    // Limits of processes are none for root.
    for user in User::all(test).into_iter().filter(|user| *user == User::Ordinary) {
        for most in 1..12 {
            let managed = program.managed(user, &["--ram", "4M"]);
            let words = managed.get_args().map(|word| word.to_str().expect("plain")).collect::<Vec<_>>();
            // The limit is for the user that the command is run as, after the words that make it that.
            let at = words.iter().position(|word| *word == "--clear-groups").expect("of setpriv") + 1;
            let script = format!("ulimit -u {most} && exec \"$@\"");
            let mut command = Command::new(managed.get_program());
            command.args(&words[..at]).args(["bash", "-c", &script, "bash"]).args(&words[at..]);
            let Ok(ran) = command.output() else { return skip(test, "there is no bash") };
            let said = String::from_utf8_lossy(&ran.stderr);
            let refused = ran.status.code() == Some(3) && said.contains("limit");
            assert!(refused || ran.status.code() == Some(0), "{most}: {:?} {said}", ran.status);
        }
    }
}

#[test]
fn page_that_cannot_come_home_raises_sigbus_and_all_else_goes_on() {
    let test = "page_that_cannot_come_home_raises_sigbus_and_all_else_goes_on";
    let Some(fails) = Compiled::new(test, "fail_copies", &[]) else { return };
    let Some(program) = Compiled::new(test, "lost_page", &[]) else { return };
    let away =
        "away 1, lost to threads 1 1\nwrong beside it 0\nlost again 1, neighbours 0\ndropped 0 0, wrong 0\n";
    for user in User::all(test) {
        for (vram, more, said) in [("64M", &[][..], away), ("1M", &["full"], "wrong 0, lost 1\n")] {
            let named = fails.folder.path().join("address");
            fs::write(&named, [0; 4096]).expect("a file");
            fs::set_permissions(&named, fs::Permissions::from_mode(0o666)).expect("ours");
            let mut command = fails.plain(user);
            command.arg(&named).arg(&program.bifolio).args([
                "run",
                "--checked",
                "--ram",
                "4M",
                "--vram",
                vram,
            ]);
            command.arg("--").arg(&program.program).arg(&named).args(more);
            let Some(ran) = ran(test, command) else { return };
            let report = String::from_utf8_lossy(&ran.stderr);
            assert_eq!(String::from_utf8_lossy(&ran.stdout), said, "{user:?} {vram}: {report}");
            assert_eq!(ran.status.code(), Some(0), "{user:?} {vram}: {report}");
            assert!(report.contains("without an answer"), "{report}");
        }
    }
}
