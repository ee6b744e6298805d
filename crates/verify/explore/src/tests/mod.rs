//! Tests of whole explorations: counts of states, and what must not change them.

mod partial_order;
mod pools;
mod renaming;
mod resumed;
mod second_opinion;
mod transactions;
mod unrenamed;
