//! Reading a trace: finds its whole blocks, also behind damage, and unpacks their events.

use std::io;
use std::path::{Path, PathBuf};

use crate::block::{self, ALIGN, Content, Header};
use crate::event::Event;
use crate::file::{FILE_HEADER_LEN, MAGIC, VERSION};
use crate::wire::Before;

/// Why a file cannot be read as a trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It cannot be read at all.
    #[error("reading {} failed", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no trace of Bifolio: record one with bifolio demo --trace FILE", path.display())]
    NotATrace {
        /// The file.
        path: PathBuf,
    },
    /// Another version wrote it.
    #[error("{} has version {found} of the trace format, and this program reads version {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// A trace in memory.
pub struct Trace {
    bytes: Vec<u8>,
    /// The blocks of events, by their numbers: where they begin.
    blocks: Vec<(usize, Header)>,
    notes: Vec<(String, String)>,
    lost: u64,
    missing_blocks: u64,
    missing_within: u64,
    damaged: u64,
}

impl Trace {
    /// Reads a file.
    ///
    /// # Errors
    /// See [`TraceError`]. Damage behind the header is no error: the whole blocks are read, and [`Trace::damaged`] tells of
    /// the rest.
    pub fn open(path: &Path) -> Result<Trace, TraceError> {
        let io = |source| TraceError::Io { path: path.to_owned(), source };
        let bytes = std::fs::read(path).map_err(io)?;
        let not_a_trace = || TraceError::NotATrace { path: path.to_owned() };
        if bytes.len() < FILE_HEADER_LEN || bytes[..8] != MAGIC {
            return Err(not_a_trace());
        }
        let found = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
        if found != VERSION {
            return Err(TraceError::Version { path: path.to_owned(), found });
        }
        Ok(Trace::scan(bytes))
    }

    fn scan(bytes: Vec<u8>) -> Trace {
        let mut trace = Trace {
            bytes,
            blocks: Vec::new(),
            notes: Vec::new(),
            lost: 0,
            missing_blocks: 0,
            missing_within: 0,
            damaged: 0,
        };
        let (mut found, mut at) = (Vec::new(), FILE_HEADER_LEN);
        while at < trace.bytes.len() {
            match block::check(&trace.bytes[at..]) {
                Some(header) => {
                    found.push((at, header));
                    at += header.stride();
                }
                None => {
                    trace.damaged += ALIGN.min(trace.bytes.len() - at) as u64;
                    at += ALIGN;
                }
            }
        }
        found.sort_by_key(|(_, header)| header.number);
        found.dedup_by_key(|(_, header)| header.number);
        trace.take_blocks(found);
        trace
    }

    fn take_blocks(&mut self, found: Vec<(usize, Header)>) {
        let last = found.last().map_or(0, |(_, header)| header.number + 1);
        self.missing_blocks = last - found.len() as u64;
        let from_first_event = found.iter().skip_while(|(_, header)| header.content == Content::Notes);
        let numbers: Vec<u64> = from_first_event.map(|(_, header)| header.number).collect();
        self.missing_within = numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).sum();
        self.lost = found.iter().map(|(_, header)| header.lost).max().unwrap_or(0);
        for (at, header) in found {
            match header.content {
                Content::Events => self.blocks.push((at, header)),
                Content::Notes => {
                    let raw = block::open(&header, &self.bytes[at..]).unwrap_or_default();
                    let notes: Vec<(String, String)> = postcard::from_bytes(&raw).unwrap_or_default();
                    self.notes.extend(notes);
                }
            }
        }
    }

    /// The start of the recording, in nanoseconds since 1970.
    #[must_use]
    pub fn started_unix_ns(&self) -> u64 {
        u64::from_le_bytes(self.bytes[16..24].try_into().expect("eight bytes"))
    }

    /// All notes, in the order in which they were written.
    #[must_use]
    pub fn notes(&self) -> &[(String, String)] {
        &self.notes
    }

    /// The last note of this name.
    #[must_use]
    pub fn note(&self, name: &str) -> Option<&str> {
        self.notes.iter().rev().find(|(has, _)| has == name).map(|(_, text)| text.as_str())
    }

    /// Events that were lost since the writer did not keep up.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Blocks that are not there: newer ones took their place, or they are damaged.
    #[must_use]
    pub fn missing_blocks(&self) -> u64 {
        self.missing_blocks
    }

    /// Those of them that are missing after the first event: what happened meanwhile is not known. Blocks that newer ones
    /// replaced are older than all events that are there.
    #[must_use]
    pub fn missing_within(&self) -> u64 {
        self.missing_within
    }

    /// Whether nothing is missing from the first event to the last one that was written.
    #[must_use]
    pub fn has_no_gaps(&self) -> bool {
        self.lost == 0 && self.missing_within == 0
    }

    /// Bytes that belong to no whole block. A writer that was killed leaves some.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Length of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Number of events.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.blocks.iter().map(|(_, header)| u64::from(header.count)).sum()
    }

    /// Whether there are no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of its events, before compression.
    #[must_use]
    pub fn raw_bytes(&self) -> u64 {
        self.blocks.iter().map(|(_, header)| u64::from(header.raw_len)).sum()
    }

    /// The events, in the order in which they were recorded. Those of different threads may be a little out of the order of
    /// their times.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.blocks.iter().flat_map(|(at, header)| {
            let raw = block::open(header, &self.bytes[*at..]).unwrap_or_default();
            BlockEvents { raw, at: 0, before: Before::default() }
        })
    }
}

/// The events of a block.
struct BlockEvents {
    raw: Vec<u8>,
    at: usize,
    before: Before,
}

impl Iterator for BlockEvents {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let (event, rest) = self.before.unpack(&self.raw[self.at..])?;
        self.at = self.raw.len() - rest.len();
        Some(event)
    }
}
