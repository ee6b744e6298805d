//! Where in a program memory was allocated and touched: the call sites of a trace, with names.
//!
//! ```text
//!   Trace --CallSites--> which stack allocated an address, which instructions touched a range
//!     |
//!     +-- modules --Symbols--> function, file and line of an address of code, from the files' own tables
//! ```
//!
//! A trace holds addresses alone. They are named as they are looked at, by the files that the program was loaded from: debug
//! information if there is some, else tables of symbols, else the file's own name.
#![forbid(unsafe_code)]

mod call_sites;
mod symbols;

pub use call_sites::CallSites;
pub use symbols::{Name, Symbols};
