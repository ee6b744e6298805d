//! Where JSON goes: a file, or standard output in place of the text.

use std::convert::Infallible;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;
use tempfile::NamedTempFile;

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
        Err(_) => {
            let target = target_of(path)?;
            File::create_new(&target).and_then(|_| fs::remove_file(&target))
        }
    }
}

/// Most links in a row that the kernel follows.
const LINKS_MAX: usize = 40;

/// The file that a path stands for, whether it is there or not: follows links, also one to a file that is yet to be made.
fn target_of(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..=LINKS_MAX {
        match fs::read_link(&target) {
            Ok(next) => target = target.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => return Ok(target),
        }
    }
    // A circle of links, which the kernel refuses too.
    path.metadata().map(|_| target)
}

/// Finds out whether [`replace`] could write a file, and leaves all as it was.
///
/// # Errors
///
/// If it could not.
pub fn can_be_replaced(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    match beside(&target_of(path)?)? {
        Some(_) if !path.exists() => Ok(()),
        _ => can_be_written(path),
    }
}

/// Makes a file or replaces the one that is there, whole or not at all: the bytes are written to a file beside it, which
/// takes its name once all of them are on the disk. Pipes and devices are written to as they are.
///
/// # Errors
///
/// If writing fails; a file that was there is then as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = target_of(path)?;
    let Some(mut file) = beside(&target)? else {
        return File::options().write(true).open(path)?.write_all(bytes);
    };
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(&target)?;
    // The name is only safe once the folder is on the disk, too.
    folder_of(&target).and_then(|folder| File::open(folder).ok()).map_or(Ok(()), |folder| folder.sync_all())
}

/// A new file in the folder of another one, which is no link; none if that is a pipe or a device.
fn beside(target: &Path) -> io::Result<Option<NamedTempFile>> {
    if target.metadata().is_ok_and(|there| !there.is_file()) {
        return Ok(None);
    }
    let folder = folder_of(target).unwrap_or(Path::new("."));
    // A new file has the rights that any other would have, a replaced one those that it had.
    let rights = target.metadata().map_or(Permissions::from_mode(0o666), |there| there.permissions());
    tempfile::Builder::new().prefix(".bifolio-").permissions(rights).tempfile_in(folder).map(Some)
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> Option<&Path> {
    path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}

fn write_line(output: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    output.write_all(&text)?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_file_has_the_new_bytes_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        for bytes in [&b"one"[..], b"another"] {
            replace(&path, bytes).expect("there is room");
            assert_eq!(fs::read(&path).expect("it is there"), bytes);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn link_to_a_file_stays_a_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "one").expect("there is room");
        std::os::unix::fs::symlink(&file, &link).expect("links are had");
        replace(&link, b"another").expect("there is room");
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).expect("it is there"), b"another");
    }

    #[test]
    fn link_to_a_file_that_is_yet_to_be_made_makes_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::os::unix::fs::symlink("file", &link).expect("links are had");
        assert!(can_be_written(&link).is_ok() && can_be_replaced(&link).is_ok());
        assert!(!file.exists() && link.is_symlink());
        JsonTarget::File(link.clone()).write(&1).expect("there is room");
        assert_eq!(fs::read(&file).expect("it was made"), b"1\n");
        fs::remove_file(&file).expect("it is there");
        replace(&link, b"bytes").expect("there is room");
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).expect("it was made"), b"bytes");
    }

    #[test]
    fn link_into_nowhere_or_in_a_circle_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for target in ["gone/file", "link"] {
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(target, &link).expect("links are had");
            assert!(can_be_written(&link).is_err() && can_be_replaced(&link).is_err(), "{target}");
            assert!(link.is_symlink());
            fs::remove_file(&link).expect("it is there");
        }
    }

    #[test]
    fn file_whose_folder_takes_no_other_is_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let inside = folder.path().join("gone").join("file");
        assert!(replace(&inside, b"bytes").is_err() && can_be_replaced(&inside).is_err());
        assert!(can_be_replaced(folder.path()).is_err());
        assert!(can_be_replaced(&folder.path().join("new")).is_ok());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn devices_are_written_to_in_place() {
        let null = Path::new("/dev/null");
        assert!(can_be_replaced(null).is_ok() && replace(null, b"bytes").is_ok());
        assert!(!null.is_file());
    }
}
