//! Reading and writing where the kernel's own faults are not served: user-mode-only userfaultfd.
//!
//! There a system call on memory that is away fails with `EFAULT`. So bytes for or from the heap travel through a
//! buffer of ours, and the program's thread copies them, faulting as it may. With a full userfaultfd these symbols only
//! pass on.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use bifolio_sys::{Mapping, Placement, Protection};
use libc::{iovec, msghdr, off_t, size_t, sockaddr, socklen_t, ssize_t};

use crate::next::next;
use crate::start;

/// Bytes that travel at once; a datagram fits.
const BUFFER: usize = 256 << 10;
/// Buffers; a thread that finds none waits for one.
const BUFFERS: usize = 32;

static POOL: OnceLock<Option<Mapping>> = OnceLock::new();
static TAKEN: [AtomicBool; BUFFERS] = [const { AtomicBool::new(false) }; BUFFERS];

/// A buffer of our own memory, given back when dropped.
struct Buffer {
    number: usize,
    start: *mut u8,
}

impl Buffer {
    /// Takes a buffer; `None` if there is no memory for any.
    fn take() -> Option<Buffer> {
        let map = || Mapping::anonymous(BUFFER * BUFFERS, Protection::ReadWrite, Placement::Anywhere).ok();
        let pool = POOL.get_or_init(map).as_ref()?;
        loop {
            let free = |flag: &AtomicBool| flag.compare_exchange(false, true, Acquire, Relaxed).is_ok();
            if let Some(number) = TAKEN.iter().position(free) {
                let start = ptr::with_exposed_provenance_mut(pool.span().start() + number * BUFFER);
                return Some(Buffer { number, start });
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        TAKEN[self.number].store(false, Release);
    }
}

/// Whether bytes at `at` must take the way around.
fn is_far(at: *const c_void, len: usize) -> bool {
    start::is_user_mode_only() && start::inside(at.addr(), len).is_some()
}

/// Whether reading on after a full part cannot wait.
fn is_file(fd: c_int) -> bool {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: there is room for the answer.
    let told = unsafe { libc::fstat(fd, stat.as_mut_ptr()) } == 0;
    // SAFETY: the call succeeded, so the answer is there.
    told && unsafe { stat.assume_init() }.st_mode & libc::S_IFMT == libc::S_IFREG
}

/// Brings bytes part by part: `part` fills our buffer from the given offset of the whole.
///
/// # Safety
///
/// `to` is writable for `len` bytes.
unsafe fn bring(
    fd: c_int,
    to: *mut c_void,
    len: usize,
    mut part: impl FnMut(*mut c_void, usize, usize) -> ssize_t,
) -> ssize_t {
    let Some(buffer) = Buffer::take() else { return part(to, len, 0) };
    let mut done = 0;
    loop {
        let wanted = (len - done).min(BUFFER);
        let got = part(buffer.start.cast(), wanted, done);
        let Ok(bytes) = usize::try_from(got) else { return so_far(done, got) };
        // SAFETY: `wanted` bytes from there on are the caller's; the buffer is ours.
        let place = unsafe { to.cast::<u8>().add(done) };
        // SAFETY: as above; the kernel filled that many.
        unsafe { ptr::copy_nonoverlapping(buffer.start, place, bytes.min(wanted)) };
        done += bytes;
        if bytes < wanted || done >= len || !is_file(fd) {
            return so_far(done, 0);
        }
    }
}

/// Takes bytes away part by part: `part` empties our buffer, which goes to the given offset of the whole.
///
/// # Safety
///
/// `from` is readable for `len` bytes.
unsafe fn take(
    from: *const c_void,
    len: usize,
    mut part: impl FnMut(*const c_void, usize, usize) -> ssize_t,
) -> ssize_t {
    let Some(buffer) = Buffer::take() else { return part(from, len, 0) };
    let mut done = 0;
    loop {
        let wanted = (len - done).min(BUFFER);
        // SAFETY: `wanted` bytes from there on are the caller's.
        let place = unsafe { from.cast::<u8>().add(done) };
        // SAFETY: as above; the buffer is ours and long enough.
        unsafe { ptr::copy_nonoverlapping(place, buffer.start, wanted) };
        let got = part(buffer.start.cast(), wanted, done);
        let Ok(bytes) = usize::try_from(got) else { return so_far(done, got) };
        done += bytes;
        if bytes < wanted || done >= len {
            return so_far(done, 0);
        }
    }
}

/// What a call returns that failed with `failed` after `done` bytes: an error counts only if nothing was done.
fn so_far(done: usize, failed: ssize_t) -> ssize_t {
    if done > 0 { ssize_t::try_from(done).unwrap_or(ssize_t::MAX) } else { failed }
}

fn ahead(offset: off_t, done: usize) -> off_t {
    offset + off_t::try_from(done).unwrap_or(0)
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn read(fd: c_int, to: *mut c_void, len: size_t) -> ssize_t {
    let part = |to, len, _| next!(read(fd => c_int, to => *mut c_void, len => size_t) -> ssize_t);
    // SAFETY: the caller's buffer is that long.
    if is_far(to, len) { unsafe { bring(fd, to, len, part) } } else { part(to, len, 0) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn write(fd: c_int, from: *const c_void, len: size_t) -> ssize_t {
    let part = |from, len, _| next!(write(fd => c_int, from => *const c_void, len => size_t) -> ssize_t);
    // SAFETY: the caller's buffer is that long.
    if is_far(from, len) { unsafe { take(from, len, part) } } else { part(from, len, 0) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn pread(fd: c_int, to: *mut c_void, len: size_t, offset: off_t) -> ssize_t {
    let part = |to, len, done| {
        let offset = ahead(offset, done);
        next!(pread(fd => c_int, to => *mut c_void, len => size_t, offset => off_t) -> ssize_t)
    };
    // SAFETY: the caller's buffer is that long.
    if is_far(to, len) { unsafe { bring(fd, to, len, part) } } else { part(to, len, 0) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn pread64(fd: c_int, to: *mut c_void, len: size_t, offset: off_t) -> ssize_t {
    // SAFETY: the same function on 64-bit machines.
    unsafe { pread(fd, to, len, offset) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn pwrite(fd: c_int, from: *const c_void, len: size_t, offset: off_t) -> ssize_t {
    let part = |from, len, done| {
        let offset = ahead(offset, done);
        next!(pwrite(fd => c_int, from => *const c_void, len => size_t, offset => off_t) -> ssize_t)
    };
    // SAFETY: the caller's buffer is that long.
    if is_far(from, len) { unsafe { take(from, len, part) } } else { part(from, len, 0) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn pwrite64(fd: c_int, from: *const c_void, len: size_t, offset: off_t) -> ssize_t {
    // SAFETY: the same function on 64-bit machines.
    unsafe { pwrite(fd, from, len, offset) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn recv(fd: c_int, to: *mut c_void, len: size_t, flags: c_int) -> ssize_t {
    // SAFETY: the same call without an address.
    unsafe { recvfrom(fd, to, len, flags, ptr::null_mut(), ptr::null_mut()) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn send(fd: c_int, from: *const c_void, len: size_t, flags: c_int) -> ssize_t {
    // SAFETY: the same call without an address.
    unsafe { sendto(fd, from, len, flags, ptr::null(), 0) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn recvfrom(
    fd: c_int,
    to: *mut c_void,
    len: size_t,
    flags: c_int,
    address: *mut sockaddr,
    address_len: *mut socklen_t,
) -> ssize_t {
    let part = |to, len, _| {
        next!(recvfrom(
            fd => c_int, to => *mut c_void, len => size_t, flags => c_int,
            address => *mut sockaddr, address_len => *mut socklen_t
        ) -> ssize_t)
    };
    // SAFETY: the caller's buffer is that long.
    if is_far(to, len) { unsafe { bring(fd, to, len, part) } } else { part(to, len, 0) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn sendto(
    fd: c_int,
    from: *const c_void,
    len: size_t,
    flags: c_int,
    address: *const sockaddr,
    address_len: socklen_t,
) -> ssize_t {
    let part = |from, len, _| {
        next!(sendto(
            fd => c_int, from => *const c_void, len => size_t, flags => c_int,
            address => *const sockaddr, address_len => socklen_t
        ) -> ssize_t)
    };
    // SAFETY: the caller's buffer is that long.
    if is_far(from, len) { unsafe { take(from, len, part) } } else { part(from, len, 0) }
}

/// The parts of a vector.
///
/// # Safety
///
/// `parts` holds `count` parts.
unsafe fn parts_of<'v>(parts: *const iovec, count: usize) -> &'v [iovec] {
    if count == 0 || parts.is_null() {
        return &[];
    }
    // SAFETY: says the caller.
    unsafe { std::slice::from_raw_parts(parts, count) }
}

fn any_far(parts: &[iovec]) -> bool {
    start::is_user_mode_only()
        && parts.iter().any(|part| start::inside(part.iov_base.addr(), part.iov_len).is_some())
}

/// Copies the parts to our buffer as far as it is long; returns how many bytes.
///
/// # Safety
///
/// Each part is readable.
unsafe fn gather(parts: &[iovec], buffer: &Buffer) -> usize {
    let mut at = 0;
    for part in parts {
        let len = part.iov_len.min(BUFFER - at);
        // SAFETY: the buffer is long enough.
        let place = unsafe { buffer.start.add(at) };
        // SAFETY: the part is the caller's, the place ours.
        unsafe { ptr::copy_nonoverlapping(part.iov_base.cast::<u8>(), place, len) };
        at += len;
    }
    at
}

/// Copies `bytes` bytes of our buffer to the parts.
///
/// # Safety
///
/// Each part is writable.
unsafe fn scatter(parts: &[iovec], buffer: &Buffer, bytes: usize) {
    let mut at = 0;
    for part in parts {
        let len = part.iov_len.min(bytes - at);
        // SAFETY: the buffer is long enough.
        let place = unsafe { buffer.start.add(at) };
        // SAFETY: the part is the caller's, the place ours.
        unsafe { ptr::copy_nonoverlapping(place, part.iov_base.cast::<u8>(), len) };
        at += len;
    }
}

fn length(parts: &[iovec]) -> usize {
    parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.iov_len)).min(BUFFER)
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn readv(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: the caller's vector is that long.
    let all = unsafe { parts_of(parts, usize::try_from(count).unwrap_or(0)) };
    match any_far(all).then(Buffer::take).flatten() {
        Some(buffer) => {
            let (to, len) = (buffer.start.cast::<c_void>(), length(all));
            let got = next!(read(fd => c_int, to => *mut c_void, len => size_t) -> ssize_t);
            // SAFETY: the caller's parts are writable; that many bytes came.
            unsafe { scatter(all, &buffer, usize::try_from(got).unwrap_or(0)) };
            got
        }
        None => next!(readv(fd => c_int, parts => *const iovec, count => c_int) -> ssize_t),
    }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: the caller's vector is that long.
    let all = unsafe { parts_of(parts, usize::try_from(count).unwrap_or(0)) };
    match any_far(all).then(Buffer::take).flatten() {
        Some(buffer) => {
            // SAFETY: the caller's parts are readable.
            let len = unsafe { gather(all, &buffer) };
            let from = buffer.start.cast_const().cast::<c_void>();
            next!(write(fd => c_int, from => *const c_void, len => size_t) -> ssize_t)
        }
        None => next!(writev(fd => c_int, parts => *const iovec, count => c_int) -> ssize_t),
    }
}

/// The message and its parts, where any of those must take the way around.
///
/// # Safety
///
/// `message` is null or a valid message.
unsafe fn far_message<'m>(message: *const msghdr) -> Option<(msghdr, &'m [iovec], Buffer)> {
    if !start::is_user_mode_only() || message.is_null() {
        return None;
    }
    // SAFETY: says the caller.
    let message = unsafe { message.read() };
    // SAFETY: a valid message names its parts.
    let parts = unsafe { parts_of(message.msg_iov, message.msg_iovlen) };
    let buffer = any_far(parts).then(Buffer::take).flatten()?;
    Some((message, parts, buffer))
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    // SAFETY: the caller's message is one.
    let Some((before, parts, buffer)) = (unsafe { far_message(message) }) else {
        return next!(recvmsg(fd => c_int, message => *mut msghdr, flags => c_int) -> ssize_t);
    };
    let mut one = iovec { iov_base: buffer.start.cast(), iov_len: length(parts) };
    let mut ours = msghdr { msg_iov: &raw mut one, msg_iovlen: 1, ..before };
    let place = &raw mut ours;
    let got = next!(recvmsg(fd => c_int, place => *mut msghdr, flags => c_int) -> ssize_t);
    // SAFETY: the caller's parts are writable; that many bytes came.
    unsafe { scatter(parts, &buffer, usize::try_from(got).unwrap_or(0).min(length(parts))) };
    let answer = msghdr { msg_iov: before.msg_iov, msg_iovlen: before.msg_iovlen, ..ours };
    // SAFETY: the caller's message takes the answers; its parts are as they were.
    unsafe { message.write(answer) };
    got
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    // SAFETY: the caller's message is one.
    let Some((before, parts, buffer)) = (unsafe { far_message(message) }) else {
        return next!(sendmsg(fd => c_int, message => *const msghdr, flags => c_int) -> ssize_t);
    };
    // SAFETY: the caller's parts are readable.
    let len = unsafe { gather(parts, &buffer) };
    let mut one = iovec { iov_base: buffer.start.cast(), iov_len: len };
    let ours = msghdr { msg_iov: &raw mut one, msg_iovlen: 1, ..before };
    let place = &raw const ours;
    next!(sendmsg(fd => c_int, place => *const msghdr, flags => c_int) -> ssize_t)
}

/// The buffered functions: the C library hands large transfers to the kernel as they are.
macro_rules! buffered {
    ($read:ident, $write:ident) => {
        #[cfg_attr(not(test), unsafe(no_mangle))]
        unsafe extern "C" fn $read(to: *mut c_void, size: size_t, count: size_t, file: *mut libc::FILE) -> size_t {
            let part = |to, len| {
                next!($read(to => *mut c_void, 1 => size_t, len => size_t, file => *mut libc::FILE) -> size_t)
            };
            let len = size.saturating_mul(count);
            if !is_far(to, len) {
                return next!($read(
                    to => *mut c_void, size => size_t, count => size_t, file => *mut libc::FILE
                ) -> size_t);
            }
            let Some(buffer) = Buffer::take() else { return 0 };
            let mut done = 0;
            while done < len {
                let wanted = (len - done).min(BUFFER);
                let got = part(buffer.start.cast(), wanted);
                // SAFETY: `wanted` bytes from there on are the caller's.
                let place = unsafe { to.cast::<u8>().add(done) };
                // SAFETY: as above; that many bytes came.
                unsafe { ptr::copy_nonoverlapping(buffer.start, place, got) };
                done += got;
                if got < wanted {
                    break;
                }
            }
            done / size
        }

        #[cfg_attr(not(test), unsafe(no_mangle))]
        unsafe extern "C" fn $write(
            from: *const c_void,
            size: size_t,
            count: size_t,
            file: *mut libc::FILE,
        ) -> size_t {
            let part = |from, len| {
                next!($write(from => *const c_void, 1 => size_t, len => size_t, file => *mut libc::FILE) -> size_t)
            };
            let len = size.saturating_mul(count);
            if !is_far(from, len) {
                return next!($write(
                    from => *const c_void, size => size_t, count => size_t, file => *mut libc::FILE
                ) -> size_t);
            }
            let Some(buffer) = Buffer::take() else { return 0 };
            let mut done = 0;
            while done < len {
                let wanted = (len - done).min(BUFFER);
                // SAFETY: `wanted` bytes from there on are the caller's.
                let place = unsafe { from.cast::<u8>().add(done) };
                // SAFETY: as above; the buffer is ours and long enough.
                unsafe { ptr::copy_nonoverlapping(place, buffer.start, wanted) };
                let put = part(buffer.start.cast_const().cast(), wanted);
                done += put;
                if put < wanted {
                    break;
                }
            }
            done / size
        }
    };
}

buffered!(fread, fwrite);
buffered!(fread_unlocked, fwrite_unlocked);
