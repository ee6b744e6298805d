//! Rust's global allocator in this library: memory of the service.
//!
//! ```text
//!   small   ranges reserved beforehand, managed by talc
//!   large   a mapping each, fresh ones need no clearing; where there are no more mappings, as small ones
//! ```
//!
//! All of it is at addresses that are kept apart from the program's, while there is room, and is shared memory without a file, so that nothing takes it for the program's data; children do not inherit it.
//! Once the service runs, it alone allocates.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bifolio_sys::{AddressRange, apart};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use talc::DefaultBinning;
use talc::base::Talc;
use talc::base::binning::Binning;
use talc::source::Source;

/// Address space for small blocks that is reserved at a time; memory is used as it is touched.
const RANGE_LEN: usize = 16 << 20;
/// Blocks of so many bytes and more have a mapping each.
const LARGE: usize = 128 << 10;
const PAGE: usize = 4096;

/// The allocator.
pub(crate) struct Own(Mutex<Talc<Range, DefaultBinning>>);

#[cfg_attr(not(test), global_allocator)]
pub(crate) static OWN: Own = Own(Mutex::new(Talc::new(Range)));

/// Gives talc another range when it asks.
#[derive(Debug)]
pub(crate) struct Range;

// SAFETY: `acquire` talks to the kernel only, and to the allocator that was passed in.
unsafe impl Source for Range {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, _layout: Layout) -> Result<(), ()> {
        claim(talc, RANGE_LEN)
    }
}

fn claim<B: Binning>(talc: &mut Talc<Range, B>, len: usize) -> Result<(), ()> {
    let range = map(len).ok_or(())?;
    note_range(range.as_ptr().addr(), len);
    // SAFETY: the range was just mapped, is readable and writable, and nothing else knows of it.
    unsafe { talc.claim(range.as_ptr(), len) }.ok_or(())?;
    Ok(())
}

/// Reserves address space for `bytes` more of small blocks, while there is some.
pub(crate) fn reserve(bytes: usize) -> Result<(), ()> {
    claim(&mut OWN.talc(), bytes.next_multiple_of(PAGE))
}

impl Own {
    fn talc(&self) -> MutexGuard<'_, Talc<Range, DefaultBinning>> {
        // A panic ends the process; see `start`.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: blocks come from talc or are mappings of their own; both are exclusive until freed, as large and as aligned as
// asked for. Which of the two it is follows from the layout, and for large ones from their address.
unsafe impl GlobalAlloc for Own {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout)
            && let Some(block) = map(layout.size())
        {
            return block.as_ptr();
        }
        // SAFETY: the caller promises that the layout is not empty.
        let block = unsafe { self.talc().allocate(layout) };
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_large(layout) && !is_in_range(block.addr()) {
            replace(block.addr(), 0);
            let len = whole_pages(layout.size());
            let given = AddressRange::new(block.addr(), len).is_ok_and(|range| {
                // SAFETY: a mapping of that length was made for this block, and the caller gives it up.
                unsafe { apart::give_back(range) }
            });
            if !given {
                // SAFETY: as above.
                let _: Result<(), _> = unsafe { munmap(block.cast(), len) };
            }
            return;
        }
        // SAFETY: the block came from `alloc` with this layout, says the caller.
        unsafe { self.talc().deallocate(block, layout) };
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as `alloc`.
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() && (!is_large(layout) || is_in_range(block.addr())) {
            // SAFETY: the block is that long and exclusive.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }
}

fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= PAGE
}

/// Ranges that talc manages: start and end, 0 if free; 16 GiB at least.
static RANGES: [(AtomicUsize, AtomicUsize); 1024] =
    [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; 1024];

fn note_range(start: usize, len: usize) {
    let free = RANGES.iter().find(|(_, end)| end.load(Relaxed) == 0);
    // Written under the lock of talc, or before the service runs.
    if let Some((first, end)) = free {
        first.store(start, Relaxed);
        end.store(start + len, Relaxed);
    }
}

