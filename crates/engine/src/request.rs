//! For what a transaction is run: its cause, what it may take and evict, and what it took.

use std::cell::Cell;

use crate::event::Cause;
use crate::retry::BUSY_TRIES;

/// What a transaction may take and evict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Priority {
    /// A request: it may evict.
    Fault,
    /// An eviction on behalf of a request: it may use the reserve of system memory, and evicts buffer objects only.
    Reclaim,
    /// A request that must not fail for want of system memory: it may take memory beyond the limit.
    MustSucceed,
}

/// What a request took, transactions within it included.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) moved_in: Cell<u64>,
    pub(crate) moved_out: Cell<u64>,
    pub(crate) evicted: Cell<u64>,
}

/// For what a transaction is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'t> {
    pub(crate) cause: Cause,
    pub(crate) priority: Priority,
    /// Where it is added up what it took, if that is wanted.
    pub(crate) tally: Option<&'t Tally>,
    /// How often it is tried again while something is in use.
    pub(crate) tries: u32,
}

impl<'t> Request<'t> {
    /// A request that may evict, and fails rather than go beyond the limit of system memory.
    pub(crate) fn new(cause: Cause) -> Request<'t> {
        Request { cause, priority: Priority::Fault, tally: None, tries: BUSY_TRIES }
    }

    /// A request that goes beyond the limit of system memory rather than fail.
    pub(crate) fn must_succeed(cause: Cause) -> Request<'t> {
        Request { cause, priority: Priority::MustSucceed, tally: None, tries: BUSY_TRIES }
    }

    /// A transaction within another one, to make room for it.
    pub(crate) fn within(cause: Cause, tally: Option<&'t Tally>) -> Request<'t> {
        Request { cause, priority: Priority::Reclaim, tally, tries: BUSY_TRIES }
    }

    /// The same, added up in `tally`.
    pub(crate) fn counted(self, tally: &'t Tally) -> Request<'t> {
        Request { tally: Some(tally), ..self }
    }

    /// The same, tried again so often.
    pub(crate) fn trying(self, tries: u32) -> Request<'t> {
        Request { tries, ..self }
    }
}
