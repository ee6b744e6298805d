//! A thread that serves a userfaultfd for the length of a test, and mappings that many tests need.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use bifolio_sys::{
    EventFd, HUGE_PAGE, Mapping, Memfd, Message, MessageBuf, PAGE, Placement, Protection, Uffd, Woken, advise,
};

/// A handler thread; stopped and joined when dropped.
pub struct Server {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Calls `serve` for each message. When this returns, the thread is past all allocation of its start: a fork may
    /// come, which holds the allocator's locks until its message is read.
    pub fn start(uffd: Arc<Uffd>, mut serve: impl FnMut(&Uffd, Message) + Send + 'static) -> Self {
        let stop = Arc::new(EventFd::new().expect("descriptors are left"));
        let stopped = Arc::clone(&stop);
        let (told, started) = channel();
        let thread = std::thread::spawn(move || {
            let mut buf = MessageBuf::new();
            told.send(()).expect("the starter listens");
            drop(told);
            while uffd.wait(&stopped).expect("non-blocking and ready") == Woken::Readable {
                let messages = uffd.read(&mut buf).expect("ready");
                messages.for_each(|message| serve(&uffd, message));
            }
        });
        started.recv().expect("it starts");
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.raise().expect("open");
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.expect("joined once").expect("handler did not panic");
        }
    }
}

/// Maps private memory at a multiple of its own length, or of a page.
pub fn private(len: usize) -> Mapping {
    let align = if len.is_power_of_two() { len } else { PAGE };
    small(Mapping::anonymous(len, Protection::ReadWrite, Placement::Aligned(align)).expect("memory is left"))
}

/// Keeps less than 2 MiB in pages of 4 KiB, also where the machine is set to larger ones without being asked.
fn small(mapping: Mapping) -> Mapping {
    if mapping.span().len() < HUGE_PAGE {
        // A kernel without larger pages knows no such advice, and needs none.
        let _: Result<(), _> = advise::nohugepage(mapping.all());
    }
    mapping
}

/// Maps private memory where each page starts with its number plus one.
pub fn numbered(len: usize) -> Mapping {
    let mapping = private(len);
    for page in 0..len / PAGE {
        mapping.all().store_u64(page * PAGE, page as u64 + 1).expect("inside");
    }
    mapping
}

/// Reads the first word of each page.
pub fn numbers(mapping: &Mapping) -> Vec<u64> {
    let pages = 0..mapping.span().pages();
    pages.map(|page| mapping.all().load_u64(page * PAGE).expect("inside")).collect()
}

/// Maps a memfd twice: what the runtime sees and what the program sees.
pub fn doubled(len: usize) -> (Memfd, Mapping, Mapping) {
    let memfd = Memfd::create("bifolio-test", len).expect("descriptors are left");
    let align = if len.is_power_of_two() { len } else { PAGE };
    let map = || Mapping::shared(&memfd, 0, len, Protection::ReadWrite, Placement::Aligned(align));
    let (alias, view) = (map().expect("memory is left"), map().expect("memory is left"));
    (memfd, small(alias), small(view))
}