fn is_in_range(block: usize) -> bool {
    let used = RANGES.iter().map(|(start, end)| (start.load(Relaxed), end.load(Relaxed)));
    used.take_while(|(_, end)| *end != 0).any(|(start, end)| (start..end).contains(&block))
}

fn whole_pages(bytes: usize) -> usize {
    bytes.next_multiple_of(PAGE)
}

/// Mappings of this allocator that are known, as a whole; 0 if free. Others are taken for the program's, where that matters.
static MAPPINGS: [AtomicUsize; 512] = [const { AtomicUsize::new(0) }; 512];

/// Tells whether a mapping that begins here is of this library: of this allocator, or at addresses that are kept.
pub(crate) fn is_own(start: usize) -> bool {
    apart::holds(start) || MAPPINGS.iter().any(|mapping| mapping.load(Relaxed) == start)
}

fn replace(old: usize, new: usize) {
    let swaps = |mapping: &&AtomicUsize| mapping.compare_exchange(old, new, Relaxed, Relaxed).is_ok();
    let _: Option<&AtomicUsize> = MAPPINGS.iter().find(swaps);
}

/// Maps fresh zeros that children do not inherit.
fn map(bytes: usize) -> Option<NonNull<u8>> {
    let len = whole_pages(bytes);
    let mapped = apart::take(len).and_then(map_apart).or_else(|| map_anywhere(len))?;
    for advice in [Advice::LinuxDontFork, Advice::LinuxDontDump] {
        // SAFETY: the range was just mapped; the advice changes no byte. Where it is refused, it is in the way, no more.
        let _: Result<(), _> = unsafe { madvise(mapped, len, advice) };
    }
    replace(0, mapped.addr());
    debug_assert!(!mapped.is_null(), "the kernel maps nothing at 0 unasked");
    NonNull::new(mapped.cast())
}

const PROTECTION: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);
const FLAGS: MapFlags = MapFlags::SHARED.union(MapFlags::NORESERVE);

fn map_apart(range: AddressRange) -> Option<*mut c_void> {
    let start = ptr::with_exposed_provenance_mut(range.start());
    // SAFETY: the addresses were taken for this block alone, and hold nothing.
    let mapped = unsafe { mmap_anonymous(start, range.len(), PROTECTION, FLAGS.union(MapFlags::FIXED)) };
    if mapped.is_err() {
        // SAFETY: nothing is there.
        let _: bool = unsafe { apart::give_back(range) };
    }
    mapped.ok()
}

fn map_anywhere(len: usize) -> Option<*mut c_void> {
    // SAFETY: without a wish for an address, the kernel takes free addresses only.
    unsafe { mmap_anonymous(ptr::null_mut(), len, PROTECTION, FLAGS) }.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_blocks_are_apart_and_large_ones_are_zeros() {
        let small = Layout::from_size_align(100, 64).expect("small");
        // SAFETY: the layouts are not empty.
        let blocks = [unsafe { OWN.alloc_zeroed(small) }, unsafe { OWN.alloc_zeroed(small) }];
        assert!(blocks.iter().all(|block| !block.is_null() && block.addr().is_multiple_of(64)));
        assert!(blocks[0].addr().abs_diff(blocks[1].addr()) >= 100);
        for block in blocks {
            // SAFETY: allocated with this layout.
            unsafe { OWN.dealloc(block, small) };
        }
        let large = Layout::from_size_align(LARGE + 1, 8).expect("small");
        // SAFETY: the layout is not empty.
        let block = unsafe { OWN.alloc_zeroed(large) };
        assert!(!block.is_null());
        // SAFETY: the block is that long.
        let last = unsafe { block.add(LARGE) };
        // SAFETY: as above.
        assert_eq!(unsafe { last.read() }, 0);
        // SAFETY: allocated with this layout.
        unsafe { OWN.dealloc(block, large) };
    }
}
