//! The code of a recorded program: which file is mapped where, so that its call sites can be named later.
//!
//! A note holds it as text, a line for each mapping: first address, end, place in the file, all in hexadecimal, and path.

use std::fmt;
use std::str::FromStr;

use crate::reader::Trace;

/// Name of the note.
pub(crate) const NOTE: &str = "modules";

/// The most bytes of the note: notes must fit a block.
const NOTE_MAX: usize = 48 << 10;

/// A part of a file that is mapped as code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Module {
    /// First address.
    pub start: u64,
    /// Behind the last address.
    pub end: u64,
    /// What of the file is at the first address.
    pub offset: u64,
    /// The file.
    pub path: String,
}

/// A line that tells of no module.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no module")]
pub struct NotAModule;

impl Module {
    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// The modules of the process with this number, as far as `/proc` tells.
    #[must_use]
    pub fn of_process(pid: u32) -> Vec<Module> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        text.lines().filter_map(Module::of_mapping).collect()
    }

    /// Reads a line of `/proc/PID/maps`; `None` if it is no code of a file.
    fn of_mapping(line: &str) -> Option<Module> {
        let mut words = line.splitn(6, ' ');
        let (range, rights, offset) = (words.next()?, words.next()?, words.next()?);
        let path = words.nth(2)?.trim_start();
        let (start, end) = range.split_once('-')?;
        let is_code = rights.as_bytes().get(2) == Some(&b'x') && path.starts_with('/');
        is_code.then(|| format!("{start} {end} {offset} {path}").parse().ok()).flatten()
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Module { start, end, offset, path } = self;
        write!(f, "{start:x} {end:x} {offset:x} {path}")
    }
}

impl FromStr for Module {
    type Err = NotAModule;

    fn from_str(line: &str) -> Result<Module, NotAModule> {
        let mut words = line.splitn(4, ' ');
        let mut next = || words.next().ok_or(NotAModule);
        let number = |word: &str| u64::from_str_radix(word, 16).map_err(|_| NotAModule);
        Ok(Module {
            start: number(next()?)?,
            end: number(next()?)?,
            offset: number(next()?)?,
            path: next()?.to_owned(),
        })
    }
}

impl Trace {
    /// The code of the recorded program; empty if call sites were not recorded.
    #[must_use]
    pub fn modules(&self) -> Vec<Module> {
        let text = self.note(NOTE).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

/// The modules of a process that is being recorded: looked at anew when an address is met that none of them has. Those that
/// no address was met in are not told.
pub(crate) struct Modules {
    seen: Vec<Module>,
    met: Vec<Module>,
    /// An address that belongs to none, not even after a look: generated code.
    strange: Option<u64>,
}

impl Modules {
    pub(crate) fn new() -> Modules {
        Modules { seen: Vec::new(), met: Vec::new(), strange: None }
    }

    /// Takes note of an address of code; returns whether it is in a module that was not met before.
    pub(crate) fn meet(&mut self, pc: u64, process: Option<u32>) -> bool {
        let page = pc & !0xfff;
        if self.strange == Some(page) || self.met.iter().any(|module| module.contains(pc)) {
            return false;
        }
        if !self.seen.iter().any(|module| module.contains(pc)) {
            self.seen = process.map(Module::of_process).unwrap_or_default();
        }
        let found = self.seen.iter().find(|module| module.contains(pc)).cloned();
        self.strange = found.is_none().then_some(page);
        self.met.extend(found);
        self.strange.is_none()
    }

    /// The note; `None` if there is nothing to tell.
    pub(crate) fn note(&self) -> Option<(String, String)> {
        let mut text = String::new();
        for line in self.met.iter().map(Module::to_string) {
            if text.len() + line.len() < NOTE_MAX {
                text += &line;
                text.push('\n');
            }
        }
        (!text.is_empty()).then(|| (NOTE.to_owned(), text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_files_is_told_from_other_mappings() {
        let of = |line| Module::of_mapping(line);
        let code = "55d0f000-55d0f800 r-xp 00002000 fe:00 1234                       /usr/bin/a b";
        let expected =
            Module { start: 0x55d0_f000, end: 0x55d0_f800, offset: 0x2000, path: "/usr/bin/a b".to_owned() };
        assert_eq!(of(code), Some(expected.clone()));
        assert_eq!(expected.to_string().parse(), Ok(expected));
        assert_eq!(of("55d0f000-55d0f800 r--p 00002000 fe:00 1234      /usr/bin/a"), None);
        assert_eq!(of("7ffd0000-7ffd2000 r-xp 00000000 00:00 0         [vdso]"), None);
        assert_eq!(of("7ffd0000-7ffd2000 r-xp 00000000 00:00 0 "), None);
    }

    #[test]
    fn modules_are_looked_at_once_for_each_strange_page() {
        let own = modules_are_looked_at_once_for_each_strange_page as fn() as usize as u64;
        let mut modules = Modules::new();
        assert!(modules.meet(own, Some(std::process::id())), "the code of this test");
        assert!(!modules.meet(own + 1, None) && !modules.meet(16, Some(std::process::id())));
        assert!(modules.note().is_some_and(|(_, text)| text.contains("bifolio_trace")));
    }
}
