//! Addresses for mappings of this library beside a program that does not know of it.
//!
//! The kernel puts a new mapping where addresses are free, so also where the program has unmapped memory, or moved it away. A
//! program may map something there again at that very address (`MAP_FIXED`, `mremap`): that is right where no other thread maps
//! memory. So addresses are kept from the start on, without memory or access, and mappings of this library are made there.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

use crate::{AddressRange, MapError, Mapping, PAGE, Placement, advise};

/// Mappings that can be there at once.
const MOST: usize = 1024;

/// The addresses that are kept: start and end.
static ALL: (AtomicUsize, AtomicUsize) = (AtomicUsize::new(0), AtomicUsize::new(0));

/// Which of the addresses are in use, in their order.
struct Kept {
    all: Range<usize>,
    used: [(usize, usize); MOST],
    count: usize,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept { all: 0..0, used: [(0, 0); MOST], count: 0 });

impl Kept {
    /// Takes the first free addresses that are enough.
    fn take(&mut self, len: usize) -> Option<usize> {
        if self.count == MOST || len == 0 {
            return None;
        }
        let used = &self.used[..self.count];
        let ends = std::iter::once(self.all.start).chain(used.iter().map(|(_, end)| *end));
        let starts = used.iter().map(|(start, _)| *start).chain([self.all.end]);
        let (index, (start, _)) = ends.zip(starts).enumerate().find(|(_, (from, to))| to - from >= len)?;
        self.used.copy_within(index..self.count, index + 1);
        self.used[index] = (start, start + len);
        self.count += 1;
        Some(start)
    }

    /// Frees what was taken.
    fn give_back(&mut self, taken: &Range<usize>) {
        let index = self.used[..self.count].iter().position(|used| *used == (taken.start, taken.end));
        if let Some(index) = index {
            self.used.copy_within(index + 1..self.count, index);
            self.count -= 1;
        }
    }
}

fn kept() -> MutexGuard<'static, Kept> {
    // Nothing panics under this lock half-way.
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps `len` bytes of addresses; once.
///
/// # Errors
///
/// What the kernel refuses: there is a limit on address space, for one.
pub fn keep(len: usize) -> Result<(), MapError> {
    let all = Mapping::reserve(len, Placement::Anywhere)?;
    // Otherwise it would become one with such a mapping of the program beside it.
    advise::dontdump(all.all())?;
    let all = all.leak();
    kept().all = all.start()..all.end();
    ALL.0.store(all.start(), Relaxed);
    ALL.1.store(all.end(), Relaxed);
    Ok(())
}

/// Tells whether an address is one that is kept.
#[must_use]
pub fn holds(address: usize) -> bool {
    (ALL.0.load(Relaxed)..ALL.1.load(Relaxed)).contains(&address)
}

/// Takes addresses for a mapping of `len` bytes; `None` if there is no room. The caller alone may replace what is mapped there.
#[must_use]
pub fn take(len: usize) -> Option<AddressRange> {
    let len = len.checked_next_multiple_of(PAGE)?;
    let start = kept().take(len)?;
    AddressRange::new(start, len).ok()
}

/// Unmaps what was mapped at addresses from [`take`], and keeps them for others; `false` if they are not from there.
///
/// # Safety
///
/// Nothing uses that memory any more.
#[must_use]
pub unsafe fn give_back(taken: AddressRange) -> bool {
    if !holds(taken.start()) {
        return false;
    }
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
    let start = std::ptr::with_exposed_provenance_mut(taken.start());
    // SAFETY: 1. the addresses are kept by this module, so nothing of others is replaced; 2. nothing uses what was there, says the
    // caller.
    let unmapped = unsafe { mmap_anonymous(start, taken.len(), ProtFlags::empty(), flags) };
    // Where the kernel has no room for another mapping, the addresses stay in use.
    if let Ok(start) = unmapped {
        // SAFETY: nothing is mapped there but what was just made. Where it is refused, it is a mapping of its own, no more.
        let _: Result<(), _> = unsafe { madvise(start, taken.len(), Advice::LinuxDontDump) };
        kept().give_back(&(taken.start()..taken.end()));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_once_until_they_are_given_back() {
        let mut kept = Kept { all: 0x1000..0x9000, used: [(0, 0); MOST], count: 0 };
        let taken = [0x2000, 0x1000, 0x4000].map(|len| kept.take(len));
        assert_eq!(taken, [Some(0x1000), Some(0x3000), Some(0x4000)]);
        assert_eq!(kept.take(0x2000), None);
        kept.give_back(&(0x3000..0x4000));
        assert_eq!(
            [kept.take(0x2000), kept.take(0x1000), kept.take(0x1000)],
            [None, Some(0x3000), Some(0x8000)]
        );
    }

    #[test]
    fn mappings_apart_are_within_the_kept_addresses_and_leave_them_without_access() {
        keep(64 * PAGE).expect("addresses");
        let mapping = Mapping::common(3 * PAGE, Placement::Apart).expect("memory");
        let span = mapping.span();
        assert!(holds(span.start()) && holds(span.end() - 1));
        mapping.all().store_u64(0, 7).expect("in the mapping");
        drop(mapping);
        assert!(holds(span.start()));
        let larger = Mapping::common(65 * PAGE, Placement::Apart).expect("memory elsewhere");
        assert!(!holds(larger.span().start()));
        let again = Mapping::common(2 * PAGE, Placement::Apart).expect("memory");
        assert_eq!(again.all().load_u64(0), Ok(0));
    }
}
