//! What `bifolio-folio` takes from `core`, here from loom: an atomic with one more scheduling point.
//!
//! loom 0.7 explores the reversal of two operations only if the earlier one is the *last* access of the atomic
//! that the later one depends on, and loads do not depend on loads. In
//!
//! ```text
//!   thread A   load ................ (acts on it)
//!   thread B          load   compare_exchange
//! ```
//!
//! B's own load hides A's from B's exchange, so the order "B, then A" is never tried: whole branches of
//! load-then-exchange loops, which the page word consists of, went untested (a freeze without `Acquire` was
//! not noticed). Here each operation first adds one to `turn`. All additions depend on each other, so all orders
//! of operations on one word are tried. They are relaxed and `turn` is never read: no happens-before is added, and
//! loads of `value` may still see old values.

use loom::sync::atomic;

pub(crate) use loom::sync::atomic::Ordering;
pub(crate) use loom::sync::{Mutex, MutexGuard};

/// Stands for `core::sync::atomic::AtomicU64`.
#[derive(Debug)]
pub(crate) struct AtomicU64 {
    turn: atomic::AtomicU64,
    value: atomic::AtomicU64,
}

impl AtomicU64 {
    pub(crate) fn new(value: u64) -> AtomicU64 {
        AtomicU64 { turn: atomic::AtomicU64::new(0), value: atomic::AtomicU64::new(value) }
    }

    fn scheduled(&self) -> &atomic::AtomicU64 {
        self.turn.fetch_add(1, Ordering::Relaxed);
        &self.value
    }

    pub(crate) fn load(&self, order: Ordering) -> u64 {
        self.scheduled().load(order)
    }

    pub(crate) fn store(&self, value: u64, order: Ordering) {
        self.scheduled().store(value, order);
    }

    pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.scheduled().fetch_add(value, order)
    }

    pub(crate) fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
        self.scheduled().fetch_sub(value, order)
    }

    pub(crate) fn fetch_or(&self, value: u64, order: Ordering) -> u64 {
        self.scheduled().fetch_or(value, order)
    }

    pub(crate) fn fetch_and(&self, value: u64, order: Ordering) -> u64 {
        self.scheduled().fetch_and(value, order)
    }

    pub(crate) fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.scheduled().compare_exchange(current, new, success, failure)
    }

    pub(crate) fn compare_exchange_weak(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.scheduled().compare_exchange_weak(current, new, success, failure)
    }

    pub(crate) fn fetch_update(
        &self,
        success: Ordering,
        failure: Ordering,
        mut update: impl FnMut(u64) -> Option<u64>,
    ) -> Result<u64, u64> {
        let mut seen = self.load(failure);
        while let Some(new) = update(seen) {
            match self.compare_exchange_weak(seen, new, success, failure) {
                Ok(before) => return Ok(before),
                Err(now) => seen = now,
            }
        }
        Err(seen)
    }
}

/// Stands for `core::sync::atomic::AtomicBool`.
#[derive(Debug)]
pub(crate) struct AtomicBool {
    turn: atomic::AtomicU64,
    value: atomic::AtomicBool,
}

impl AtomicBool {
    pub(crate) fn new(value: bool) -> AtomicBool {
        AtomicBool { turn: atomic::AtomicU64::new(0), value: atomic::AtomicBool::new(value) }
    }

    fn scheduled(&self) -> &atomic::AtomicBool {
        self.turn.fetch_add(1, Ordering::Relaxed);
        &self.value
    }

    pub(crate) fn load(&self, order: Ordering) -> bool {
        self.scheduled().load(order)
    }

    pub(crate) fn store(&self, value: bool, order: Ordering) {
        self.scheduled().store(value, order);
    }

    pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
        self.scheduled().swap(value, order)
    }
}
