//! Stopping threads that sleep in a blocking read of a userfaultfd.
//!
//! Nothing in the kernel's interface wakes such a reader: closing does not, a signal would need a handler in the
//! program's name space, and poll (which could watch a stop event) costs a microsecond on every fault. So the
//! stopper makes a fault of its own. A [`Doorbell`] is a registered page for each handler; to stop one, a short-lived
//! thread touches a page, some handler reads that fault, recognises the address, answers it and leaves. Each ring
//! stops exactly one handler.
//!
//! If no handler is left to hear, the ring must not sleep for ever: after the time limit the page is unregistered,
//! which wakes the ringing thread, and the answer is [`Rung::Unheard`].
//!
//! Ringing allocates a little from the program's heap. If that heap is itself served by the handlers, bring it home
//! before the last of them is stopped.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::{
    AddressRange, MapError, Mapping, Modes, PAGE, Placement, Protection, SysError, Uffd, Wake, advise,
};

/// Pages whose faults mean "stop".
#[derive(Debug)]
pub struct Doorbell {
    pages: Mapping,
}

/// What came of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// A handler answered and is about to leave.
    Heard,
    /// None did within the time limit. This bell's button is dead from now on.
    Unheard,
}

/// Why a doorbell was not set up or not rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BellError {
    /// No page for it.
    #[error("no page for the doorbell")]
    Map(#[from] MapError),
    /// Registration refused.
    #[error("doorbell cannot be registered")]
    Register(#[from] SysError),
    /// No thread to ring with.
    #[error("doorbell cannot be rung: no thread ({0})")]
    Thread(std::io::ErrorKind),
    /// There is no such button.
    #[error("doorbell has no button {0}")]
    Button(usize),
}

impl Doorbell {
    /// Makes a doorbell with `buttons` buttons, one for each handler, on a userfaultfd that has shaken hands.
    ///
    /// # Errors
    ///
    /// Fails for 0 buttons, without memory, or when registration is refused.
    pub fn new(uffd: &Uffd, buttons: usize) -> Result<Self, BellError> {
        let pages =
            Mapping::anonymous(buttons.saturating_mul(PAGE), Protection::ReadWrite, Placement::Anywhere)?;
        // A child must not ring its parent's bell; refused advice only wastes a page there.
        let _ = advise::dontfork(pages.all());
        uffd.register(pages.all(), Modes::MISSING)?;
        Ok(Self { pages })
    }

    /// Answers the fault at `address` if it is a ring, and tells so: the handler that gets `true` must leave.
    #[must_use = "true means stop"]
    pub fn answer(&self, uffd: &Uffd, address: usize) -> bool {
        if !self.pages.span().contains(address) {
            return false;
        }
        // The page after the bell's end never rings, so the part is always inside.
        if let Ok(page) = AddressRange::new(address - address % PAGE, PAGE) {
            let _ = uffd.zeropage(page, Wake::Now);
        }
        true
    }

    /// Rings one button and waits, at most `limit`, until a handler has answered.
    ///
    /// # Errors
    ///
    /// Fails for a button that does not exist, when no thread can be started, or when an unheard ring cannot be
    /// taken back.
    pub fn ring(&self, uffd: &Uffd, button: usize, limit: Duration) -> Result<Rung, BellError> {
        let page = self.pages.span().part(button.saturating_mul(PAGE), PAGE);
        let page = page.map_err(|_| BellError::Button(button))?;
        let bytes = self.pages.at(page).map_err(MapError::from)?;
        std::thread::scope(|scope| {
            let (heard, hears) = channel();
            let ringing = std::thread::Builder::new().spawn_scoped(scope, move || {
                let touched = bytes.write(0, 1_u8);
                // The stopper may have given up.
                let _ = heard.send(touched);
            });
            ringing.map_err(|error| BellError::Thread(error.kind()))?;
            match hears.recv_timeout(limit) {
                Ok(_) => Ok(Rung::Heard),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    uffd.unregister(page)?;
                    Ok(Rung::Unheard)
                }
            }
        })
    }
}
