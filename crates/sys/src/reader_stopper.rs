//! Stopping threads that sleep in a blocking read of a userfaultfd.
//!
//! Nothing in the kernel's interface wakes such a reader: closing does not, a signal would need a handler in the
//! program's name space, and poll (which could watch a stop event) costs a microsecond on every fault. So the
//! stopper makes a fault of its own. A [`ReaderStopper`] has a registered page for each reader; to stop one, a short-lived
//! thread touches a page, some reader gets that fault, recognises the address, answers it and leaves. Each stop ends
//! exactly one reader.
//!
//! If no reader is left, the touch must not sleep for ever: after the time limit the page is unregistered, which wakes the
//! touching thread, and the result is [`StopResult::NoReader`].
//!
//! A stop allocates a little from the program's heap. If that heap is itself served by the readers, bring it home before
//! the last of them is stopped.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::{
    AddressRange, MapError, Mapping, Modes, PAGE, Placement, Protection, SysError, Uffd, Wake, advise,
};

/// Pages whose faults mean "stop".
#[derive(Debug)]
pub struct ReaderStopper {
    pages: Mapping,
}

/// What came of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopResult {
    /// A reader answered and is about to leave.
    Stopped,
    /// None did within the time limit. This page stops none from now on.
    NoReader,
}

/// Why readers cannot be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// No page for it.
    #[error("no page to stop readers with")]
    Map(#[from] MapError),
    /// Registration refused.
    #[error("page to stop readers with cannot be registered")]
    Register(#[from] SysError),
    /// No thread to touch the page.
    #[error("reader cannot be stopped: no thread ({0})")]
    Thread(std::io::ErrorKind),
    /// There is no such reader.
    #[error("there is no reader {0} to stop")]
    NoSuchReader(usize),
}

impl ReaderStopper {
    /// Makes pages to stop `readers` readers with, on a userfaultfd that has shaken hands.
    ///
    /// # Errors
    ///
    /// Fails for 0 readers, without memory, or when registration is refused.
    pub fn new(uffd: &Uffd, readers: usize) -> Result<Self, StopError> {
        let pages =
            Mapping::anonymous(readers.saturating_mul(PAGE), Protection::ReadWrite, Placement::Anywhere)?;
        // A child must not stop its parent's readers; refused advice only wastes a page there.
        let _ = advise::dontfork(pages.all());
        uffd.register(pages.all(), Modes::MISSING)?;
        Ok(Self { pages })
    }

    /// Answers the fault at `address` if it is a stop, and tells so: the reader that gets `true` must leave.
    #[must_use = "true means stop"]
    pub fn answer(&self, uffd: &Uffd, address: usize) -> bool {
        if !self.pages.span().contains(address) {
            return false;
        }
        // No stop touches the page after the end, so the part is always inside.
        if let Ok(page) = AddressRange::new(address - address % PAGE, PAGE) {
            let _ = uffd.zeropage(page, Wake::Now);
        }
        true
    }

    /// Stops one reader: waits, at most `limit`, until one has answered. `reader` is the page to do it with, each for once.
    ///
    /// # Errors
    ///
    /// Fails for a number that does not exist, when no thread can be started, or when a touch that is not answered cannot
    /// be taken back.
    pub fn stop(&self, uffd: &Uffd, reader: usize, limit: Duration) -> Result<StopResult, StopError> {
        let page = self.pages.span().part(reader.saturating_mul(PAGE), PAGE);
        let page = page.map_err(|_| StopError::NoSuchReader(reader))?;
        let bytes = self.pages.at(page).map_err(MapError::from)?;
        std::thread::scope(|scope| {
            let (tell, told) = channel();
            let touching = std::thread::Builder::new().spawn_scoped(scope, move || {
                let touched = bytes.write(0, 1_u8);
                // The stopper may have given up.
                let _ = tell.send(touched);
            });
            touching.map_err(|error| StopError::Thread(error.kind()))?;
            match told.recv_timeout(limit) {
                Ok(_) => Ok(StopResult::Stopped),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    uffd.unregister(page)?;
                    Ok(StopResult::NoReader)
                }
            }
        })
    }
}
