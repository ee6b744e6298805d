//! [`Mutate`]: what a test may make wrong in a shipped pool.

use bifolio_pool::snapshot::SmallPool;

use crate::folio::pooled::call::Call;
use crate::mutate::NoMutation;

/// A change to what calls of the pool do.
pub trait Mutate: Sync + Send {
    /// Whether nothing is changed.
    const IS_NONE: bool = false;

    /// The call that the pool gets instead; `None` if it gets none.
    fn instead(&self, call: Call) -> Option<Call> {
        Some(call)
    }

    /// Changes the pool after a call; `fails_next` says whether the call before had made this one fail.
    fn afterwards(&self, _pool: &SmallPool, _call: Call, _fails_next: bool) {}
}

impl Mutate for NoMutation {
    const IS_NONE: bool = true;
}
