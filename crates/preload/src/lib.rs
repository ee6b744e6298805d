//! The heap of an unmodified program on Bifolio memory.
//!
//! The symbols below are exported by the library that `bifolio run` preloads, so that the program's calls come here
//! first. Large blocks and private anonymous mappings come from a [`Heap`](bifolio_host::Heap); everything else goes
//! on to the C library.
//!
//! ```text
//!   start   from nothing to a running heap        malloc        blocks of the allocator
//!   own     memory of our own: never Bifolio's    mapping       mmap and its kin
//!   quiet   no signals while we hold locks        descriptors   who closes ours is refused
//!   next    the symbols behind ours               transfer      read, write and kin, for user-mode-only faults
//!   fork    a child gets its bytes
//! ```
//!
//! # Rules of this crate
//!
//! 1. Memory that the runtime uses must never be Bifolio memory: whoever answers faults must not fault. So Rust's
//!    global allocator is `own`, and what the C library allocates for our threads comes from there too.
//! 2. A thread of the program that holds a lock of ours must not be interrupted by a signal handler that touches Bifolio
//!    memory: its fault would wait for the lock. So signals are blocked meanwhile (`quiet`).
//! 3. Bytes of the program are copied by the program's own thread, without locks: the copy may fault.
//!
//! # What stays ordinary memory
//!
//! Blocks under the threshold; stacks; mappings of files, shared, with a wish for an address or other rights than reading
//! and writing; what the program protects, locks or maps over; everything in forked children and in programs that are
//! started. Small blocks could follow by adopting the C library's heap as it grows; a fork would then have to bring all
//! of it home first, since the C library touches its own blocks in the child before it calls us.
//!
//! Calls that go around the C library are not seen: memory that a program drops by a bare system call reads as zero, as
//! it should, but what it unmaps so must not be mapped again by others.
//!
//! This crate cannot forbid unsafe code: its functions take pointers from C. Each states what its C contract promises.
#![cfg_attr(test, expect(dead_code, reason = "the symbols are not exported into the test program"))]

mod descriptors;
mod fork;
mod malloc;
mod mapping;
mod next;
mod own;
mod quiet;
mod start;
mod transfer;

pub use start::start;
