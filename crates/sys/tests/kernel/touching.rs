//! Faults that the touching thread answers, and every other SIGBUS, which goes the way it went before.
#![expect(clippy::print_stdout, reason = "a child tells its parent how far it came")]

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};

use bifolio_sys::touch::{AnswerTouch, Touched, Watch, WatchError};
use bifolio_sys::{
    AddressRange, CopyMode, Features, Mapping, Memfd, Modes, Outcome, PAGE, Uffd, Wake, process,
};

use crate::limits::{Skip, limited, uffd};
use crate::serving::{doubled, numbered, private};

const SIGBUS: Features = Features::SIGBUS;

/// Fills pages from a source, and notes who was asked.
struct Filler {
    uffd: Arc<Uffd>,
    target: AddressRange,
    source: Mapping,
    asked: AtomicUsize,
    thread: AtomicUsize,
}

impl Filler {
    /// Memory of so many pages whose touches are answered by this.
    fn watched(pages: usize) -> Result<(Watch, Arc<Filler>, Mapping), Skip> {
        let uffd = Arc::new(uffd(SIGBUS)?);
        let target = private(pages * PAGE);
        uffd.register(target.all(), Modes::MISSING).expect("private memory");
        let (asked, thread) = Default::default();
        let source = numbered(pages * PAGE);
        let filler = Arc::new(Filler { uffd, target: target.span(), source, asked, thread });
        let answer = Arc::clone(&filler) as Arc<dyn AnswerTouch>;
        Ok((Watch::start(target.all(), answer).expect("a slot"), filler, target))
    }
}

impl AnswerTouch for Filler {
    fn touched(&self, address: usize) -> Touched {
        self.asked.fetch_add(1, SeqCst);
        self.thread.store(process::thread_id() as usize, SeqCst);
        // Does what work does to it.
        set_errno(libc::E2BIG);
        let offset = (address - self.target.start()) / PAGE * PAGE;
        let page = self.target.part(offset, PAGE).expect("watched");
        let source = self.source.bytes(offset, PAGE).expect("as long");
        match self.uffd.copy(page, source, CopyMode::empty()) {
            Outcome::Done(_) | Outcome::Exists => Touched::Again,
            other => panic!("{other:?}"),
        }
    }
}

fn set_errno(value: i32) {
    // SAFETY: no preconditions.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: of this thread.
    unsafe { errno.write(value) };
}

#[test]
fn touch_is_answered_by_the_thread_that_touches() {
    limited("touch_is_answered_by_the_thread_that_touches", || {
        let (watch, filler, target) = Filler::watched(4)?;
        set_errno(libc::EDOM);
        let found = target.all().load_u64(2 * PAGE);
        let errno = std::io::Error::last_os_error().raw_os_error();
        assert_eq!((found, errno), (Ok(3), Some(libc::EDOM)));
        assert_eq!(filler.thread.load(SeqCst), process::thread_id() as usize);
        assert_eq!(target.all().read::<u8>(PAGE - 1), Ok(0), "the last byte of a page");
        assert_eq!(target.all().load_u64(2 * PAGE), Ok(3), "no fault any more");
        assert_eq!(filler.asked.load(SeqCst), 2);
        drop(watch);
        assert_eq!(Arc::strong_count(&filler), 1, "the answer is let go");
        Ok(())
    });
}

#[test]
fn many_threads_answer_at_once() {
    limited("many_threads_answer_at_once", || {
        const PAGES: usize = 512;
        let (_watch, filler, target) = Filler::watched(PAGES)?;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for page in 0..PAGES {
                        assert_eq!(target.all().load_u64(page * PAGE), Ok(page as u64 + 1));
                    }
                });
            }
        });
        assert!(filler.asked.load(SeqCst) >= PAGES);
        Ok(())
    });
}

/// Touches other watched memory when it is asked.
struct Nested(Filler, Mapping);

impl AnswerTouch for Nested {
    fn touched(&self, address: usize) -> Touched {
        assert_eq!(self.1.all().load_u64(PAGE), Ok(2), "answered within an answer");
        self.0.touched(address)
    }
}

#[test]
fn answer_may_touch_other_watched_memory() {
    limited("answer_may_touch_other_watched_memory", || {
        let (inner_watch, inner, memory) = Filler::watched(2)?;
        let (outer_watch, outer, target) = Filler::watched(1)?;
        drop(outer_watch);
        let outer = Arc::into_inner(outer).expect("the watch has let go of it");
        let watch = Watch::start(target.all(), Arc::new(Nested(outer, memory))).expect("a slot");
        assert_eq!(target.all().load_u64(0), Ok(1));
        assert_eq!(inner.asked.load(SeqCst), 1);
        drop((watch, inner_watch));
        Ok(())
    });
}

/// Makes a file longer that is touched beyond its end, anywhere.
struct Lengthen(Memfd);

impl AnswerTouch for Lengthen {
    fn touched(&self, _: usize) -> Touched {
        Touched::NotMine
    }

