//! Reading what the kernel reports: faults, and changes of the address space.
//!
//! The kernel writes messages of 32 bytes; a [`MessageBuf`] takes up to 16 at once and lives on the handler's stack,
//! so that no handler allocates from a heap that it may itself be serving. Decoding looks at bytes only, no unions.
//!
//! A thread that changes the address space (fork, munmap, mremap, madvise) with an event feature on sleeps until its
//! message is read. So read in a thread that does none of these, and read everything before acting: with a message
//! waiting, installs answer [`Outcome::Again`](crate::Outcome::Again).
//!
//! A thread in fork holds the C library's allocator locks while it waits for its message. A handler that allocates
//! before it has read that message waits for the fork that waits for it. Reading and decoding here allocate nothing.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use linux_raw_sys::general as uapi;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::abi::{MESSAGE_BYTES, address};
use crate::{Access, EventFd, SysError, Uffd};

/// Messages read at once.
const BATCH: usize = 16;

/// One message of the kernel.
#[derive(Debug)]
pub enum Message {
    /// A thread waits for a page.
    Pagefault {
        /// The address touched: of the page, or exact with that feature.
        address: usize,
        /// It was a write, or wants to write.
        write: bool,
        /// The page is in the file, only not mapped here.
        minor: bool,
        /// The page is there and write-protected.
        wp: bool,
        /// Thread id, 0 without that feature.
        thread: u32,
    },
    /// The process forked; the child's memory is served by `uffd` from now on.
    Fork {
        /// Its userfaultfd. Dropped: the child's missing pages read as zero.
        uffd: Uffd,
    },
    /// `mremap` moved a registered range; the registration went along.
    Remap {
        /// First address before.
        from: usize,
        /// First address now.
        to: usize,
        /// Bytes.
        len: usize,
    },
    /// Pages were dropped; they will be missing.
    Remove {
        /// First address.
        start: usize,
        /// First address after.
        end: usize,
    },
    /// A range was unmapped or replaced, and its registration with it.
    Unmap {
        /// First address.
        start: usize,
        /// First address after.
        end: usize,
    },
    /// Something this version of the crate does not know.
    Unknown {
        /// The kernel's number for it.
        event: u8,
    },
}

/// Room for the messages of one read.
#[derive(Clone, Debug)]
pub struct MessageBuf {
    bytes: [u8; BATCH * MESSAGE_BYTES],
}

impl MessageBuf {
    /// Messages that it has room for: a read that returns fewer has left none.
    pub const ROOM: usize = BATCH;

    /// Makes an empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; BATCH * MESSAGE_BYTES] }
    }
}

impl Default for MessageBuf {
    fn default() -> Self {
        Self::new()
    }
}

/// The messages of one read. Dropped early, the rest is thrown away: faults among it stay unserved.
#[derive(Debug)]
pub struct Messages<'b> {
    rest: &'b [u8],
    access: Access,
}

impl Messages<'_> {
    /// Tells whether no message is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

impl Iterator for Messages<'_> {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let (raw, rest) = self.rest.split_first_chunk::<MESSAGE_BYTES>()?;
        self.rest = rest;
        Some(decode(raw, self.access))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.rest.len() / MESSAGE_BYTES;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Messages<'_> {}

impl Drop for Messages<'_> {
    fn drop(&mut self) {
        // Descriptors of unread fork messages would leak otherwise.
        self.for_each(drop);
    }
}

/// Why [`Uffd::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// A message can be read.
    Readable,
    /// The stop event is raised; messages may wait as well.
    Stopped,
    /// The time is over.
    TimedOut,
}

