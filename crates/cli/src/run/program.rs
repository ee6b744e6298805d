//! The program to run: where it is, and whether a library can be loaded into it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use object::elf::{FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, elf};

use crate::exit;

/// Why a program cannot have its heap on Bifolio.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not there.
    #[error("{} is not found{}", name.display(), if has_folder(name.as_os_str()) { "" } else { " in PATH" })]
    NotFound {
        /// As it was given.
        name: PathBuf,
    },
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It must not be executed.
    #[error("{} is not executable", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// It runs with the rights of its owner, and the loader takes no library from us.
    #[error("{} is setuid or setgid: the system loads no library into it; run a copy without that bit", path.display())]
    SetUid {
        /// The file.
        path: PathBuf,
    },
    /// Nothing is loaded into it at all.
    #[error(
        "{} is statically linked: no library can be loaded into it; use a dynamically linked build", path.display()
    )]
    Static {
        /// The file.
        path: PathBuf,
    },
    /// Another machine's program, or none.
    #[error("{} is not a 64-bit program of this machine", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// An interpreter of an interpreter of ...
    #[error("{}: too many interpreters one after the other", path.display())]
    TooDeep {
        /// The script that was asked for.
        path: PathBuf,
    },
}

impl exit::Failure for ProgramError {
    fn exit_code(&self) -> u8 {
        match self {
            ProgramError::NotFound { .. } => exit::NOT_FOUND,
            _ => exit::NOT_RUNNABLE,
        }
    }
}

/// A program that a library can be loaded into, and the arguments that come before the user's.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// The file to execute.
    pub path: PathBuf,
    /// What it is to be called.
    pub name: OsString,
    /// For a script run by way of `env`: the script.
    pub arguments: Vec<OsString>,
}

/// Interpreters that are followed.
const DEPTH_MAX: usize = 4;
/// Headers are within this many bytes of the start.
const HEAD_BYTES: u64 = 64 << 10;

impl Program {
    /// Finds a program as a shell does, and looks whether it can be run.
    ///
    /// # Errors
    ///
    /// If it is not there, or a library cannot be loaded into it.
    pub fn find(name: &OsStr) -> Result<Program, ProgramError> {
        let path = locate(name)?;
        let (mut loaded, mut arguments) = (path.clone(), Vec::new());
        for _ in 0..DEPTH_MAX {
            let head = head_of(&loaded)?;
            let Some(script) = Script::parse(&head) else {
                check_elf(&loaded, &head)?;
                // The kernel follows `#!` by itself; only what `env` would look up is done here, since a heap does
                // not outlive `env` otherwise.
                let name = if arguments.is_empty() { name.to_owned() } else { loaded.clone().into() };
                let path = if arguments.is_empty() { path } else { loaded };
                return Ok(Program { path, name, arguments });
            };
            if let Some(by_env) = script.by_env() {
                arguments.insert(0, loaded.into_os_string());
                loaded = locate(by_env)?;
            } else {
                loaded = PathBuf::from(script.interpreter);
            }
        }
        Err(ProgramError::TooDeep { path })
    }
}

/// Whether a name says where the file is, so that `PATH` does not.
fn has_folder(name: &OsStr) -> bool {
    name.as_bytes().contains(&b'/')
}

fn locate(name: &OsStr) -> Result<PathBuf, ProgramError> {
    let not_found = || ProgramError::NotFound { name: name.into() };
    if has_folder(name) {
        let path = PathBuf::from(name);
        return match path.metadata() {
            Ok(there) if there.is_file() => Ok(path),
            Ok(_) => Err(ProgramError::NotExecutable { path }),
            Err(_) => Err(not_found()),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let executable =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(executable).ok_or_else(not_found)
}

/// Checks the rights of a file and returns its first bytes.
fn head_of(path: &Path) -> Result<Vec<u8>, ProgramError> {
    let unreadable = |source| ProgramError::Unreadable { path: path.into(), source };
    let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
    if mode & 0o111 == 0 {
        return Err(ProgramError::NotExecutable { path: path.into() });
    }
    if mode & 0o6000 != 0 {
        return Err(ProgramError::SetUid { path: path.into() });
    }
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head)).map_err(unreadable)?;
    Ok(head)
}

