//! What the kernel must grant before a test can mean anything. A test that cannot run says so, by name.
#![allow(dead_code, reason = "each test program uses a part")]

use std::io::Write;

use bifolio_sys::{Features, Reads, Uffd};

/// What spaces need, coherent ones included.
pub const SHARED: Features =
    Features::MINOR_SHMEM.union(Features::MISSING_SHMEM).union(Features::EVENT_REMAP);

/// Whether there is a userfaultfd with these features. If not, `test` is named as skipped.
pub fn grants(test: &str, features: Features) -> bool {
    match Uffd::open_ready(Reads::Blocking, features, Features::empty()) {
        Ok(_) => true,
        Err(refused) => {
            skip(test, &refused);
            false
        }
    }
}

/// Says that `test` is skipped, past the capture of the test harness.
pub fn skip(test: &str, why: &dyn std::fmt::Display) {
    writeln!(std::io::stderr(), "SKIP {test}: {why}").expect("stderr is open");
}