impl Uffd {
    /// Reads up to 16 messages. A blocking descriptor waits for the first; a non-blocking one may return none.
    ///
    /// # Errors
    ///
    /// `EINVAL` before the handshake.
    pub fn read<'b>(&self, buf: &'b mut MessageBuf) -> Result<Messages<'b>, SysError> {
        let len = loop {
            match rustix::io::read(self, &mut buf.bytes) {
                Ok(len) => break len,
                Err(Errno::AGAIN) => break 0,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(SysError { call: "read of userfaultfd", errno }),
            }
        };
        Ok(Messages { rest: &buf.bytes[..len], access: self.access() })
    }

    /// Waits until a message can be read or `stop` is raised. Wants a [non-blocking](crate::Reads) descriptor.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a blocking descriptor or before the handshake.
    pub fn wait(&self, stop: &EventFd) -> Result<Woken, SysError> {
        self.poll(stop, None)
    }

    /// As [`Uffd::wait`], but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// As [`Uffd::wait`].
    pub fn wait_at_most(&self, stop: &EventFd, limit: Duration) -> Result<Woken, SysError> {
        // A limit beyond the clock's range is no limit.
        let limit = Timespec::try_from(limit).ok();
        self.poll(stop, limit.as_ref())
    }

    fn poll(&self, stop: &EventFd, limit: Option<&Timespec>) -> Result<Woken, SysError> {
        let call = "poll of userfaultfd";
        let mut fds = [PollFd::new(self, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        loop {
            match poll(&mut fds, limit) {
                Ok(0) => return Ok(Woken::TimedOut),
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(SysError { call, errno }),
            }
        }
        if !fds[1].revents().is_empty() {
            return Ok(Woken::Stopped);
        }
        // The kernel reports an error state for descriptors that would block.
        if fds[0].revents().contains(PollFlags::ERR) {
            return Err(SysError { call, errno: Errno::INVAL });
        }
        Ok(Woken::Readable)
    }
}

/// Decodes one message (`struct uffd_msg`): event at byte 0, arguments from byte 8.
fn decode(raw: &[u8; MESSAGE_BYTES], access: Access) -> Message {
    let args: [u64; 3] = std::array::from_fn(|index| word_at(raw, 8 + 8 * index));
    let [first, second, third] = args.map(address);
    match u32::from(raw[0]) {
        uapi::UFFD_EVENT_PAGEFAULT => pagefault(args),
        uapi::UFFD_EVENT_FORK => fork(args[0], access),
        uapi::UFFD_EVENT_REMAP => Message::Remap { from: first, to: second, len: third },
        uapi::UFFD_EVENT_REMOVE => Message::Remove { start: first, end: second },
        uapi::UFFD_EVENT_UNMAP => Message::Unmap { start: first, end: second },
        _ => Message::Unknown { event: raw[0] },
    }
}

fn word_at(raw: &[u8; MESSAGE_BYTES], offset: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&raw[offset..offset + 8]);
    u64::from_ne_bytes(bytes)
}

/// Decodes flags, address and (low half of the third word) thread id.
fn pagefault([flags, at, feature]: [u64; 3]) -> Message {
    let has = |bit: u32| flags & u64::from(bit) != 0;
    Message::Pagefault {
        address: address(at),
        write: has(uapi::UFFD_PAGEFAULT_FLAG_WRITE),
        minor: has(uapi::UFFD_PAGEFAULT_FLAG_MINOR),
        wp: has(uapi::UFFD_PAGEFAULT_FLAG_WP),
        thread: low_half(feature),
    }
}

/// Takes over the descriptor in a fork message.
fn fork(first: u64, access: Access) -> Message {
    let fd: RawFd = low_half(first).cast_signed();
    // SAFETY: the kernel made this descriptor for the reader of the message, and each message is decoded once.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    Message::Fork { uffd: Uffd::of_fork(fd, access) }
}

/// Returns the 32-bit field at the start of a word, on machines of either byte order.
fn low_half(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(event: u32, args: [u64; 3]) -> [u8; MESSAGE_BYTES] {
        let mut raw = [0; MESSAGE_BYTES];
        raw[0] = u8::try_from(event).expect("one byte");
        for (index, arg) in args.into_iter().enumerate() {
            raw[8 + 8 * index..16 + 8 * index].copy_from_slice(&arg.to_ne_bytes());
        }
        raw
    }

    fn shown(event: u32, args: [u64; 3]) -> String {
        format!("{:?}", decode(&raw(event, args), Access::UserModeOnly))
    }

    #[test]
    fn fault_flags_and_thread_are_told_apart() {
        let wp_write = u64::from(uapi::UFFD_PAGEFAULT_FLAG_WP | uapi::UFFD_PAGEFAULT_FLAG_WRITE);
        let text = shown(uapi::UFFD_EVENT_PAGEFAULT, [wp_write, 0x7000, 42]);
        let wanted = "Pagefault { address: 28672, write: true, minor: false, wp: true, thread: 42 }";
        assert_eq!(text, wanted);
    }

    #[test]
    fn ranges_keep_their_order() {
        assert_eq!(shown(uapi::UFFD_EVENT_REMAP, [1, 2, 3]), "Remap { from: 1, to: 2, len: 3 }");
        assert_eq!(shown(uapi::UFFD_EVENT_UNMAP, [4, 5, 0]), "Unmap { start: 4, end: 5 }");
    }

    #[test]
    fn unknown_event_is_passed_on() {
        assert_eq!(shown(99, [0; 3]), "Unknown { event: 99 }");
    }
}
