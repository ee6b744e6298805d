//! Every allocation that the allocator makes for itself is made to fail once, at each place.
//!
//! This needs a global allocator of its own, the one use of `unsafe` in the tests of this crate.

use bifolio_buddy::{AllocateError, Buddy, NewError, Request};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, of which a chosen call fails.
struct Failing;

std::thread_local! {
    /// Calls until the one that fails; 0 if none shall.
    static COUNTDOWN: Cell<u64> = const { Cell::new(0) };
}

/// Counts one call of this thread; tells whether it shall fail.
fn is_due() -> bool {
    COUNTDOWN.with(|countdown| {
        let left = countdown.get();
        countdown.set(left.saturating_sub(1));
        left == 1
    })
}

// SAFETY: all calls are passed on to the system's allocator, or fail by a null pointer, as the trait allows.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_due() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps the contract of this method, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer comes from the system's allocator; the rest is the caller's contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        if is_due() {
            return std::ptr::null_mut();
        }
        // SAFETY: the pointer comes from the system's allocator; the rest is the caller's contract.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

/// Makes the call with its first, second, ... allocation failing, until none fails any more; returns how many did.
fn with_each_allocation_failing<T>(mut call: impl FnMut() -> T, mut check: impl FnMut(T)) -> u64 {
    for nth in 1.. {
        COUNTDOWN.with(|countdown| countdown.set(nth));
        let result = call();
        let failed = COUNTDOWN.with(|countdown| countdown.replace(0)) == 0;
        if !failed {
            return nth - 1;
        }
        check(result);
    }
    0
}

#[test]
fn making_an_allocator_reports_shortage() {
    let failures = with_each_allocation_failing(
        || Buddy::with_regions(&[0..5000, 9000..70_000]),
        |result| assert_eq!(result.err(), Some(NewError::OutOfMemory)),
    );
    assert!(failures >= 9, "{failures} allocations were made to fail");
}

#[test]
fn a_request_reports_shortage_and_takes_nothing() {
    let mut buddy = Buddy::new(5000).expect("memory is there");
    buddy.declare_cleared(64..128).expect("free");
    // A search for dirty pages, which makes an index of them; a request does without if there is no memory for it.
    let page = buddy.allocate(12).expect("free");
    buddy.free(page, 12).expect("allocated");
    let before = buddy.snapshot();
    for request in
        [Request::pages(1023), Request::pages(1023).contiguous(), Request::pages(100).prefer_cleared()]
    {
        let mut tried = buddy.clone();
        let failures = with_each_allocation_failing(
            || tried.allocate_with(&request).map(|grants| grants.len()),
            |result| assert_eq!(result, Err(AllocateError::OutOfMemory)),
        );
        assert!(failures >= 1);
        // The last call succeeded; what the others took has been given back.
        let used: Vec<_> = tried.used_blocks().collect();
        tried.free_list(&used).expect("allocated");
        assert_eq!(tried.figures().free_by_order, buddy.figures().free_by_order);
        assert!(used.iter().map(|block| block.pages()).sum::<u64>() <= 1023);
    }
    assert_eq!(buddy.snapshot(), before);
}

#[test]
fn tracking_without_memory_makes_pages_dirty_and_fails_no_call() {
    // Made before: that is not what is to fail.
    let mut unused: Vec<Buddy> = (0..20).map(|_| Buddy::new(1 << 16).expect("memory is there")).collect();
    let failures = with_each_allocation_failing(
        || {
            let mut buddy = unused.pop().expect("fewer than 20 allocations");
            let declared = [100..200, 5000..9000, 20_000..20_001].map(|range| buddy.declare_cleared(range));
            // Where it fits best some pages are cleared, so dirty ones are looked for.
            let page = buddy.allocate(12);
            (buddy, declared, page)
        },
        |(buddy, declared, page)| {
            assert_eq!(declared, [Ok(()), Ok(()), Ok(())]);
            assert!(page.is_ok());
            assert_eq!(buddy.check_consistency(), Ok(()));
            for extent in buddy.cleared_extents() {
                let was_declared = [100..200, 5000..9000, 20_000..20_001]
                    .iter()
                    .any(|range| range.start <= extent.start && extent.end <= range.end);
                assert!(was_declared, "{extent:?} was not declared");
            }
        },
    );
    assert!(failures >= 6, "{failures} allocations were made to fail");
}

#[test]
fn plain_calls_allocate_no_memory() {
    let mut buddy = Buddy::new(1 << 16).expect("memory is there");
    COUNTDOWN.with(|countdown| countdown.set(1));
    let page = buddy.allocate(3);
    let aligned = buddy.allocate_aligned(1, 6);
    let range = buddy.allocate_contiguous(77);
    let (freed, figures) = (buddy.free(*page.as_ref().unwrap_or(&1), 3), buddy.figures());
    let untouched = COUNTDOWN.with(|countdown| countdown.replace(0)) == 1;
    assert!(untouched && page.is_ok() && aligned.is_ok() && range.is_ok() && freed.is_ok());
    assert_eq!(figures.free_pages, (1 << 16) - 2 - 77);
}
