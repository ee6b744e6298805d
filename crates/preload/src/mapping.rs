//! The symbols of address space: private anonymous mappings come from the heap, all else from the kernel.

use std::ffi::{c_int, c_uchar, c_void};
use std::ops::Range;
use std::ptr;

use bifolio_host::{Counter, Heap};

use crate::next::{fail, next};
use crate::quiet::Quiet;
use crate::start;

const PAGE: usize = 4096;
const READ_WRITE: c_int = libc::PROT_READ | libc::PROT_WRITE;
const PLAIN: c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
/// Flags that make no difference to a heap that fills pages as they are touched.
const IGNORED: c_int = libc::MAP_NORESERVE | libc::MAP_POPULATE | libc::MAP_NONBLOCK;

fn pointer(address: usize) -> *mut c_void {
    ptr::with_exposed_provenance_mut(address)
}

/// Makes a system call as the C library would; sets `errno`.
macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {
        // SAFETY: what the call does to the caller's memory is what the caller asked for.
        unsafe { libc::syscall(libc::$number $(, $argument)*) }
    };
}

fn address_of(raw: i64) -> *mut c_void {
    // The kernel's answer is an address or -1, which is MAP_FAILED.
    pointer(usize::from_ne_bytes(raw.to_ne_bytes()))
}

/// The heap and the part of a range that is the heap's.
fn heap_part(start: *mut c_void, len: usize) -> Option<(&'static Heap, Range<usize>)> {
    let part = start::inside(start.addr(), len)?;
    Some((start::heap()?, part))
}

