//! [`PooledState`]: a state of shipped folios, and the state of the pool by its number.

use crate::folio::packed_words::PAGES;
use crate::folio::pooled::call::RmapCode;
use crate::folio::state::State;

/// All of a world with a pool.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PooledState {
    /// Words and handles; the owner of a page in use is the data of its folio, and there are no backings.
    pub folios: State,
    /// Number of the pool's state in the cache.
    pub pool: u32,
    /// For each page in use its home.
    pub rmaps: [RmapCode; PAGES],
    /// Whether the next allocation was made to fail.
    pub fails_next: bool,
}
