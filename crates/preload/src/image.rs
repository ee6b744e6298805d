//! Where the loader has put this library: all of it, its code, and its thread-local variables in this thread.

use std::ffi::{c_int, c_void};
use std::ops::Range;

use bifolio_sys::{AddressRange, PAGE};

/// See the module. Nothing here allocates.
#[derive(Debug, Default)]
pub(crate) struct Image {
    /// From the first page to the last, data and variables included.
    whole: Range<usize>,
    /// The segment that this function is in.
    pub(crate) code: Range<usize>,
    /// The thread-local variables of the thread that asked.
    pub(crate) variables: Option<usize>,
}

impl Image {
    /// Asks the loader.
    pub(crate) fn find() -> Image {
        let mut image = Image::default();
        // SAFETY: the callback is given what it expects, and `image` outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut image).cast()) };
        image
    }

    /// All pages of the library; `None` if the loader does not know it.
    pub(crate) fn pages(&self) -> Option<AddressRange> {
        let start = self.whole.start & !(PAGE - 1);
        AddressRange::new(start, self.whole.end.next_multiple_of(PAGE) - start).ok()
    }
}

/// Takes down the library that this code is in.
unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: libc::size_t, image: *mut c_void) -> c_int {
    // SAFETY: the C library passes a record.
    let info = unsafe { &*info };
    // SAFETY: the record says how many headers there are.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let here = (look as *const ()).addr();
    let number = |word: u64| usize::try_from(word).unwrap_or(0);
    let base = number(info.dlpi_addr);
    let segments = headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    let segments = segments.map(|header| {
        let start = base + number(header.p_vaddr);
        start..start + number(header.p_memsz)
    });
    let Some(code) = segments.clone().find(|segment| segment.contains(&here)) else { return 0 };
    let start = segments.clone().map(|segment| segment.start).min().unwrap_or(code.start);
    let end = segments.map(|segment| segment.end).max().unwrap_or(code.end);
    let variables = Some(info.dlpi_tls_data.addr()).filter(|at| *at != 0);
    let image: *mut Image = image.cast();
    // SAFETY: the place that `find` passed.
    unsafe { image.write(Image { whole: start..end, code, variables }) };
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beyond the first page of what the loader clears.
    static CLEARED: [u8; 4 * PAGE] = [0; 4 * PAGE];

    #[test]
    fn image_holds_code_and_all_static_variables() {
        let image = Image::find();
        let pages = image.pages().expect("the loader knows the test program");
        let variables = [CLEARED.as_ptr().addr(), CLEARED.as_ptr_range().end.addr() - 1];
        let code = image_holds_code_and_all_static_variables as *const ();
        assert!(variables.iter().chain([&code.addr()]).all(|address| pages.contains(*address)));
        assert!(image.code.contains(&code.addr()));
    }
}
