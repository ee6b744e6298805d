//! Events that another process tells: a bounded queue in memory that two processes share.
//!
//! ```text
//!   word    0 start   8 taken   16 put   24 lost   32 writing       then BYTES of records, used in a circle
//!   record  one byte of length, then a packed event, each as the first of a block
//! ```
//!
//! The writer takes no lock that it would wait for, allocates nothing and makes no system call. The other side is not
//! trusted: what is no record is dropped and counted.

use std::io;
use std::sync::Arc;

use bifolio_engine::{Detail, Observer};
use bifolio_sys::{MapError, Mapping, Memfd, PAGE, Placement, Protection, SharedBytes, monotonic_ns};

use crate::event::{Event, Kind};
use crate::file::TraceFile;
use crate::observe::kinds_of;
use crate::wire::{Before, EVENT_MAX};

/// Words of the first page.
const START: usize = 0;
const TAKEN: usize = 8;
const PUT: usize = 16;
const LOST: usize = 24;
const WRITING: usize = 32;
/// Bytes for records: more than 100,000 events of common length.
const BYTES: usize = 4 << 20;
/// What one process alone tells is told by this thread, to the trace.
const THREAD: u32 = 1;
/// How often a thread that tells several events tries to be the one that does.
const TRIES: u32 = 10_000;
/// Events that are told together at most.
pub const TOGETHER: usize = 32;

/// See the module.
#[derive(Clone, Debug)]
pub struct SharedQueue {
    memory: Arc<Mapping>,
}

impl SharedQueue {
    /// Bytes of the file that it takes.
    pub const LEN: usize = PAGE + BYTES;

    /// Uses [`LEN`](SharedQueue::LEN) bytes of `memfd` from page-aligned `offset` on, as another process does.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn open(memfd: &Memfd, offset: usize) -> Result<SharedQueue, MapError> {
        let protection = Protection::ReadWrite;
        let memory = Mapping::shared(memfd, offset, SharedQueue::LEN, protection, Placement::Anywhere)?;
        Ok(SharedQueue { memory: Arc::new(memory) })
    }

    /// Counts time from now on.
    pub(crate) fn start(&self) {
        self.set(START, monotonic_ns());
    }

    /// Adds an event. If there is no room, or another process is adding one just now, it counts as lost.
    pub fn put(&self, kind: Kind) {
        if !self.begin() {
            self.lose(1);
            return;
        }
        let put = self.get(PUT);
        match self.write(put, Event { time_ns: self.now_ns(), thread: THREAD, kind }) {
            Some(end) => self.set(PUT, end),
            None => self.lose(1),
        }
        self.set(WRITING, 0);
    }

    /// Adds events that belong together, all of them or none, as those of `thread`. Several threads may do so at once: each
    /// waits for the other, a little; then its events count as lost.
    ///
    /// # Panics
    /// If there are more than [`TOGETHER`].
    pub fn put_together(&self, thread: u32, kinds: &[Kind]) {
        assert!(kinds.len() <= TOGETHER, "{} events together", kinds.len());
        let begun = (0..TRIES).any(|_| {
            let begun = self.begin();
            if !begun {
                std::hint::spin_loop();
            }
            begun
        });
        if !begun {
            self.lose(kinds.len() as u64);
            return;
        }
        let (put, time_ns) = (self.get(PUT), self.now_ns());
        let end =
            kinds.iter().try_fold(put, |at, kind| self.write(at, Event { time_ns, thread, kind: *kind }));
        match end {
            Some(end) => self.set(PUT, end),
            None => self.lose(kinds.len() as u64),
        }
        self.set(WRITING, 0);
    }

    /// Makes this thread the one that writes, if none is.
    fn begin(&self) -> bool {
        matches!(self.memory.all().compare_exchange_u64(WRITING, 0, 1), Ok(Ok(_)))
    }

    fn now_ns(&self) -> u64 {
        monotonic_ns().saturating_sub(self.get(START))
    }

    /// Writes a record at `at`, if there is room; returns where it ends.
    fn write(&self, at: u64, event: Event) -> Option<u64> {
        let mut record = [0; EVENT_MAX + 1];
        let length = Before::default().pack(&event, &mut record[1..]);
        record[0] = u8::try_from(length).expect("an event is short");
        let end = at + 1 + length as u64;
        (end.wrapping_sub(self.get(TAKEN)) <= BYTES as u64).then(|| {
            self.copy(at, 1 + length, |from, part| part.write_from(&record[from..from + part.len()]));
            end
        })
    }

    /// Moves all that waits to a file, and shows it to `look`.
    pub(crate) fn drain(&self, file: &mut TraceFile, mut look: impl FnMut(&Event)) -> io::Result<()> {
        let (mut taken, put) = (self.get(TAKEN), self.get(PUT));
        while taken < put {
            let Some((event, next)) = self.record_at(taken, put) else {
                // The program has written here; where the next record begins is not known.
                self.lose(1);
                taken = put;
                break;
            };
            look(&event);
            file.push(&event)?;
            taken = next;
        }
        self.set(TAKEN, taken);
        Ok(())
    }

    /// Events that are missing.
    pub(crate) fn lost(&self) -> u64 {
        self.get(LOST)
    }

    /// The record at `at`, and where the next one begins; `None` if it is no record.
    fn record_at(&self, at: u64, end: u64) -> Option<(Event, u64)> {
        let mut record = [0; EVENT_MAX];
        self.copy(at, 1, |_, part| part.read_into(&mut record[..1]));
        let length = usize::from(record[0]);
        if length > EVENT_MAX || end - at < 1 + length as u64 {
            return None;
        }
        self.copy(at + 1, length, |from, part| part.read_into(&mut record[from..from + part.len()]));
        let (event, rest) = Before::default().unpack(&record[..length])?;
        rest.is_empty().then_some((event, at + 1 + length as u64))
    }

    /// Calls `part` with each part of the circle that `length` bytes from `at` on lie in, and with how many came before.
    fn copy<E: std::fmt::Debug>(
        &self,
        at: u64,
        length: usize,
        mut part: impl FnMut(usize, SharedBytes<'_>) -> Result<(), E>,
    ) {
        let at = usize::try_from(at % BYTES as u64).expect("less than the circle");
        let first = length.min(BYTES - at);
        for (from, start, length) in [(0, at, first), (first, 0, length - first)] {
            if length == 0 {
                continue;
            }
            let bytes = self.memory.bytes(PAGE + start, length).expect("within the circle");
            part(from, bytes).expect("both have the same length");
        }
    }

    fn lose(&self, events: u64) {
        self.memory.all().fetch_add_u64(LOST, events).expect(FITS);
    }

    fn get(&self, word: usize) -> u64 {
        self.memory.all().load_u64(word).expect(FITS)
    }

    fn set(&self, word: usize, value: u64) {
        self.memory.all().store_u64(word, value).expect(FITS);
    }
}

