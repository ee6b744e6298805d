//! The threads that answer page faults of the CPU.
//!
//! Usually each handler reads faults and answers them itself: blocking reads by two unpinned threads measured
//! fastest. Memory that is remapped while faults are answered (the coherent kind) raises events that the
//! remapping thread waits for until they are read; there, one thread does nothing but read, and hands
//! faults over to the others.

use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bifolio_engine::sleep::{Sleeper, begin_look};
use bifolio_sys::touch::{Touched, WatchError};
use bifolio_sys::{Errno, EventFd, Message, MessageBuf, ReaderStopper, StopError, SysError, Uffd, Woken};

/// A fault of the CPU that waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The address that was touched, or that of its page.
    pub address: usize,
    /// The thread that sleeps; `None` if the userfaultfd does not tell.
    pub sleeper: Option<Sleeper>,
}

/// What faults are handed to. A closure that takes a [`Fault`] is one.
pub trait Answer: Send + Sync {
    /// Takes note of a fault that was read; `false` if it needs no answer after all. Called before the next one is read, so
    /// it must not wait for anything.
    fn was_read(&self, fault: &Fault) -> bool {
        let _ = fault;
        true
    }

    /// Takes note that so many messages were read at once: faults, and seldom what the program did to its mappings. Called
    /// before the first fault of them is answered.
    fn were_read(&self, messages: usize) {
        let _ = messages;
    }

    /// Answers a fault.
    fn answer(&self, fault: Fault);

    /// The same for a fault of the calling thread, which is about to touch again. An answer that poisons pages says here
    /// which are lost: kernels that are built without `CONFIG_MEMORY_FAILURE` raise the same signal for them as for pages
    /// that are not there.
    fn answer_own(&self, fault: Fault) -> Touched {
        if self.was_read(&fault) {
            self.answer(fault);
        }
        Touched::Again
    }

    /// The program has moved registered memory by `mremap`, and goes on meanwhile.
    fn moved(&self, moved: Moved) {
        let _ = moved;
    }

    /// Whether `address` is one that registered memory was moved to, and shows its bytes.
    fn shows_moved(&self, address: usize) -> bool {
        let _ = address;
        false
    }
}

/// Registered memory that the program has moved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Its addresses before.
    pub from: Range<usize>,
    /// Its first address now.
    pub to: usize,
}

/// What a reader passes on.
enum Work {
    Fault(Fault),
    Moved(Moved),
}

impl Work {
    fn done_by(self, answer: &dyn Answer) {
        match self {
            Work::Fault(fault) => answer.answer(fault),
            Work::Moved(moved) => answer.moved(moved),
        }
    }
}

impl<F: Fn(Fault) + Send + Sync> Answer for F {
    fn answer(&self, fault: Fault) {
        self(fault);
    }
}

/// Which threads read messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readers {
    /// Every handler, and it answers what it read.
    Handlers,
    /// One thread of its own, so that events are read whatever the handlers wait for.
    Separate,
    /// No thread of ours: the program answers faults itself, by [`serve`] on a thread that does not wait for one.
    Caller,
    /// None for faults: a thread that touches answers the fault itself, on its own stack. See [`touchers`](crate::touchers)
    /// for what that asks of the program.
    Toucher,
}

