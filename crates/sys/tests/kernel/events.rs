//! Changes of the address space, as messages: fork, mremap, madvise, munmap.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use bifolio_sys::advise;
use bifolio_sys::{
    CopyMode, Features, Mapping, Message, MessageBuf, Modes, PAGE, Placement, Protection, Uffd,
};

use crate::limits::{Skip, limited, uffd};
use crate::serving::{Server, numbered, private};

/// A forked child; killed and reaped when dropped.
pub struct Child(libc::pid_t);

impl Child {
    /// Forks; the child runs `body`, which must not allocate or lock, and exits with its result.
    pub fn fork(body: impl Fn() -> i32) -> Self {
        // SAFETY: the child of this many-threaded process does nothing but load, store and plain system calls.
        match unsafe { libc::fork() } {
            0 => {
                let code = body();
                // SAFETY: ends the child at once, without running anything of the parent's.
                unsafe { libc::_exit(code) }
            }
            child => {
                assert!(child > 0, "fork failed");
                Self(child)
            }
        }
    }

    /// Waits for its exit code; -1 if it died of a signal.
    pub fn exit_code(self) -> i32 {
        let mut status = 0;
        // SAFETY: `status` is writable; the child is ours and not reaped yet.
        let reaped = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        assert_eq!(reaped, self.0);
        std::mem::forget(self);
        if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: the child is ours and not reaped yet.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
        // SAFETY: as above; the status is not wanted.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
    }
}

/// Does nothing until killed.
pub fn sleep_for_ever() -> i32 {
    loop {
        // SAFETY: a plain system call.
        unsafe { libc::pause() };
    }
}

/// Reads messages until one that is wanted comes, while `cause` runs in another thread.
fn message_of(
    uffd: &Uffd,
    cause: impl FnOnce() + Send,
    wanted: impl Fn(&Message) -> bool,
) -> Result<Message, Skip> {
    thread::scope(|scope| {
        let causing = scope.spawn(cause);
        let mut buf = MessageBuf::new();
        let mut found = None;
        // The causing thread sleeps until its messages are read, so reading must go on until it has ended.
        while found.is_none() || !causing.is_finished() {
            let messages = uffd.read(&mut buf).expect("ready");
            found = messages.into_iter().find(|message| wanted(message)).or(found);
            thread::yield_now();
        }
        Ok(found.expect("the loop ends with one"))
    })
}

#[test]
fn dropped_pages_are_reported() {
    limited("dropped_pages_are_reported", || {
        let uffd = uffd(Features::EVENT_REMOVE)?;
        let memory = numbered(4 * PAGE);
        uffd.register(memory.all(), Modes::MISSING).expect("private memory");
        let part = memory.span().part(PAGE, 2 * PAGE).expect("inside");
        let drops = || advise::dontneed(memory.at(part).expect("inside")).expect("own memory");
        let message = message_of(&uffd, drops, |message| matches!(message, Message::Remove { .. }))?;
        let Message::Remove { start, end } = message else { panic!("{message:?}") };
        assert_eq!((start, end), (part.start(), part.end()));
        Ok(())
    });
}

#[test]
fn unmapping_is_reported() {
    limited("unmapping_is_reported", || {
        let uffd = uffd(Features::EVENT_UNMAP)?;
        let memory = numbered(4 * PAGE);
        let span = memory.span();
        uffd.register(memory.all(), Modes::MISSING).expect("private memory");
        let wanted = |message: &Message| matches!(message, Message::Unmap { .. });
        let message = message_of(&uffd, || drop(memory), wanted)?;
        let Message::Unmap { start, end } = message else { panic!("{message:?}") };
        assert_eq!((start, end), (span.start(), span.end()));
        Ok(())
    });
}

#[test]
fn registration_travels_with_a_moved_mapping() {
    limited("registration_travels_with_a_moved_mapping", || {
        let uffd = uffd(Features::EVENT_REMAP)?;
        let memory = numbered(2 * PAGE);
        let from = memory.span();
        uffd.register(memory.all(), Modes::MISSING).expect("private memory");
        let place = Mapping::reserve(4 * PAGE, Placement::Anywhere).expect("addresses are left");
        let part = place.span().part(PAGE, 2 * PAGE).expect("inside");
        let moves = || memory.remap_into(&place, part).expect("owned");
        let message = message_of(&uffd, moves, |message| matches!(message, Message::Remap { .. }))?;
        let Message::Remap { from: old, to, len } = message else { panic!("{message:?}") };
        assert_eq!((old, to, len), (from.start(), part.start(), part.len()));
        assert_eq!(place.all().load_u64(2 * PAGE), Ok(2));
        advise::dontneed(place.at(part).expect("inside")).expect("own memory");
        let source = numbered(2 * PAGE);
        assert!(uffd.copy(part, source.all(), CopyMode::empty()).is_done());
        Ok(())
    });
}

#[test]
fn missing_page_of_a_child_is_served_through_the_fork_message() {
    limited("missing_page_of_a_child_is_served_through_the_fork_message", || {
        let uffd = Arc::new(uffd(Features::EVENT_FORK)?);
        let page = private(PAGE);
        let span = page.span();
        uffd.register(page.all(), Modes::MISSING).expect("private memory");
        let (told, children) = channel();
        let _server = Server::start(Arc::clone(&uffd), move |_, message| {
            let Message::Fork { uffd } = message else { panic!("{message:?}") };
            told.send(uffd).expect("the test listens");
        });
        let child = Child::fork(|| i32::from(page.all().load_u64(0) == Ok(1)));
        let of_child = children.recv().expect("a fork message");
        let source = numbered(PAGE);
        assert!(of_child.copy(span, source.all(), CopyMode::empty()).is_done());
        assert_eq!(child.exit_code(), 1);
        assert_eq!(of_child.zeropage(span, bifolio_sys::Wake::Now), bifolio_sys::Outcome::Gone);
        assert!(uffd.zeropage(span, bifolio_sys::Wake::Now).is_done(), "the parent's page is missing still");
        Ok(())
    });
}

#[test]
fn memory_kept_from_children_is_not_there() {
    limited("memory_kept_from_children_is_not_there", || {
        let memory =
            Mapping::anonymous(PAGE, Protection::ReadWrite, Placement::Anywhere).expect("memory is left");
        memory.all().store_u64(0, 1).expect("inside");
        advise::dontfork(memory.all()).expect("mapped");
        let child = Child::fork(|| i32::from(memory.all().load_u64(0).is_ok()));
        assert_eq!(child.exit_code(), -1, "it died of SIGSEGV");
        advise::dofork(memory.all()).expect("mapped");
        let child = Child::fork(|| i32::from(memory.all().load_u64(0) == Ok(1)));
        assert_eq!(child.exit_code(), 1);
        Ok(())
    });
}
