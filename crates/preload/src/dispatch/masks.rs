//! Signal masks while calls trap: a call that traps while SIGSYS is blocked ends the process, so it never is; but the
//! program is told that it is, where it asked for it.

use std::cell::Cell;

use crate::dispatch::gate::{self, nr};

/// The bit of SIGSYS in a mask of the kernel.
pub(crate) const SIGSYS: u64 = 1 << (libc::SIGSYS - 1);
const BYTES: usize = size_of::<u64>();

thread_local! {
    /// Whether the program has SIGSYS blocked in this thread, as it believes.
    static BLOCKED: Cell<bool> = const { Cell::new(false) };
}

/// Unblocks SIGSYS in this thread, and remembers whether it was blocked.
pub(crate) fn open() {
    let (bit, mut before) = (SIGSYS, 0_u64);
    let arguments = [
        usize::try_from(libc::SIG_UNBLOCK).unwrap_or(1),
        (&raw const bit).addr(),
        (&raw mut before).expose_provenance(),
        BYTES,
        0,
        0,
    ];
    // SAFETY: both masks are 8 bytes.
    unsafe { gate::syscall(nr::SIGPROCMASK, arguments) };
    BLOCKED.set(before & SIGSYS != 0);
}

/// The mask that the program believes to have, of one that is in effect.
pub(crate) fn believed(mask: u64) -> u64 {
    if BLOCKED.get() { mask | SIGSYS } else { mask & !SIGSYS }
}

/// Changes a mask in effect as `rt_sigprocmask` would, but for SIGSYS; returns the one that the program had. `None` for a
/// way of changing that the kernel refuses.
pub(crate) fn change(mask: &mut u64, how: usize, new: Option<u64>) -> Option<u64> {
    let before = believed(*mask);
    if let Some(new) = new {
        let after = match i32::try_from(how) {
            Ok(libc::SIG_BLOCK) => before | new,
            Ok(libc::SIG_UNBLOCK) => before & !new,
            Ok(libc::SIG_SETMASK) => new,
            _ => return None,
        };
        BLOCKED.set(after & SIGSYS != 0);
        *mask = after & !SIGSYS;
    }
    Some(before)
}

/// Changes the mask of this thread at once, but for SIGSYS; returns the one that the program had. `None` for a way of
/// changing that the kernel refuses.
pub(crate) fn change_now(how: i32, new: Option<u64>) -> Option<u64> {
    let mut mask = set(None);
    let before = change(&mut mask, usize::try_from(how).unwrap_or(usize::MAX), new)?;
    // The signals that the C library keeps to itself cannot be blocked by way of it.
    set(new.map(|_| mask & !LIBRARY));
    Some(before)
}

/// While it is there, this thread gets no signal: a handler that jumps away would leave undone what has been begun.
pub(crate) struct Deferred(u64);

impl Deferred {
    pub(crate) fn begin() -> Deferred {
        Deferred(set(Some(!SIGSYS)))
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        set(Some(self.0));
    }
}

/// Signals 32 and 33.
const LIBRARY: u64 = 1 << 31 | 1 << 32;

/// Sets the mask of this thread, if one is given; returns the one before.
fn set(mask: Option<u64>) -> u64 {
    let mut before = 0_u64;
    let new = mask.as_ref().map_or(0, |mask| std::ptr::from_ref(mask).addr());
    let how = usize::try_from(libc::SIG_SETMASK).unwrap_or(2);
    // SAFETY: both masks are 8 bytes, or absent.
    unsafe { gate::syscall(nr::SIGPROCMASK, [how, new, (&raw mut before).expose_provenance(), BYTES, 0, 0]) };
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(way: i32) -> usize {
        usize::try_from(way).expect("small")
    }

    #[test]
    fn sigsys_is_never_blocked_but_believed_to_be() {
        let mut mask = 0;
        assert_eq!(change(&mut mask, how(libc::SIG_SETMASK), Some(!0)), Some(0));
        assert_eq!((mask, believed(mask)), (!SIGSYS, !0));
        assert_eq!(change(&mut mask, how(libc::SIG_UNBLOCK), Some(1)), Some(!0));
        assert_eq!(change(&mut mask, how(libc::SIG_UNBLOCK), None), Some(!1));
        assert_eq!(change(&mut mask, how(libc::SIG_UNBLOCK), Some(SIGSYS)), Some(!1));
        assert_eq!(believed(mask), !1 & !SIGSYS);
        assert_eq!(change(&mut mask, 77, Some(0)), None);
    }
}
