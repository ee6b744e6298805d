//! A machine that the shipped engine runs on: the kernel, the program and the device, as plain memory and threads of shuttle.

pub mod buffer;
pub mod chance;
pub mod device;
pub mod machine;
pub mod oracle;
pub mod pool;
pub mod process;
pub mod view;

/// Words of a page that are used: one for each thread that writes.
pub const WORDS: usize = 8;