fn check_elf(path: &Path, head: &[u8]) -> Result<(), ProgramError> {
    let foreign = || ProgramError::Foreign { path: path.into() };
    let header = FileHeader64::<Endianness>::parse(head).map_err(|_| foreign())?;
    let endian = header.endian().map_err(|_| foreign())?;
    if header.e_machine(endian) != MACHINE {
        return Err(foreign());
    }
    let segments = header.program_headers(endian, head).map_err(|_| foreign())?;
    let dynamic = segments.iter().any(|segment| segment.p_type(endian) == PT_INTERP);
    if dynamic { Ok(()) } else { Err(ProgramError::Static { path: path.into() }) }
}

#[cfg(target_arch = "x86_64")]
const MACHINE: elf::Machine = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: elf::Machine = elf::EM_AARCH64;

/// The first line of a script.
struct Script<'h> {
    interpreter: &'h OsStr,
    argument: Option<&'h OsStr>,
}

impl<'h> Script<'h> {
    fn parse(head: &'h [u8]) -> Option<Script<'h>> {
        let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?.trim_ascii();
        let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (interpreter, argument) = line.split_at(end);
        let argument = Some(argument.trim_ascii()).filter(|argument| !argument.is_empty());
        Some(Script {
            interpreter: OsStr::from_bytes(interpreter),
            argument: argument.map(OsStr::from_bytes),
        })
    }

    /// The program that `env` is asked to look up, where that is all it is asked.
    fn by_env(&self) -> Option<&'h OsStr> {
        let env = Path::new(self.interpreter).file_name() == Some(OsStr::new("env"));
        let plain = |argument: &&OsStr| !argument.as_bytes().iter().any(|byte| b" \t-=".contains(byte));
        self.argument.filter(|_| env).filter(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> tempfile::TempPath {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(&file, text).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("executable");
        file.into_temp_path()
    }

    #[test]
    fn program_in_path_is_found_with_its_own_name() {
        let program = Program::find(OsStr::new("sh")).expect("every system has one");
        assert_eq!((program.name, program.arguments), ("sh".into(), vec![]));
        assert!(program.path.is_absolute());
    }

    #[test]
    fn missing_program_is_named() {
        let error = Program::find(OsStr::new("no-such-program-here")).expect_err("it is not there");
        assert_eq!(error.to_string(), "no-such-program-here is not found in PATH");
    }

    #[test]
    fn script_is_left_to_the_kernel_unless_env_would_look_it_up() {
        let plain = script("#!/bin/sh\nexit 0\n");
        let found = Program::find(plain.as_os_str()).expect("sh is dynamic");
        assert_eq!((found.path.as_path(), found.arguments.len()), (&*plain, 0));
        let by_env = script("#!/usr/bin/env sh\nexit 0\n");
        let found = Program::find(by_env.as_os_str()).expect("sh is dynamic");
        assert_eq!(found.arguments, [by_env.as_os_str()]);
        assert!(found.path.ends_with("sh"));
    }

    #[test]
    fn what_nothing_can_be_loaded_into_is_refused() {
        let text = script("not a program");
        assert!(matches!(Program::find(text.as_os_str()), Err(ProgramError::Foreign { .. })));
        let setuid = script("#!/bin/sh\n");
        fs::set_permissions(&setuid, fs::Permissions::from_mode(0o4755)).expect("setuid");
        assert!(matches!(Program::find(setuid.as_os_str()), Err(ProgramError::SetUid { .. })));
        let endless = script("");
        fs::write(&endless, format!("#!{}\n", endless.display())).expect("written");
        assert!(matches!(Program::find(endless.as_os_str()), Err(ProgramError::TooDeep { .. })));
    }

    #[test]
    fn statically_linked_program_is_refused() {
        // A header of 64 bytes and one segment that is no interpreter.
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(120, 0);
        bytes[16..20].copy_from_slice(&[2, 0, if cfg!(target_arch = "x86_64") { 62 } else { 183 }, 0]);
        bytes[32] = 64;
        bytes[52..58].copy_from_slice(&[64, 0, 56, 0, 1, 0]);
        bytes[64] = 1;
        let file = script("");
        fs::write(&file, &bytes).expect("written");
        let error = Program::find(file.as_os_str()).expect_err("nothing can be loaded into it");
        assert!(matches!(error, ProgramError::Static { .. }), "{error}");
    }
}
