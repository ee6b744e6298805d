//! The error of a system call that has no outcome of its own.

use rustix::io::Errno;

/// A system call that failed, and with what.
///
/// Calls whose failures mean different things to the caller return an enum of their own instead
/// ([`Outcome`](crate::Outcome), [`Collapse`](crate::advise::Collapse)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call} refused")]
pub struct SysError {
    /// The system call or ioctl, as the kernel's documentation names it.
    pub call: &'static str,
    /// What the kernel answered.
    #[source]
    pub errno: Errno,
}

impl SysError {
    /// Returns a function that labels an errno with the call it came from.
    pub(crate) fn of(call: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self { call, errno }
    }
}

impl From<SysError> for std::io::Error {
    fn from(error: SysError) -> Self {
        Self::new(Self::from(error.errno).kind(), error)
    }
}
