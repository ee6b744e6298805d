//! A program that replaces itself keeps its heap: the new one loads this library again.
//!
//! Only the program's own process does; what its children execute runs plain.

use std::ffi::{CStr, c_char, c_int};

use bifolio_sys::{Mapping, PAGE, Placement};

use crate::environment::needed;
use crate::next::next;
use crate::original::is_program;
use crate::spawn::touch_for_exec;

type Strings = *const *const c_char;

const PRELOAD: &[u8] = b"LD_PRELOAD=";

/// An environment with what the new program needs, in memory of its own.
struct Managed {
    memory: Mapping,
}

impl Managed {
    /// Makes it from the environment that the program gives; `None` where there is nothing to add, or no memory.
    ///
    /// # Safety
    ///
    /// `environment` is an array of strings that ends with null.
    unsafe fn new(environment: Strings) -> Option<Managed> {
        if !is_program() {
            return None;
        }
        let needed = needed()?;
        let (mut count, mut preload): (usize, &[u8]) = (0, b"");
        // SAFETY: passed on to the caller.
        while let Some(entry) = unsafe { entry_at(environment, count) } {
            preload = entry.to_bytes().strip_prefix(PRELOAD).unwrap_or(preload);
            count += 1;
        }
        let words = (count + 3) * size_of::<usize>();
        let text = PRELOAD.len() + needed.library.len() + 1 + preload.len() + 1;
        let memory = Mapping::common((words + text).next_multiple_of(PAGE), Placement::Anywhere).ok()?;
        let start = memory.span().start();
        let mut at = words;
        let colon: &[u8] = if preload.is_empty() { b"" } else { b":" };
        for part in [PRELOAD, &needed.library, colon, preload, b"\0"] {
            memory.bytes(at, part.len()).ok()?.write_from(part).ok()?;
            at += part.len();
        }
        let mut slot = 0;
        let mut push = |address: usize| {
            let stored = memory.all().store_u64(slot * size_of::<usize>(), address as u64);
            slot += 1;
            stored.ok()
        };
        push(start + words)?;
        push(needed.settings.as_ptr().expose_provenance())?;
        for index in 0..count {
            // SAFETY: as above.
            let entry = unsafe { entry_at(environment, index) }?;
            if !entry.to_bytes().starts_with(PRELOAD) {
                push(entry.as_ptr().expose_provenance())?;
            }
        }
        push(0)?;
        Some(Managed { memory })
    }

    fn strings(&self) -> Strings {
        std::ptr::with_exposed_provenance(self.memory.span().start())
    }
}

/// An entry of an array of strings; `None` at its end.
///
/// # Safety
///
/// The array ends with null, at `index` or after it.
unsafe fn entry_at<'s>(strings: Strings, index: usize) -> Option<&'s CStr> {
    if strings.is_null() {
        return None;
    }
    // SAFETY: not past the end, says the caller.
    let place = unsafe { strings.add(index) };
    // SAFETY: as above.
    let entry = unsafe { *place };
    // SAFETY: entries are strings.
    (!entry.is_null()).then(|| unsafe { CStr::from_ptr(entry) })
}

/// The environment to pass on: the program's, or one with what the new program needs.
macro_rules! with_managed {
    ($path:expr, $arguments:expr, $environment:expr, $strings:ident => $call:expr) => {{
        // SAFETY: the caller of the C function promises strings.
        unsafe { touch_for_exec($path, $arguments.cast(), $environment.cast()) };
        // SAFETY: the caller of the C function promises an array of strings.
        let managed = unsafe { Managed::new($environment) };
        let $strings = managed.as_ref().map_or($environment, Managed::strings);
        $call
    }};
}

unsafe extern "C" {
    static mut environ: Strings;
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn execve(path: *const c_char, arguments: Strings, environment: Strings) -> c_int {
    with_managed!(path, arguments, environment, strings => next!(execve(path => *const c_char, arguments => Strings, strings => Strings) -> c_int))
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn execvpe(path: *const c_char, arguments: Strings, environment: Strings) -> c_int {
    with_managed!(path, arguments, environment, strings => next!(execvpe(path => *const c_char, arguments => Strings, strings => Strings) -> c_int))
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn fexecve(fd: c_int, arguments: Strings, environment: Strings) -> c_int {
    with_managed!(std::ptr::null(), arguments, environment, strings => next!(fexecve(fd => c_int, arguments => Strings, strings => Strings) -> c_int))
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn execveat(
    folder: c_int,
    path: *const c_char,
    arguments: Strings,
    environment: Strings,
    flags: c_int,
) -> c_int {
    with_managed!(path, arguments, environment, strings => next!(execveat(folder => c_int, path => *const c_char,
        arguments => Strings, strings => Strings, flags => c_int) -> c_int))
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn execv(path: *const c_char, arguments: Strings) -> c_int {
    // SAFETY: the program's own environment.
    let environment = unsafe { environ };
    // SAFETY: passed on to the caller.
    unsafe { execve(path, arguments, environment) }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn execvp(path: *const c_char, arguments: Strings) -> c_int {
    // SAFETY: the program's own environment.
    let environment = unsafe { environ };
    // SAFETY: passed on to the caller.
    unsafe { execvpe(path, arguments, environment) }
}
