//! Who answers the faults of a space: threads that wait for them, or those that touch.

use std::sync::Arc;

use bifolio_sys::{Features, Reads, ReadyError, SharedBytes, Uffd};

use crate::fault_loop::{Answer, Handlers, HandlersError, Readers};
use crate::setup::SetupError;
use crate::touchers::Touchers;

/// Threads that answer CPU faults.
const HANDLERS: usize = 2;

/// SIGBUS for what is lost, and which thread sleeps, so that no device waits for it.
const WISHED: Features = Features::POISON.union(Features::THREAD_ID);

/// The features that a space cannot do without.
const REQUIRED: Features = Features::MISSING_SHMEM.union(Features::MINOR_SHMEM).union(Features::EVENT_REMAP);

/// Answers faults until it is dropped.
pub(super) enum Serving {
    /// Threads that wait for them, or that read what only the program answers.
    Handlers(#[expect(dead_code, reason = "dropping it ends them")] Handlers),
    /// The threads that touch.
    Touchers(#[expect(dead_code, reason = "as above")] Touchers),
}

impl Serving {
    pub(super) fn start(
        uffd: &Arc<Uffd>,
        readers: Readers,
        memory: SharedBytes<'_>,
        answer: &Arc<dyn Answer>,
    ) -> Result<Serving, HandlersError> {
        let uffd = Arc::clone(uffd);
        match readers {
            Readers::Toucher => Touchers::start(uffd, memory, answer).map(Serving::Touchers),
            _ => Handlers::start(uffd, HANDLERS, readers, answer).map(Serving::Handlers),
        }
    }
}

/// Opens the userfaultfd of a space.
pub(super) fn open(readers: Readers) -> Result<Uffd, SetupError> {
    open_with(readers, REQUIRED)
}

fn open_with(readers: Readers, required: Features) -> Result<Uffd, SetupError> {
    let (reads, required) = match readers {
        Readers::Handlers | Readers::Separate => (Reads::Blocking, required),
        Readers::Caller => (Reads::NonBlocking, required),
        Readers::Toucher => (Reads::NonBlocking, required | Features::SIGBUS),
    };
    match Uffd::open_ready(reads, required, WISHED) {
        Ok((uffd, _)) => Ok(uffd),
        Err(why @ ReadyError::Features(_)) if readers == Readers::Toucher => Err(SetupError::Toucher(why)),
        Err(why) => Err(why.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_without_the_feature_is_told_with_the_way_out() {
        // No kernel has it.
        let unknown = REQUIRED | Features::from_bits_retain(1 << 60);
        let refused = [Readers::Toucher, Readers::Handlers].map(|readers| {
            let refused = open_with(readers, unknown).expect_err("not granted");
            // Where there is no userfaultfd at all, other readers would not help.
            (matches!(refused, SetupError::Toucher(_)), refused.to_string())
        });
        let none = Uffd::open_best(Reads::Blocking).is_err();
        assert!(refused[0].0 != none, "{refused:?}");
        assert!(none || refused[0].1.contains("choose other `readers`"), "{refused:?}");
        assert!(!refused[1].0, "{refused:?}");
    }
}