const FITS: &str = "a word of the first page";

impl Observer for SharedQueue {
    fn detail(&self) -> Detail {
        Detail::Results
    }

    fn observe(&self, event: &bifolio_engine::Event<'_>) {
        kinds_of(&event.kind, |kind| self.put(kind));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Trace};

    fn both_sides() -> (SharedQueue, SharedQueue) {
        let file = Memfd::create("queue", SharedQueue::LEN).expect("memory");
        let open = || SharedQueue::open(&file, 0).expect("mapped");
        (open(), open())
    }

    fn read_back(queue: &SharedQueue) -> (Vec<Event>, u64) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t");
        let options = Options::new([("command", "a test")]);
        let mut file = TraceFile::create(&path, options.limit, &options.notes).expect("written");
        queue.drain(&mut file, |_| ()).expect("written");
        file.set_lost(queue.lost());
        file.finish(&[]).expect("written");
        let trace = Trace::open(&path).expect("a trace");
        (trace.events().collect(), trace.lost())
    }

    #[test]
    fn events_arrive_in_order_also_where_the_circle_closes() {
        let (writer, reader) = both_sides();
        reader.start();
        let mut expected = 0;
        for _ in 0..3 {
            let addresses = expected..expected + 100_000;
            addresses.clone().for_each(|page| writer.put(Kind::Poisoned { address: page << 12 }));
            let (events, lost) = read_back(&reader);
            assert_eq!(lost, 0);
            assert!(events.iter().map(|event| event.kind.address().expect("poisoned") >> 12).eq(addresses));
            assert!(events.is_sorted_by_key(|event| event.time_ns));
            expected += 100_000;
        }
    }

    #[test]
    fn events_of_several_threads_stay_together() {
        let (writer, reader) = both_sides();
        let group = |thread: u32| [Kind::Busy, Kind::Killed { node: u8::try_from(thread).expect("few") }];
        std::thread::scope(|threads| {
            for thread in 1..=3 {
                let writer = writer.clone();
                threads.spawn(move || (0..1000).for_each(|_| writer.put_together(thread, &group(thread))));
            }
        });
        let (events, lost) = read_back(&reader);
        assert_eq!(events.len() as u64 + lost, 6000);
        assert!(events.len() > 2000, "{lost} lost");
        for pair in events.chunks(2) {
            let kinds: Vec<Kind> = pair.iter().map(|event| event.kind).collect();
            assert_eq!(kinds, group(pair[0].thread));
            assert_eq!(pair[0].thread, pair[1].thread);
        }
    }

    #[test]
    fn events_without_room_are_counted_and_those_before_them_stay() {
        let (writer, reader) = both_sides();
        let many = BYTES as u64;
        (0..many).for_each(|page| writer.put(Kind::Poisoned { address: page << 12 }));
        let (events, lost) = read_back(&reader);
        assert!(lost > 0 && events.len() as u64 + lost == many);
        assert!((0..).zip(&events).all(|(page, event)| event.kind.address() == Some(page << 12)));
    }

    #[test]
    fn bytes_that_are_no_records_are_dropped_and_counted() {
        let (writer, reader) = both_sides();
        writer.put(Kind::Busy);
        writer.memory.bytes(PAGE, 1).expect("inside").write_from(&[200]).expect("one byte");
        let (events, lost) = read_back(&reader);
        assert_eq!((events, lost), (Vec::new(), 1));
        writer.put(Kind::Busy);
        assert_eq!(read_back(&reader).0.len(), 1);
    }
}
