//! `RUSTC_BOOTSTRAP=1 cargo fuzz run calls` in `crates/buddy`. A file that it finds goes into `corpus/calls`, where the
//! ordinary tests replay it.

#![no_main]

#[path = "../../tests/it/bytes.rs"]
mod bytes;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bytes::run(data));
