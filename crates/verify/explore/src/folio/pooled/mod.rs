//! Worlds of shipped folios over a shipped pool: what hands out pages here is the code of `bifolio-pool`, not a model.
//!
//! The [`ModelPool`](crate::folio::model_pool::ModelPool) hands out any free block, so what holds there holds for every
//! allocator. These worlds ask less and look closer: at one pool, with its lists, chunks, objects and addresses, in
//! every state that it can get into.
//!
//! ```text
//!   step --> PageMap (shipped) --> PoolAdapter --state, call--> TransitionCache --> SmallPool (shipped)
//!                                             <--state, answer--
//! ```
//!
//! A pool is deterministic, so what a call led to once is stored in the [`TransitionCache`] and looked up the next time. A
//! state of the world has the number of the pool's state; the numbers depend on the order of the search, and nothing depends
//! on the numbers. What a pool's answers depend on is its [`View`](bifolio_pool::snapshot::View).
//!
//! # What is renamed
//!
//! Actors are alike. Pages are not: a pool prefers some to others, by address (the buddy allocator) or by age (lists,
//! blocks that wait to be merged). Numbers of objects are names and replaced by the place of the object's memory, which
//! no other object has.
//!
//! # What is judged
//!
//! All that is judged over the model, and: nothing that is in use is handed out (I1); each object has a reference for
//! each folio and range on it (I7); a refusal has a reason, no page is lost, the pool agrees with itself, and when
//! no page is in use all of it can be had at the largest order (I9); a put releases no object (I15); a closed pool
//! keeps no chunk (I18); each page is inside its object (I21) and has its home (I27); and no page that was used is
//! taken for cleared (I22).

mod call;
mod mutate;
#[cfg(test)]
mod mutations;
mod pool_adapter;
mod state;
mod transition_cache;
mod world;

pub use pool_adapter::PoolAdapter;
pub use world::Pooled;
