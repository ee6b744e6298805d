//! `bifolio top`: a running program or job, live.
//!
//! ```text
//!   running --gauges--> sample --rates--> view --> screen --> terminal
//!   terminal --keys--> wishes --> gauges
//! ```

mod keys;
mod sample;
mod screen;
mod view;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use bifolio_host::gauges::Wish;

use crate::args::TopArgs;
use crate::exit;
use crate::running::{Running, RunningError};
use crate::top::keys::Action;
use crate::top::sample::History;
use crate::top::screen::Screen;
use crate::top::view::View;

/// The gauges are read so often.
const LOOK: Duration = Duration::from_millis(500);
/// Keys and signals are waited for so long at once.
const WAIT: Duration = Duration::from_millis(100);

/// Why nothing is shown.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// There is no such program.
    #[error(transparent)]
    Find(#[from] RunningError),
    /// Nothing runs.
    #[error("no `bifolio run` and no `bifolio demo` of this user is running")]
    Nothing,
    /// More than one runs.
    #[error("{} are running: say which, as in `bifolio top {}`{}", .0.len(), .0[0].0, lines(.0))]
    Several(Vec<(u32, String)>),
    /// Standard output is a file or a pipe.
    #[error("standard output is no terminal; `bifolio stats PID` prints figures anywhere")]
    NoTerminal,
    /// The terminal cannot be used.
    #[error("the terminal cannot be used")]
    Terminal(#[from] io::Error),
}

fn lines(running: &[(u32, String)]) -> String {
    running.iter().map(|(pid, command)| format!("\n  {pid}  {command}")).collect()
}

impl exit::Failure for TopError {
    fn exit_code(&self) -> u8 {
        match self {
            TopError::Find(error) => error.exit_code(),
            TopError::Nothing | TopError::Several(_) | TopError::NoTerminal => exit::USAGE,
            TopError::Terminal(_) => exit::FAILED,
        }
    }
}

/// Shows a program until `q` or its end; returns the exit code.
///
/// # Errors
///
/// If there is none or more than one to show, or no terminal.
pub fn top(args: &TopArgs) -> Result<u8, TopError> {
    let running = choose(args.pid)?;
    if !io::stdout().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    let end = Show::new(&running).run()?;
    // Nothing that is shown is kept waiting by a command that has ended.
    running.gauges.wish(Wish::Resume);
    match end {
        End::Asked => {}
        End::Gone => tell_end(running.keeper),
        End::Signal(signal) => {
            // Comes back only for signals that do not end a process.
            let _: io::Result<()> = signal_hook::low_level::emulate_default_handler(signal);
        }
    }
    Ok(exit::OK)
}

#[expect(clippy::print_stderr, reason = "it is no result")]
fn tell_end(pid: u32) {
    eprintln!("bifolio: process {pid} has ended");
}

/// The program of a process, or else the only one that runs.
fn choose(pid: Option<u32>) -> Result<Running, TopError> {
    if let Some(pid) = pid {
        return Ok(Running::find(pid)?);
    }
    let mut all = Running::all();
    match all.len() {
        0 => Err(TopError::Nothing),
        1 => Ok(all.remove(0)),
        _ => {
            let named = |running: &Running| (running.keeper, running.command().unwrap_or_default());
            Err(TopError::Several(all.iter().map(named).collect()))
        }
    }
}

/// Why it is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// `q`.
    Asked,
    /// The program has ended.
    Gone,
    /// A signal.
    Signal(i32),
}

/// What is shown, and what was asked for.
struct Show<'r> {
    running: &'r Running,
    history: History,
    view: View,
}

impl<'r> Show<'r> {
    fn new(running: &'r Running) -> Show<'r> {
        let (history, command) = (History::new(&running.gauges), running.command().unwrap_or_default());
        Show { running, history, view: View::new(running.keeper, &command) }
    }

    /// Looks, draws, and does what keys say.
    fn run(&mut self) -> Result<End, TopError> {
        let mut screen = Screen::open()?;
        let mut next_look = Instant::now() + LOOK;
        loop {
            if let Some(signal) = screen.signal() {
                return Ok(End::Signal(signal));
            }
            if Instant::now() >= next_look {
                if self.running.command().is_none() {
                    return Ok(End::Gone);
                }
                self.history.look(&self.running.gauges);
                next_look = Instant::now() + LOOK;
            }
            screen.draw(|frame| self.view.draw(frame, &self.history))?;
            match screen.next_key(WAIT)?.map(keys::action) {
                Some(Action::Quit) => return Ok(End::Asked),
                Some(Action::Interrupt) => return Ok(End::Signal(signal_hook::consts::SIGINT)),
                Some(action) => self.act(action),
                None => {}
            }
        }
    }

    fn act(&mut self, action: Action) {
        let gauges = &self.running.gauges;
        let policy = self.history.latest().reading.policy;
        self.view.message = "";
        match action {
            Action::Help => self.view.help = !self.view.help,
            Action::Pause if gauges.is_paused() => gauges.wish(Wish::Resume),
            Action::Pause => gauges.wish(Wish::Pause { by: std::process::id() }),
            Action::NextGranularity | Action::NextEviction => match policy {
                Some(policy) => gauges.wish(Wish::Policy(keys::next_policy(policy, action))),
                None => self.view.message = NO_POLICY,
            },
            Action::Quit | Action::Interrupt | Action::None => {}
        }
        self.view.paused = gauges.is_paused();
    }
}

const NO_POLICY: &str = "The policy of this program cannot be changed while it runs.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Failure;

    #[test]
    fn several_programs_are_listed() {
        let error =
            TopError::Several(vec![(7, "bifolio run -- sort".into()), (9, "bifolio demo bfs".into())]);
        assert_eq!(
            error.to_string(),
            "2 are running: say which, as in `bifolio top 7`\n  7  bifolio run -- sort\n  9  bifolio demo bfs"
        );
        assert_eq!(error.exit_code(), exit::USAGE);
    }
}
