//! [`Outcome`]: what an operation of the shipped code led to.

use crate::folio::state::State;

/// A call of `folio_free` as the pool got it: page, order.
pub type Call = (u8, u8);

/// What the operation answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It was done.
    Done,
    /// It was refused.
    Refused,
    /// It was refused because a folio was locked.
    Busy,
    /// The pagemap does not know the folio of the handle.
    Unknown,
    /// Head and order of the folio that was found, if any.
    Found(Option<(u8, u8)>),
}

/// What an operation led to.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The state after it: words as they are, handles as they should be.
    pub state: State,
    /// What it answered.
    pub answer: Answer,
    /// Pages of the block that it worked on.
    pub own: u8,
    /// Whether a folio was formed.
    pub formed: bool,
    /// Pages that were in folios before.
    pub pages_before: u8,
    /// Whether the pagemap says that it is drained.
    pub drained: bool,
    /// Whether some word has a value that no small world can have.
    pub word_too_large: bool,
    /// Calls of `folio_free`: how many, and the first two.
    pub calls: (u8, [Call; 2]),
    /// The block that was formed anew inside `folio_free`.
    pub reused: Option<Call>,
}
