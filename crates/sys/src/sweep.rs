//! Copying, clearing and scanning ranges of shared memory, by instructions the compiler does not look into.
//!
//! A plain `ptr::copy` of memory that another thread writes is a data race, which the language leaves undefined. The
//! same bytes moved inside an `asm!` block are merely bytes: whatever mixture of old and new the processor finds.
//!
//! Measured on Zen 3, both sides cold: `rep movsb` equals the C library's memcpy at every size (4 KiB 0.43 us, 64 KiB
//! 7 us, 2 MiB 240 us). Stores that bypass the cache need 120..170 us for 2 MiB, and win also if the whole target is
//! read right afterwards (390 against 430 us); at 64 KiB they no longer do. Hence [`STREAM_LEAST`].
//! Where the target is not wanted soon they win at every size (Zen 5, 4 KiB from a warm source 0.5 against 1.0 us):
//! [`copy_past_cache`].

#[cfg(target_arch = "x86_64")]
use std::arch::asm;

/// Bytes from which a copy bypasses the cache.
#[cfg(target_arch = "x86_64")]
const STREAM_LEAST: usize = 256 << 10;

/// Copies `len` bytes. If the ranges overlap, the bytes that result are mixed.
///
/// # Safety
///
/// Both ranges must be accessible (or served by a userfaultfd), the target not seen through other references.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) unsafe fn copy(target: usize, source: usize, len: usize) {
    if len >= STREAM_LEAST {
        // SAFETY: as the caller vouches.
        unsafe { copy_past_cache(target, source, len) };
    } else {
        // SAFETY: as the caller vouches.
        unsafe { copy_string(target, source, len) };
    }
}

/// As [`copy`], but leaves the target out of the cache: for bytes that are not wanted soon.
///
/// # Safety
///
/// As [`copy`].
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn copy_past_cache(target: usize, source: usize, len: usize) {
    // Streaming stores want multiples of 16; folios are.
    let streamed = if target.is_multiple_of(16) { len - len % BLOCK } else { 0 };
    if streamed > 0 {
        // SAFETY: `streamed <= len`, more than 0, a multiple of `BLOCK`; the target is aligned.
        unsafe { stream(target, source, streamed) };
    }
    // SAFETY: what is left of both ranges, as the caller vouches.
    unsafe { copy_string(target + streamed, source + streamed, len - streamed) };
}

