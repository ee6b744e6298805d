//! Names the shared library by the number of its ABI, so that a program finds the one that it was linked with.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libbifolio.so.0");
}
