//! Progress on standard error, where that is a terminal.

use std::io::IsTerminal;

use bifolio_demo::run::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// The stages of a job, shown one after the other; gone from the screen when dropped.
#[derive(Debug)]
pub struct Stages {
    bar: ProgressBar,
}

const STAGE: &str = "{elapsed_precise} {msg}";
const ROUNDS: &str = "{elapsed_precise} {msg} {bar:30} {pos}/{len}";

impl Stages {
    /// Shows stages, unless `quiet` or nobody is there to look.
    pub fn new(quiet: bool) -> Self {
        let watched = !quiet && std::io::stderr().is_terminal();
        let bar = if watched { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        Self { bar }
    }

    /// Begins a stage.
    pub fn begin(&self, stage: &'static str) {
        self.bar.set_style(style(STAGE));
        self.bar.set_message(stage);
        self.bar.tick();
    }

    /// Shows how far the job is.
    pub fn advance(&self, progress: Progress) {
        match progress.total {
            Some(total) => {
                self.bar.set_style(style(ROUNDS));
                self.bar.set_length(total.into());
                self.bar.set_position(progress.done.into());
            }
            None => self.bar.set_message(format!("searching, level {}", progress.done)),
        }
        self.bar.tick();
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("templates are fixed and well formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_well_formed() {
        let _: [ProgressStyle; 2] = [style(STAGE), style(ROUNDS)];
    }
}
