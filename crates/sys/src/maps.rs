//! The mappings of a process, read from `/proc/PID/maps` without allocating for each.
//!
//! The text costs as much for each mapping as the ioctl of Linux 6.11 that asks for one after the other, and it is on every
//! kernel. For a few of many mappings the ioctl is asked, where there is one.

use std::fs::File;
use std::ops::Range;

use linux_raw_sys::general as uapi;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use rustix::ioctl::Updater;

use crate::{AddressRange, SysError, abi};

/// Bytes of the longest name, and its end.
const NAME_ROOM: u32 = 4097;

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

    /// The first mapping that ends after an address.
    ///
    /// # Errors
    ///
    /// As [`MapsFile::read`].
    pub fn next_from(&mut self, address: usize) -> Result<Option<MapsEntry>, SysError> {
        match self.query(address) {
            Ok(entry) => Ok(Some(entry)),
            Err(Errno::NOENT) => Ok(None),
            Err(_) => Ok(self.read()?.find(|entry| entry.range.end() > address)),
        }
    }

    /// The mappings that have pages of a range.
    ///
    /// # Errors
    ///
    /// As [`MapsFile::read`].
    pub fn within(&mut self, range: &Range<usize>) -> Result<Vec<MapsEntry>, SysError> {
        let mut found = Vec::new();
        let mut at = range.start;
        while at < range.end {
            match self.query(at) {
                Ok(entry) if entry.range.start() < range.end => {
                    at = entry.range.end();
                    found.push(entry);
                }
                Ok(_) | Err(Errno::NOENT) => break,
                Err(_) => {
                    let holds = |entry: &MapsEntry| entry.range.start() < range.end && at < entry.range.end();
                    found.extend(self.read()?.filter(holds));
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Asks for the first mapping that ends after an address. `NOENT` if there is none; all else says that the text is to be
    /// read.
    fn query(&self, address: usize) -> Result<MapsEntry, Errno> {
        let mut name = [0_u8; NAME_ROOM as usize];
        // SAFETY: a structure of numbers, for which zero is a value.
        let mut asked: uapi::procmap_query = unsafe { std::mem::zeroed() };
        asked.size = size_of::<uapi::procmap_query>() as u64;
        asked.query_addr = address as u64;
        asked.query_flags = flag(uapi::procmap_query_flags::PROCMAP_QUERY_COVERING_OR_NEXT_VMA);
        asked.vma_name_addr = name.as_mut_ptr().expose_provenance() as u64;
        asked.vma_name_size = NAME_ROOM;
        // SAFETY: opcode and structure belong together, and the name has as much room as the structure says.
        let request = unsafe { Updater::<{ abi::PROCMAP_QUERY }, _>::new(&mut asked) };
        // SAFETY: nothing but the structure and the name is written.
        unsafe { rustix::ioctl::ioctl(&self.file, request) }?;
        let size = |bytes: u64| usize::try_from(bytes).map_err(|_| Errno::OVERFLOW);
        let (start, end) = (size(asked.vma_start)?, size(asked.vma_end)?);
        let range = AddressRange::new(start, end.saturating_sub(start)).map_err(|_| Errno::OVERFLOW)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let has = |wanted| asked.vma_flags & flag(wanted) != 0;
        Ok(MapsEntry {
            range,
            readable: has(uapi::procmap_query_flags::PROCMAP_QUERY_VMA_READABLE),
            writable: has(uapi::procmap_query_flags::PROCMAP_QUERY_VMA_WRITABLE),
            executable: has(uapi::procmap_query_flags::PROCMAP_QUERY_VMA_EXECUTABLE),
            shared: has(uapi::procmap_query_flags::PROCMAP_QUERY_VMA_SHARED),
            backing: if asked.inode == 0 { backing(b"0", name) } else { Backing::File },
        })
    }
}

fn flag(flag: uapi::procmap_query_flags) -> u64 {
    flag as u64
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
    fn mappings_that_are_asked_for_are_those_of_the_text() {
        let memory = Mapping::anonymous(4 * HUGE_PAGE, Protection::ReadWrite, Placement::Aligned(HUGE_PAGE))
            .expect("mapped");
        let hole = memory.span().part(HUGE_PAGE, HUGE_PAGE).expect("inside");
        memory.replace_anonymous(hole, Protection::Read).expect("mapped");
        let mut maps = MapsFile::open_own().expect("proc is mounted");
        let range = memory.span().start()..memory.span().end();
        let touches = |entry: &MapsEntry| entry.range.start() < range.end && range.start < entry.range.end();
        let read: Vec<_> = maps.read().expect("alive").filter(touches).collect();
        assert!(read.len() > 2, "{read:?}");
        assert_eq!(maps.within(&range), Ok(read.clone()));
        assert_eq!(
            maps.next_from(hole.start() + 1),
            Ok(read.iter().copied().find(|entry| entry.range.end() > hole.start() + 1))
        );
        // The stack, the break and the files of this process as well, which stay where they are.
        let named = |entry: &MapsEntry| matches!(entry.backing, Backing::File | Backing::Stack);
        let named: Vec<_> = maps.read().expect("alive").filter(named).collect();
        for entry in named.into_iter().take(20) {
            let found = maps.next_from(entry.range.start()).expect("alive");
            let found =
                found.filter(|found| entry.backing != Backing::Stack || found.backing == Backing::Stack);
            assert_eq!(found.map(|found| found.backing), Some(entry.backing), "{entry:?}");
        }
        assert_eq!(
            maps.next_from(crate::USER_SPACE - 1).map(|entry| entry.is_some_and(|entry| entry.writable)),
            Ok(false)
        );
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
