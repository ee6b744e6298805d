//! Where JSON goes: a file, or standard output in place of the text.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;

/// The argument of `--json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonTarget {
    /// `-`: standard output, which then carries nothing else.
    Stdout,
    /// A file, made or replaced.
    File(PathBuf),
}

/// Why JSON was not written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Writing to standard output failed.
    #[error("writing to standard output failed")]
    Stdout(#[from] io::Error),
    /// Writing the file failed.
    #[error("writing {} failed", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

impl FromStr for JsonTarget {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::Stdout } else { Self::File(text.into()) })
    }
}

impl JsonTarget {
    /// Finds out whether it will be possible to write, before hours of work are done for it.
    ///
    /// # Errors
    ///
    /// If writing would fail.
    pub fn check(&self) -> Result<(), OutputError> {
        match self {
            Self::Stdout => Ok(()),
            Self::File(path) => {
                can_be_written(path).map_err(|source| OutputError::File { path: path.clone(), source })
            }
        }
    }

    /// Writes `value` as one line of JSON.
    ///
    /// # Errors
    ///
    /// If writing fails.
    pub fn write(&self, value: &impl Serialize) -> Result<(), OutputError> {
        match self {
            Self::Stdout => Ok(write_line(&mut io::stdout().lock(), value)?),
            Self::File(path) => File::create(path)
                .and_then(|mut file| write_line(&mut file, value))
                .map_err(|source| OutputError::File { path: path.clone(), source }),
        }
    }
}

/// Finds out whether a file can be made or replaced, and leaves all as it was. Pipes and devices are not touched.
///
/// # Errors
///
/// If it cannot.
pub fn can_be_written(path: &Path) -> io::Result<()> {
    match path.metadata() {
        Ok(there) if there.is_file() || there.is_dir() => File::options().append(true).open(path).map(drop),
        Ok(_) => Ok(()),
        Err(_) => File::create_new(path).and_then(|_| fs::remove_file(path)),
    }
}

fn write_line(output: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    output.write_all(&text)?;
    output.flush()
}
