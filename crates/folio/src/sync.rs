//! The atomics of this crate. Every other module takes them from here, so that `bifolio-loom` can compile
//! the same sources against loom's atomics and walk through all interleavings.

pub(crate) use core::sync::atomic::{AtomicU64, Ordering};
