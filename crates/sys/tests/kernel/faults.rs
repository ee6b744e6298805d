//! Faults of the program and of the kernel on its behalf: delivered, answered, woken.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use bifolio_sys::process::thread_id;
use bifolio_sys::{
    Access, AddressRange, CopyMode, Errno, Features, Mapping, Message, MessageBuf, Modes, Outcome, PAGE,
    Protection, Reads, SharedBytes, Uffd, Wake, Way,
};

use crate::limits::{Skip, eventually, limited, uffd};
use crate::serving::{Server, doubled, numbered, private};

fn raw_answer(answer: isize) -> Result<usize, Errno> {
    usize::try_from(answer).map_err(|_| {
        let error = std::io::Error::last_os_error();
        Errno::from_raw_os_error(error.raw_os_error().expect("a system call failed"))
    })
}

/// Lets write(2) read from the memory.
pub fn write_from(memory: SharedBytes<'_>) -> Result<usize, Errno> {
    let (_reader, writer) = std::io::pipe().expect("descriptors are left");
    let at = std::ptr::with_exposed_provenance(memory.address());
    // SAFETY: the kernel reads mapped memory of that length, or fails.
    raw_answer(unsafe { libc::write(writer.as_raw_fd(), at, memory.len()) })
}

/// Lets read(2) fill the memory with zero bytes.
fn read_into(memory: SharedBytes<'_>) -> Result<usize, Errno> {
    let zero = std::fs::File::open("/dev/zero").expect("exists");
    let at = std::ptr::with_exposed_provenance_mut(memory.address());
    // SAFETY: the kernel writes mapped memory of that length, accessed raw only, or fails.
    raw_answer(unsafe { libc::read(zero.as_raw_fd(), at, memory.len()) })
}

/// Opens by one way and shakes hands, or skips.
fn opened(way: Way, features: Features) -> Result<Arc<Uffd>, Skip> {
    let uffd = Uffd::open(way, Reads::NonBlocking).map_err(Skip::because)?;
    uffd.api(features).map_err(|error| Skip::because(error.errno))?;
    Ok(Arc::new(uffd))
}

/// Serves missing pages by zero, counting.
fn zero_server(uffd: &Arc<Uffd>) -> (Server, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&count);
    let server = Server::start(Arc::clone(uffd), move |uffd, message| {
        let Message::Pagefault { address, .. } = message else { panic!("{message:?}") };
        counter.fetch_add(1, SeqCst);
        let page = AddressRange::new(address & !(PAGE - 1), PAGE).expect("aligned");
        assert!(uffd.zeropage(page, Wake::Now).is_done());
    });
    (server, count)
}

/// Tells how many faults have come to a userfaultfd and are not answered yet, read or not.
fn waiting_faults(uffd: &Uffd) -> usize {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", uffd.as_fd().as_raw_fd()));
    let info = info.expect("proc is mounted");
    let total = info.lines().find_map(|line| line.strip_prefix("total:"));
    total.expect("every userfaultfd has a line of it").trim().parse().expect("a number")
}

/// Tells whether the thread with this number is off its processor, and not in a system call. With a fault waiting, it
/// is the fault that it sleeps in: not a lock of the C library, and not on the way to sleep, where what is installed
/// meanwhile would be seen without any waking.
fn sleeps_in_a_fault(thread: u32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).unwrap_or_default();
    call.starts_with("-1 ")
}

/// Starts a thread that loads the first word of a page, and waits until it sleeps.
fn sleeper(uffd: &Uffd, page: Arc<Mapping>) -> thread::JoinHandle<u64> {
    let (told, number) = channel();
    let sleeper = thread::spawn(move || {
        told.send(thread_id()).expect("the test listens");
        page.all().load_u64(0).expect("inside")
    });
    let number = number.recv().expect("started");
    eventually(|| waiting_faults(uffd) == 1);
    eventually(|| sleeps_in_a_fault(number));
    sleeper
}

