//! Locks of this crate. Every other module takes them from here, so that `bifolio-shuttle` can run the same sources under
//! a scheduler that decides which thread goes on at each of them.

pub(crate) use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
