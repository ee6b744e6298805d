//! [`Journal`]: explorations written down, so that what was stopped can go on later.
//!
//! States are not written. Each is told by the state it was first reached from and which of its actions led there, 6 bytes;
//! doing these steps again makes the same states under the same numbers, in a fraction of the time that
//! it took to find them. If the code behaves differently meanwhile, they do not, and the journal is refused.
//!
//! ```text
//!   "bifolio check 1\n" version "\n" what was explored "\n"
//!   for each model: name, counters, broken rules, steps                 numbers are little-endian
//! ```

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::design::Action;
use bifolio_rules::Rule;

const MAGIC: &str = "bifolio check 1";

/// Explorations of the models of some designs.
#[derive(Debug, Default)]
pub struct Journal {
    what: String,
    past: Mutex<Vec<Record>>,
    left: Mutex<Vec<Record>>,
}

/// Why a journal cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// It is something else.
    #[error("not an exploration that was saved")]
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
    /// It ends too early, or has numbers that cannot be.
    #[error("saved exploration is damaged")]
    Damaged,
}

/// What is known of the exploration of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
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
    /// Rules that were broken: from which state, by which action.
    pub found: Vec<(Rule, u32, Action)>,
    /// For each state but the first the state before it, and which of its actions led to it.
    pub ways: Vec<(u32, u16)>,
}

impl Journal {
    /// Makes an empty journal of an exploration; `what` tells designs and bounds.
    #[must_use]
    pub fn new(what: &str) -> Journal {
        Journal { what: what.to_owned(), ..Journal::default() }
    }

    /// Reads what [`Journal::write`] wrote about the same.
    ///
    /// # Errors
    /// [`JournalError`] if it is not that.
    pub fn read(bytes: &[u8], what: &str) -> Result<Journal, JournalError> {
        let mut from = Reader(bytes);
        if from.line() != Some(MAGIC) {
            return Err(JournalError::Other);
        }
        let version = from.line().ok_or(JournalError::Damaged)?;
        if version != env!("CARGO_PKG_VERSION") {
            return Err(JournalError::Version { found: version.to_owned() });
        }
        let found = from.line().ok_or(JournalError::Damaged)?;
        if found != what {
            return Err(JournalError::What { found: found.to_owned(), wanted: what.to_owned() });
        }
        let mut past = Vec::new();
        while !from.0.is_empty() {
            past.push(from.record().ok_or(JournalError::Damaged)?);
        }
        Ok(Journal { past: Mutex::new(past), ..Journal::new(what) })
    }

    /// Writes down what explorations have left.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = format!("{MAGIC}\n{}\n{}\n", env!("CARGO_PKG_VERSION"), self.what).into_bytes();
        lock(&self.left).iter().for_each(|record| record.write(&mut out));
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

impl Record {
    fn write(&self, out: &mut Vec<u8>) {
        let mut number = |number: u64| out.extend(number.to_le_bytes());
        [self.at, self.level_end, self.steps, u64::from(self.depth), self.reduced]
            .into_iter()
            .for_each(&mut number);
        [self.name.len(), self.found.len(), self.ways.len()]
            .into_iter()
            .for_each(|length| number(length as u64));
        out.extend(self.name.as_bytes());
        for (rule, parent, action) in &self.found {
            out.extend([rule.number(), action.actor, action.verb, action.page, action.order]);
            out.extend(parent.to_le_bytes());
        }
        for (parent, way) in &self.ways {
            out.extend(parent.to_le_bytes());
            out.extend(way.to_le_bytes());
        }
    }
}

/// Bytes that are left to read; `None` where there are too few.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn bytes(&mut self, count: usize) -> Option<&'b [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn line(&mut self) -> Option<&'b str> {
        let end = self.0.iter().take(256).position(|byte| *byte == b'\n')?;
        let line = self.bytes(end + 1)?;
        std::str::from_utf8(&line[..end]).ok()
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn length(&mut self, bytes_each: usize) -> Option<usize> {
        let length = usize::try_from(self.number()?).ok()?;
        (length.checked_mul(bytes_each)? <= self.0.len()).then_some(length)
    }

    fn record(&mut self) -> Option<Record> {
        let [at, level_end, steps, depth, reduced] =
            [self.number()?, self.number()?, self.number()?, self.number()?, self.number()?];
        let (name, found, ways) = (self.length(1)?, self.length(9)?, self.length(6)?);
        let name = std::str::from_utf8(self.bytes(name)?).ok()?.to_owned();
        let found = (0..found).map(|_| self.broken()).collect::<Option<_>>()?;
        let ways = (0..ways).map(|_| self.way()).collect::<Option<_>>()?;
        let depth = u32::try_from(depth).ok()?;
        Some(Record { name, at, level_end, steps, depth, reduced, found, ways })
    }

    fn broken(&mut self) -> Option<(Rule, u32, Action)> {
        let [rule, actor, verb, page, order] = self.array()?;
        let parent = self.array().map(u32::from_le_bytes)?;
        Some((Rule::new(rule)?, parent, Action { actor, verb, page, order }))
    }

    fn way(&mut self) -> Option<(u32, u16)> {
        Some((self.array().map(u32::from_le_bytes)?, self.array().map(u16::from_le_bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let journal = Journal::new("a world");
        let action = Action { actor: 1, verb: 2, page: 3, order: 4 };
        let found = vec![(Rule::known(5), 6, action)];
        let name = "design/model".to_owned();
        journal.leave(Record {
            name,
            at: 1,
            level_end: 2,
            steps: 3,
            depth: 4,
            reduced: 5,
            found,
            ways: vec![(0, 1), (1, 0)],
        });
        journal.write()
    }

    #[test]
    fn what_was_written_is_read() {
        let journal = Journal::read(&written(), "a world").expect("as written");
        let record = journal.past("design/model").expect("was left");
        assert_eq!((record.at, record.depth, record.ways.len()), (1, 4, 2));
        journal.leave(record);
        assert_eq!(journal.write(), written());
    }

    #[test]
    fn what_is_something_else_is_refused() {
        let refused = |bytes: &[u8], what| Journal::read(bytes, what).err();
        let (found, wanted) = ("a world".to_owned(), "another".to_owned());
        assert_eq!(refused(&written(), "another"), Some(JournalError::What { found, wanted }));
        assert_eq!(refused(b"GIF89a", "a world"), Some(JournalError::Other));
        let found = "0.0.0".to_owned();
        assert_eq!(refused(b"bifolio check 1\n0.0.0\nx\n", "x"), Some(JournalError::Version { found }));
    }

    #[test]
    fn damage_is_noticed_wherever_it_cuts() {
        let whole = written();
        let begin = whole.iter().rposition(|byte| *byte == b'\n').expect("a head") + 1;
        assert!(
            (begin + 1..whole.len())
                .all(|end| { Journal::read(&whole[..end], "a world").err() == Some(JournalError::Damaged) })
        );
    }
}
