//! Writing the file of a trace: packs events into blocks, and keeps the newest once the file is as large as it may be.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::block::{self, ALIGN, Content, RAW_FULL};
use crate::event::Event;
use crate::wire::{Before, EVENT_MAX};

/// What a file begins with.
pub(crate) const MAGIC: [u8; 8] = *b"BIFOLIOt";
/// The version of the format: a reader refuses others.
pub(crate) const VERSION: u32 = 1;
/// Bytes before the first block.
pub(crate) const FILE_HEADER_LEN: usize = ALIGN;

/// How long a file grows, if nothing else is said.
pub const LIMIT_DEFAULT: u64 = 256 << 20;
/// The shortest limit: room for the notes and some blocks.
pub const LIMIT_LEAST: u64 = 1 << 20;

/// What was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Written {
    /// Events that were written, also those that newer ones replaced.
    pub events: u64,
    /// Events that are not in the file since the queue was full.
    pub lost: u64,
    /// Events that newer ones replaced, since the file was as long as its limit.
    pub replaced: u64,
    /// Length of the file in bytes.
    pub bytes: u64,
}

/// A trace being written.
pub struct TraceFile {
    file: File,
    limit: u64,
    /// Where blocks of events begin: what comes before is never replaced.
    first: u64,
    /// Where the next block goes.
    at: u64,
    /// Blocks that may be replaced, oldest first: where they begin, and their events.
    kept: VecDeque<(u64, u32)>,
    next_block: u64,
    written: Written,
    /// The block that is being filled.
    raw: Vec<u8>,
    count: u32,
    before: Before,
}

impl TraceFile {
    /// Makes or replaces a file, and writes the notes that tell what is recorded.
    ///
    /// # Errors
    /// What the file system refuses, or a limit below [`LIMIT_LEAST`].
    pub fn create(path: &Path, limit: u64, notes: &[(String, String)]) -> io::Result<TraceFile> {
        if limit < LIMIT_LEAST {
            let text = format!("a trace needs a limit of {LIMIT_LEAST} bytes at least, not {limit}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let file = File::create(path)?;
        file.write_all_at(&file_header(), 0)?;
        let mut trace = TraceFile {
            file,
            limit,
            first: FILE_HEADER_LEN as u64,
            at: FILE_HEADER_LEN as u64,
            kept: VecDeque::new(),
            next_block: 0,
            written: Written::default(),
            raw: Vec::with_capacity(RAW_FULL + EVENT_MAX),
            count: 0,
            before: Before::default(),
        };
        trace.write_notes(notes)?;
        trace.first = trace.at;
        trace.kept.clear();
        Ok(trace)
    }

    /// Adds an event. It is in the file once its block is full, or [`flush`](TraceFile::flush) was called.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn push(&mut self, event: &Event) -> io::Result<()> {
        let length = self.raw.len();
        self.raw.resize(length + EVENT_MAX, 0);
        let packed = self.before.pack(event, &mut self.raw[length..]);
        self.raw.truncate(length + packed);
        self.count += 1;
        self.written.events += 1;
        if self.raw.len() >= RAW_FULL { self.flush() } else { Ok(()) }
    }

    /// Writes the events that wait for their block to be full.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let raw = std::mem::take(&mut self.raw);
        let result = self.write_block(Content::Events, self.count, &raw);
        self.raw = raw;
        self.raw.clear();
        self.count = 0;
        self.before = Before::default();
        result
    }

    /// Says how many events were lost so far.
    pub fn set_lost(&mut self, lost: u64) {
        self.written.lost = lost;
    }

    /// Writes all that waits, and more notes; returns what was written.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn finish(mut self, notes: &[(String, String)]) -> io::Result<Written> {
        self.flush()?;
        // Also without notes: the block tells how many events were lost at the end.
        self.write_notes(notes)?;
        Ok(Written { bytes: self.file.metadata()?.len(), ..self.written })
    }

    /// Writes notes, behind the events so far. Newer events may replace them.
    ///
    /// # Errors
    /// What the file system refuses, or notes longer than a block.
    pub fn note(&mut self, notes: &[(String, String)]) -> io::Result<()> {
        self.flush()?;
        self.write_notes(notes)
    }

    fn write_notes(&mut self, notes: &[(String, String)]) -> io::Result<()> {
        let raw = postcard::to_stdvec(notes).map_err(io::Error::other)?;
        if raw.len() > RAW_FULL {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the notes of a trace are too long"));
        }
        self.write_block(Content::Notes, u32::try_from(notes.len()).unwrap_or(u32::MAX), &raw)
    }

    fn write_block(&mut self, content: Content, count: u32, raw: &[u8]) -> io::Result<()> {
        let sealed = block::seal(content, self.next_block, count, self.written.lost, raw);
        let length = sealed.len() as u64;
        if self.at + length > self.limit {
            // What lies behind is older than what is replaced next.
            self.replace(self.at..u64::MAX);
            self.file.set_len(self.at)?;
            self.at = self.first;
        }
        let end = self.at + length;
        self.replace(self.at..end);
        self.file.write_all_at(&sealed, self.at)?;
        let events = if content == Content::Events { count } else { 0 };
        self.kept.push_back((self.at, events));
        self.at = end;
        self.next_block += 1;
        Ok(())
    }

    /// Forgets the blocks that begin in this part of the file. The oldest ones are those that the next blocks meet first.
    fn replace(&mut self, part: Range<u64>) {
        while let Some((_, events)) = self.kept.pop_front_if(|(start, _)| part.contains(start)) {
            self.written.replaced += u64::from(events);
        }
    }
}

fn file_header() -> [u8; FILE_HEADER_LEN] {
    let mut bytes = [0; FILE_HEADER_LEN];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanoseconds = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX);
    bytes[16..24].copy_from_slice(&nanoseconds.to_le_bytes());
    bytes
}