#[test]
fn user_mode_only_delivers_the_programs_own_faults() {
    limited("user_mode_only_delivers_the_programs_own_faults", || {
        let uffd = opened(Way::UserModeOnly, Features::empty())?;
        assert_eq!(uffd.access(), Access::UserModeOnly);
        let memory = private(4 * PAGE);
        uffd.register(memory.all(), Modes::MISSING).expect("private memory");
        let (_server, count) = zero_server(&uffd);
        memory.all().store_u64(PAGE + 8, 5).expect("inside");
        assert_eq!(memory.all().load_u64(PAGE + 8), Ok(5));
        assert_eq!(count.load(SeqCst), 1);
        Ok(())
    });
}

#[test]
fn system_call_on_a_missing_page_fails_in_user_mode_only() {
    limited("system_call_on_a_missing_page_fails_in_user_mode_only", || {
        let uffd = opened(Way::UserModeOnly, Features::empty())?;
        let memory = private(PAGE);
        uffd.register(memory.all(), Modes::MISSING).expect("private memory");
        let (_server, count) = zero_server(&uffd);
        assert_eq!(read_into(memory.all()), Err(Errno::FAULT));
        assert_eq!(write_from(memory.all()), Err(Errno::FAULT));
        assert_eq!(count.load(SeqCst), 0);
        Ok(())
    });
}

#[test]
fn system_call_on_a_missing_page_works_in_full_mode() {
    limited("system_call_on_a_missing_page_works_in_full_mode", || {
        let ways = [Way::DevNode, Way::Syscall];
        let uffd = Uffd::open_first(&ways, Reads::NonBlocking).map_err(Skip::because)?;
        uffd.api(Features::empty()).expect("no feature is always granted");
        let uffd = Arc::new(uffd);
        assert!(matches!(uffd.access(), Access::Full(_)));
        let memory = private(2 * PAGE);
        uffd.register(memory.all(), Modes::MISSING).expect("private memory");
        let (_server, count) = zero_server(&uffd);
        assert_eq!(read_into(memory.all()), Ok(2 * PAGE));
        assert_eq!(write_from(memory.all()), Ok(2 * PAGE));
        assert_eq!(count.load(SeqCst), 2);
        Ok(())
    });
}

#[test]
fn minor_fault_names_itself_and_continue_answers_it() {
    limited("minor_fault_names_itself_and_continue_answers_it", || {
        let uffd = Arc::new(uffd(Features::MINOR_SHMEM | Features::MISSING_SHMEM | Features::THREAD_ID)?);
        let (_memfd, alias, view) = doubled(PAGE);
        alias.all().store_u64(0, 7).expect("inside");
        uffd.register(view.all(), Modes::MISSING | Modes::MINOR).expect("shared memory");
        let (told, faults) = channel();
        let span = view.span();
        let _server = Server::start(Arc::clone(&uffd), move |uffd, message| {
            told.send(format!("{message:?}")).expect("the test listens");
            assert!(uffd.continue_(span, CopyMode::empty()).is_done());
        });
        assert_eq!(view.all().load_u64(0), Ok(7));
        let wanted = format!(
            "Pagefault {{ address: {}, write: false, minor: true, wp: false, thread: {} }}",
            span.start(),
            thread_id()
        );
        assert_eq!(faults.recv().expect("one fault"), wanted);
        Ok(())
    });
}

#[test]
fn one_read_returns_the_faults_of_many_threads() {
    limited("one_read_returns_the_faults_of_many_threads", || {
        let uffd = uffd(Features::empty())?;
        let memory = Arc::new(private(4 * PAGE));
        uffd.register(memory.all(), Modes::MISSING).expect("private memory");
        let threads: Vec<_> = (0..4)
            .map(|page| {
                let memory = Arc::clone(&memory);
                thread::spawn(move || memory.all().load_u64(page * PAGE).expect("inside"))
            })
            .collect();
        eventually(|| waiting_faults(&uffd) == 4);
        let mut buf = MessageBuf::new();
        assert_eq!(uffd.read(&mut buf).expect("ready").len(), 4);
        assert!(uffd.read(&mut buf).expect("ready").is_empty());
        assert!(uffd.zeropage(memory.span(), Wake::Now).is_done());
        assert!(threads.into_iter().all(|thread| thread.join().expect("no panic") == 0));
        Ok(())
    });
}