    fn touched_elsewhere(&self, _: usize) -> Touched {
        self.0.set_len(PAGE).expect("an open file");
        Touched::Again
    }
}

#[test]
fn touch_that_nobody_watches_is_shown_to_all() {
    limited("touch_that_nobody_watches_is_shown_to_all", || {
        let (memfd, _alias, view) = doubled(PAGE);
        memfd.set_len(0).expect("an open file");
        let other = private(PAGE);
        let _watch = Watch::start(other.all(), Arc::new(Lengthen(memfd))).expect("a slot");
        assert_eq!(view.all().load_u64(0), Ok(0));
        Ok(())
    });
}

/// Set in the child, to the case that it does.
const CASE: &str = "BIFOLIO_TEST_TOUCHING";
/// What a handler of the program ends the process with.
const HANDLED: i32 = 42;

/// What the handler found: the code of the signal, the address, and the lost bits.
static FOUND: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];
static HANDLER_RUNS: AtomicI32 = AtomicI32::new(0);
/// Signals that the thread blocks while the handler runs: SIGBUS, SIGUSR1, SIGUSR2.
static BLOCKED: AtomicUsize = AtomicUsize::new(0);

/// Notes what it gets, and repairs nothing: a test that goes on makes the access good first, or jumps.
extern "C" fn handler(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel's record.
    let known = unsafe { &*info };
    let code = known.si_code;
    // SAFETY: that of a fault; of a sent signal it is a number, which is not used.
    let address = unsafe { known.si_addr() } as usize;
    let bits = info.cast::<i16>().wrapping_add(12);
    // SAFETY: the record is longer; the bits are behind the address.
    let lost = unsafe { bits.read() };
    FOUND[0].store(code as usize, SeqCst);
    FOUND[1].store(address, SeqCst);
    FOUND[2].store(lost as usize, SeqCst);
    let mut mask = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the place is writable, and nothing is changed.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr()) };
    for (bit, signal) in [libc::SIGBUS, libc::SIGUSR1, libc::SIGUSR2].into_iter().enumerate() {
        // SAFETY: written by the call before.
        let blocked = unsafe { libc::sigismember(mask.as_ptr(), signal) } == 1;
        BLOCKED.fetch_or(usize::from(blocked) << bit, SeqCst);
    }
    if HANDLER_RUNS.fetch_add(1, SeqCst) == 0 && code > 0 {
        std::process::exit(HANDLED + i32::from(!found_as_expected()));
    }
}

/// What the handler should find, as [`FOUND`], and what should be blocked.
static EXPECTED: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

fn found_as_expected() -> bool {
    let found = FOUND.iter().chain([&BLOCKED]).map(|it| it.load(SeqCst));
    found.eq(EXPECTED.iter().map(|it| it.load(SeqCst)))
}

fn expect(code: i32, address: usize, lost: usize) {
    let blocked = 0b11;
    for (slot, value) in EXPECTED.iter().zip([code as usize, address, lost, blocked]) {
        slot.store(value, SeqCst);
    }
}

/// Does this for SIGBUS, before anything is watched. SIGUSR1 is blocked meanwhile.
fn before(handler: libc::sighandler_t, flags: i32) {
    // SAFETY: all fields are numbers, and zero is a value of each.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_SIGINFO | flags;
    // SAFETY: the mask is writable.
    unsafe { libc::sigaddset(&raw mut action.sa_mask, libc::SIGUSR1) };
    // SAFETY: the handler does what handlers may, or ends the process.
    assert_eq!(unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) }, 0);
}

fn ours() -> libc::sighandler_t {
    handler as *const () as libc::sighandler_t
}

/// Touches memory of a file beyond its end.
fn touch_beyond_end(expecting: bool) {
    let (memfd, _alias, view) = doubled(PAGE);
    memfd.set_len(0).expect("an open file");
    if expecting {
        expect(libc::BUS_ADRERR, view.span().start() + 8, 0);
    }
    let _: u64 = view.all().load_u64(8).expect("inside");
}

fn raise() {
    // SAFETY: a signal to this very thread.
    assert_eq!(unsafe { libc::raise(libc::SIGBUS) }, 0);
}

/// Answers that the bytes are lost.
struct Loses;

impl AnswerTouch for Loses {
    fn touched(&self, _: usize) -> Touched {
        Touched::Lost
    }
}

fn touch_lost(target: &Mapping, uffd: &Uffd) {
    uffd.register(target.all(), Modes::MISSING).expect("private memory");
    let _watch = Watch::start(target.all(), Arc::new(Loses)).expect("a slot");
    let _: u64 = target.all().load_u64(16).expect("inside");
}

