//! Time limits and spoken skips.

use std::fmt;
use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bifolio_sys::{Features, Reads, ReadyError, Uffd};

/// One test at a time: a fork in one stops all threads at the C library's locks, and huge pages are counted.
static ALONE: Mutex<()> = Mutex::new(());

/// Far beyond what any test needs, even on a machine that others keep busy.
pub const LIMIT: Duration = Duration::from_secs(300);

/// Why the kernel does not let a test run.
pub struct Skip(pub String);

impl Skip {
    pub fn because(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

/// Runs a test in a thread of its own, within the limit, while no other runs.
pub fn limited(name: &str, body: impl FnOnce() -> Result<(), Skip> + Send + 'static) {
    // A failed test leaves nothing half done that the next could trip over.
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (finished, result) = channel();
    let running = thread::spawn(move || {
        let _ = finished.send(body());
    });
    match result.recv_timeout(LIMIT) {
        Ok(Ok(())) => {}
        // Written past the harness, which would swallow it.
        Ok(Err(Skip(reason))) => {
            writeln!(std::io::stderr(), "SKIP {name}: {reason}").expect("stderr is open");
        }
        Err(RecvTimeoutError::Timeout) => panic!("{name} is asleep after {LIMIT:?}"),
        Err(RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(running.join().expect_err("it ended without a result"));
        }
    }
}

/// Opens the best userfaultfd with these features, or skips.
pub fn uffd(required: Features) -> Result<Uffd, Skip> {
    let opened = Uffd::open_ready(Reads::NonBlocking, required, Features::empty());
    opened.map(|(uffd, _)| uffd).map_err(|error| match error {
        ReadyError::PageSize(error) => Skip::because(error),
        ReadyError::Open(error) => Skip::because(error),
        ReadyError::Features(error) => Skip::because(format!("{required:?} not granted: {}", error.errno)),
    })
}

/// Waits for a fact that another thread brings about.
pub fn eventually(fact: impl Fn() -> bool) {
    let start = Instant::now();
    while !fact() {
        assert!(start.elapsed() < LIMIT / 2, "it never came true");
        thread::sleep(Duration::from_millis(1));
    }
}
