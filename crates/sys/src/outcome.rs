//! What came of an operation on pages: errno and the signed result field, translated once.
//!
//! Every install operation of userfaultfd reports twice: by errno, and by a signed field of its argument that
//! holds either the bytes done before it stopped or a negative errno. Read carelessly, the field turns `-EAGAIN`
//! into 18 exabytes; it is read here and nowhere else.

use rustix::io::Errno;

/// What came of one operation on a range of pages.
///
/// Everything but [`Outcome::Done`] leaves threads that wait for the rest of the range asleep: install the rest
/// or wake them, as each variant says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a thread may be asleep until this is acted on"]
pub enum Outcome {
    /// All of it; the number of bytes.
    Done(usize),
    /// The first page is already there (EEXIST). Another thread installed it: wake the waiters.
    Exists,
    /// Stopped after this many bytes (EAGAIN): continue from there. With 0 bytes the address space is changing and
    /// an event message waits to be read first.
    Again(usize),
    /// The page is pinned, shared after fork, or under change elsewhere (EBUSY): leave it or retry a few times.
    Busy,
    /// No registered mapping covers the range, or a moved page is not there (ENOENT): wake the waiters, they will
    /// fault anew or die of SIGSEGV as they should.
    Missing,
    /// The source cannot be read, or the file has no page to map (EFAULT).
    NoSource,
    /// The address space this userfaultfd watches has ended (ESRCH).
    Gone,
    /// The kernel has no memory for it (ENOMEM, ENOSPC).
    NoSpace,
    /// The call itself is wrong for these ranges (EINVAL and all else).
    Invalid(Errno),
}

impl Outcome {
    /// Reads errno and the result field of a call over `len` bytes.
    pub(crate) fn read(call: Result<(), Errno>, field: i64, len: usize) -> Self {
        let part = usize::try_from(field).unwrap_or(0);
        match call {
            Ok(()) => Self::Done(len),
            Err(Errno::AGAIN) => Self::Again(part),
            Err(errno) => Self::of(errno),
        }
    }

    /// Reads the errno of a call that has no result field.
    pub(crate) fn of(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN => Self::Again(0),
            Errno::EXIST => Self::Exists,
            Errno::BUSY => Self::Busy,
            Errno::NOENT => Self::Missing,
            Errno::FAULT => Self::NoSource,
            Errno::SRCH => Self::Gone,
            Errno::NOMEM | Errno::NOSPC => Self::NoSpace,
            other => Self::Invalid(other),
        }
    }

    /// Tells whether the whole range was done.
    #[must_use]
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// Returns the bytes that were done, from the start of the range.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Done(bytes) | Self::Again(bytes) => bytes,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_field_is_no_progress() {
        let outcome = Outcome::read(Err(Errno::AGAIN), -11, 8192);
        assert_eq!(outcome, Outcome::Again(0));
    }

    #[test]
    fn partial_progress_is_kept() {
        let outcome = Outcome::read(Err(Errno::AGAIN), 4096, 8192);
        assert_eq!((outcome, outcome.bytes()), (Outcome::Again(4096), 4096));
    }

    #[test]
    fn unknown_errno_is_named() {
        assert_eq!(Outcome::read(Err(Errno::INVAL), 0, 4096), Outcome::Invalid(Errno::INVAL));
    }
}
