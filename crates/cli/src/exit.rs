//! Exit codes: what a script learns from how `bifolio` ended.

use std::error::Error;
use std::io;

/// All went well: results are verified, no rule broke, or the device works.
pub const OK: u8 = 0;
/// A result differs from the plain run, or a rule broke.
pub const BROKEN: u8 = 1;
/// The command was used wrongly: an argument or an input file is not as it must be. Nothing was changed.
pub const USAGE: u8 = 2;
/// The machine refuses what Bifolio cannot do without.
pub const REFUSED: u8 = 3;
/// Anything else went wrong.
pub const FAILED: u8 = 4;
/// `run`: the program is there, but cannot be run. As shells and `env` have it.
pub const NOT_RUNNABLE: u8 = 126;
/// `run`: there is no such program.
pub const NOT_FOUND: u8 = 127;

/// The codes as `--help` shows them.
pub const HELP: &str = "\
Exit codes:
  0  success
  1  a result differs from the plain run, or a rule broke
  2  wrong use: an argument or an input file is not as it must be
  3  this machine refuses what Bifolio needs (see bifolio doctor)
  4  anything else
bifolio run exits as its program does: with its code, or by its signal. 126 says
that the program cannot be run, 127 that there is none.";

/// An error that knows how the command has to exit.
pub trait Failure: Error {
    /// Returns the exit code.
    fn exit_code(&self) -> u8;
}

/// An error as one line: what failed, and why, and why that.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Tells whether an error is only that the reader of our output went away (`bifolio ... | head`).
pub fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let mut at = Some(error);
    while let Some(error) = at {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if kind == Some(io::ErrorKind::BrokenPipe) {
            return true;
        }
        at = error.source();
    }
    false
}

/// Passes over the error that the reader of our output is gone: what was found out stands all the same.
///
/// # Errors
///
/// All others.
pub fn unless_unread<E: Error + 'static>(written: Result<(), E>) -> Result<(), E> {
    written.or_else(|error| if is_broken_pipe(&error) { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("writing the report failed")]
    struct Writing(#[source] io::Error);

    #[test]
    fn chain_tells_each_cause_once() {
        let error = Writing(io::Error::other("no space"));
        assert_eq!(chain(&error), "writing the report failed: no space");
    }

    #[test]
    fn broken_pipe_is_found_beneath_other_errors() {
        assert!(is_broken_pipe(&Writing(io::ErrorKind::BrokenPipe.into())));
        assert!(!is_broken_pipe(&Writing(io::ErrorKind::NotFound.into())));
    }
}
