//! Running the command, and knowing whether this machine lets it work.

use std::io::{ErrorKind, Write};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// What came of one run of the command.
#[derive(Debug)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
}

impl Ran {
    /// Reads standard output as one line of JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}{}", self.stdout, self.stderr))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the command writes text");
        Self { stdout: text(output.stdout), stderr: text(output.stderr), code: output.status.code() }
    }
}

/// The command with these arguments, not yet run.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bifolio"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub fn bifolio(args: &[&str]) -> Ran {
    command(args).output().expect("the command was just built").into()
}

/// Runs the command with this text as standard input, of which it need not read all, or any.
pub fn bifolio_reads(args: &[&str], input: &str) -> Ran {
    let mut command = command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command was just built");
    let mut stdin = child.stdin.take().expect("it was piped");
    if let Err(error) = stdin.write_all(input.as_bytes()) {
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
    }
    drop(stdin);
    child.wait_with_output().expect("it ends").into()
}

/// Tells whether the built-in device works here; if not, says that `test` is skipped, and why.
pub fn device_works(test: &str) -> bool {
    static WHY_NOT: OnceLock<Option<String>> = OnceLock::new();
    let why_not = WHY_NOT.get_or_init(|| {
        let ran = bifolio(&["doctor", "--json"]);
        (ran.code != Some(0)).then(|| ran.json()["failure"].to_string())
    });
    if let Some(why_not) = why_not {
        // Past the test harness, which would hide it from `.ci/run`.
        writeln!(std::io::stderr(), "SKIP {test}: {why_not}").expect("standard error is there");
    }
    why_not.is_none()
}
