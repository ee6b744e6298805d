//! Memory that others may be writing, without references to it.
//!
//! [`SharedBytes`] is a borrowed window of a [`Mapping`]. Two rules, after vm-memory's `VolatileSlice`:
//!
//! 1. No `&T` or `&mut T` to the bytes ever exists: a device, another thread or another process may change them at
//!    any time, which the compiler assumes never happens behind a reference.
//! 2. No access is a plain Rust load or store. Aligned values move by relaxed atomics, ranges by instructions
//!    outside of the compiler's sight ([`sweep`](crate::sweep)). Racing accesses then give stale or mixed bytes,
//!    never undefined behaviour.
//!
//! A load from a page that is not there waits for the thread that serves its userfaultfd; from memory without access it
//! raises SIGSEGV, from a poisoned page SIGBUS. That stops the program, it does not corrupt it.

use std::marker::PhantomData;
use std::ptr::with_exposed_provenance_mut;
use std::sync::atomic::{
    AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
    fence,
};

use crate::{AddressRange, AddressRangeError, Mapping, sweep};

/// Why bytes of a window were not accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Part of the access is not inside.
    #[error("access of {len:#x} bytes at offset {offset:#x} leaves its window of {window:#x} bytes")]
    OutOfBounds {
        /// Offset of the first byte.
        offset: usize,
        /// Bytes wanted.
        len: usize,
        /// Bytes of the window.
        window: usize,
    },
    /// An atomic access to an address that is not a multiple of its size.
    #[error("atomic access to {address:#x} is not aligned")]
    Unaligned {
        /// The address.
        address: usize,
    },
}

/// A number that any bytes are a valid value of. Sealed.
pub trait Plain: Copy + sealed::Raw {
    /// Makes the number of its bytes, as they are in memory.
    ///
    /// # Panics
    ///
    /// If `bytes` is not as long as the number.
    fn from_bytes(bytes: &[u8]) -> Self;

    /// Writes its bytes as they are in memory.
    ///
    /// # Panics
    ///
    /// If `to` is not as long as the number.
    fn put_bytes(self, to: &mut [u8]);
}

/// An unsigned number that memory holds atomically. Sealed.
pub trait Word: Plain + PartialEq + sealed::Exchange {}

mod sealed {
    /// Compare and exchange of one value.
    pub trait Exchange: Sized {
        /// Stores `new` at an aligned, mapped address if `current` is there; returns what was there, `Ok` if it was
        /// `current` (acquire and release). May fail though it was.
        ///
        /// # Safety
        ///
        /// As [`Raw::load`].
        unsafe fn exchange(at: *mut Self, current: Self, new: Self) -> Result<Self, Self>;
    }

    /// Access to one value by atomics or bytewise.
    pub trait Raw: Sized {
        /// Loads from an aligned, mapped address.
        ///
        /// # Safety
        ///
        /// `at` is aligned, and its bytes belong to a mapping that is accessed without references only.
        unsafe fn load(at: *mut Self) -> Self;

        /// Stores to an aligned, mapped address.
        ///
        /// # Safety
        ///
        /// As [`Raw::load`].
        unsafe fn store(at: *mut Self, value: Self);

        /// Loads from an address of any alignment.
        ///
        /// # Safety
        ///
        /// As [`Raw::load`], but for alignment.
        unsafe fn load_bytes(at: usize) -> Self;

        /// Stores to an address of any alignment.
        ///
        /// # Safety
        ///
        /// As [`Raw::load`], but for alignment.
        unsafe fn store_bytes(at: usize, value: Self);
    }
}

