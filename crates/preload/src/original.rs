//! Which process this is: the program itself, or a child that was forked from it, by whatever call.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use bifolio_sys::{AddressRange, MapError, Mapping, PAGE, Placement, Protection, advise};

/// A page that holds 1 in the program, and 0 in every forked child; 0 until it is made.
static PAGE_AT: AtomicUsize = AtomicUsize::new(0);
static PROGRAM: AtomicU32 = AtomicU32::new(0);

/// Makes this process the program.
pub(crate) fn become_original() -> Result<AddressRange, MapError> {
    let page = Mapping::anonymous(PAGE, Protection::ReadWrite, Placement::Anywhere)?;
    advise::wipe_on_fork(page.all())?;
    page.all().store_u32(0, 1)?;
    let range = page.leak();
    PROGRAM.store(bifolio_sys::process::pid(), Relaxed);
    PAGE_AT.store(range.start(), Relaxed);
    Ok(range)
}

/// Tells whether this is the program, or shares its memory: no forked child.
pub(crate) fn is_original() -> bool {
    let page = PAGE_AT.load(Relaxed);
    if page == 0 {
        return false;
    }
    let page: *const AtomicU32 = std::ptr::with_exposed_provenance(page);
    // SAFETY: the page was mapped, is aligned, and stays until the process ends.
    unsafe { (*page).load(Relaxed) == 1 }
}

/// Tells whether this is the program's own process: neither a forked child nor one of `vfork`.
pub(crate) fn is_program() -> bool {
    is_original() && bifolio_sys::process::pid() == PROGRAM.load(Relaxed)
}