/// Why handlers cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum HandlersError {
    /// No way to stop them.
    #[error("fault handlers cannot be made stoppable")]
    Stopper(#[source] StopError),
    /// No thread.
    #[error("no thread for a fault handler")]
    Thread(#[source] std::io::Error),
    /// No way to stop the thread that reads what the program does to its mappings.
    #[error("the reader of events cannot be made stoppable")]
    Event(#[source] SysError),
    /// Threads that touch are not asked for the memory.
    #[error(transparent)]
    Watch(#[from] WatchError),
}

/// Threads that answer faults, until dropped.
pub struct Handlers {
    uffd: Arc<Uffd>,
    stopper: Arc<ReaderStopper>,
    readers: Vec<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
}

/// How long a stop waits for one handler to finish the fault it is at. Far longer than any fault takes on a busy machine: a
/// handler that did not stop would go on, and its workers with it.
const STOP_LIMIT: Duration = Duration::from_secs(60);

impl Handlers {
    /// Starts `count` handlers (at least one) that call `answer` for each fault.
    ///
    /// # Errors
    /// Without memory or threads.
    pub fn start(
        uffd: Arc<Uffd>,
        count: usize,
        readers: Readers,
        answer: &Arc<dyn Answer>,
    ) -> Result<Handlers, HandlersError> {
        let count = count.max(1);
        let reading = if readers == Readers::Handlers { count } else { 1 };
        let stopper = Arc::new(ReaderStopper::new(&uffd, reading).map_err(HandlersError::Stopper)?);
        let mut handlers = Handlers { uffd, stopper, readers: Vec::new(), workers: Vec::new() };
        match readers {
            Readers::Handlers => handlers.start_readers(count, answer)?,
            Readers::Separate => handlers.start_separate(count, answer)?,
            Readers::Caller | Readers::Toucher => {}
        }
        Ok(handlers)
    }

    fn start_readers(&mut self, count: usize, answer: &Arc<dyn Answer>) -> Result<(), HandlersError> {
        for _ in 0..count {
            let work = Arc::clone(answer);
            self.start_reader(answer, move |found| found.done_by(work.as_ref()))?;
        }
        Ok(())
    }

    fn start_separate(&mut self, count: usize, answer: &Arc<dyn Answer>) -> Result<(), HandlersError> {
        let (sender, receiver): (Sender<Work>, Receiver<Work>) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..count {
            let (receiver, answer) = (Arc::clone(&receiver), Arc::clone(answer));
            let next = move || receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let work =
                move || std::iter::from_fn(|| next().ok()).for_each(|found| found.done_by(answer.as_ref()));
            self.workers.push(thread("bifolio-worker", work)?);
        }
        // The workers end when the reader is gone and drops the sender.
        self.start_reader(answer, move |found| {
            sender.send(found).expect("workers wait as long as there is a sender");
        })
    }

    fn start_reader(
        &mut self,
        answer: &Arc<dyn Answer>,
        pass_on: impl Fn(Work) + Send + 'static,
    ) -> Result<(), HandlersError> {
        let (uffd, stopper, answer) = (Arc::clone(&self.uffd), Arc::clone(&self.stopper), Arc::clone(answer));
        let read = Arc::clone(&answer);
        let found = move |work: Work| {
            let wanted = !matches!(&work, Work::Fault(fault) if !answer.was_read(fault));
            if wanted {
                pass_on(work);
            }
        };
        let counted = move |messages| read.were_read(messages);
        self.readers.push(thread("bifolio-fault", move || read_faults(&uffd, &stopper, &counted, &found))?);
        Ok(())
    }
}

impl Drop for Handlers {
    fn drop(&mut self) {
        for (number, reader) in self.readers.drain(..).enumerate() {
            // If there is no reader to stop, it has ended already.
            let _: Result<_, StopError> = self.stopper.stop(&self.uffd, number, STOP_LIMIT);
            drop(reader);
        }
        for worker in self.workers.drain(..) {
            let _: Result<(), _> = worker.join();
        }
    }
}

pub(crate) fn thread(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, HandlersError> {
    let work = move || {
        // Signals are for the program's own threads; if that is refused, they may interrupt a read, no more.
        let _: Result<(), _> = bifolio_sys::process::block_all_signals_in_this_thread();
        work();
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(HandlersError::Thread)
}

/// Waits up to `timeout` for faults and answers at most `most`, on this thread. Wants a [non-blocking](bifolio_sys::Reads)
/// descriptor. Faults that were read are answered even beyond `most`: the kernel tells of each once.
///
/// # Errors
/// What the kernel refuses.
pub fn serve(uffd: &Uffd, answer: &dyn Answer, timeout: Duration, most: usize) -> Result<usize, SysError> {
    let (never, start, mut answered) = (EventFd::new()?, Instant::now(), 0);
    let mut buffer = MessageBuf::new();
    while answered < most {
        let left = if answered == 0 { timeout.saturating_sub(start.elapsed()) } else { Duration::ZERO };
        if uffd.wait_at_most(&never, left)? != Woken::Readable {
            break;
        }
        let look = begin_look();
        let messages = uffd.read(&mut buffer)?;
        answer.were_read(messages.len());
        for message in messages {
            match work_of(&message, look) {
                Some(Work::Fault(fault)) => {
                    if answer.was_read(&fault) {
                        answer.answer(fault);
                    }
                    answered += 1;
                }
                Some(Work::Moved(moved)) => answer.moved(moved),
                None => {}
            }
        }
    }
    Ok(answered)
}

fn work_of(message: &Message, look: u64) -> Option<Work> {
    match *message {
        Message::Pagefault { address, thread, .. } => {
            let sleeper = (thread != 0).then(|| Sleeper::found(thread, look));
            Some(Work::Fault(Fault { address, sleeper }))
        }
        Message::Remap { from, to, len } => Some(Work::Moved(Moved { from: from..from + len, to })),
        _ => None,
    }
}

fn read_faults(uffd: &Uffd, stopper: &ReaderStopper, counted: &dyn Fn(usize), found: &dyn Fn(Work)) {
    let mut buffer = MessageBuf::new();
    loop {
        let look = begin_look();
        let messages = match uffd.read(&mut buffer) {
            Ok(messages) => messages,
            Err(error) if matches!(error.errno, Errno::INTR | Errno::AGAIN) => continue,
            // Without a descriptor no fault can be answered any more, and unanswered memory would read as zero.
            Err(_) => std::process::abort(),
        };
        counted(messages.len());
        let mut stop = false;
        for message in messages {
            match work_of(&message, look) {
                Some(Work::Fault(fault)) if stopper.answer(uffd, fault.address) => stop = true,
                Some(work) => found(work),
                None => {}
            }
        }
        if stop {
            return;
        }
    }
}
