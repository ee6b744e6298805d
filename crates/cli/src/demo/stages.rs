//! The stages of a job, as progress on a terminal.

use bifolio_demo::run::Progress;
use indicatif::ProgressBar;

use crate::progress;

/// The stages of a job, shown one after the other; gone from the screen when dropped.
#[derive(Debug)]
pub struct Stages {
    bar: ProgressBar,
}

const STAGE: &str = "{elapsed_precise} {msg}";
const ROUNDS: &str = "{elapsed_precise} {msg} {bar:30} {pos}/{len}";

impl Stages {
    /// Shows stages on a terminal, unless `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self { bar: progress::bar(quiet) }
    }

    /// Begins a stage.
    pub fn begin(&self, stage: &'static str) {
        self.bar.set_style(progress::style(STAGE));
        self.bar.set_message(stage);
        self.bar.tick();
    }

    /// Shows how far the job is.
    pub fn advance(&self, progress: Progress) {
        match progress.total {
            Some(total) => {
                self.bar.set_style(progress::style(ROUNDS));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_well_formed() {
        [STAGE, ROUNDS].iter().for_each(|template| drop(progress::style(template)));
    }
}
