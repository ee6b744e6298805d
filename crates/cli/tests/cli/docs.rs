//! Commands on the pages of `docs` run, in the order in which a reader meets them, and end as they should.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::command::{bifolio, device_works};

/// Commands that are run elsewhere, by how they begin, and where.
const ELSEWHERE: [(&str, &str); 6] = [
    ("cargo build --release", "to build this"),
    ("bifolio bench check", "bench::rows_of_the_explorer_are_those_promised"),
    ("bifolio bench oversubscribe", "bench.rs, on less data"),
    ("valgrind ", "nowhere: it takes minutes"),
    ("bifolio check", "check.rs here, and crates/verify/explore/tests/docs.rs"),
    ("cargo run --manifest-path examples/own-policy", "in the project of that example"),
];

/// Lines of text to sort: a few MiB.
const LINES: u64 = 300_000;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// The command lines on a page: lines with a prompt, those of shell scripts, and what is set off by four spaces.
fn commands(page: &str) -> Vec<String> {
    let (mut code, mut commands) = (None, Vec::new());
    for line in page.lines() {
        if let Some(language) = line.strip_prefix("```") {
            code = if code.is_some() { None } else { Some(language) };
            continue;
        }
        let command = match code {
            Some("console") => line.strip_prefix("$ "),
            Some("sh") => Some(line),
            None => line
                .strip_prefix("    ")
                .filter(|line| line.starts_with("bifolio ") || line.starts_with("cargo ")),
            Some(_) => None,
        };
        let command =
            command.map(|command| command.split("  #").next().unwrap_or_default().trim().to_owned());
        commands.extend(command.map(|command| command.replace("cargo run --release -- ", "bifolio ")));
    }
    commands
}

/// Whether a command is run by another test, or is a test or an example itself, which must exist.
fn is_elsewhere(command: &str) -> bool {
    if ELSEWHERE.iter().any(|(begin, _)| command.starts_with(begin)) {
        return true;
    }
    let words: Vec<_> = command.split(' ').collect();
    let after = |flag: &str| words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1));
    let folder_of =
        |name: &str| if name == "bifolio" { "cli" } else { name.trim_start_matches("bifolio-") }.to_owned();
    let package = after("-p").map(|name| folder_of(name));
    for (flag, folder) in [("--test", "tests"), ("--example", "examples")] {
        if let (Some(package), Some(name)) = (&package, after(flag)) {
            let path = docs().join(format!("../crates/{package}/{folder}/{name}"));
            let exists = path.with_extension("rs").exists() || path.join("main.rs").exists();
            assert!(exists, "{command}: there is no {}", path.display());
        }
    }
    words[0] == "cargo"
}

/// A program that is run while a page asks about process 4711.
struct Running(Child);

impl Running {
    fn start() -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bifolio"));
        command.args(["run", "-q", "--", "sleep", "1000"]).stdin(Stdio::null()).stdout(Stdio::null());
        let running = Running(command.spawn().expect("it was just built"));
        let pid = running.0.id().to_string();
        let start = std::time::Instant::now();
        while bifolio(&["stats", &pid]).code != Some(0) {
            assert!(start.elapsed().as_secs() < 60, "it does not start");
        }
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its program ends with it.
        let _: std::io::Result<()> = self.0.kill();
        let _: std::io::Result<_> = self.0.wait();
    }
}

/// Runs a page's commands in a folder of their own.
fn run_page(test: &str, name: &str) {
    if !device_works(test) {
        return;
    }
    let page = fs::read_to_string(docs().join(name)).expect("a page");
    let folder = tempfile::tempdir().expect("a folder");
    let text: String =
        (0..LINES).map(|line| format!("{:x}\n", line.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    fs::write(folder.path().join("big.txt"), text).expect("there is room");
    let beside = Path::new(env!("CARGO_BIN_EXE_bifolio")).parent().expect("a folder").to_owned();
    let path = std::env::join_paths(
        std::iter::once(beside).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let path = path.expect("plain names");
    let mut ran = 0;
    for command in commands(&page).iter().filter(|command| !is_elsewhere(command)) {
        let running = command.contains("4711").then(Running::start);
        let pid = running.as_ref().map_or(0, |running| running.0.id()).to_string();
        // A debugger need not be there.
        let line = command.replace("&& gdb -p 4711", "").replace("4711", &pid);
        let mut shell = Command::new("sh");
        shell.args(["-ec", &line]).current_dir(folder.path()).env("PATH", &path).stdin(Stdio::null());
        let output = shell.output().expect("sh is there");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{name}: {line}\n{errors}");
        ran += 1;
    }
    writeln!(std::io::stdout(), "{ran} commands of {name}").expect("standard output is there");
}

#[test]
fn commands_for_the_start_run() {
    run_page("commands_for_the_start_run", "getting-started.md");
}

#[test]
fn commands_of_the_life_of_a_folio_run() {
    run_page("commands_of_the_life_of_a_folio_run", "life-of-a-folio.md");
}

#[test]
fn commands_about_traces_run() {
    run_page("commands_about_traces_run", "traces.md");
}

#[test]
fn commands_about_policies_run() {
    run_page("commands_about_policies_run", "policies.md");
}

#[test]
fn commands_about_pools_run() {
    run_page("commands_about_pools_run", "pools.md");
}

#[test]
fn commands_about_programs_run() {
    run_page("commands_about_programs_run", "run.md");
}

#[test]
fn commands_for_trouble_and_questions_run() {
    run_page("commands_for_trouble_and_questions_run", "troubleshooting.md");
    run_page("commands_for_trouble_and_questions_run", "faq.md");
}

#[test]
fn commands_about_designs_are_run_elsewhere() {
    for name in ["adding-a-design.md", "the-thread-replayed.md", "hmm-scenarios.md", "partial-unmap.md"] {
        let page = fs::read_to_string(docs().join(name)).expect("a page");
        for command in commands(&page) {
            assert!(is_elsewhere(&command), "{name}: {command}");
        }
    }
}

#[test]
fn no_page_has_commands_that_no_test_knows() {
    let known = include_str!("docs.rs");
    for entry in fs::read_dir(docs()).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.extension().is_none_or(|end| end != "md") {
            continue;
        }
        let (name, page) = (path.file_name().expect("a name"), fs::read_to_string(&path).expect("a page"));
        let name = name.to_str().expect("text");
        assert!(commands(&page).is_empty() || known.contains(&format!("{name:?}")), "{name}");
    }
}

#[test]
fn every_command_that_is_named_exists() {
    let help = bifolio(&["--help"]).stdout;
    let (_, list) = help.split_once("Commands:\n").expect("a list of subcommands");
    let names: Vec<_> = list.lines().map_while(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let mut seen = 0;
    for entry in fs::read_dir(docs()).expect("a folder") {
        let path = entry.expect("readable").path();
        let Ok(page) = fs::read_to_string(&path) else { continue };
        for rest in page.split("`bifolio ").skip(1) {
            let word = rest.split([' ', '`', '\n']).next().expect("a part");
            assert!(names.contains(&word) || word.starts_with('-'), "{}: bifolio {word}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} were found");
}
