//! System calls of the program that come to us first: syscall user dispatch (Linux 5.11, x86-64).
//!
//! ```text
//!   gate      which calls pass: those made from a few instructions of ours, and all while the selector says so
//!   trap      a call that does not pass raises SIGSYS; the handler makes it in the program's place
//!   arguments which memory a call uses       ready     it is at home before the call is made
//!   long      calls on much memory, piece by piece
//!   masks     signal masks, so that SIGSYS is never blocked meanwhile
//! ```
//!
//! It is used around a fork, whose child must get its bytes before the C library touches anything there; and where the
//! kernel's own faults are not caught, for every call while something is registered.

pub(crate) mod arguments;
pub(crate) mod gate;
mod long;
pub(crate) mod masks;
pub(crate) mod ready;
pub(crate) mod trap;
