//! Signals as messages: blocked, and read from a descriptor together with their origin.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::io::Errno;

use crate::{SysError, raw};

/// Bytes of one message of the kernel, `struct signalfd_siginfo`.
const MESSAGE: usize = 128;

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its number.
    pub signal: i32,
    /// Whether a process sent it; else it is the kernel's, as from a key or a limit.
    pub sent: bool,
}

/// Signals that are blocked in this thread and read here.
#[derive(Debug)]
pub struct SignalInbox {
    fd: OwnedFd,
    /// What was blocked before.
    before: u64,
}

impl SignalInbox {
    /// Blocks `signals` in this thread, and in those it starts, and makes them readable. Programs inherit that, save those
    /// that are started by [`spawn`](SignalInbox::spawn).
    ///
    /// # Errors
    ///
    /// Fails when descriptors run out.
    pub fn open(signals: &[i32]) -> Result<SignalInbox, SysError> {
        let mask = signals.iter().fold(0_u64, |mask, signal| mask | 1 << (signal - 1));
        let before = raw::block_signals(mask).map_err(SysError::of("rt_sigprocmask"))?;
        let fd = raw::signalfd(mask).map_err(SysError::of("signalfd"))?;
        // SAFETY: the kernel has just made it for this call.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(SignalInbox { fd, before })
    }

    /// Starts a program, which blocks what was blocked before this was opened.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`].
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let before = self.before;
        let restore = move || raw::set_signal_mask(before).map(drop).map_err(io::Error::from);
        // SAFETY: the closure makes one system call, and neither allocates nor locks.
        unsafe { command.pre_exec(restore) }.spawn()
    }

    /// Reads a signal that has arrived, if any.
    ///
    /// # Errors
    ///
    /// Fails only if the descriptor was closed behind our back.
    pub fn read(&self) -> Result<Option<Arrived>, SysError> {
        let mut message = [0; MESSAGE];
        match rustix::io::read(&self.fd, &mut message) {
            Ok(_) => {
                let word = |at: usize| {
                    let mut bytes = [0; 4];
                    bytes.copy_from_slice(&message[at..at + 4]);
                    i32::from_ne_bytes(bytes)
                };
                // Codes of at most 0 are those of kill, sigqueue and the like.
                Ok(Some(Arrived { signal: word(0), sent: word(8) <= 0 }))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(SysError { call: "read of signalfd", errno }),
        }
    }
}

impl AsFd for SignalInbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::Signal;

    #[test]
    fn signal_of_a_process_is_told_from_one_of_the_kernel() {
        let here = std::thread::spawn(|| {
            let (sent, alarm) = (Signal::USR2.as_raw(), Signal::PIPE.as_raw());
            let inbox = SignalInbox::open(&[sent, alarm]).expect("descriptors");
            assert_eq!(inbox.read(), Ok(None));
            // The kernel raises SIGPIPE in the thread that writes to a pipe without a reader.
            let (read, write) = rustix::pipe::pipe().expect("descriptors");
            drop(read);
            let _: Result<usize, Errno> = rustix::io::write(&write, b"x");
            inbox.read().expect("open")
        });
        let arrived = here.join().expect("no panic").expect("the pipe had no reader");
        // A broken pipe counts as sent by the writer itself.
        assert_eq!(arrived, Arrived { signal: Signal::PIPE.as_raw(), sent: true });
    }

    #[test]
    fn programs_block_only_what_was_blocked_before() {
        let blocked = std::thread::spawn(|| {
            let first = SignalInbox::open(&[Signal::USR1.as_raw()]).expect("descriptors");
            let second = SignalInbox::open(&[Signal::USR2.as_raw()]).expect("descriptors");
            [first, second].map(|inbox| {
                let mut command = Command::new("grep");
                command.args(["SigBlk", "/proc/self/status"]).stdout(std::process::Stdio::piped());
                let output =
                    inbox.spawn(&mut command).and_then(Child::wait_with_output).expect("there is grep");
                String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
            })
        });
        let blocked = blocked.join().expect("no panic");
        assert!(
            blocked[0].ends_with("0000000000000000") && blocked[1].ends_with("0000000000000200"),
            "{blocked:?}"
        );
    }
}
