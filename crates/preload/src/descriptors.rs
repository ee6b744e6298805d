//! Our descriptors, and who closes them: a program that closes what it does not know is told that there is nothing.
//!
//! Without the userfaultfd, memory that is away would read as zero.

use std::ffi::{c_int, c_uint};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::next::{fail, next};

/// Our descriptors have numbers below this, and of at least [`LEAST`] where limits allow.
const MOST: usize = 1024;
const LEAST: usize = 100;
const END: c_uint = 1024;

static OURS: [AtomicU64; MOST / 64] = [const { AtomicU64::new(0) }; MOST / 64];

/// Lists the high descriptors that are open.
pub(crate) fn open_high() -> Vec<usize> {
    (LEAST..MOST).filter(|&fd| is_open(fd)).collect()
}

/// Refuses from now on to close high descriptors that are open and not in `before`.
pub(crate) fn protect_since(before: &[usize]) {
    for fd in open_high().into_iter().filter(|fd| !before.contains(fd)) {
        OURS[fd / 64].fetch_or(1 << (fd % 64), Relaxed);
    }
}

fn is_open(fd: usize) -> bool {
    let Ok(fd) = c_int::try_from(fd) else { return false };
    // SAFETY: asking for the flags of a descriptor changes nothing.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

fn is_ours(fd: c_int) -> bool {
    let Ok(fd) = usize::try_from(fd) else { return false };
    fd < MOST && OURS[fd / 64].load(Relaxed) >> (fd % 64) & 1 == 1
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn close(fd: c_int) -> c_int {
    if is_ours(fd) { fail(libc::EBADF) } else { next!(close(fd => c_int) -> c_int) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn dup2(old: c_int, new: c_int) -> c_int {
    if is_ours(new) { fail(libc::EBADF) } else { next!(dup2(old => c_int, new => c_int) -> c_int) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int {
    if is_ours(new) {
        fail(libc::EBADF)
    } else {
        next!(dup3(old => c_int, new => c_int, flags => c_int) -> c_int)
    }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    let mut result = 0;
    for (first, last) in around_ours(first, last) {
        let closed = next!(close_range(first => c_uint, last => c_uint, flags => c_int) -> c_int);
        result = if closed == 0 { result } else { closed };
    }
    result
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn closefrom(least: c_int) {
    let least = c_uint::try_from(least).unwrap_or(0);
    // SAFETY: closes what the caller wants closed.
    unsafe { close_range(least, c_uint::MAX, 0) };
}

/// The parts of a range of descriptors that hold none of ours.
fn around_ours(first: c_uint, last: c_uint) -> impl Iterator<Item = (c_uint, c_uint)> {
    let ours = (0..END).filter(move |&fd| fd >= first && fd <= last && is_ours(fd.cast_signed()));
    let mut at = Some(first);
    ours.map(Some).chain([None]).filter_map(move |ours| {
        let start = at?;
        let end = match ours {
            Some(ours) => {
                at = ours.checked_add(1);
                ours.checked_sub(1)?
            }
            None => last,
        };
        (start <= end).then_some((start, end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_leave_ours_out() {
        for fd in [5_usize, 6, 9] {
            OURS[0].fetch_or(1 << fd, Relaxed);
        }
        let parts = |first, last| around_ours(first, last).collect::<Vec<_>>();
        assert_eq!(parts(3, c_uint::MAX), [(3, 4), (7, 8), (10, c_uint::MAX)]);
        assert_eq!(parts(5, 6), []);
        assert_eq!(parts(6, 8), [(7, 8)]);
        assert_eq!(parts(20, 30), [(20, 30)]);
        assert!(is_ours(9) && !is_ours(10) && !is_ours(-1));
    }
}
