//! The symbols of the allocator: large blocks come from the heap, small ones from the C library.
//!
//! Who owns a block follows from its address: the heap's range, our own range, or else the C library.

use std::ffi::{c_int, c_void};
use std::ptr;

use bifolio_host::{Counter, Heap};

use crate::next::{fail, next};
use crate::quiet::Quiet;
use crate::{own, start};

/// Alignment of every block.
const ALIGN: usize = 16;
const PAGE: usize = 4096;

unsafe extern "C" {
    fn __libc_malloc(bytes: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, bytes: usize) -> *mut c_void;
    fn __libc_realloc(block: *mut c_void, bytes: usize) -> *mut c_void;
    fn __libc_memalign(align: usize, bytes: usize) -> *mut c_void;
    fn __libc_free(block: *mut c_void);
}

/// Whose block an address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    Heap,
    Own,
    Library,
}

fn owner(block: *mut c_void) -> Owner {
    if start::contains(block.addr()) {
        Owner::Heap
    } else if own::owns(block) {
        Owner::Own
    } else {
        Owner::Library
    }
}

/// What a block is to be like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Anything,
    Zeros,
    /// At a multiple of so many bytes.
    Aligned(usize),
    /// With address space to grow to so many bytes.
    Room(usize),
}

/// A block from the heap; `None` if it is too small for that, or there is no room.
fn large(bytes: usize, wanted: Wanted) -> Option<*mut c_void> {
    if !start::is_large(bytes) || start::is_our_thread() {
        return None;
    }
    let heap = start::heap()?;
    let _quiet = Quiet::enter();
    let address = match wanted {
        Wanted::Anything => heap.allocate_dirty(bytes),
        Wanted::Zeros => heap.allocate(bytes, ALIGN, 0),
        Wanted::Aligned(align) => heap.allocate(bytes, align, 0),
        Wanted::Room(capacity) => heap.allocate(bytes, ALIGN, capacity),
    };
    if address.is_none() {
        heap.statistics().add(Counter::BytesPlain, bytes as u64);
    }
    address.map(ptr::with_exposed_provenance_mut)
}

