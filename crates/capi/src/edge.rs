//! The edge to C: pointers of the caller come in here, and no panic gets out.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use bifolio_sys::{Mapping, PAGE, Placement, ProgramMemory, Protection, advise};

use crate::abi::{BF_E_ABI, BF_E_ARGUMENT, BF_E_INTERNAL, BF_E_THREAD, Sized32, bf_status};
use crate::status::{Error, keep};

/// Does the work of a call, and turns what comes of it into a code. Inline: what the caller gave stays in registers.
#[inline(always)]
#[expect(clippy::inline_always, reason = "2 ns of 12 in a read that hits: bifolio bench attach")]
pub fn call(work: impl FnOnce() -> Result<bf_status, Error>) -> bf_status {
    if is_forked() {
        return refuse_child();
    }
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => refuse(error),
        Err(panic) => refuse(of_panic(panic.as_ref())),
    }
}

/// The right to memory of the program, which is used for what `bf_adopt` is given and for nothing else.
pub fn program_memory() -> ProgramMemory {
    // SAFETY: windows are made of ranges that the program gives to `bf_adopt` alone, private data whose use by the program goes
    // on by plain accesses of C. What Rust allocates here is not the program's to give: it gets no pointer to such memory.
    unsafe { ProgramMemory::take() }
}

#[cold]
#[inline(never)]
fn refuse_child() -> bf_status {
    refuse(Error::new(BF_E_THREAD, "after fork only the parent may call Bifolio"))
}

#[cold]
#[inline(never)]
fn refuse(error: Error) -> bf_status {
    keep(error.text);
    error.code
}

#[cold]
#[inline(never)]
fn of_panic(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    Error::new(BF_E_INTERNAL, format!("panic: {text}; close the space"))
}

/// Whether this is a forked child: a page that the kernel makes zero in children says so.
fn is_forked() -> bool {
    static MARK: OnceLock<Option<Mapping>> = OnceLock::new();
    let mark = MARK.get_or_init(|| {
        let page = Mapping::anonymous(PAGE, Protection::ReadWrite, Placement::Anywhere).ok()?;
        advise::wipe_on_fork(page.all()).ok()?;
        page.all().store_u64(0, 1).ok()?;
        Some(page)
    });
    mark.as_ref().is_some_and(|page| page.all().load_u64(0) == Ok(0))
}

/// Reads a structure of the caller, who may know fewer or more fields.
///
/// # Safety
///
/// `from` is null, or points to a `T` whose first field is the number of bytes that can be read there.
pub unsafe fn read_struct<T: Sized32>(from: *const T) -> Result<T, Error> {
    // SAFETY: passed on to the caller.
    let known = unsafe { known_bytes(from) }?;
    let mut value = T::ZERO;
    // SAFETY: as many bytes as both have, and every pattern of bits is a `T`; a local does not overlap.
    unsafe { std::ptr::copy_nonoverlapping(from.cast::<u8>(), (&raw mut value).cast::<u8>(), known) };
    Ok(value)
}

/// Writes a structure to the caller, all but the size, which is the caller's.
///
/// # Safety
///
/// `to` is null, or points to a `T` whose first field is the number of bytes that can be written there.
pub unsafe fn write_struct<T: Sized32>(to: *mut T, value: &T) -> Result<(), Error> {
    // SAFETY: passed on to the caller.
    let known = unsafe { known_bytes(to) }?;
    let from = std::ptr::from_ref(value).cast::<u8>();
    let (skip, len) = (size_of::<u32>(), known - size_of::<u32>());
    let (from, to) = (from.wrapping_add(skip), to.cast::<u8>().wrapping_add(skip));
    // SAFETY: both have `known` bytes, of which the first four are left out; the caller's is not the local one.
    unsafe { std::ptr::copy_nonoverlapping(from, to, len) };
    Ok(())
}

/// More than any structure will ever have.
const STRUCT_MAX: usize = 4096;

/// Bytes of a structure that both the caller and this library know.
///
/// # Safety
///
/// `at` is null, or points to a `u32` that can be read.
unsafe fn known_bytes<T>(at: *const T) -> Result<usize, Error> {
    if at.is_null() {
        return Err(Error::argument("null pointer to a structure"));
    }
    // SAFETY: not null, so it can be read, says the caller.
    let size = unsafe { at.cast::<u32>().read_unaligned() } as usize;
    if (size_of::<T>()..=STRUCT_MAX).contains(&size) {
        return Ok(size_of::<T>());
    }
    let text = format!("structure of size {size}: set it to sizeof, which was {} at first", size_of::<T>());
    Err(Error::new(if size == 0 { BF_E_ARGUMENT } else { BF_E_ABI }, text))
}

/// Writes a result to the caller.
///
/// # Safety
///
/// `to` is null or can be written.
pub unsafe fn write_out<T>(to: *mut T, value: T) -> Result<(), Error> {
    if to.is_null() {
        return Err(Error::argument("null pointer for the result"));
    }
    // SAFETY: not null, so it can be written, says the caller.
    unsafe { to.write_unaligned(value) };
    Ok(())
}

#[cold]
#[inline(never)]
fn no_bytes() -> Error {
    Error::argument("null pointer for bytes, or more bytes than there are")
}

/// Bytes of the caller to read.
///
/// # Safety
///
/// `from` is null, or `len` bytes can be read there as long as the result is used.
pub unsafe fn bytes_in<'c>(from: *const u8, len: usize) -> Result<&'c [u8], Error> {
    if from.is_null() || isize::try_from(len).is_err() {
        return Err(no_bytes());
    }
    // SAFETY: not null, not too long, and readable, says the caller.
    Ok(unsafe { std::slice::from_raw_parts(from, len) })
}

/// Bytes of the caller to write.
///
/// # Safety
///
/// `to` is null, or `len` bytes can be written there as long as the result is used.
pub unsafe fn bytes_out<'c>(to: *mut u8, len: usize) -> Result<&'c mut [u8], Error> {
    if to.is_null() || isize::try_from(len).is_err() {
        return Err(no_bytes());
    }
    // SAFETY: not null, not too long, and writable, says the caller.
    Ok(unsafe { std::slice::from_raw_parts_mut(to, len) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::with_last;

    #[test]
    fn panic_becomes_an_error_with_its_text() {
        assert_eq!(call(|| panic!("on purpose, {}", 7)), BF_E_INTERNAL);
        with_last(|text| assert_eq!(text, "panic: on purpose, 7; close the space"));
        assert_eq!(call(|| Ok(0)), 0);
    }
}
