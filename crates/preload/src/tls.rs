//! Thread-local variables of this library, in the service too.
//!
//! Code of a loaded library finds its variables by `__tls_get_addr`, which looks into tables of the C library and may
//! allocate. A library that is loaded at the start of a program has them at the same distance from the thread pointer in
//! every thread; the service's thread pointer leads to a copy. So this library has a `__tls_get_addr` of its own, which
//! only adds, and which nothing outside of it sees.

use crate::image::Image;

/// No variables, or no record of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("thread-local variables of the library cannot be found")]
pub(crate) struct NoVariables;

#[cfg(all(target_arch = "x86_64", not(test)))]
std::arch::global_asm!(
    // struct tls_index { module, offset } in rdi. Every reference from this library is to its own module.
    ".hidden __tls_get_addr",
    ".globl __tls_get_addr",
    ".type __tls_get_addr,@function",
    "__tls_get_addr:",
    "mov rax, fs:0",
    "add rax, qword ptr [rdi + 8]",
    "add rax, qword ptr [rip + bifolio_tls_distance]",
    "ret",
    ".size __tls_get_addr, . - __tls_get_addr",
    ".hidden bifolio_tls_distance",
    ".globl bifolio_tls_distance",
    ".data",
    ".p2align 3",
    "bifolio_tls_distance:",
    ".quad 0",
    ".text",
);

#[cfg(all(target_arch = "x86_64", not(test)))]
unsafe extern "C" {
    static mut bifolio_tls_distance: usize;
}

/// Makes the variables usable. To be called before any is used.
#[cfg(all(target_arch = "x86_64", not(test)))]
pub(crate) fn prepare(image: &Image) -> Result<(), NoVariables> {
    let variables = image.variables.ok_or(NoVariables)?;
    let distance = variables.wrapping_sub(bifolio_sys::sibling::thread_pointer());
    // SAFETY: no other thread runs code of this library yet.
    unsafe { bifolio_tls_distance = distance };
    Ok(())
}

/// Elsewhere the compiler's own way is left as it is.
#[cfg(not(all(target_arch = "x86_64", not(test))))]
pub(crate) fn prepare(_: &Image) -> Result<(), NoVariables> {
    Ok(())
}
