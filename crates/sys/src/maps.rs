//! The mappings of a process, read from `/proc/PID/maps` without allocating for each.
//!
//! The text costs as much for each mapping as the ioctl of Linux 6.11 that asks for one after the other, and it is on every
//! kernel.

use std::fs::File;

use rustix::fs::{SeekFrom, seek};

use crate::{AddressRange, SysError};

/// What a mapping shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Anonymous memory: no file and no name, or one that the program gave it.
    Anonymous,
    /// Anonymous memory that grows by `brk`.
    Break,
    /// The stack of the first thread.
    Stack,
    /// A file, a device or shared memory.
    File,
    /// What the kernel put there: vdso and the like.
    Kernel,
}

/// Neighbouring pages of equal kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapsEntry {
    /// The addresses.
    pub range: AddressRange,
    /// Loads are allowed.
    pub readable: bool,
    /// Stores are allowed.
    pub writable: bool,
    /// Instructions may be fetched.
    pub executable: bool,
    /// Stores are seen by others.
    pub shared: bool,
    /// What is mapped.
    pub backing: Backing,
}

impl MapsEntry {
    /// Tells whether this is private memory without a file that can be read and written, the stack of the first thread
    /// excepted.
    #[must_use]
    pub fn is_private_data(&self) -> bool {
        let anonymous = matches!(self.backing, Backing::Anonymous | Backing::Break);
        anonymous && self.readable && self.writable && !self.shared
    }

    /// Tells whether nothing may be done there: a guard, or address space that is kept for later.
    #[must_use]
    pub fn is_inaccessible(&self) -> bool {
        !self.readable && !self.writable && !self.executable
    }
}

/// The open `maps` file of a process.
#[derive(Debug)]
pub struct MapsFile {
    file: File,
    text: Vec<u8>,
}

impl MapsFile {
    /// Opens that of this process.
    ///
    /// # Errors
    ///
    /// Fails where `/proc` is not mounted.
    pub fn open_own() -> std::io::Result<MapsFile> {
        Ok(MapsFile { file: File::open("/proc/self/maps")?, text: Vec::with_capacity(64 << 10) })
    }

    /// Reads it anew and yields the mappings by address. Mappings that come and go meanwhile may be missed.
    ///
    /// # Errors
    ///
    /// `ESRCH` once the process is gone.
    pub fn read(&mut self) -> Result<impl Iterator<Item = MapsEntry>, SysError> {
        let call = "read of maps";
        self.text.clear();
        seek(&self.file, SeekFrom::Start(0)).map_err(SysError::of(call))?;
        loop {
            self.text.reserve(16 << 10);
            let room = rustix::buffer::spare_capacity(&mut self.text);
            if rustix::io::read(&self.file, room).map_err(SysError::of(call))? == 0 {
                break;
            }
        }
        Ok(self.text.split(|byte| *byte == b'\n').filter_map(parse))
    }
}

/// Parses `7f00-7f01 rw-p 00000000 00:01 42   /path`.
fn parse(line: &[u8]) -> Option<MapsEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (addresses, permissions) = (fields.next()?, fields.next()?);
    let dash = addresses.iter().position(|byte| *byte == b'-')?;
    let (start, end) = (hexadecimal(&addresses[..dash])?, hexadecimal(&addresses[dash + 1..])?);
    let range = AddressRange::new(start, end.checked_sub(start)?).ok()?;
    let inode = fields.nth(2)?;
    let name = fields.find(|field| !field.is_empty()).unwrap_or_default();
    let may = |at: usize, letter: u8| permissions.get(at) == Some(&letter);
    Some(MapsEntry {
        range,
        readable: may(0, b'r'),
        writable: may(1, b'w'),
        executable: may(2, b'x'),
        shared: may(3, b's'),
        backing: backing(inode, name),
    })
}

fn backing(inode: &[u8], name: &[u8]) -> Backing {
    match name {
        _ if inode != b"0" => Backing::File,
        b"[heap]" => Backing::Break,
        b"[stack]" => Backing::Stack,
        b"" => Backing::Anonymous,
        _ if name.starts_with(b"[anon:") => Backing::Anonymous,
        _ if name.starts_with(b"[") => Backing::Kernel,
        _ => Backing::File,
    }
}

fn hexadecimal(digits: &[u8]) -> Option<usize> {
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HUGE_PAGE, Mapping, Placement, Protection};

    fn parsed(line: &str) -> MapsEntry {
        parse(line.as_bytes()).expect("a line of the kernel's")
    }

    #[test]
    fn backing_follows_from_inode_and_name() {
        let at = "7f5000000000-7f5000200000 rw-p 00000000 00:00";
        for (rest, expected) in [
            (" 0 ", Backing::Anonymous),
            (" 0                          [heap]", Backing::Break),
            (" 0                          [stack]", Backing::Stack),
            (" 0                          [vvar]", Backing::Kernel),
            (" 0                          [anon:v8 pages]", Backing::Anonymous),
            (" 0                          [anon_shmem:x]", Backing::Kernel),
            (" 42                         /memfd:x (deleted)", Backing::File),
        ] {
            assert_eq!(parsed(&format!("{at}{rest}")).backing, expected, "{rest}");
        }
    }

    #[test]
    fn only_private_writable_memory_without_file_is_data() {
        let data = |permissions: &str| {
            parsed(&format!("1000-2000 {permissions} 00000000 00:00 0 ")).is_private_data()
        };
        assert!(data("rw-p") && data("rwxp"));
        assert!(!data("r--p") && !data("rw-s") && !data("---p"));
        assert!(parsed("1000-2000 ---p 00000000 00:00 0 ").is_inaccessible());
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn own_mapping_is_found() {
        let memory =
            Mapping::anonymous(HUGE_PAGE, Protection::Read, Placement::Aligned(HUGE_PAGE)).expect("mapped");
        let mut maps = MapsFile::open_own().expect("proc is mounted");
        for _ in 0..2 {
            let mut entries = maps.read().expect("alive");
            let entry = entries.find(|entry| entry.range.contains_span(memory.span())).expect("it is mapped");
            assert!(entry.readable && !entry.writable && !entry.shared, "{entry:?}");
            assert_eq!(entry.backing, Backing::Anonymous);
        }
    }
}