/// Implements [`Plain`] by the atomic of the same size.
macro_rules! plain {
    ($($value:ty, $bits:ty, $atomic:ty;)*) => {$(
        impl Plain for $value {
            #[inline]
            fn from_bytes(bytes: &[u8]) -> Self {
                Self::from_ne_bytes(bytes.try_into().expect("as many bytes as the number has"))
            }

            #[inline]
            fn put_bytes(self, to: &mut [u8]) {
                to.copy_from_slice(&self.to_ne_bytes());
            }
        }
        impl sealed::Raw for $value {
            #[inline]
            unsafe fn load(at: *mut Self) -> Self {
                // SAFETY: aligned and mapped for as long as the caller's window lives; accessed by others only with
                // atomics or by instructions the compiler does not see.
                let cell = unsafe { <$atomic>::from_ptr(at.cast::<$bits>()) };
                Self::from_ne_bytes(cell.load(Relaxed).to_ne_bytes())
            }

            #[inline]
            unsafe fn store(at: *mut Self, value: Self) {
                // SAFETY: as in `load`.
                let cell = unsafe { <$atomic>::from_ptr(at.cast::<$bits>()) };
                cell.store(<$bits>::from_ne_bytes(value.to_ne_bytes()), Relaxed);
            }

            #[inline]
            unsafe fn load_bytes(at: usize) -> Self {
                let mut bytes = [0; size_of::<Self>()];
                // SAFETY: the source is the caller's; the destination is a local array of that many bytes.
                unsafe { sweep::copy(bytes.as_mut_ptr().expose_provenance(), at, bytes.len()) };
                Self::from_ne_bytes(bytes)
            }

            #[inline]
            unsafe fn store_bytes(at: usize, value: Self) {
                let bytes = value.to_ne_bytes();
                // SAFETY: the destination is the caller's; the source is a local array of that many bytes.
                unsafe { sweep::copy(at, bytes.as_ptr().expose_provenance(), bytes.len()) };
            }
        }
    )*};
}

plain! {
    u8, u8, AtomicU8;
    u16, u16, AtomicU16;
    u32, u32, AtomicU32;
    u64, u64, AtomicU64;
    usize, usize, AtomicUsize;
    i8, u8, AtomicU8;
    i16, u16, AtomicU16;
    i32, u32, AtomicU32;
    i64, u64, AtomicU64;
    isize, usize, AtomicUsize;
    f32, u32, AtomicU32;
    f64, u64, AtomicU64;
}

/// Implements [`Word`] by the atomic of the same type.
macro_rules! word {
    ($($value:ty, $atomic:ty;)*) => {$(
        impl Word for $value {}
        impl sealed::Exchange for $value {
            #[inline]
            unsafe fn exchange(at: *mut Self, current: Self, new: Self) -> Result<Self, Self> {
                // SAFETY: as in `load`.
                let cell = unsafe { <$atomic>::from_ptr(at) };
                cell.compare_exchange_weak(current, new, AcqRel, Acquire)
            }
        }
    )*};
}

word! {
    u8, AtomicU8;
    u16, AtomicU16;
    u32, AtomicU32;
    u64, AtomicU64;
}

/// A borrowed window of a [`Mapping`]: the right to access its bytes raw, and to operate on its pages.
///
/// ```
/// # use bifolio_sys::{Mapping, PAGE, Placement, Protection};
/// let mapping = Mapping::anonymous(PAGE, Protection::ReadWrite, Placement::Anywhere)?;
/// let window = mapping.bytes(64, 128)?;
/// window.write(0, 1.5_f64)?;
/// assert_eq!(mapping.all().fetch_add_f64(64, 1.0)?, 1.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It cannot outlive the mapping:
///
/// ```compile_fail,E0505
/// # use bifolio_sys::{Mapping, PAGE, Placement, Protection};
/// let mapping = Mapping::anonymous(PAGE, Protection::ReadWrite, Placement::Anywhere).unwrap();
/// let window = mapping.all();
/// drop(mapping);
/// window.fill_zero();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SharedBytes<'m> {
    start: usize,
    len: usize,
    mapping: PhantomData<&'m Mapping>,
}

impl<'m> SharedBytes<'m> {
    /// Makes the window; the mapping vouches for the range.
    pub(crate) const fn of_mapping(_: &'m Mapping, start: usize, len: usize) -> Self {
        Self { start, len, mapping: PhantomData }
    }

    /// Returns the address of the first byte.
    #[must_use]
    pub const fn address(self) -> usize {
        self.start
    }

