//! Recording: the threads of an engine put events into a queue, and a thread of our own writes them.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bifolio_engine::{Detail, Observer};
use crossbeam_queue::ArrayQueue;

use crate::event::{Event, Kind};
use crate::file::{LIMIT_DEFAULT, TraceFile, Written};
use crate::module::Modules;
use crate::observe::kinds_of;
use crate::shared::SharedQueue;

/// How many events may wait to be written: some tenths of a second of fast faults, if the writer gets no processor.
const QUEUE: usize = 1 << 17;
/// A share of the queue, one part in so many, is for what engines tell: accesses wait for the writer before they use it, so
/// that they make no other event find the queue full.
const RESERVED: usize = 2;
/// How long the writer sleeps when it has nothing to do.
const NAP: Duration = Duration::from_millis(2);
/// How old events may be before they are in the file, though their block is not full.
const LATEST: Duration = Duration::from_millis(100);

/// How a trace is recorded.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many bytes the file may have. Once it has as many, the newest events replace the oldest.
    pub limit: u64,
    /// What is recorded, as pairs of a name and a text: the command, the machine, the sizes.
    pub notes: Vec<(String, String)>,
}

impl Options {
    /// The default limit, and notes.
    pub fn new<N: Into<String>, T: Into<String>>(notes: impl IntoIterator<Item = (N, T)>) -> Options {
        Options { limit: LIMIT_DEFAULT, notes: owned(notes) }
    }
}

fn owned<N: Into<String>, T: Into<String>>(notes: impl IntoIterator<Item = (N, T)>) -> Vec<(String, String)> {
    notes.into_iter().map(|(name, text)| (name.into(), text.into())).collect()
}

/// What another process tells.
pub struct Told {
    /// Its events.
    pub events: SharedQueue,
    /// Where memory is allocated, if that is told: by all threads of the program.
    pub call_sites: Option<SharedQueue>,
    /// The process, once it is known: the files of its code are noted.
    pub process: Box<dyn Fn() -> Option<u32> + Send + Sync>,
}

/// Records a trace until it is finished or dropped.
pub struct Recorder {
    queue: Arc<Queue>,
    writer: Option<JoinHandle<io::Result<TraceFile>>>,
}

/// What the recorded threads share with the writer.
struct Queue {
    events: ArrayQueue<Event>,
    /// What another process tells.
    shared: Option<Told>,
    lost: AtomicU64,
    start: Instant,
    closing: AtomicBool,
    /// Set once nothing is written any more, so that no thread waits for room.
    ended: AtomicBool,
}

impl Recorder {
    /// Makes or replaces the file, and begins to record.
    ///
    /// # Errors
    /// What the file system refuses, a limit below [`LIMIT_LEAST`](crate::LIMIT_LEAST), or no thread.
    pub fn create(path: &Path, options: &Options) -> io::Result<Recorder> {
        Recorder::begin(path, options, QUEUE, None)
    }

    /// Makes or replaces the file, and begins to record what another process tells.
    ///
    /// # Errors
    /// As [`create`](Recorder::create).
    pub fn create_shared(path: &Path, options: &Options, shared: Told) -> io::Result<Recorder> {
        shared.queues().for_each(SharedQueue::start);
        Recorder::begin(path, options, 1, Some(shared))
    }

    fn begin(path: &Path, options: &Options, capacity: usize, shared: Option<Told>) -> io::Result<Recorder> {
        let file = TraceFile::create(path, options.limit, &options.notes)?;
        let queue = Arc::new(Queue {
            events: ArrayQueue::new(capacity),
            shared,
            lost: AtomicU64::new(0),
            start: Instant::now(),
            closing: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let shared = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name("bifolio-trace".into());
        let writer = Some(thread.spawn(move || shared.write_all(file))?);
        Ok(Recorder { queue, writer })
    }

    /// What hears of everything in an engine: an entry of its observers. It never waits, allocates nothing, and counts as lost
    /// what finds the queue full.
    #[must_use]
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.queue) as Arc<dyn Observer>
    }

    /// What records the accesses of devices, page by page: see [`Accesses`]. It waits when the queue is full.
    #[must_use]
    pub fn accesses(&self) -> Accesses {
        Accesses(Arc::clone(&self.queue))
    }

    /// Ends the recording: writes what waits, and more notes, and returns what was written. What happens from here on is not
    /// recorded, though observers may still be used.
    ///
    /// # Errors
    /// What the file system refused, also before.
    pub fn finish<N: Into<String>, T: Into<String>>(
        mut self,
        notes: impl IntoIterator<Item = (N, T)>,
    ) -> io::Result<Written> {
        let file = self.stop().expect("nothing else stops it")?;
        file.finish(&owned(notes))
    }

    /// Has the writer write what waits, and stops it.
    fn stop(&mut self) -> Option<io::Result<TraceFile>> {
        let writer = self.writer.take()?;
        self.queue.closing.store(true, Ordering::Release);
        writer.thread().unpark();
        Some(writer.join().expect("the writer does not panic"))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Without `finish` the trace ends without notes, like that of a process that was killed.
        if let Some(Ok(mut file)) = self.stop() {
            let _: io::Result<()> = file.flush();
        }
    }
}

