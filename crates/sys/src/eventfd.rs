//! A counter that threads can wait for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::SysError;

/// An eventfd: raised by one thread, seen by every thread that polls it, until cleared.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// Makes one that is not raised. Closed on exec; never blocks.
    ///
    /// # Errors
    ///
    /// Fails when descriptors or memory run out.
    pub fn new() -> Result<Self, SysError> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Self).map_err(SysError::of("eventfd"))
    }

    /// Moves its descriptor to a high number ([`process::high_fd`](crate::process::high_fd)).
    #[must_use]
    pub fn raised(self) -> Self {
        Self(crate::process::high_fd(self.0))
    }

    /// Raises it. Raising twice is the same as once for a reader that polls.
    ///
    /// # Errors
    ///
    /// Fails only if the descriptor was closed behind our back.
    pub fn raise(&self) -> Result<(), SysError> {
        match rustix::io::write(&self.0, &1_u64.to_ne_bytes()) {
            // A full counter is raised as well.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(SysError { call: "write to eventfd", errno }),
        }
    }

    /// Clears it and tells whether it had been raised.
    pub fn clear(&self) -> bool {
        let mut count = [0_u8; 8];
        rustix::io::read(&self.0, &mut count).is_ok()
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raised_once_is_cleared_once() {
        let event = EventFd::new().expect("descriptors are left");
        assert!(!event.clear());
        event.raise().expect("open");
        event.raise().expect("open");
        assert!(event.clear());
        assert!(!event.clear());
    }
}
