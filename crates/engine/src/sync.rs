//! Locks, atomics and threads of this crate. Every other module takes them from here, so that `bifolio-shuttle` can run
//! the same sources under a scheduler that decides which thread goes on at each of them.

pub(crate) use std::sync::{Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
}

pub(crate) mod thread {
    pub(crate) use std::thread::{sleep, yield_now};
}
