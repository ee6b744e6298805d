//! Owned ranges of the address space.
//!
//! A [`Mapping`] is the right to use a range of addresses by raw access. It never hands out `&` or `&mut` to the
//! bytes, so the kernel, a device thread or another process may change them at any time. Windows of it are
//! [`SharedBytes`], which also serve as the permit for page operations.
//!
//! ```text
//!   reserve 8 MiB:   [------------------ no access ------------------]   one VMA, no memory
//!   replace_shared:  [---- memfd 0..2M ----][------- no access ------]   MAP_FIXED inside the owned range only
//!   remap_into:      [---- memfd 0..2M ----][ other mapping ][-------]   mremap, registration travels with it
//!   drop:            all of it is unmapped, whatever lies there by then
//! ```

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr::with_exposed_provenance_mut;

use rustix::mm::{MapFlags, MprotectFlags, MremapFlags, ProtFlags};

use crate::{AccessError, AddressRange, AddressRangeError, Memfd, PAGE, SharedBytes, SysError, apart};

/// What the CPU may do with mapped bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Any access raises SIGSEGV.
    None,
    /// Loads only.
    Read,
    /// Loads and stores.
    ReadWrite,
}

/// Where a new mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Wherever the kernel likes.
    Anywhere,
    /// At a multiple of this many bytes (a power of two, at least 4096).
    Aligned(usize),
    /// At exactly this address, which must be free.
    Exactly(usize),
    /// At addresses that are [kept](crate::apart), so that it is in no hole of a program's memory; or wherever the kernel likes if
    /// there is no room.
    Apart,
}

