//! Faults that are answered by the threads that touch, in place of threads that wait for them.
//!
//! ```text
//!   handlers   toucher sleeps -> message -> a handler wakes, reads, answers -> the toucher is woken
//!   touchers   SIGBUS in the toucher -> it answers, as in a call -> it touches again
//! ```
//!
//! No thread is woken and no message queued, so a fault costs less, and several threads that fault do not wait for a handler.
//! It is right for memory that only code of the program touches:
//!
//! | the program | else |
//! |---|---|
//! | hands no page that is away to a system call | the call fails with `EFAULT`, or does less than was asked. [`Space::pin`](crate::Space::pin) and then [`Space::prefetch`](crate::Space::prefetch) to system memory bring a range home, into view, and keep it there |
//! | does not block SIGBUS in a thread that touches, and its own handler for SIGBUS, if it is installed later than the space is made, passes on what it does not know | the process is ended by SIGBUS |
//! | has 64 KiB of stack left where it touches, and no stack in the memory ([`STACK`]) | SIGSEGV |
//! | touches while it holds no lock that an observer, a policy or a device of its own takes, nor its memory allocator's | the thread waits for itself |
//!
//! What else raises SIGBUS goes the way that it went before: pages that are lost, files that were cut off, signals that were
//! sent.
//!
//! Memory that the program moves by `mremap` is still told by messages. A thread reads them, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bifolio_engine::sleep::Sleeper;
use bifolio_sys::touch::{AnswerTouch, Touched, Watch};
use bifolio_sys::{Errno, EventFd, Message, MessageBuf, SharedBytes, Uffd, Woken};

pub use bifolio_sys::touch::STACK;

use crate::fault_loop::{Answer, Fault, HandlersError, Moved, thread};

/// How long a thread sleeps between looks whether memory that was moved shows its bytes.
const PAUSE: Duration = Duration::from_micros(50);

/// Answers touches of a range on the threads that touch, until dropped.
pub struct Touchers {
    /// Dropped before the threads that follow moved memory: a touch may wait for them.
    watch: Option<Watch>,
    stop: Arc<EventFd>,
    threads: Vec<JoinHandle<()>>,
}

impl Touchers {
    /// Calls `answer` for each fault of `memory`, which is registered with `uffd`: a [non-blocking](bifolio_sys::Reads) one of
    /// [`Features::SIGBUS`](bifolio_sys::Features::SIGBUS).
    ///
    /// # Errors
    /// Without descriptors or threads, or if the kernel refuses.
    pub fn start(
        uffd: Arc<Uffd>,
        memory: SharedBytes<'_>,
        answer: &Arc<dyn Answer>,
    ) -> Result<Touchers, HandlersError> {
        let stop = Arc::new(EventFd::new().map_err(HandlersError::Event)?);
        let under_way = Arc::new(UnderWay::default());
        let mut touchers = Touchers { watch: None, stop, threads: Vec::new() };
        touchers.start_threads(uffd, answer, &under_way)?;
        let asked = Arc::new(Asked { answer: Arc::clone(answer), under_way });
        touchers.watch = Some(Watch::start(memory, asked)?);
        Ok(touchers)
    }

    /// One that reads, so that who moves memory goes on whatever is waited for; and one that follows what was moved.
    fn start_threads(
        &mut self,
        uffd: Arc<Uffd>,
        answer: &Arc<dyn Answer>,
        under_way: &Arc<UnderWay>,
    ) -> Result<(), HandlersError> {
        let (sender, told) = channel::<(Moved, Part)>();
        let answer = Arc::clone(answer);
        let follow = move || told.iter().for_each(|(moved, _part)| answer.moved(moved));
        self.threads.push(thread("bifolio-worker", follow)?);
        let (stop, under_way) = (Arc::clone(&self.stop), Arc::clone(under_way));
        self.threads.push(thread("bifolio-event", move || read_events(&uffd, &stop, &under_way, &sender))?);
        Ok(())
    }
}

impl Drop for Touchers {
    fn drop(&mut self) {
        self.watch = None;
        // An event descriptor takes billions of these.
        let _: Result<(), _> = self.stop.raise();
        // The one that follows ends when the reader drops the sender.
        for thread in self.threads.drain(..) {
            let _: Result<(), _> = thread.join();
        }
    }
}

fn read_events(uffd: &Uffd, stop: &EventFd, under_way: &Arc<UnderWay>, moved: &Sender<(Moved, Part)>) {
    let mut buffer = MessageBuf::new();
    loop {
        match uffd.wait(stop) {
            Ok(Woken::Stopped) => return,
            Ok(_) => {}
            Err(_) => std::process::abort(),
        }
        // Before the read, which lets the program go on.
        let reading = Part::of(under_way);
        match uffd.read(&mut buffer) {
            Ok(messages) => messages.filter_map(|message| moved_by(&message)).for_each(|it| {
                moved.send((it, Part::of(under_way))).expect("its receiver ends after this thread");
            }),
            Err(error) if matches!(error.errno, Errno::INTR | Errno::AGAIN) => {}
            // Who moves memory would wait for ever.
            Err(_) => std::process::abort(),
        }
        drop(reading);
    }
}

fn moved_by(message: &Message) -> Option<Moved> {
    match *message {
        Message::Remap { from, to, len } => Some(Moved { from: from..from + len, to }),
        _ => None,
    }
}

/// Counts messages about moved memory that are being read or followed.
#[derive(Default)]
struct UnderWay(AtomicUsize);

/// One of them, until dropped.
struct Part(Arc<UnderWay>);

impl Part {
    fn of(all: &Arc<UnderWay>) -> Part {
        // Before the kernel is asked, whose answer lets a thread go on that looks at this.
        all.0.fetch_add(1, SeqCst);
        Part(Arc::clone(all))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, SeqCst);
    }
}

/// What touching threads ask.
struct Asked {
    answer: Arc<dyn Answer>,
    under_way: Arc<UnderWay>,
}

impl AnswerTouch for Asked {
    fn touched(&self, address: usize) -> Touched {
        // Devices do not wait for this thread meanwhile.
        self.answer.answer_own(Fault { address, sleeper: Some(Sleeper::this_thread()) })
    }

    fn touched_elsewhere(&self, address: usize) -> Touched {
        while self.under_way.0.load(SeqCst) > 0 {
            std::thread::sleep(PAUSE);
        }
        if self.answer.shows_moved(address) { Touched::Again } else { Touched::NotMine }
    }
}