fn out_of_memory() -> *mut c_void {
    fail(libc::ENOMEM);
    ptr::null_mut()
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn malloc(bytes: usize) -> *mut c_void {
    if let Some(block) = large(bytes, Wanted::Anything) {
        return block;
    }
    if start::is_our_thread() {
        return own::allocate(bytes, ALIGN);
    }
    // SAFETY: takes any number.
    unsafe { __libc_malloc(bytes) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn calloc(count: usize, bytes: usize) -> *mut c_void {
    let Some(all) = count.checked_mul(bytes) else { return out_of_memory() };
    // Blocks of the heap and our own are zeros.
    if let Some(block) = large(all, Wanted::Zeros) {
        return block;
    }
    if start::is_our_thread() {
        return own::allocate(all, ALIGN);
    }
    // SAFETY: takes any numbers.
    unsafe { __libc_calloc(count, bytes) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn free(block: *mut c_void) {
    match owner(block) {
        Owner::Heap => free_large(block.addr()),
        // SAFETY: it came from there, says the address.
        Owner::Own => unsafe { own::free(block) },
        // SAFETY: the caller's contract is the same.
        Owner::Library => unsafe { __libc_free(block) },
    }
}

fn free_large(address: usize) {
    let _quiet = Quiet::enter();
    match start::heap() {
        Some(heap) => {
            // As the C library does with a pointer that is no block.
            if !heap.recycle(address) {
                std::process::abort();
            }
        }
        None => {
            let Some(len) = start::inherited().and_then(|heap| heap.len_at(address)) else { return };
            // SAFETY: the block is the caller's, who gives it up; in a child it is ordinary memory.
            unsafe { libc::syscall(libc::SYS_munmap, address, len) };
        }
    }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn realloc(block: *mut c_void, bytes: usize) -> *mut c_void {
    if block.is_null() {
        // SAFETY: takes any number.
        return unsafe { malloc(bytes) };
    }
    let owner = owner(block);
    if bytes == 0 {
        // SAFETY: the caller gives the block up.
        unsafe { free(block) };
        return ptr::null_mut();
    }
    if owner == Owner::Library && !start::is_large(bytes) && !start::is_our_thread() {
        // SAFETY: the caller's contract is the same.
        return unsafe { __libc_realloc(block, bytes) };
    }
    if owner == Owner::Heap && start::is_large(bytes) && resize(block.addr(), bytes) {
        return block;
    }
    // SAFETY: the caller's contract is the same.
    unsafe { move_block(block, bytes) }
}

fn resize(address: usize, bytes: usize) -> bool {
    let _quiet = Quiet::enter();
    start::heap().is_some_and(|heap: &Heap| heap.resize(address, bytes))
}

/// Copies a block to a new one and frees it. A large one gets room to grow: address space costs nothing, copies do.
///
/// # Safety
///
/// As `realloc`, of a block.
unsafe fn move_block(block: *mut c_void, bytes: usize) -> *mut c_void {
    let room = bytes.checked_next_power_of_two().and_then(|room| room.checked_mul(2)).unwrap_or(0);
    let new = large(bytes, Wanted::Room(room)).or_else(|| large(bytes, Wanted::Anything));
    // SAFETY: takes any number.
    let new = new.unwrap_or_else(|| unsafe { malloc(bytes) });
    if new.is_null() {
        return new;
    }
    // SAFETY: the caller's block is one.
    let old = unsafe { malloc_usable_size(block) };
    // SAFETY: both blocks are at least that long, and the new one is nobody else's.
    unsafe { ptr::copy_nonoverlapping(block.cast::<u8>(), new.cast::<u8>(), old.min(bytes)) };
    // A block of the C library that one of our threads moves is left: freeing it could wait for the program.
    if owner(block) != Owner::Library || !start::is_our_thread() {
        // SAFETY: the caller gives the block up.
        unsafe { free(block) };
    }
    new
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn reallocarray(block: *mut c_void, count: usize, bytes: usize) -> *mut c_void {
    match count.checked_mul(bytes) {
        // SAFETY: the caller's contract is the same.
        Some(all) => unsafe { realloc(block, all) },
        None => out_of_memory(),
    }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memalign(align: usize, bytes: usize) -> *mut c_void {
    if let Some(block) =
        align.checked_next_power_of_two().and_then(|align| large(bytes, Wanted::Aligned(align)))
    {
        return block;
    }
    if start::is_our_thread() {
        return own::allocate(bytes, align.max(ALIGN));
    }
    // SAFETY: takes any numbers.
    unsafe { __libc_memalign(align, bytes) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn aligned_alloc(align: usize, bytes: usize) -> *mut c_void {
    // SAFETY: takes any numbers.
    unsafe { memalign(align, bytes) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn posix_memalign(place: *mut *mut c_void, align: usize, bytes: usize) -> c_int {
    if !align.is_power_of_two() || !align.is_multiple_of(size_of::<*mut c_void>()) {
        return libc::EINVAL;
    }
    // SAFETY: takes any numbers.
    let block = unsafe { memalign(align, bytes) };
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller gives a place for the answer.
    unsafe { place.write(block) };
    0
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn valloc(bytes: usize) -> *mut c_void {
    // SAFETY: takes any numbers.
    unsafe { memalign(PAGE, bytes) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn pvalloc(bytes: usize) -> *mut c_void {
    match bytes.max(1).checked_next_multiple_of(PAGE) {
        // SAFETY: takes any numbers.
        Some(whole) => unsafe { memalign(PAGE, whole) },
        None => out_of_memory(),
    }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
    match owner(block) {
        Owner::Heap => {
            let _quiet = Quiet::enter();
            start::inherited().and_then(|heap| heap.len_at(block.addr())).unwrap_or(0)
        }
        // SAFETY: it came from there, says the address.
        Owner::Own => unsafe { own::len(block) },
        Owner::Library => next!(malloc_usable_size(block => *mut c_void) -> usize),
    }
}