/// Why a mapping was not made or not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The range or its length has no shape that can be mapped.
    #[error("range cannot be mapped")]
    Shape(#[from] AddressRangeError),
    /// The alignment is not a power of two of at least 4096.
    #[error("alignment {0:#x} is not a power of two of at least a page")]
    Alignment(usize),
    /// The range is not inside of the mapping.
    #[error("range is not inside of the mapping")]
    Outside(#[from] AccessError),
    /// Only an owned mapping as long as the part it goes to can be moved there.
    #[error("mapping of {mapping:#x} bytes cannot move over a part of {part:#x}")]
    NotMovable {
        /// Bytes of the mapping.
        mapping: usize,
        /// Bytes of the part.
        part: usize,
    },
    /// The kernel refused.
    #[error("kernel refused the mapping")]
    Refused(#[from] SysError),
}

/// A failed [`Mapping::remap_into`], with the mapping that was not moved.
#[derive(Debug, thiserror::Error)]
#[error("mapping was not moved")]
pub struct RemapFailed {
    /// The mapping, as it was.
    pub mapping: Mapping,
    /// Why.
    #[source]
    pub error: MapError,
}

/// Whether dropping unmaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Owned,
    Adopted,
}

/// A range of the address space, unmapped on drop unless it was adopted.
///
/// All access is raw; see [`SharedBytes`]. Sharing between threads is sound for that reason.
#[derive(Debug)]
pub struct Mapping {
    span: AddressRange,
    hold: Hold,
}

/// What a new mapping shows.
#[derive(Clone, Copy)]
enum Content<'a> {
    /// Private zero pages, charged only when touched.
    Anonymous,
    /// Zero pages that forked children share, charged only when touched.
    Common,
    /// A part of a memfd, from this byte.
    Shared(&'a Memfd, u64),
}

impl Mapping {
    /// Takes `len` bytes of address space without memory or access.
    ///
    /// # Errors
    ///
    /// Refuses a length that is 0 or not a multiple of 4 KiB, a place that cannot be, and what the kernel refuses.
    pub fn reserve(len: usize, place: Placement) -> Result<Self, MapError> {
        Self::create(Content::Anonymous, len, Protection::None, place)
    }

    /// Maps `len` bytes of private zero pages, not charged until touched (`MAP_NORESERVE`).
    ///
    /// # Errors
    ///
    /// As [`Mapping::reserve`].
    pub fn anonymous(len: usize, protection: Protection, place: Placement) -> Result<Self, MapError> {
        Self::create(Content::Anonymous, len, protection, place)
    }

    /// Maps `len` bytes of zero pages that have no file and are shared with children that are forked from here on, not
    /// charged until touched.
    ///
    /// # Errors
    ///
    /// As [`Mapping::reserve`].
    pub fn common(len: usize, place: Placement) -> Result<Self, MapError> {
        Self::create(Content::Common, len, Protection::ReadWrite, place)
    }

    /// Maps `len` bytes of `memfd` from `offset`; stores show in every mapping of it. Access past the end of the
    /// file raises SIGBUS.
    ///
    /// # Errors
    ///
    /// As [`Mapping::reserve`]; the kernel also refuses an offset that is not page aligned.
    pub fn shared(
        memfd: &Memfd,
        offset: usize,
        len: usize,
        protection: Protection,
        place: Placement,
    ) -> Result<Self, MapError> {
        Self::create(Content::Shared(memfd, offset as u64), len, protection, place)
    }

    /// Takes charge of memory that was mapped elsewhere. Dropping leaves it mapped.
    ///
    /// # Safety
    ///
    /// As long as the returned value is used, and for every page of `span`:
    ///
    /// 1. no Rust reference (`&T`, `&mut T`, slices, boxes, vectors) to plain data there is alive while pages are
    ///    registered, discarded, moved or written through it;
    /// 2. its owner expects its bytes to change or to vanish by what this crate is asked to do;
    /// 3. if the owner unmaps or replaces it, no operation through this value follows.
    #[must_use]
    pub const unsafe fn adopt(span: AddressRange) -> Self {
        Self { span, hold: Hold::Adopted }
    }

    /// Forgets to unmap: the range stays until the process ends.
    pub fn leak(self) -> AddressRange {
        ManuallyDrop::new(self).span
    }

    /// Returns the addresses covered.
    #[must_use]
    pub const fn span(&self) -> AddressRange {
        self.span
    }

    /// Returns all of it as a window.
    #[must_use]
    pub const fn all(&self) -> SharedBytes<'_> {
        SharedBytes::of_mapping(self, self.span.start(), self.span.len())
    }

    /// Returns a window of `len` bytes from `offset`, in bytes, aligned or not.
    ///
    /// # Errors
    ///
    /// Refuses what is not inside.
    pub fn bytes(&self, offset: usize, len: usize) -> Result<SharedBytes<'_>, AccessError> {
        self.all().part(offset, len)
    }

    /// Returns the window at these addresses.
    ///
    /// # Errors
    ///
    /// Refuses what is not inside.
    pub fn at(&self, span: AddressRange) -> Result<SharedBytes<'_>, AccessError> {
        // An address below the mapping wraps to an offset past its end.
        self.bytes(span.start().wrapping_sub(self.span.start()), span.len())
    }

    /// Replaces `part` by private zero pages at one stroke; other threads see the old bytes or the new.
    ///
    /// A userfaultfd registration of the part is lost, and sleeping faults there stay asleep until woken.
    ///
    /// # Errors
    ///
    /// Refuses a part that is not inside, and what the kernel refuses.
    pub fn replace_anonymous(&self, part: AddressRange, protection: Protection) -> Result<(), MapError> {
        self.replace(Content::Anonymous, part, protection)
    }

    /// Replaces `part` by bytes of `memfd` from `offset`; as [`Mapping::replace_anonymous`] otherwise.
    ///
    /// # Errors
    ///
    /// As [`Mapping::replace_anonymous`].
    pub fn replace_shared(
        &self,
        part: AddressRange,
        memfd: &Memfd,
        offset: usize,
        protection: Protection,
    ) -> Result<(), MapError> {
        self.replace(Content::Shared(memfd, offset as u64), part, protection)
    }

    /// Changes what the CPU may do with `part`.
    ///
    /// # Errors
    ///
    /// Refuses a part that is not inside, and what the kernel refuses.
    pub fn protect(&self, part: AddressRange, protection: Protection) -> Result<(), MapError> {
        self.at(part)?;
        let flags = MprotectFlags::from_bits_retain(protection.flags().bits());
        // SAFETY: 1. the part is inside of this mapping; 2. nothing there is seen through Rust references.
        unsafe { rustix::mm::mprotect(pointer(part.start()), part.len(), flags) }
            .map_err(SysError::of("mprotect"))?;
        Ok(())
    }

    /// Moves this whole mapping, pages and userfaultfd registration included, over `part` of `target`.
    ///
    /// The mapping must be one VMA and as long as `part`. Its addresses become free.
    ///
    /// # Errors
    ///
    /// Gives the mapping back, unmoved.
    pub fn remap_into(self, target: &Mapping, part: AddressRange) -> Result<(), RemapFailed> {
        match self.move_over(target, part) {
            Ok(()) => {
                // The old addresses are free already; another mapping may have them by now.
                self.leak();
                Ok(())
            }
            Err(error) => Err(RemapFailed { mapping: self, error }),
        }
    }

    fn move_over(&self, target: &Mapping, part: AddressRange) -> Result<(), MapError> {
        target.at(part)?;
        if self.hold == Hold::Adopted || part.len() != self.span.len() {
            return Err(MapError::NotMovable { mapping: self.span.len(), part: part.len() });
        }
        let (from, to, len) = (pointer(self.span.start()), pointer(part.start()), part.len());
        // SAFETY: 1. the source is this mapping, owned whole, and the caller forgets it on success; 2. the
        // destination is inside of `target`; 3. neither is seen through Rust references.
        unsafe { rustix::mm::mremap_fixed(from, len, len, MremapFlags::MAYMOVE, to) }
            .map_err(SysError::of("mremap"))?;
        Ok(())
    }

    fn create(
        content: Content<'_>,
        len: usize,
        protection: Protection,
        place: Placement,
    ) -> Result<Self, MapError> {
        match place {
            Placement::Anywhere => map_anywhere(content, len, protection),
            Placement::Exactly(start) => map_exactly(content, AddressRange::new(start, len)?, protection),
            Placement::Aligned(align) => map_aligned(content, len, protection, align),
            Placement::Apart => map_apart(content, len, protection),
        }
    }

    fn replace(
        &self,
        content: Content<'_>,
        part: AddressRange,
        protection: Protection,
    ) -> Result<(), MapError> {
        self.at(part)?;
        // SAFETY: 1. the part is inside of this mapping, so MAP_FIXED replaces nothing else; 2. nothing
        // there is seen through Rust references.
        unsafe { map(content, part.start(), part.len(), protection, MapFlags::FIXED) }?;
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: 1. the span is owned by this value and by no other; 2. windows borrow the value, so none is alive.
        if self.hold == Hold::Owned && !unsafe { apart::give_back(self.span) } {
            // SAFETY: as above. A failure (only ENOMEM when splitting a VMA) leaks the range, which is harmless.
            let _ = unsafe { rustix::mm::munmap(pointer(self.span.start()), self.span.len()) };
        }
    }
}

