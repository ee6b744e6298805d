//! The lock of this crate. Every pool takes it from here, so that `bifolio-loom` can compile the same sources
//! against loom's and walk through all interleavings.

pub(crate) use std::sync::{Mutex, MutexGuard};