    /// Returns the number of bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        self.len
    }

    /// Tells whether there is no byte.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Returns the window as a span.
    ///
    /// # Errors
    ///
    /// Refuses a window that is empty or not page aligned.
    pub const fn span(self) -> Result<AddressRange, AddressRangeError> {
        AddressRange::new(self.start, self.len)
    }

    /// Returns the window of `len` bytes from `offset`.
    ///
    /// # Errors
    ///
    /// Refuses what is not inside.
    #[inline]
    pub const fn part(self, offset: usize, len: usize) -> Result<SharedBytes<'m>, AccessError> {
        // Written so that nothing overflows: `offset <= self.len` first.
        if offset > self.len || len > self.len - offset {
            return Err(AccessError::OutOfBounds { offset, len, window: self.len });
        }
        Ok(Self { start: self.start + offset, len, mapping: PhantomData })
    }

    /// Loads a number from `offset`, of any alignment. An aligned one never tears.
    ///
    /// # Errors
    ///
    /// Refuses what is not inside.
    #[inline]
    pub fn read<T: Plain>(self, offset: usize) -> Result<T, AccessError> {
        let at = self.part(offset, size_of::<T>())?.start;
        if at.is_multiple_of(align_of::<T>()) {
            // SAFETY: aligned; inside of a mapping that lives as long as this window.
            Ok(unsafe { T::load(with_exposed_provenance_mut(at)) })
        } else {
            // SAFETY: inside of a mapping that lives as long as this window.
            Ok(unsafe { T::load_bytes(at) })
        }
    }

    /// Stores a number at `offset`, of any alignment. An aligned one never tears.
    ///
    /// # Errors
    ///
    /// Refuses what is not inside.
    #[inline]
    pub fn write<T: Plain>(self, offset: usize, value: T) -> Result<(), AccessError> {
        let at = self.part(offset, size_of::<T>())?.start;
        if at.is_multiple_of(align_of::<T>()) {
            // SAFETY: aligned; inside of a mapping that lives as long as this window.
            unsafe { T::store(with_exposed_provenance_mut(at), value) };
        } else {
            // SAFETY: inside of a mapping that lives as long as this window.
            unsafe { T::store_bytes(at, value) };
        }
        Ok(())
    }

    /// Copies all of `source` to the start of this window. If the two overlap, the bytes that result are mixed.
    ///
    /// # Errors
    ///
    /// Refuses a source that is longer than the window.
    pub fn copy_from(self, source: SharedBytes<'_>) -> Result<(), AccessError> {
        self.part(0, source.len)?;
        // SAFETY: both ranges are inside of mappings that live as long as the windows.
        unsafe { sweep::copy(self.start, source.start, source.len) };
        Ok(())
    }

    /// As [`SharedBytes::copy_from`], past the cache: for bytes that are not wanted here soon.
    ///
    /// # Errors
    ///
    /// Refuses a source that is longer than the window.
    pub fn store_from(self, source: SharedBytes<'_>) -> Result<(), AccessError> {
        self.part(0, source.len)?;
        // SAFETY: both ranges are inside of mappings that live as long as the windows.
        unsafe { sweep::copy_past_cache(self.start, source.start, source.len) };
        Ok(())
    }

    /// Copies from the start of this window into all of `target`.
    ///
    /// # Errors
    ///
    /// Refuses a target that is longer than the window.
    pub fn read_into(self, target: &mut [u8]) -> Result<(), AccessError> {
        self.part(0, target.len())?;
        // SAFETY: the source is inside of a living mapping; the target is an exclusive slice of that length.
        unsafe { sweep::copy(target.as_mut_ptr().expose_provenance(), self.start, target.len()) };
        Ok(())
    }

    /// Copies all of `source` to the start of this window.
    ///
    /// # Errors
    ///
    /// Refuses a source that is longer than the window.
    pub fn write_from(self, source: &[u8]) -> Result<(), AccessError> {
        self.part(0, source.len())?;
        // SAFETY: the target is inside of a living mapping; the source is a readable slice of that length.
        unsafe { sweep::copy(self.start, source.as_ptr().expose_provenance(), source.len()) };
        Ok(())
    }

    /// Sets every byte to zero.
    pub fn fill_zero(self) {
        // SAFETY: the range is inside of a mapping that lives as long as this window.
        unsafe { sweep::zero(self.start, self.len) };
    }

    /// Tells whether every byte is zero. Stops at the first that is not.
    #[must_use]
    pub fn is_zero(self) -> bool {
        // SAFETY: the range is inside of a mapping that lives as long as this window.
        unsafe { sweep::is_zero(self.start, self.len) }
    }
}

