//! The symbols behind ours: what the program would have called without us.

use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// A symbol of a library behind this one, looked up at its first use.
pub(crate) struct Next {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Next {
    pub(crate) const fn new(name: &'static CStr) -> Next {
        Next { name, found: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Its address; null if no library has it.
    pub(crate) fn address(&self) -> *mut c_void {
        // Relaxed: every thread that looks it up finds the same.
        let found = self.found.load(Relaxed);
        if !found.is_null() {
            return found;
        }
        // SAFETY: the name is a string that ends with zero.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        self.found.store(found, Relaxed);
        found
    }
}

/// Calls the function behind ours. The types are those of its C declaration.
macro_rules! next {
    ($name:ident($($argument:expr => $type:ty),*) -> $result:ty) => {{
        static NEXT: $crate::next::Next = {
            let name = concat!(stringify!($name), "\0");
            match std::ffi::CStr::from_bytes_with_nul(name.as_bytes()) {
                Ok(name) => $crate::next::Next::new(name),
                Err(_) => panic!("names of functions hold no zero"),
            }
        };
        let address = NEXT.address();
        if address.is_null() {
            // The caller was linked against a function that the next library lacks, and nothing can stand in for it.
            std::process::abort();
        }
        // SAFETY: the C library declares this function so.
        let function: unsafe extern "C" fn($($type),*) -> $result = unsafe { std::mem::transmute(address) };
        // SAFETY: passed on to the caller, who called us by the same contract.
        unsafe { function($($argument),*) }
    }};
}
pub(crate) use next;
