//! What the compiler refuses, with the errors that it gives, and the legal twin of each mistake.
//!
//! The errors are compared as text, so only with the compiler that wrote them: after a change, or with another compiler,
//! `TRYBUILD=overwrite cargo test -p bifolio-folio --test compile_errors` writes them anew. Then put the compiler's
//! version into `tests/ui/rustc-version.txt`.

use std::io::Write;
use std::process::Command;

/// The compiler whose errors are in `tests/ui`.
const RECORDED: &str = include_str!("ui/rustc-version.txt");

#[test]
fn mistakes_are_refused_by_the_compiler() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().expect("a compiler").stdout;
    let version = String::from_utf8_lossy(&version);
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/legal.rs");
    if version.trim() != RECORDED.trim() && std::env::var_os("TRYBUILD").is_none() {
        let skip = "SKIP mistakes_are_refused_by_the_compiler: the errors are those of";
        return writeln!(std::io::stderr(), "{skip} {RECORDED}").expect("standard error is there");
    }
    for mistakes in ["used_twice", "wrong_state", "forged_handle", "sealed_state", "private_seal"] {
        cases.compile_fail(format!("tests/ui/{mistakes}.rs"));
    }
}