/// Copies `len` bytes, ascending, through the cache.
///
/// # Safety
///
/// As [`copy`].
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn copy_string(target: usize, source: usize, len: usize) {
    // SAFETY: 1. `rep movsb` reads `len` bytes from rsi and writes as many to rdi, which the caller vouches for;
    // 2. the direction flag is clear at function boundaries; 3. the stack is not used.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rdi") target => _,
            inout("rsi") source => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Copies `len` bytes past the cache.
///
/// # Safety
///
/// As [`copy`]; and `target` must be a multiple of 16, `len` a multiple of 64 and not 0.
#[cfg(target_arch = "x86_64")]
unsafe fn stream(target: usize, source: usize, len: usize) {
    // SAFETY: 1. reads and writes `len` bytes in steps of 64, which the caller vouches for; the prefetch beyond the
    // end is only a hint and never faults; 2. SSE2 is part of x86-64; 3. the fence makes the stores visible in order
    // to other processors before anything that follows; 4. every register changed is declared.
    unsafe {
        asm!(
            "2:",
            "prefetchnta [{from} + 512]",
            "movdqu {a}, [{from}]",
            "movdqu {b}, [{from} + 16]",
            "movdqu {c}, [{from} + 32]",
            "movdqu {d}, [{from} + 48]",
            "movntdq [{to}], {a}",
            "movntdq [{to} + 16], {b}",
            "movntdq [{to} + 32], {c}",
            "movntdq [{to} + 48], {d}",
            "add {from}, 64",
            "add {to}, 64",
            "sub {left}, 64",
            "jnz 2b",
            "sfence",
            from = inout(reg) source => _,
            to = inout(reg) target => _,
            left = inout(reg) len => _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// Sets `len` bytes to zero.
///
/// # Safety
///
/// As [`copy`], for the target.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) unsafe fn zero(target: usize, len: usize) {
    // SAFETY: 1. `rep stosb` writes `len` bytes at rdi, which the caller vouches for; 2. the direction flag is
    // clear at function boundaries; 3. the stack is not used.
    unsafe {
        asm!(
            "rep stosb",
            inout("rcx") len => _,
            inout("rdi") target => _,
            in("al") 0_u8,
            options(nostack, preserves_flags),
        );
    }
}

/// Tells whether `len` bytes are all zero.
///
/// # Safety
///
/// The range must be readable (or served by a userfaultfd).
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn is_zero(source: usize, len: usize) -> bool {
    let blocks = len / BLOCK;
    // SAFETY: `blocks * BLOCK <= len` bytes, which the caller vouches for.
    if !unsafe { blocks_are_zero(source, blocks) } {
        return false;
    }
    let done = blocks * BLOCK;
    (done..len).all(|offset| {
        // SAFETY: `offset < len`.
        unsafe { load_byte(source + offset) == 0 }
    })
}

/// Bytes moved or looked at in one step.
#[cfg(target_arch = "x86_64")]
const BLOCK: usize = 64;

/// Tells whether `blocks` blocks of 64 bytes are all zero, stopping after the first that is not.
///
/// # Safety
///
/// The range must be readable.
#[cfg(target_arch = "x86_64")]
unsafe fn blocks_are_zero(source: usize, blocks: usize) -> bool {
    if blocks == 0 {
        return true;
    }
    let left: usize;
    // SAFETY: 1. reads 64 bytes for each block, which the caller vouches for; 2. SSE2 is part of x86-64; 3. every
    // register changed is declared; 4. the stack is not used.
    unsafe {
        asm!(
            "pxor {zero}, {zero}",
            "2:",
            "movdqu {a}, [{at}]",
            "movdqu {b}, [{at} + 16]",
            "movdqu {c}, [{at} + 32]",
            "movdqu {d}, [{at} + 48]",
            "por {a}, {b}",
            "por {c}, {d}",
            "por {a}, {c}",
            "pcmpeqb {a}, {zero}",
            "pmovmskb {mask:e}, {a}",
            "cmp {mask:e}, 0xffff",
            "jne 3f",
            "add {at}, 64",
            "dec {left}",
            "jnz 2b",
            "3:",
            at = inout(reg) source => _,
            left = inout(reg) blocks => left,
            mask = out(reg) _,
            zero = out(xmm_reg) _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack, readonly),
        );
    }
    left == 0
}

/// Loads one byte.
///
/// # Safety
///
/// The address must be readable.
unsafe fn load_byte(at: usize) -> u8 {
    let at = std::ptr::with_exposed_provenance_mut::<u8>(at);
    // SAFETY: readable, and accessed by others with atomics or unseen instructions only.
    let cell = unsafe { std::sync::atomic::AtomicU8::from_ptr(at) };
    cell.load(std::sync::atomic::Ordering::Relaxed)
}

#[cfg(not(target_arch = "x86_64"))]
mod portable {
    //! The same by relaxed atomics, byte by byte where not aligned: right, not fast.

    use std::ptr::with_exposed_provenance_mut;
    use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

    /// Returns the byte at an address.
    ///
    /// # Safety
    ///
    /// The address must be mapped for as long as the result is used.
    unsafe fn byte<'a>(at: usize) -> &'a AtomicU8 {
        // SAFETY: mapped, says the caller; a byte is always aligned.
        unsafe { AtomicU8::from_ptr(with_exposed_provenance_mut(at)) }
    }

    /// Returns the aligned word at an address.
    ///
    /// # Safety
    ///
    /// As [`byte`], and the address must be a multiple of 8.
    unsafe fn word<'a>(at: usize) -> &'a AtomicU64 {
        // SAFETY: mapped and aligned, says the caller.
        unsafe { AtomicU64::from_ptr(with_exposed_provenance_mut(at)) }
    }

    /// Splits a range into words that are aligned at both addresses, and the bytes after them.
    fn words(a: usize, b: usize, len: usize) -> usize {
        if (a | b).is_multiple_of(8) { len / 8 } else { 0 }
    }

    /// As the x86-64 version.
    ///
    /// # Safety
    ///
    /// As the x86-64 version.
    pub(crate) unsafe fn copy(target: usize, source: usize, len: usize) {
        let count = words(target, source, len);
        for at in (0..count).map(|index| index * 8) {
            // SAFETY: inside of both ranges, and both are aligned.
            let (to, from) = unsafe { (word(target + at), word(source + at)) };
            to.store(from.load(Relaxed), Relaxed);
        }
        for at in count * 8..len {
            // SAFETY: inside of both ranges.
            let (to, from) = unsafe { (byte(target + at), byte(source + at)) };
            to.store(from.load(Relaxed), Relaxed);
        }
    }

    /// As the x86-64 version.
    ///
    /// # Safety
    ///
    /// As the x86-64 version.
    pub(crate) unsafe fn zero(target: usize, len: usize) {
        let count = words(target, 0, len);
        for at in (0..count).map(|index| index * 8) {
            // SAFETY: inside of the range, and aligned.
            unsafe { word(target + at) }.store(0, Relaxed);
        }
        for at in count * 8..len {
            // SAFETY: inside of the range.
            unsafe { byte(target + at) }.store(0, Relaxed);
        }
    }

    /// As the x86-64 version.
    ///
    /// # Safety
    ///
    /// As the x86-64 version.
    pub(crate) unsafe fn is_zero(source: usize, len: usize) -> bool {
        // SAFETY: each address is inside of the range.
        (0..len).all(|at| unsafe { super::load_byte(source + at) } == 0)
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use portable::{copy, copy as copy_past_cache, is_zero, zero};
