//! The terminal while it is ours: restored when this is dropped, at a panic, and before a signal ends the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::{DefaultTerminal, Frame};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;

/// Signals that end the process, once the terminal is as it was.
const ENDING: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// See the module.
pub struct Screen {
    terminal: DefaultTerminal,
    signal: Arc<AtomicUsize>,
}

impl Screen {
    /// Takes the terminal, and the signals.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn open() -> io::Result<Screen> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in ENDING {
            let value = usize::try_from(number).expect("signals are positive");
            flag::register_usize(number, Arc::clone(&signal), value)?;
        }
        // This also restores the terminal at a panic, before its message is printed.
        Ok(Screen { terminal: ratatui::try_init()?, signal })
    }

    /// The signal that has arrived, if one has.
    pub fn signal(&self) -> Option<i32> {
        let signal = self.signal.load(Ordering::Relaxed);
        i32::try_from(signal).ok().filter(|signal| *signal != 0)
    }

    /// Draws.
    ///
    /// # Errors
    ///
    /// If the terminal is gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(|_| ())
    }

    /// Waits for a key.
    ///
    /// # Errors
    ///
    /// If the terminal is gone.
    pub fn next_key(&self, limit: Duration) -> io::Result<Option<KeyEvent>> {
        if !event::poll(limit)? {
            return Ok(None);
        }
        match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Press => Ok(Some(key)),
            _ => Ok(None),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, id};

    #[test]
    #[ignore = "run by the test below, which looks at its terminal"]
    fn panic_with_the_screen_open() {
        let mut screen = Screen::open().expect("a terminal");
        screen.draw(|frame| frame.render_widget("drawn", frame.area())).expect("drawn");
        panic!("on purpose");
    }

    #[test]
    fn panic_leaves_the_terminal_as_it_was() {
        let name = format!("bifolio-panic-{}", id());
        let tmux = || {
            let mut command = Command::new("tmux");
            command.args(["-L", &name, "-f", "/dev/null"]);
            command
        };
        if tmux().arg("-V").output().is_err() {
            writeln!(io::stderr(), "SKIP panic_leaves_the_terminal_as_it_was: there is no tmux")
                .expect("there");
            return;
        }
        let (exe, folder) =
            (std::env::current_exe().expect("a path"), tempfile::tempdir().expect("a folder"));
        let file = folder.path().join("state");
        let script = format!(
            "{} --exact top::screen::tests::panic_with_the_screen_open --ignored --nocapture; echo code $? > {file}; \
             stty -a >> {file}; tmux display-message -p 'alternate #{{alternate_on}} cursor #{{cursor_flag}}' >> {file}; \
             tmux wait-for -S over",
            exe.display(),
            file = file.display()
        );
        let started = tmux().args(["new-session", "-d", "-x", "80", "-y", "24", &script]).status();
        assert!(started.expect("tmux runs").success());
        let waited = tmux().args(["wait-for", "over"]).status().expect("tmux runs");
        let state = std::fs::read_to_string(&file).expect("written");
        tmux().arg("kill-server").output().expect("tmux runs");
        assert!(waited.success());
        for part in ["code 101", " icanon", " echo ", "alternate 0 cursor 1"] {
            assert!(state.contains(part), "{part} is missing in {state}");
        }
    }
}
