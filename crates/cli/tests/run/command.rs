//! The command as tests run it, beside plain runs of the same program.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

pub fn skip(test: &str, why: &str) {
    // Past the test harness, which would hide it from `.ci/run`.
    writeln!(std::io::stderr(), "SKIP {test}: {}", why.trim_end()).expect("standard error is there");
}

pub fn bifolio() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bifolio"))
}

/// Runs a program under `bifolio run` with these options; `None` where the machine lacks it or a full heap.
pub fn run(test: &str, options: &[&str], program: &[&str]) -> Option<Output> {
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
pub fn same_as_plain(test: &str, ram: &str, program: &[&str]) {
    same_as_plain_with(test, &["--quiet", "--checked", "--ram", ram], program);
}

pub fn same_as_plain_with(test: &str, options: &[&str], program: &[&str]) {
    let Some(run) = run(test, options, program) else { return };
    let plain = Command::new(program[0]).args(&program[1..]).stdin(Stdio::null()).output().expect("there");
    assert_eq!(run.status, plain.status, "{}", String::from_utf8_lossy(&run.stderr));
    assert!(run.stdout == plain.stdout, "output of {program:?} differs");
}

pub fn figures(test: &str, options: &[&str], program: &[&str]) -> Option<serde_json::Value> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a plain name");
    run(test, &[options, &["--quiet", "--json", path]].concat(), program)?;
    Some(serde_json::from_slice(&std::fs::read(file.path()).expect("written")).expect("JSON"))
}

/// Starts a program of Python under `run`, and returns the command and the first line that the program prints.
pub fn started(test: &str, script: &str) -> Option<(Child, String)> {
    run(test, &["--quiet"], &["python3", "-c", ""])?;
    let mut command = bifolio();
    command.args(["run", "--quiet", "--ram", "8M", "--", "python3", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be run");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    Some((child, line.trim().to_owned()))
}

pub fn send(signal: &str, pid: u32) {
    let sent = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().expect("kill is there");
    assert!(sent.success());
}

/// What `bifolio` says to arguments, as JSON.
pub fn said(arguments: &[&str]) -> serde_json::Value {
    let output = bifolio().args(arguments).output().expect("the command is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}
