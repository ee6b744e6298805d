//! [`Journal`]: explorations saved to a file, so that what was stopped can go on later.
//!
//! States are not saved. Each is named by the state it was first reached from and the number of the action that led
//! to it; doing these steps again makes the same states under the same numbers, in a fraction of the time that it took to
//! find them. If the code behaves differently meanwhile, they do not, and the journal is refused.
//!
//! ```text
//!   "bifolio check 2\n"   length of the rest, 8 bytes   CRC-32 of the rest, 4 bytes     little-endian
//!   version, what was explored, one record for each model                               postcard
//! ```

use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Names the kind of file and the version of its format.
const MAGIC: &[u8; 16] = b"bifolio check 2\n";
/// The magic without the version of the format.
const MAGIC_OF_ALL: &[u8] = b"bifolio check ";

/// Explorations of the models of some designs.
#[derive(Debug, Default)]
pub struct Journal {
    what: String,
    past: Mutex<Vec<Record>>,
    left: Mutex<Vec<Record>>,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It is something else.
    #[error("not a saved exploration")]
    Other,
    /// It was written by another version.
    #[error("saved by version {found}, this is {}", env!("CARGO_PKG_VERSION"))]
    Version {
        /// The other version.
        found: String,
    },
    /// It is about other designs or bounds.
    #[error("saved was an exploration of {found}, not of {wanted}")]
    What {
        /// What it is about.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// It is larger than what may be read.
    #[error("the saved exploration has {bytes} bytes, which is more than the memory allowed")]
    TooLarge {
        /// Bytes that it says it has.
        bytes: u64,
    },
    /// It ends too early, goes on too long, or does not fit its checksum.
    #[error("the saved exploration is damaged")]
    Damaged,
    /// It cannot be read.
    #[error("reading failed")]
    Read(#[from] io::Error),
}

/// What is known of the exploration of one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Name of design and model.
    pub name: String,
    /// The next state to expand.
    pub at: u64,
    /// The first state of the next level.
    pub level_end: u64,
    /// Steps taken.
    pub steps: u64,
    /// Level that is being expanded.
    pub depth: u32,
    /// States that were left by some of their actions only.
    pub reduced: u64,
    /// Numbers of the rules that were broken, each with the state from which a step broke it.
    pub found: Vec<(u8, u32)>,
    /// For each state but the first the state before it, and the number of the action that led to it.
    pub ways: Vec<(u32, u16)>,
}

impl Journal {
    /// Makes an empty journal of an exploration; `what` names designs and bounds.
    #[must_use]
    pub fn new(what: &str) -> Journal {
        Journal { what: what.to_owned(), ..Journal::default() }
    }

    /// Reads what [`Journal::to_bytes`] made of an exploration of the same, at most `bytes_max` of it.
    ///
    /// # Errors
    /// [`JournalError`] if it is not that, or is damaged in any place.
    pub fn read(mut from: impl Read, what: &str, bytes_max: u64) -> Result<Journal, JournalError> {
        let body = read_body(&mut from, bytes_max)?;
        let (head, records) =
            postcard::take_from_bytes::<(String, String)>(&body).map_err(|_| JournalError::Damaged)?;
        let (version, found) = head;
        if version != env!("CARGO_PKG_VERSION") {
            return Err(JournalError::Version { found: version });
        }
        if found != what {
            return Err(JournalError::What { found, wanted: what.to_owned() });
        }
        let past: Vec<Record> = postcard::from_bytes(records).map_err(|_| JournalError::Damaged)?;
        Ok(Journal { past: Mutex::new(past), ..Journal::new(what) })
    }

    /// What explorations have left, as the content of a file.
    ///
    /// # Panics
    /// If memory runs out.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let saved = (env!("CARGO_PKG_VERSION"), &self.what, &*lock(&self.left));
        let body = postcard::to_stdvec(&saved).expect("plain data of known length can be written");
        let mut out = MAGIC.to_vec();
        out.extend((body.len() as u64).to_le_bytes());
        out.extend(crc32fast::hash(&body).to_le_bytes());
        out.extend(body);
        out
    }

    /// What an earlier exploration left about a model.
    pub(crate) fn past(&self, name: &str) -> Option<Record> {
        let mut past = lock(&self.past);
        let at = past.iter().position(|record| record.name == name)?;
        Some(past.swap_remove(at))
    }