impl Protection {
    const fn flags(self) -> ProtFlags {
        match self {
            Self::None => ProtFlags::empty(),
            Self::Read => ProtFlags::READ,
            Self::ReadWrite => ProtFlags::READ.union(ProtFlags::WRITE),
        }
    }
}

fn pointer(address: usize) -> *mut c_void {
    with_exposed_provenance_mut(address)
}

fn map_anywhere(content: Content<'_>, len: usize, protection: Protection) -> Result<Mapping, MapError> {
    AddressRange::new(0, len)?;
    // SAFETY: without MAP_FIXED, and with address 0 as "no wish", the kernel takes free addresses only.
    let start = unsafe { map(content, 0, len, protection, MapFlags::empty()) }?;
    Ok(Mapping { span: AddressRange::new(start, len)?, hold: Hold::Owned })
}

fn map_exactly(
    content: Content<'_>,
    span: AddressRange,
    protection: Protection,
) -> Result<Mapping, MapError> {
    // SAFETY: MAP_FIXED_NOREPLACE refuses addresses that are in use.
    let start = unsafe { map(content, span.start(), span.len(), protection, MapFlags::FIXED_NOREPLACE) }?;
    let mapping = Mapping { span: AddressRange::new(start, span.len())?, hold: Hold::Owned };
    // Kernels before 4.17 take the address as a mere hint.
    if start != span.start() {
        return Err(SysError { call: "mmap", errno: rustix::io::Errno::EXIST }.into());
    }
    Ok(mapping)
}

