//! Worlds of shipped folios: the pagemap of `bifolio-folio` runs here, not a model of it.
//!
//! ```text
//!   nothing --allocate--> range --form--> locked <--try lock/unlock--> reference --park/unpark--> parked
//!      |                    +--give back    +--split, collapse, drop     +--drop, the last: free
//!      +--get by number--------------------------------------------------^
//! ```
//!
//! A step is one operation of the crate, on a pagemap into which the words of the state were put. What happens
//! inside an operation is explored by loom in `bifolio-loom`. After each step words, counter, backings and
//! free pages are compared with what the handles that exist say.
//!
//! | Module | What it holds |
//! |---|---|
//! | `action`, `world` | operations, and which of them can be done |
//! | `state`, `packed_words`, `encoded` | a state, and its stored form |
//! | `operations`, `collapse`, `model_pool` | shipped code on a state, over a pool that hands out any free block |
//! | `outcome`, `judge` | what came of it, and which rules that breaks |
//! | `design`, `describe` | the world as a design, and in words |
//! | `pooled` | the same over a shipped pool |

mod action;
mod collapse;
mod describe;
mod design;
mod encoded;
mod judge;
pub(crate) mod model_pool;
mod mutate;
#[cfg(test)]
mod mutations;
mod operations;
mod outcome;
pub(crate) mod packed_words;
mod pooled;
pub(crate) mod state;
mod world;

pub use design::Folios;
pub use pooled::Pooled;