#[test]
fn sleeper_outlives_a_silent_install_and_wakes_when_told() {
    limited("sleeper_outlives_a_silent_install_and_wakes_when_told", || {
        let uffd = uffd(Features::empty())?;
        let page = Arc::new(private(PAGE));
        uffd.register(page.all(), Modes::MISSING).expect("private memory");
        let sleeper = sleeper(&uffd, Arc::clone(&page));
        let source = numbered(PAGE);
        assert!(uffd.copy(page.span(), source.all(), CopyMode::DONT_WAKE).is_done());
        thread::sleep(Duration::from_millis(50));
        assert!(!sleeper.is_finished());
        assert_eq!(uffd.wake(page.span()), Outcome::Done(PAGE));
        assert_eq!(sleeper.join().expect("no panic"), 1);
        Ok(())
    });
}

#[test]
fn sleeper_on_a_replaced_page_goes_on_when_woken() {
    limited("sleeper_on_a_replaced_page_goes_on_when_woken", || {
        let uffd = uffd(Features::empty())?;
        let page = Arc::new(private(PAGE));
        uffd.register(page.all(), Modes::MISSING).expect("private memory");
        let sleeper = sleeper(&uffd, Arc::clone(&page));
        page.replace_anonymous(page.span(), Protection::ReadWrite).expect("own memory");
        assert_eq!(uffd.zeropage(page.span(), Wake::Now), Outcome::Missing);
        thread::sleep(Duration::from_millis(50));
        assert!(!sleeper.is_finished(), "nothing else wakes it");
        assert!(uffd.wake(page.span()).is_done());
        assert_eq!(sleeper.join().expect("no panic"), 0);
        Ok(())
    });
}

#[test]
fn unregistering_wakes_sleepers() {
    limited("unregistering_wakes_sleepers", || {
        let uffd = uffd(Features::empty())?;
        let page = Arc::new(private(PAGE));
        uffd.register(page.all(), Modes::MISSING).expect("private memory");
        let sleeper = sleeper(&uffd, Arc::clone(&page));
        uffd.unregister(page.span()).expect("registered");
        assert_eq!(sleeper.join().expect("no panic"), 0);
        Ok(())
    });
}

/// Set in the process that is to die.
const VICTIM: &str = "BIFOLIO_TEST_VICTIM";

#[test]
fn sleeper_on_an_unmapped_page_dies_of_sigsegv_when_woken() {
    const NAME: &str = "faults::sleeper_on_an_unmapped_page_dies_of_sigsegv_when_woken";
    if std::env::var_os(VICTIM).is_some() {
        wake_a_sleeper_on_an_unmapped_page();
        return;
    }
    limited(NAME, || {
        uffd(Features::empty())?;
        let program = std::env::current_exe().expect("proc is mounted");
        let mut victim = Command::new(program);
        victim.args(["--exact", NAME]).env(VICTIM, "1");
        let status = victim.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("starts");
        assert_eq!(status.signal(), Some(libc::SIGSEGV), "{status}");
        Ok(())
    });
}

/// Returns if no signal comes for a long time.
fn wake_a_sleeper_on_an_unmapped_page() {
    let Ok(uffd) = uffd(Features::empty()) else { return };
    let page = Arc::new(private(PAGE));
    uffd.register(page.all(), Modes::MISSING).expect("private memory");
    let sleeper = sleeper(&uffd, Arc::clone(&page));
    // SAFETY: nothing but the sleeper's raw access uses the page, and that is meant to fail.
    let unmapped = unsafe { libc::munmap(std::ptr::with_exposed_provenance_mut(page.span().start()), PAGE) };
    assert_eq!(unmapped, 0);
    assert!(uffd.wake(page.span()).is_done());
    eventually(|| sleeper.is_finished());
}
