//! The program's environment, without what made it load this library: its children run plain.

use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

use bifolio_host::in_place::settings::{Settings, VARIABLE};

/// What a program needs to be managed, as two strings of an environment.
pub(crate) struct Needed {
    /// Path of this library.
    pub(crate) library: Vec<u8>,
    /// `BIFOLIO_HEAP=...`, ends with zero.
    pub(crate) settings: Vec<u8>,
}

static NEEDED: OnceLock<Needed> = OnceLock::new();

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

const PRELOAD: &[u8] = b"LD_PRELOAD=";

/// What the program needs to be managed when it replaces itself.
pub(crate) fn needed() -> Option<&'static Needed> {
    NEEDED.get()
}

/// Takes our variable, and this library in that of the loader, out of the environment, where it is.
pub(crate) fn clean(settings: &Settings) {
    // SAFETY: no other thread of the program runs yet.
    let mut entry = unsafe { environ };
    let mut library = Vec::new();
    loop {
        // SAFETY: the environment is an array that ends with null.
        let text = unsafe { *entry };
        if text.is_null() {
            break;
        }
        // SAFETY: its entries are strings.
        let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
        let is_ours = bytes.strip_prefix(VARIABLE.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
        let libraries = bytes.strip_prefix(PRELOAD).map(<[u8]>::to_vec);
        let mut keep = !is_ours;
        if let Some(libraries) = libraries {
            let (first, rest) = split(&libraries);
            library = first.to_vec();
            keep = !rest.is_empty();
            // SAFETY: the string is the program's own and writable, and the new one is shorter.
            unsafe { shorten(text, rest) };
        }
        if keep {
            // SAFETY: within the array.
            entry = unsafe { entry.add(1) };
        } else {
            // SAFETY: as above; what follows, null included, moves one place up.
            unsafe { remove(entry) };
        }
    }
    let mut text = format!("{VARIABLE}={settings}").into_bytes();
    text.push(0);
    let _: Result<(), Needed> = NEEDED.set(Needed { library, settings: text });
}

/// Splits a list of libraries at its first separator; the first is ours.
fn split(libraries: &[u8]) -> (&[u8], &[u8]) {
    let end = libraries.iter().position(|byte| matches!(byte, b':' | b' ')).unwrap_or(libraries.len());
    (&libraries[..end], libraries.get(end + 1..).unwrap_or_default())
}

/// Writes `LD_PRELOAD=rest` over a longer string.
///
/// # Safety
///
/// `text` is a writable string that begins so and is at least as long.
unsafe fn shorten(text: *mut c_char, rest: &[u8]) {
    for (index, byte) in rest.iter().chain([&0]).enumerate() {
        // SAFETY: within the string, says the caller.
        let place = unsafe { text.add(PRELOAD.len() + index) }.cast::<u8>();
        // SAFETY: as above.
        unsafe { place.write(*byte) };
    }
}

/// Moves what follows an entry of the environment one place up.
///
/// # Safety
///
/// `entry` points into an array that ends with null.
unsafe fn remove(mut entry: *mut *mut c_char) {
    loop {
        // SAFETY: not the last entry, which is null.
        let next = unsafe { entry.add(1) };
        // SAFETY: within the array.
        let moved = unsafe { *next };
        // SAFETY: within the array.
        unsafe { *entry = moved };
        if moved.is_null() {
            return;
        }
        entry = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_library_is_split_off() {
        assert_eq!(split(b"/a/b.so"), (&b"/a/b.so"[..], &b""[..]));
        assert_eq!(split(b"/a/b.so:c.so d.so"), (&b"/a/b.so"[..], &b"c.so d.so"[..]));
    }

    #[test]
    fn removed_entry_leaves_the_others_in_order() {
        let mut texts = [*b"a=1\0", *b"b=2\0", *b"c=3\0"];
        let mut array: Vec<*mut c_char> = texts.iter_mut().map(|text| text.as_mut_ptr().cast()).collect();
        array.push(std::ptr::null_mut());
        let kept = [array[0], array[2]];
        let second = &raw mut array[1];
        // SAFETY: the array ends with null.
        unsafe { remove(second) };
        assert_eq!(array[..2], kept);
        assert!(array[2].is_null());
    }
}