/// Defines the atomic accesses of one width.
macro_rules! atomics {
    ($value:ty, $atomic:ty, $cell:ident, $load:ident, $store:ident, $swap:ident, $exchange:ident, $add:ident) => {
        impl SharedBytes<'_> {
            /// Returns the atomic at `offset`.
            #[inline]
            fn $cell(&self, offset: usize) -> Result<&$atomic, AccessError> {
                let address = self.part(offset, size_of::<$value>())?.start;
                if !address.is_multiple_of(size_of::<$value>()) {
                    return Err(AccessError::Unaligned { address });
                }
                // SAFETY: 1. aligned; 2. inside of a mapping that outlives `self`, which the result borrows; 3. others
                // access it by atomics or by instructions the compiler does not see.
                Ok(unsafe { <$atomic>::from_ptr(with_exposed_provenance_mut(address)) })
            }

            /// Loads the value at `offset` (acquire).
            ///
            /// # Errors
            ///
            /// Refuses what is not inside or not aligned.
            #[inline]
            pub fn $load(self, offset: usize) -> Result<$value, AccessError> {
                Ok(self.$cell(offset)?.load(Acquire))
            }

            /// Stores `value` at `offset` (release).
            ///
            /// # Errors
            ///
            /// Refuses what is not inside or not aligned.
            #[inline]
            pub fn $store(self, offset: usize, value: $value) -> Result<(), AccessError> {
                self.$cell(offset)?.store(value, Release);
                Ok(())
            }

            /// Stores `value` at `offset` and returns what was there (acquire and release).
            ///
            /// # Errors
            ///
            /// Refuses what is not inside or not aligned.
            #[inline]
            pub fn $swap(self, offset: usize, value: $value) -> Result<$value, AccessError> {
                Ok(self.$cell(offset)?.swap(value, AcqRel))
            }

            /// Stores `new` at `offset` if `current` is there; the inner result holds what was there, `Ok` if it was
            /// `current` (acquire and release).
            ///
            /// # Errors
            ///
            /// Refuses what is not inside or not aligned.
            #[inline]
            pub fn $exchange(
                self,
                offset: usize,
                current: $value,
                new: $value,
            ) -> Result<Result<$value, $value>, AccessError> {
                Ok(self.$cell(offset)?.compare_exchange(current, new, AcqRel, Acquire))
            }

            /// Adds `value` to what is at `offset`, wrapping, and returns what was there (acquire and release).
            ///
            /// # Errors
            ///
            /// Refuses what is not inside or not aligned.
            #[inline]
            pub fn $add(self, offset: usize, value: $value) -> Result<$value, AccessError> {
                Ok(self.$cell(offset)?.fetch_add(value, AcqRel))
            }
        }
    };
}

atomics!(u32, AtomicU32, cell_u32, load_u32, store_u32, swap_u32, compare_exchange_u32, fetch_add_u32);
atomics!(u64, AtomicU64, cell_u64, load_u64, store_u64, swap_u64, compare_exchange_u64, fetch_add_u64);

impl SharedBytes<'_> {
    /// Replaces the number at `offset` by what `change` makes of it, atomically, and returns what was there (acquire and
    /// release). While others change it too, `change` is called again; with `None` nothing is stored.
    ///
    /// # Errors
    ///
    /// Refuses what is not inside or not aligned.
    #[inline]
    pub fn update<T: Word>(
        self,
        offset: usize,
        mut change: impl FnMut(T) -> Option<T>,
    ) -> Result<T, AccessError> {
        let address = self.part(offset, size_of::<T>())?.start;
        if !address.is_multiple_of(size_of::<T>()) {
            return Err(AccessError::Unaligned { address });
        }
        let at: *mut T = with_exposed_provenance_mut(address);
        // SAFETY: aligned; inside of a mapping that lives as long as this window.
        let mut seen = unsafe { T::load(at) };
        while let Some(new) = change(seen) {
            // SAFETY: as above.
            match unsafe { T::exchange(at, seen, new) } {
                Ok(old) => return Ok(old),
                Err(now) => seen = now,
            }
        }
        fence(Acquire);
        Ok(seen)
    }

    /// Adds `value` to the `f64` at `offset` and returns what was there (acquire and release).
    ///
    /// # Errors
    ///
    /// Refuses what is not inside or not aligned.
    #[inline]
    pub fn fetch_add_f64(self, offset: usize, value: f64) -> Result<f64, AccessError> {
        let cell = self.cell_u64(offset)?;
        let mut seen = cell.load(Relaxed);
        loop {
            let old = f64::from_bits(seen);
            match cell.compare_exchange_weak(seen, (old + value).to_bits(), AcqRel, Relaxed) {
                Ok(_) => return Ok(old),
                Err(now) => seen = now,
            }
        }
    }
}

#[cfg(test)]
mod tests;
