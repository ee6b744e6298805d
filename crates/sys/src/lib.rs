//! The unsafe floor of Bifolio: system calls, and memory that another thread, a device or another process may write.
//!
//! Everything above this crate is `forbid(unsafe_code)`; what it may do with pages, it does through these types:
//!
//! ```text
//!   AddressRange            a page-aligned range of addresses, nothing more than two checked numbers
//!   Mapping         memory that is owned (unmapped on drop) or adopted, never seen through `&` or `&mut`
//!     SharedBytes   a borrowed window of a Mapping: loads, stores, atomics, copies; the proof that page
//!                   operations (advise, register, move) may be done there
//!   ProgramMemory   the memory of a program that knows nothing of us: windows anywhere in this address space
//!   Memfd           memory with a number: mapped twice, punched, collapsed
//!   Uffd            userfaultfd: registration, installs, moves, messages
//!   touch           faults that the faulting thread answers, by one handler for SIGBUS
//!   sibling         a process that shares our memory
//!   MapsFile, MemoryMeter   what is mapped and resident
//!   Grants          what this machine allows, found out by trying
//! ```
//!
//! # Why the interface is safe
//!
//! A page operation changes bytes behind the compiler's back. That is harmless exactly where no Rust reference to
//! plain data exists, so each operation needs a witness of that. The witness is [`SharedBytes`], which comes only
//! from a [`Mapping`], which hands out no references. [`Uffd::register`] takes such a witness, and the kernel
//! refuses to install pages where nothing is registered, so installs need only a [`AddressRange`]. The single way to get a
//! witness for foreign memory is [`Mapping::adopt`], which is `unsafe` and says what must be promised.
//!
//! # Which system calls
//!
//! All go through rustix's `linux_raw` back end or through `raw`: instructions, never symbols of the C library,
//! because the preload library puts itself in front of those symbols and stands on this crate.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("bifolio-sys needs 64-bit Linux");

pub mod abi;
mod action;
mod address_range;
pub mod advise;
pub mod apart;
mod barrier;
mod bytes;
mod clock;
mod error;
mod eventfd;
pub mod futex;
pub mod host;
mod maps;
mod memfd;
mod memory;
mod message;
mod open;
mod outcome;
pub mod pagemap;
pub mod probe;
pub mod process;
mod program_memory;
mod raw;
mod reader_stopper;
mod residency;
pub mod sibling;
mod signals;
pub mod smaps;
mod sweep;
pub mod threads;
mod timer;
pub mod touch;
mod uffd;

pub use abi::{CopyMode, Features, Modes, MoveMode, RangeIoctls};
pub use address_range::{AddressRange, AddressRangeError, HUGE_PAGE, PAGE};
pub use barrier::Barrier;
pub use bytes::{AccessError, Plain, SharedBytes, Word};
pub use clock::monotonic_ns;
pub use error::SysError;
pub use eventfd::EventFd;
pub use maps::{Backing, MapsEntry, MapsFile};
pub use memfd::Memfd;
pub use memory::{MapError, Mapping, Placement, Protection, RemapFailed};
pub use message::{Message, MessageBuf, Messages, Woken};
pub use open::{Access, Attempt, DEVICE_NODE, OpenError, Reads, Via, Way};
pub use outcome::Outcome;
pub use program_memory::{ProgramMemory, USER_SPACE};
pub use reader_stopper::{ReaderStopper, StopError, StopResult};
pub use residency::{MemoryMeter, MemoryUse, resident_pages};
pub use rustix::io::Errno;
pub use signals::{Arrived, SignalInbox};
pub use timer::Timer;
pub use uffd::{Protect, ReadyError, Uffd, Wake};
