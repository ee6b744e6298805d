//! `bifolio top` on a terminal of tmux: what it shows, what its keys do, and how it leaves the terminal.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::command::{bifolio, command, device_works};

/// Longest wait for something to appear.
const PATIENCE: Duration = Duration::from_secs(60);

/// Goes through 48 MiB for as long as it is let.
const WALK: &str = "
import os
data = bytearray(48 << 20)
print(os.getpid(), flush=True)
while True:
    for at in range(0, len(data), 4096):
        data[at] = at % 251
";

/// A terminal of 80 columns, with a shell.
struct Terminal {
    server: String,
}

impl Terminal {
    fn open(test: &str) -> Option<Terminal> {
        let terminal = Terminal { server: format!("bifolio-{test}-{}", std::process::id()) };
        if Command::new("tmux").arg("-V").output().is_err() {
            writeln!(std::io::stderr(), "SKIP {test}: there is no tmux").expect("standard error is there");
            return None;
        }
        let started = terminal.tmux(&["new-session", "-d", "-x", "80", "-y", "24", "PS1='$ ' exec sh"]);
        assert!(started.status.success(), "{started:?}");
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> Output {
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &self.server, "-f", "/dev/null"]).args(args).output().expect("it is there")
    }

    fn text(&self, args: &[&str]) -> String {
        String::from_utf8(self.tmux(args).stdout).expect("text")
    }

    /// Types a command line.
    fn enter(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.tmux(&["send-keys", "Enter"]);
    }

    fn key(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    fn wait_for(&self, part: &str) -> String {
        let start = Instant::now();
        loop {
            let screen = self.text(&["capture-pane", "-p"]);
            if screen.contains(part) {
                return screen;
            }
            assert!(start.elapsed() < PATIENCE, "{part} does not appear in\n{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether the alternate screen is shown, and the cursor.
    fn state(&self) -> String {
        self.text(&["display-message", "-p", "alternate #{alternate_on} cursor #{cursor_flag}"]).trim().into()
    }

    /// The process that the shell waits for.
    fn foreground(&self) -> String {
        let shell = self.text(&["display-message", "-p", "#{pane_pid}"]);
        let children = format!("/proc/{0}/task/{0}/children", shell.trim());
        std::fs::read_to_string(children).expect("the shell runs").trim().to_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _: std::io::Result<()> = self.0.kill();
        let _: std::io::Result<_> = self.0.wait();
    }
}

/// Starts a program that needs more memory than it gets; returns it with its number.
fn walk(test: &str) -> Option<(Ended, String)> {
    if !device_works(test) {
        return None;
    }
    let mut command = command(&["run", "--quiet", "--ram", "16M", "--", "python3", "-c", WALK]);
    let mut child = Ended(command.stdout(Stdio::piped()).spawn().expect("it can be run"));
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    if line.is_empty() {
        writeln!(std::io::stderr(), "SKIP {test}: there is no python3, or no run")
            .expect("standard error is there");
        return None;
    }
    Some((child, line.trim().to_owned()))
}

fn top(pid: &str) -> String {
    format!("{} top {pid}", env!("CARGO_BIN_EXE_bifolio"))
}

/// The shell has its terminal back: lines are edited, letters are shown.
fn given_back(terminal: &Terminal, code: &str) {
    let start = Instant::now();
    while terminal.state() != "alternate 0 cursor 1" {
        assert!(start.elapsed() < PATIENCE, "{}", terminal.state());
    }
    // A shell forgets the rest of a line if SIGINT ends a part of it.
    terminal.enter("echo code $?; stty -a; echo over");
    let screen = terminal.wait_for("\nover");
    for part in [code, " icanon", " echo "] {
        assert!(screen.contains(part), "{part} is missing in\n{screen}");
    }
}

fn moved(pid: &str) -> u64 {
    let stats = bifolio(&["stats", "--json", pid]).json();
    stats["bytes"]["to_device"].as_u64().expect("a number")
}

#[test]
fn program_is_shown_paused_and_resumed() {
    let Some((_program, pid)) = walk("program_is_shown_paused_and_resumed") else { return };
    let Some(terminal) = Terminal::open("shown") else { return };
    terminal.enter(&top(&pid));
    let screen = terminal.wait_for("0x7");
    assert!(screen.contains("of 16 MiB") && screen.contains("faults "), "{screen}");
    assert_eq!(terminal.state(), "alternate 1 cursor 0");
    terminal.key("p");
    terminal.wait_for("PAUSED");
    // What was under way when the pause began is over by now.
    std::thread::sleep(Duration::from_millis(200));
    let paused = moved(&pid);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(moved(&pid), paused);
    terminal.key("p");
    let start = Instant::now();
    while moved(&pid) == paused {
        assert!(start.elapsed() < PATIENCE, "it does not go on");
    }
    terminal.key("?");
    terminal.wait_for("quit; the program goes on");
    terminal.key("q");
    given_back(&terminal, "code 0");
}

#[test]
fn signals_give_the_terminal_back_and_end_the_pause() {
    let Some((_program, pid)) = walk("signals_give_the_terminal_back_and_end_the_pause") else { return };
    for (signal, code) in [("INT", "code 130"), ("TERM", "code 143"), ("HUP", "code 129")] {
        let Some(terminal) = Terminal::open(signal) else { return };
        terminal.enter(&top(&pid));
        terminal.wait_for("What moves most");
        terminal.key("p");
        terminal.wait_for("PAUSED");
        let killed = Command::new("kill").args(["-s", signal, &terminal.foreground()]).status();
        assert!(killed.expect("kill is there").success());
        given_back(&terminal, code);
        let (paused, start) = (moved(&pid), Instant::now());
        while moved(&pid) == paused {
            assert!(start.elapsed() < PATIENCE, "it does not go on after SIG{signal}");
        }
    }
}

#[test]
fn terminal_that_is_closed_ends_it() {
    let Some((_program, pid)) = walk("terminal_that_is_closed_ends_it") else { return };
    let Some(terminal) = Terminal::open("closed") else { return };
    terminal.enter(&top(&pid));
    terminal.wait_for("What moves most");
    let process = format!("/proc/{}", terminal.foreground());
    drop(terminal);
    let start = Instant::now();
    while std::fs::exists(&process).expect("/proc is there") {
        assert!(start.elapsed() < PATIENCE, "it goes on without a terminal");
    }
}

#[test]
fn policy_of_a_demonstration_changes_while_it_runs() {
    if !device_works("policy_of_a_demonstration_changes_while_it_runs") {
        return;
    }
    let Some(terminal) = Terminal::open("policy") else { return };
    let job = ["demo", "pagerank", "--sources", "0", "--rounds", "10000", "--vram", "1/2", "--quiet"];
    let mut job = Ended(command(&job).spawn().expect("it can be run"));
    let pid = job.0.id().to_string();
    let start = Instant::now();
    while bifolio(&["stats", &pid]).code != Some(0) {
        assert!(start.elapsed() < PATIENCE && job.0.try_wait().expect("our child").is_none());
    }
    terminal.enter(&top(&pid));
    terminal.wait_for("policy: auto");
    terminal.key("m");
    terminal.wait_for("policy: fixed ");
    terminal.key("e");
    terminal.wait_for("policy: fixed+lru ");
    terminal.key("p");
    terminal.wait_for("PAUSED");
    job.0.kill().expect("our child");
    job.0.wait().expect("our child");
    given_back(&terminal, "code 0");
}

#[test]
fn policy_of_a_program_changes_while_it_runs() {
    let Some((_program, pid)) = walk("policy_of_a_program_changes_while_it_runs") else { return };
    let policy = || bifolio(&["stats", "--json", &pid]).json()["policy"].clone();
    assert_eq!(policy(), "auto");
    let Some(terminal) = Terminal::open("program-policy") else { return };
    terminal.enter(&top(&pid));
    terminal.wait_for("policy: auto");
    for (key, name) in [("m", "fixed"), ("m", "stride"), ("e", "stride+lru")] {
        terminal.key(key);
        terminal.wait_for(&format!("policy: {name} "));
        assert_eq!(policy(), name);
        let (before, start) = (moved(&pid), Instant::now());
        while moved(&pid) == before {
            assert!(start.elapsed() < PATIENCE, "nothing moves under {name}");
        }
    }
}

#[test]
fn what_cannot_be_shown_is_refused_by_name() {
    let pid = std::process::id().to_string();
    let ran = bifolio(&["top", &pid]);
    let expected = format!("process {pid} is of neither `bifolio run` nor `bifolio demo`");
    assert!(ran.code == Some(2) && ran.stderr.contains(&expected), "{ran:?}");
    let ran = bifolio(&["top", "2147483647"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("no process 2147483647"), "{ran:?}");
    let Some((_program, pid)) = walk("what_cannot_be_shown_is_refused_by_name") else { return };
    let ran = bifolio(&["top", &pid]);
    assert!(ran.code == Some(2) && ran.stderr.contains("bifolio stats PID"), "{ran:?}");
}
