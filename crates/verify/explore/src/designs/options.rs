//! [`Options`]: how to run a design.

use bifolio_pool::PoolName;

use crate::design::{Bounds, BoundsError};
use crate::explore::Limits;
use crate::linux::MemoryOrder;

/// Name of the world of folios.
pub(super) const FOLIOS: &str = "folios";

/// How to run a design.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Size of the world; each design has its own where this is `None`.
    pub bounds: Option<Bounds>,
    /// Memory, states and threads.
    pub limits: Limits,
    /// Whether to explore larger worlds as well, where a design has some.
    pub large: bool,
    /// The shipped pool that hands out pages, in designs that [take one](crate::Entry::takes_pools); the others ignore it. Without
    /// it any free block may be handed out, so what holds then holds for every pool.
    pub pool: Option<PoolName>,
    /// When threads see what others store, in designs that [can tell](crate::Entry::takes_memory_order); the others refuse a weak one.
    pub memory_order: MemoryOrder,
    /// The only world of the design that is explored; all of them where this is `None`.
    pub world: Option<String>,
}

impl Options {
    /// Whether a world of this name is to be explored.
    pub(super) fn includes(&self, world: &str) -> bool {
        self.world.as_ref().is_none_or(|only| only == world)
    }
}

/// Why a design cannot be run with some options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// There is no world of this size.
    #[error(transparent)]
    Bounds(#[from] BoundsError),
    /// The design has one order of memory.
    #[error("{design} is explored with sequential memory only")]
    MemoryOrder {
        /// The design.
        design: &'static str,
    },
    /// The design has no world of this name.
    #[error("{design} has no world \"{world}\"")]
    World {
        /// The design.
        design: &'static str,
        /// The name that was asked for.
        world: String,
    },
}
