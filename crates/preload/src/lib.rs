//! The library that `bifolio run` loads into a program.
//!
//! It starts the service, a process that shares the program's memory, before the program's `main`, and keeps away from the
//! program after that: no call of `malloc`, `mmap` or `munmap` comes here, unless call sites are recorded.
//!
//! ```text
//!   start         from nothing to a service that waits for faults
//!   image         where this library lies
//!   own           memory of the service: never the program's
//!   tls           thread-local variables of the service
//!   environment   the program's environment, without what made it load us
//!   exec          a program that replaces itself keeps its heap
//!   fork          a child gets its bytes
//!   dispatch      system calls that trap
//!   call_sites    stacks of calls that map memory, where they are recorded
//!   signals       core dumps hold every byte
//!   memory        calls on memory that the kernel does not tell of
//!   spawn         what the kernel reads for a new program is at home
//!   thread        stacks of threads stay at home
//!   original      which process is the program, and which a child of it
//!   affinity      affinities that the program sees are its own
//!   next          the symbols behind ours
//! ```
//!
//! # Rules of this crate
//!
//! 1. The service must never touch the program's memory, nor wait for a lock that the program may hold: its fault would be
//!    its own to answer. So Rust's global allocator is `own`, and the service calls the C library only where that neither
//!    allocates nor locks.
//! 2. Threads of the program never allocate here once the service runs, and take no lock of its: a signal handler may
//!    interrupt them anywhere, and a child of `vfork` may be killed anywhere.
//! 3. In a forked child nothing of ours runs but the handler that gets it its bytes.
//!
//! This crate cannot forbid unsafe code: its functions take pointers from C. Each states what its C contract promises.
#![cfg_attr(test, expect(dead_code, reason = "the symbols are not exported into the test program"))]

mod affinity;
mod call_sites;
mod dispatch;
mod environment;
mod exec;
mod fork;
mod image;
mod memory;
mod next;
mod original;
mod own;
mod signals;
mod spawn;
mod start;
mod thread;
mod tls;

pub use start::start;