fn from_heap(bytes: usize) -> Option<usize> {
    if bytes == 0 || !start::is_large(bytes) || start::is_our_thread() {
        return None;
    }
    let heap = start::heap()?;
    let _quiet = Quiet::enter();
    let address = heap.allocate(bytes, PAGE, 0);
    if address.is_none() {
        heap.statistics().add(Counter::BytesPlain, bytes as u64);
    }
    address
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn mmap(
    wish: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: libc::off_t,
) -> *mut c_void {
    let plain = wish.is_null() && protection == READ_WRITE && flags & !IGNORED == PLAIN;
    if let Some(address) = plain.then(|| from_heap(len)).flatten() {
        return pointer(address);
    }
    if flags & libc::MAP_FIXED != 0 && flags & libc::MAP_FIXED_NOREPLACE != libc::MAP_FIXED_NOREPLACE {
        give_away(wish, len);
    }
    address_of(call!(SYS_mmap, wish, len, protection, flags, fd, offset))
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn mmap64(
    wish: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: libc::off_t,
) -> *mut c_void {
    // SAFETY: the same function on 64-bit machines.
    unsafe { mmap(wish, len, protection, flags, fd, offset) }
}

/// The program maps something else over memory of the heap.
fn give_away(start: *mut c_void, len: usize) {
    if let Some((heap, part)) = heap_part(start, len) {
        let _quiet = Quiet::enter();
        heap.give_away(part);
    }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn munmap(start: *mut c_void, len: usize) -> c_int {
    let Some((heap, part)) = heap_part(start, len) else {
        return result(call!(SYS_munmap, start, len));
    };
    if !start.addr().is_multiple_of(PAGE) {
        return fail(libc::EINVAL);
    }
    let quiet = Quiet::enter();
    heap.unmap(part.clone());
    drop(quiet);
    let end = start.addr().saturating_add(len);
    for rest in [start.addr()..part.start, part.end..end] {
        if !rest.is_empty() && call!(SYS_munmap, rest.start, rest.len()) != 0 {
            return -1;
        }
    }
    0
}

fn result(raw: i64) -> c_int {
    if raw == 0 { 0 } else { -1 }
}

/// The variable argument is an address with `MREMAP_FIXED` and `MREMAP_DONTUNMAP` only; else it is some register's
/// content, which is passed on unread.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn mremap(
    old: *mut c_void,
    old_len: usize,
    new_len: usize,
    flags: c_int,
    new: *mut c_void,
) -> *mut c_void {
    let Some((heap, part)) = heap_part(old, old_len.max(1)) else {
        if flags & libc::MREMAP_FIXED != 0 {
            give_away(new, new_len);
        }
        return address_of(call!(SYS_mremap, old, old_len, new_len, flags, new));
    };
    if old_len == 0 || new_len == 0 || flags & libc::MREMAP_DONTUNMAP != 0 || part.len() != pages(old_len) {
        return failed(libc::EINVAL);
    }
    if flags & libc::MREMAP_FIXED != 0 {
        return move_to(heap, part, new_len, new);
    }
    let quiet = Quiet::enter();
    if pages(new_len) <= part.len() {
        heap.unmap(part.start + pages(new_len)..part.end);
        return old;
    }
    if heap.len_at(part.start) == Some(part.len()) && heap.resize(part.start, new_len) {
        return old;
    }
    drop(quiet);
    if flags & libc::MREMAP_MAYMOVE == 0 {
        return failed(libc::ENOMEM);
    }
    move_and_grow(heap, part, new_len)
}

fn pages(bytes: usize) -> usize {
    bytes.saturating_add(PAGE - 1) & !(PAGE - 1)
}

fn failed(errno: i32) -> *mut c_void {
    fail(errno);
    libc::MAP_FAILED
}

fn move_and_grow(heap: &Heap, part: Range<usize>, new_len: usize) -> *mut c_void {
    let quiet = Quiet::enter();
    let room = new_len.checked_next_power_of_two().unwrap_or(new_len);
    let Some(new) = heap.allocate(new_len, PAGE, room).or_else(|| heap.allocate(new_len, PAGE, 0)) else {
        return failed(libc::ENOMEM);
    };
    drop(quiet);
    move_bytes(heap, part, new);
    pointer(new)
}

/// Moves a range of the heap to addresses that the program chose: it is ordinary memory there.
fn move_to(heap: &Heap, part: Range<usize>, new_len: usize, new: *mut c_void) -> *mut c_void {
    give_away(new, new_len);
    let flags = PLAIN | libc::MAP_FIXED;
    let mapped = address_of(call!(SYS_mmap, new, new_len, READ_WRITE, flags, -1, 0));
    if mapped != libc::MAP_FAILED {
        let kept = part.start..part.end.min(part.start + pages(new_len));
        move_bytes(heap, kept, mapped.addr());
        let _quiet = Quiet::enter();
        heap.unmap(part);
    }
    mapped
}

/// Copies a range of the heap and unmaps it. The copy may fault, so no lock is held.
fn move_bytes(heap: &Heap, from: Range<usize>, to: usize) {
    // SAFETY: the program owns both ranges, and they do not overlap.
    unsafe {
        ptr::copy_nonoverlapping(pointer(from.start).cast::<u8>(), pointer(to).cast::<u8>(), from.len());
    }
    let _quiet = Quiet::enter();
    heap.unmap(from);
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn madvise(start: *mut c_void, len: usize, advice: c_int) -> c_int {
    let Some((heap, part)) = heap_part(start, len) else {
        return result(call!(SYS_madvise, start, len, advice));
    };
    match advice {
        libc::MADV_DONTNEED | libc::MADV_REMOVE => {
            let _quiet = Quiet::enter();
            // Folios that somebody looks at just now go a moment later.
            while heap.reset(part.clone()).is_err() {
                std::thread::yield_now();
            }
            0
        }
        libc::MADV_DONTFORK | libc::MADV_DOFORK | libc::MADV_WIPEONFORK | libc::MADV_KEEPONFORK => {
            leave_to_kernel(heap, part);
            result(call!(SYS_madvise, start, len, advice))
        }
        // Hints to the kernel, which does not manage this memory.
        _ => 0,
    }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn mprotect(start: *mut c_void, len: usize, protection: c_int) -> c_int {
    if let Some((heap, part)) = heap_part(start, len).filter(|_| protection != READ_WRITE) {
        leave_to_kernel(heap, part);
    }
    result(call!(SYS_mprotect, start, len, protection))
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn mlock(start: *const c_void, len: usize) -> c_int {
    if let Some((heap, part)) = heap_part(start.cast_mut(), len) {
        leave_to_kernel(heap, part);
    }
    result(call!(SYS_mlock, start, len))
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn mlock2(start: *const c_void, len: usize, flags: libc::c_uint) -> c_int {
    if let Some((heap, part)) = heap_part(start.cast_mut(), len) {
        leave_to_kernel(heap, part);
    }
    result(call!(SYS_mlock2, start, len, flags))
}

/// A program whose memory is limited cannot have all of it locked.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn mlockall(flags: c_int) -> c_int {
    if start::heap().is_some() {
        return fail(libc::ENOMEM);
    }
    result(call!(SYS_mlockall, flags))
}

fn leave_to_kernel(heap: &Heap, part: Range<usize>) {
    let _quiet = Quiet::enter();
    while heap.let_go(part.clone()).is_err() {
        std::thread::yield_now();
    }
}

/// Which pages are resident: those that are away are not, as with swap.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn mincore(start: *mut c_void, len: usize, answer: *mut c_uchar) -> c_int {
    next!(mincore(start => *mut c_void, len => usize, answer => *mut c_uchar) -> c_int)
}