    /// Leaves what is known of a model.
    pub(crate) fn leave(&self, record: Record) {
        lock(&self.left).push(record);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a whole file and returns what follows its head, if length and checksum are right.
fn read_body(from: &mut impl Read, bytes_max: u64) -> Result<Vec<u8>, JournalError> {
    let magic: [u8; MAGIC.len()] = read_array(from, JournalError::Other)?;
    if !magic.starts_with(MAGIC_OF_ALL) {
        return Err(JournalError::Other);
    }
    if magic != *MAGIC {
        let found = magic[MAGIC_OF_ALL.len()..].trim_ascii();
        return Err(JournalError::Version { found: format!("of format {}", found.escape_ascii()) });
    }
    let bytes = u64::from_le_bytes(read_array(from, JournalError::Damaged)?);
    let checksum = u32::from_le_bytes(read_array(from, JournalError::Damaged)?);
    if bytes > bytes_max {
        return Err(JournalError::TooLarge { bytes });
    }
    let mut body = Vec::new();
    from.take(bytes + 1).read_to_end(&mut body)?;
    let whole = body.len() as u64 == bytes && crc32fast::hash(&body) == checksum;
    if whole { Ok(body) } else { Err(JournalError::Damaged) }
}

fn read_array<const N: usize>(from: &mut impl Read, short: JournalError) -> Result<[u8; N], JournalError> {
    let mut bytes = [0; N];
    match from.read_exact(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(short),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: u64 = 1 << 20;

    fn saved() -> Vec<u8> {
        let journal = Journal::new("a world");
        let (name, ways) = ("design/model".to_owned(), vec![(0, 1), (1, 0)]);
        let found = vec![(5, 6)];
        journal.leave(Record { name, at: 1, level_end: 2, steps: 3, depth: 4, reduced: 5, found, ways });
        journal.to_bytes()
    }

    fn refusal(bytes: &[u8]) -> Option<JournalError> {
        Journal::read(bytes, "a world", PLENTY).err()
    }

    #[test]
    fn saved_exploration_is_read_back() {
        let journal = Journal::read(&saved()[..], "a world", PLENTY).expect("as saved");
        let record = journal.past("design/model").expect("was left");
        assert_eq!((record.at, record.depth, record.ways.len()), (1, 4, 2));
        journal.leave(record);
        assert_eq!(journal.to_bytes(), saved());
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = saved();
        for end in 0..whole.len() {
            let refused = refusal(&whole[..end]);
            assert!(matches!(refused, Some(JournalError::Other | JournalError::Damaged)), "{end}");
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let whole = saved();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(refusal(&flipped).is_some(), "bit {bit}");
        }
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        let longer = [saved(), vec![0]].concat();
        assert!(matches!(refusal(&longer), Some(JournalError::Damaged)));
    }

    #[test]
    fn endless_files_are_not_read_to_their_end() {
        assert!(matches!(Journal::read(io::repeat(0), "a world", PLENTY), Err(JournalError::Other)));
        let head = [&MAGIC[..], &u64::MAX.to_le_bytes(), &[0; 4]].concat();
        let endless = Journal::read(head.chain(io::repeat(0)), "a world", PLENTY);
        assert!(matches!(endless, Err(JournalError::TooLarge { bytes: u64::MAX })));
        let head = [&MAGIC[..], &PLENTY.to_le_bytes(), &[0; 4]].concat();
        let endless = Journal::read(head.chain(io::repeat(0)), "a world", PLENTY);
        assert!(matches!(endless, Err(JournalError::Damaged)));
    }

    #[test]
    fn other_worlds_formats_and_files_are_named() {
        let other = Journal::read(&saved()[..], "another", PLENTY);
        assert!(matches!(other, Err(JournalError::What { found, .. }) if found == "a world"));
        assert!(matches!(refusal(b"GIF89a, and so on, and on"), Some(JournalError::Other)));
        let older = [&b"bifolio check 1\n0.1.0\n"[..], &[0; 40]].concat();
        assert!(matches!(refusal(&older), Some(JournalError::Version { found }) if found == "of format 1"));
    }

    #[test]
    fn other_versions_of_the_program_are_named() {
        let mut bytes = saved();
        let head = MAGIC.len() + 12;
        let at = head + 1;
        bytes[at] = b'9';
        let checksum = crc32fast::hash(&bytes[head..]).to_le_bytes();
        bytes[head - 4..head].copy_from_slice(&checksum);
        let found = format!("9{}", &env!("CARGO_PKG_VERSION")[1..]);
        assert!(matches!(refusal(&bytes), Some(JournalError::Version { found: it }) if it == found));
    }
}