fn do_case(case: &str) -> Result<(), Skip> {
    match case {
        "default" => {
            before(libc::SIG_DFL, 0);
            let _watched = Filler::watched(1)?;
            touch_beyond_end(false);
        }
        "sent" => {
            before(libc::SIG_DFL, 0);
            let _watched = Filler::watched(1)?;
            raise();
        }
        "ignored" => {
            before(libc::SIG_IGN, 0);
            let _watched = Filler::watched(1)?;
            raise();
            println!("went on");
            touch_beyond_end(false);
        }
        "handler" => {
            before(ours(), 0);
            let (_watch, _, target) = Filler::watched(1)?;
            assert_eq!(target.all().load_u64(0), Ok(1));
            touch_beyond_end(true);
        }
        "once" => {
            before(ours(), libc::SA_RESETHAND);
            let _watched = Filler::watched(1)?;
            raise();
            println!("handled {}", HANDLER_RUNS.load(SeqCst));
            raise();
        }
        "poisoned" => {
            before(ours(), 0);
            let uffd = uffd(SIGBUS | Features::POISON)?;
            let target = private(PAGE);
            uffd.register(target.all(), Modes::MISSING).expect("private memory");
            // Asked by kernels that do not tell it from a page that is not there.
            let answer = Arc::new(Loses);
            let _watch = Watch::start(target.all(), answer).expect("a slot");
            assert!(uffd.poison(target.span(), Wake::Now).is_done());
            expect(libc::BUS_MCEERR_AR, target.span().start(), 12);
            let _: u64 = target.all().load_u64(0).expect("inside");
        }
        "lost" => {
            before(ours(), 0);
            let target = private(PAGE);
            // The kernel tells the very address.
            expect(libc::BUS_MCEERR_AR, target.span().start() + 16, 12);
            touch_lost(&target, &uffd(SIGBUS)?);
        }
        "lost by default" => {
            before(libc::SIG_DFL, 0);
            touch_lost(&private(PAGE), &uffd(SIGBUS)?);
        }
        "blocked" => {
            let (_watch, _, target) = Filler::watched(1)?;
            process::block_all_signals_in_this_thread().expect("64 signals");
            let _: u64 = target.all().load_u64(0).expect("inside");
        }
        "over" => {
            before(libc::SIG_DFL, 0);
            // It keeps the memory registered.
            let (watch, _filler, target) = Filler::watched(1)?;
            drop(watch);
            let _: u64 = target.all().load_u64(0).expect("inside");
        }
        "panic" => {
            let uffd = uffd(SIGBUS)?;
            let target = private(PAGE);
            uffd.register(target.all(), Modes::MISSING).expect("private memory");
            let _watch = Watch::start(target.all(), Arc::new(Panics)).expect("a slot");
            let _: u64 = target.all().load_u64(0).expect("inside");
        }
        "too many" => {
            let page = private(PAGE);
            let watch = || Watch::start(page.all(), Arc::new(Loses));
            let mut watches: Vec<_> = (0..256).map(|_| watch().expect("a slot")).collect();
            assert_eq!(watch().expect_err("none is left"), WatchError::TooMany);
            drop(watches.remove(100));
            drop(watch().expect("one is free again"));
        }
        other => panic!("no case {other}"),
    }
    Ok(())
}

struct Panics;

impl AnswerTouch for Panics {
    fn touched(&self, _: usize) -> Touched {
        panic!("an answer that fails")
    }
}

#[test]
fn any_other_sigbus_goes_the_way_it_went_before() {
    let name = "touching::any_other_sigbus_goes_the_way_it_went_before";
    if let Ok(case) = std::env::var(CASE) {
        process::no_core_dump();
        if let Err(Skip(why)) = do_case(&case) {
            println!("SKIP {why}");
        }
        return;
    }
    let died = |signal| (None, Some(signal));
    let exited = |code| (Some(code), None);
    let cases = [
        ("default", died(libc::SIGBUS), ""),
        ("sent", died(libc::SIGBUS), ""),
        ("ignored", died(libc::SIGBUS), "went on"),
        ("handler", exited(HANDLED), ""),
        ("once", died(libc::SIGBUS), "handled 1"),
        ("poisoned", exited(HANDLED), ""),
        ("lost", exited(HANDLED), ""),
        ("lost by default", died(libc::SIGBUS), ""),
        ("blocked", died(libc::SIGBUS), ""),
        ("over", died(libc::SIGBUS), ""),
        ("panic", died(libc::SIGABRT), ""),
        ("too many", exited(0), ""),
    ];
    for (case, (code, signal), said) in cases {
        let test = std::env::current_exe().expect("this test");
        let child = Command::new(test).args(["--exact", name, "--nocapture"]).env(CASE, case).output();
        let child = child.expect("the child runs");
        let told = String::from_utf8_lossy(&child.stdout);
        if told.contains("SKIP") {
            continue;
        }
        let ended = (child.status.code(), child.status.signal());
        let errors = String::from_utf8_lossy(&child.stderr);
        assert_eq!(ended, (code, signal), "{case}: {told} {errors}");
        assert!(told.contains(said), "{case}: {told}");
    }
}
