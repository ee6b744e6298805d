//! The locks and atomics of this crate. Every pool takes them from here, so that `bifolio-loom` can compile the same sources
//! against loom's and walk through all interleavings.

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard};
