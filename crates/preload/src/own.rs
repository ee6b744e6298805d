//! Memory of our own, mapped by system calls: Rust's global allocator in this library, and what the C library allocates
//! on behalf of our threads.
//!
//! ```text
//!   small   one reserved range, managed by talc
//!   large   a mapping each; fresh ones need no clearing
//! ```
//!
//! Threads of the program get here with signals blocked only: see [`quiet`](crate::quiet).

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use talc::DefaultBinning;
use talc::base::Talc;
use talc::base::binning::Binning;
use talc::source::Source;

use crate::quiet::Quiet;

/// Address space for small blocks; memory is used as it is touched.
const RANGE_LEN: usize = 1 << 30;
/// Blocks of so many bytes and more have a mapping each.
const LARGE: usize = 128 << 10;
const PAGE: usize = 4096;

/// First address of the range of small blocks; 0 until it is reserved.
static RANGE: AtomicUsize = AtomicUsize::new(0);

/// The allocator.
pub(crate) struct Own(Mutex<Talc<Range, DefaultBinning>>);

#[cfg_attr(not(test), global_allocator)]
pub(crate) static OWN: Own = Own(Mutex::new(Talc::new(Range)));

/// Gives talc the whole range when it first asks.
#[derive(Debug)]
pub(crate) struct Range;

// SAFETY: `acquire` talks to the kernel only, and to the allocator that was passed in.
unsafe impl Source for Range {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, _layout: Layout) -> Result<(), ()> {
        if RANGE.load(Relaxed) != 0 {
            return Err(());
        }
        let range = map(RANGE_LEN).ok_or(())?;
        RANGE.store(range.as_ptr().expose_provenance(), Relaxed);
        // SAFETY: the range was just mapped, is readable and writable, and nobody else knows of it.
        unsafe { talc.claim(range.as_ptr(), RANGE_LEN) }.ok_or(())?;
        Ok(())
    }
}

impl Own {
    /// Waits for the allocator of small blocks; nobody else allocates as long as the caller holds it. Signals must be
    /// blocked.
    pub(crate) fn talc(&self) -> MutexGuard<'_, Talc<Range, DefaultBinning>> {
        // A panic ends the process; see `start`.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: blocks come from talc or are mappings of their own; both are exclusive until freed, as large and as aligned as
// asked for. Which of the two it is follows from the layout alone.
unsafe impl GlobalAlloc for Own {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return map(layout.size()).map_or(ptr::null_mut(), NonNull::as_ptr);
        }
        // SAFETY: the caller promises that the layout is not empty.
        let block = unsafe { self.talc().allocate(layout) };
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_large(layout) {
            // SAFETY: a mapping of that length was made for this block, and the caller gives it up.
            let _: Result<(), _> = unsafe { munmap(block.cast(), whole_pages(layout.size())) };
            return;
        }
        // SAFETY: the block came from `alloc` with this layout, says the caller.
        unsafe { self.talc().deallocate(block, layout) };
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as `alloc`.
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() && !is_large(layout) {
            // SAFETY: the block is that long and nobody else's.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }
}

fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= PAGE
}

fn whole_pages(bytes: usize) -> usize {
    bytes.next_multiple_of(PAGE)
}

/// Maps fresh zeros.
fn map(bytes: usize) -> Option<NonNull<u8>> {
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: without a wish for an address, the kernel takes free addresses only.
    let mapped = unsafe { mmap_anonymous(ptr::null_mut(), whole_pages(bytes), protection, flags) };
    NonNull::new(mapped.ok()?.cast())
}

/// What stands before a block that C asked for: how to free it.
#[repr(C, align(16))]
struct Header {
    size: usize,
    align: usize,
}

/// Allocates a block for C, cleared. Null if there is no memory.
pub(crate) fn allocate(bytes: usize, align: usize) -> *mut c_void {
    let align = align.max(align_of::<Header>());
    let layout = bytes.checked_add(align).and_then(|size| Layout::from_size_align(size, align).ok());
    // A large block would not lie in the range by which it is recognised.
    let Some(layout) = layout.filter(|layout| layout.size() < LARGE) else { return ptr::null_mut() };
    let _quiet = Quiet::enter();
    // SAFETY: the layout is not empty: the alignment is part of the size.
    let start = unsafe { OWN.alloc_zeroed(layout) };
    if start.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: `align` bytes are in the block, before what the caller gets.
    let block = unsafe { start.add(align) };
    let header = Header { size: layout.size(), align };
    // SAFETY: the block is one of ours.
    let place = unsafe { header_of(block.cast()) };
    // SAFETY: the header fits between, since the alignment is at least its size, and is aligned to it.
    unsafe { place.write(header) };
    block.cast()
}

/// The place of the header of a block.
///
/// # Safety
///
/// `block` is a block of [`allocate`], finished or not.
unsafe fn header_of(block: *mut c_void) -> *mut Header {
    // SAFETY: the alignment, at least a header long, stands before the block.
    unsafe { block.cast::<Header>().sub(1) }
}

/// Tells whether [`allocate`] gave this block.
pub(crate) fn owns(block: *const c_void) -> bool {
    let range = RANGE.load(Relaxed);
    range != 0 && block.addr().wrapping_sub(range) < RANGE_LEN
}

/// The bytes of a block of [`allocate`].
///
/// # Safety
///
/// `block` came from [`allocate`] and was not freed.
pub(crate) unsafe fn len(block: *mut c_void) -> usize {
    // SAFETY: the block is one of ours, says the caller.
    let place = unsafe { header_of(block) };
    // SAFETY: the header was written when the block was made.
    let Header { size, align } = unsafe { place.read() };
    size - align
}

/// Frees a block of [`allocate`].
///
/// # Safety
///
/// `block` came from [`allocate`] and was not freed.
pub(crate) unsafe fn free(block: *mut c_void) {
    // SAFETY: the block is one of ours, says the caller.
    let place = unsafe { header_of(block) };
    // SAFETY: the header was written when the block was made.
    let Header { size, align } = unsafe { place.read() };
    // SAFETY: `allocate` made this layout.
    let layout = unsafe { Layout::from_size_align_unchecked(size, align) };
    // SAFETY: the block began that far before.
    let start = unsafe { block.cast::<u8>().sub(align) };
    let _quiet = Quiet::enter();
    // SAFETY: it came from `alloc_zeroed` with this layout.
    unsafe { OWN.dealloc(start, layout) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_for_c_are_cleared_aligned_and_recognised() {
        for (bytes, align) in [(1, 1), (100, 64), (5000, 4096), (0, 16)] {
            let block = allocate(bytes, align);
            assert!(!block.is_null() && owns(block) && block.addr().is_multiple_of(align));
            // SAFETY: just allocated.
            assert!(unsafe { len(block) } >= bytes);
            // SAFETY: just allocated, and not used any more.
            unsafe { free(block) };
        }
        assert!(!owns(ptr::from_ref(&0).cast()));
    }

    #[test]
    fn large_blocks_are_mappings_of_zeros() {
        let layout = Layout::from_size_align(LARGE + 1, 8).expect("small");
        // SAFETY: the layout is not empty.
        let block = unsafe { OWN.alloc_zeroed(layout) };
        assert!(!block.is_null() && !owns(block.cast()));
        // SAFETY: the block is that long.
        let last = unsafe { block.add(LARGE) };
        // SAFETY: as above.
        assert_eq!(unsafe { last.read() }, 0);
        // SAFETY: allocated with this layout.
        unsafe { OWN.dealloc(block, layout) };
    }
}
