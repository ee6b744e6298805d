//! Progress on standard error, where that is a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// Makes a bar, which shows nothing if `quiet` or where standard error is no terminal.
pub fn bar(quiet: bool) -> ProgressBar {
    let shown = !quiet && std::io::stderr().is_terminal();
    if shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() }
}

/// Makes a style of a template.
///
/// # Panics
///
/// If the template is malformed.
pub fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("templates are fixed and well formed")
}
