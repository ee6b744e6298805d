//! The library that `bifolio run` preloads into a program: the symbols of [`bifolio_preload`], and what starts them.
//!
//! It is built with the command, so that one `cargo run` makes both; the command does not use it.

pub use bifolio_preload::start;

/// Called by the dynamic linker before the program's `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = {
    extern "C" fn begin() {
        start();
    }
    begin
};