/// Records accesses, for traces in which every access is to be found.
///
/// Unlike the observer it waits for the writer when the queue is full: a trace from which accesses are missing is of no
/// use for what needs all of them. It leaves half of the queue to the observer, which cannot wait. It must be called by threads that hold no locks of the engine.
#[derive(Clone)]
pub struct Accesses(Arc<Queue>);

impl Accesses {
    /// Records one access to the page of `address`.
    pub fn record(&self, address: u64, unit: u32, write: bool) {
        let event = self.0.event(Kind::Access { address: address & !0xfff, unit, write });
        let most = self.0.events.capacity() / RESERVED;
        while self.0.events.len() > most || self.0.events.push(event).is_err() {
            // Acquire: nothing of the writer is used after it.
            if self.0.ended.load(Ordering::Acquire) {
                return;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

impl Queue {
    fn event(&self, kind: Kind) -> Event {
        let time_ns = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Event { time_ns, thread: thread_number(), kind }
    }

    /// Writes events until there are no more to come.
    fn write_all(&self, mut file: TraceFile) -> io::Result<TraceFile> {
        let result = self.write_until_closed(&mut file);
        // Release: pairs with the load of those that wait for room.
        self.ended.store(true, Ordering::Release);
        result.map(|()| file)
    }

    fn write_until_closed(&self, file: &mut TraceFile) -> io::Result<()> {
        let (mut flushed, mut modules) = (Instant::now(), Modules::new());
        loop {
            // Acquire: what was recorded before the end is in the queue.
            let closing = self.closing.load(Ordering::Acquire);
            while let Some(event) = self.events.pop() {
                file.push(&event)?;
            }
            if let Some(shared) = &self.shared {
                shared.write(file, &mut modules)?;
            }
            let lost_there = self.shared.as_ref().map_or(0, Told::lost);
            file.set_lost(self.lost.load(Ordering::Relaxed) + lost_there);
            if closing {
                // Once more, where no newer events replace it.
                return match modules.note() {
                    Some(note) => file.note(&[note]),
                    None => file.flush(),
                };
            }
            if flushed.elapsed() >= LATEST {
                file.flush()?;
                flushed = Instant::now();
            }
            std::thread::park_timeout(NAP);
        }
    }
}

impl Told {
    fn queues(&self) -> impl Iterator<Item = &SharedQueue> {
        std::iter::once(&self.events).chain(&self.call_sites)
    }

    /// Writes what waits, and the modules that it names.
    fn write(&self, file: &mut TraceFile, modules: &mut Modules) -> io::Result<()> {
        let mut new = false;
        for queue in self.queues() {
            queue.drain(file, |event| {
                new |= event.kind.pc().is_some_and(|pc| modules.meet(pc, (self.process)()));
            })?;
        }
        modules.note().filter(|_| new).map_or(Ok(()), |note| file.note(&[note]))
    }

    fn lost(&self) -> u64 {
        self.queues().map(SharedQueue::lost).sum()
    }
}

impl Observer for Queue {
    fn detail(&self) -> Detail {
        Detail::Results
    }

    fn observe(&self, event: &bifolio_engine::Event<'_>) {
        kinds_of(&event.kind, |kind| {
            if self.events.push(self.event(kind)).is_err() {
                // Relaxed: only counted.
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

/// The number of the thread that asks.
fn thread_number() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static NUMBER: Cell<u32> = const { Cell::new(0) };
    }
    NUMBER.with(|number| {
        if number.get() == 0 {
            // Relaxed: the number must only be another one.
            number.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
        }
        number.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(capacity: usize) -> Queue {
        Queue {
            events: ArrayQueue::new(capacity),
            shared: None,
            lost: AtomicU64::new(0),
            start: Instant::now(),
            closing: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    #[test]
    fn events_that_find_the_queue_full_are_counted_and_wait_for_nothing() {
        // There is no writer, so whatever waited for one would wait for ever.
        let queue = queue(4);
        let kind = bifolio_engine::EventKind::Busy;
        let event = bifolio_engine::Event { sequence: 0, transaction: None, kind };
        (0..10).for_each(|_| queue.observe(&event));
        assert_eq!((queue.events.len(), queue.lost.load(Ordering::Relaxed)), (4, 6));
    }

    #[test]
    fn accesses_leave_half_of_the_queue_to_what_cannot_wait() {
        let queue = Arc::new(queue(8));
        let accesses = Accesses(Arc::clone(&queue));
        std::thread::scope(|threads| {
            threads.spawn(move || (0..20).for_each(|page| accesses.record(page << 12, 1, false)));
            let mut taken = 0;
            while taken < 20 {
                assert!(queue.events.len() <= 5, "half, and the access that found it free");
                taken += usize::from(queue.events.pop().is_some());
            }
        });
    }
}
