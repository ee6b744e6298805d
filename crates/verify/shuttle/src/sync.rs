//! What the borrowed sources take from `std`, here from shuttle: each operation is a point where another thread may go on.

use std::cell::Cell;
use std::sync::{LockResult, TryLockError, TryLockResult};

pub(crate) use shuttle::sync::{Condvar, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
/// Of no interest to the scheduler: what is made in it neither locks nor waits.
pub(crate) use std::sync::OnceLock;

use crate::mutant::{self, Mutant};

/// Stands for `std::thread_local!`, for cells.
macro_rules! per_thread {
    ($($(#[$attribute:meta])* static $name:ident: $cell:ident<$value:ty> = const { $make:expr };)*) => {$(
        $(#[$attribute])*
        static $name: $crate::sync::PerThread<$value> = {
            shuttle::thread_local! { static KEY: $cell<$value> = const { $make }; }
            $crate::sync::PerThread(&KEY)
        };
    )*};
}
pub(crate) use per_thread as thread_local;

/// A cell that each simulated thread has for itself.
pub(crate) struct PerThread<T: 'static>(pub(crate) &'static shuttle::thread::LocalKey<Cell<T>>);

impl<T> PerThread<T> {
    pub(crate) fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.0.with(Cell::get)
    }

    pub(crate) fn set(&'static self, value: T) {
        self.0.with(|cell| cell.set(value));
    }

    pub(crate) fn replace(&'static self, value: T) -> T {
        self.0.with(|cell| cell.replace(value))
    }
}

pub(crate) mod atomic {
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
}

pub(crate) mod thread {
    use std::time::Duration;

    pub(crate) use shuttle::thread::{ScopedJoinHandle, scope, yield_now};

    /// Lets others go on. There is no time here.
    pub(crate) fn sleep(_: Duration) {
        yield_now();
    }
}

/// Stands for `bifolio_sys::Barrier`: atomics are sequentially consistent here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Barrier;

impl Barrier {
    pub(crate) const fn new() -> Barrier {
        Barrier
    }

    pub(crate) fn light(self) {}

    pub(crate) fn heavy(self) {}
}

/// Stands for `std::sync::Mutex`.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T> {
    inner: shuttle::sync::Mutex<T>,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Mutex<T> {
        Mutex { inner: shuttle::sync::Mutex::new(value) }
    }

    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.inner.lock()
    }

    pub(crate) fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if mutant::is(Mutant::TryLockWaits) {
            return self.lock().map_err(TryLockError::Poisoned);
        }
        self.inner.try_lock()
    }
}
