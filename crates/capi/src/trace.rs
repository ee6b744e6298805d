//! Recording a space: an observer of every space, which is deaf until `bf_trace` begins.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bifolio_host::{Detail, Event, Observer};
use bifolio_trace::{LIMIT_DEFAULT, Options, Recorder, command_words, machine_notes};

use crate::abi::{BF_E_ARGUMENT, BF_E_BUSY};
use crate::handle::lock;
use crate::status::Error;

/// Passes events on while there is a recorder.
#[derive(Default)]
pub struct Recorded {
    on: AtomicBool,
    to: RwLock<Option<Arc<dyn Observer>>>,
    recorder: Mutex<Option<Recorder>>,
}

impl Recorded {
    /// Begins to record to a file, of at most `limit` bytes; 0 for the usual limit.
    pub fn begin(&self, file: &Path, limit: u64) -> Result<(), Error> {
        let mut recorder = lock(&self.recorder);
        if recorder.is_some() {
            return Err(Error::new(
                BF_E_BUSY,
                "the space is recorded already: end that first, by a null file",
            ));
        }
        let command = [("command", command_words().join(" ")), ("accesses", "used".to_owned())];
        let notes = machine_notes().into_iter().chain(command);
        let limit = if limit == 0 { LIMIT_DEFAULT } else { limit };
        let options = Options { limit, ..Options::new(notes) };
        let begun = Recorder::create(file, &options).map_err(|why| of_file(&why))?;
        self.pass_to(Some(begun.observer()));
        *recorder = Some(begun);
        Ok(())
    }

    /// Ends the recording, with notes; does nothing if there is none.
    pub fn end(&self, notes: Vec<(&'static str, String)>) -> Result<(), Error> {
        let Some(recorder) = lock(&self.recorder).take() else { return Ok(()) };
        self.pass_to(None);
        recorder.finish(notes).map(drop).map_err(|why| of_file(&why))
    }

    fn pass_to(&self, observer: Option<Arc<dyn Observer>>) {
        // Release: who sees the flag sees the observer, or one that came later.
        self.on.store(observer.is_some(), Ordering::Release);
        *self.to.write().unwrap_or_else(PoisonError::into_inner) = observer;
    }
}

fn of_file(why: &std::io::Error) -> Error {
    Error::new(BF_E_ARGUMENT, format!("the trace cannot be written: {why}"))
}

impl Observer for Recorded {
    fn detail(&self) -> Detail {
        Detail::Results
    }

    fn observe(&self, event: &Event<'_>) {
        if self.on.load(Ordering::Acquire) {
            let to = self.to.read().unwrap_or_else(PoisonError::into_inner);
            to.iter().for_each(|observer| observer.observe(event));
        }
    }
}