fn map_apart(content: Content<'_>, len: usize, protection: Protection) -> Result<Mapping, MapError> {
    let Some(span) = apart::take(AddressRange::new(0, len)?.len()) else {
        return map_anywhere(content, len, protection);
    };
    let mapping = Mapping { span, hold: Hold::Owned };
    // SAFETY: the addresses were taken for this mapping alone, and hold nothing. If it fails, they are given back.
    unsafe { map(content, span.start(), span.len(), protection, MapFlags::FIXED) }?;
    Ok(mapping)
}

/// Reserves too much, maps the aligned middle and gives the ends back.
fn map_aligned(
    content: Content<'_>,
    len: usize,
    protection: Protection,
    align: usize,
) -> Result<Mapping, MapError> {
    if !align.is_power_of_two() || align < PAGE {
        return Err(MapError::Alignment(align));
    }
    let whole = AddressRange::new(0, len)?.len().checked_add(align - PAGE);
    let whole = whole.ok_or(AddressRangeError::Overflow { start: 0, len })?;
    let wide = map_anywhere(Content::Anonymous, whole, Protection::None)?;
    let skip = wide.span.start().next_multiple_of(align) - wide.span.start();
    let part = wide.span.part(skip, len)?;
    wide.replace(content, part, protection)?;
    trim(wide, part);
    Ok(Mapping { span: part, hold: Hold::Owned })
}

/// Unmaps all of `wide` outside of `keep`, which then belongs to the caller.
fn trim(wide: Mapping, keep: AddressRange) {
    let wide = wide.leak();
    let head = AddressRange::new(wide.start(), keep.start() - wide.start());
    let tail = AddressRange::new(keep.end(), wide.end() - keep.end());
    // An end that is empty is no span, hence the filter.
    for span in [head, tail].into_iter().flatten() {
        drop(Mapping { span, hold: Hold::Owned });
    }
}

/// Calls mmap and returns the address.
///
/// # Safety
///
/// With `MAP_FIXED` in `place`, the range must be owned by the caller and not be seen through Rust references.
unsafe fn map(
    content: Content<'_>,
    start: usize,
    len: usize,
    protection: Protection,
    place: MapFlags,
) -> Result<usize, SysError> {
    let prot = protection.flags();
    let place = place | MapFlags::NORESERVE;
    let mapped = match content {
        // SAFETY: passed on to the caller.
        Content::Anonymous => unsafe {
            rustix::mm::mmap_anonymous(pointer(start), len, prot, place | MapFlags::PRIVATE)
        },
        // SAFETY: passed on to the caller.
        Content::Common => unsafe {
            rustix::mm::mmap_anonymous(pointer(start), len, prot, place | MapFlags::SHARED)
        },
        // SAFETY: passed on to the caller; the descriptor is open, being borrowed.
        Content::Shared(memfd, offset) => unsafe {
            rustix::mm::mmap(pointer(start), len, prot, place | MapFlags::SHARED, memfd, offset)
        },
    };
    mapped.map(|at| at.expose_provenance()).map_err(SysError::of("mmap"))
}
