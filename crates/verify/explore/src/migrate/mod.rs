//! Worlds of shipped transactions: the step machines of `bifolio-migrate` over the pagemap of `bifolio-folio`.
//!
//! A program and a device write to a few pages in a few blocks of memory while actors move the pages about. Actors
//! take turns in every order, between any two steps, and each step that may fail is also tried failing. Whatever can be
//! read must always be what was written last (I27); the table below says when each rule is judged.
//!
//! # Actors
//!
//! | Actor | Stands for | Its steps |
//! |---|---|---|
//! | program | threads of the program | writes any page that is in view; maps pages; forks |
//! | device | units of the device | writes any page that is in the device's table |
//! | actor 1, 2, 3 | a thread that answers a CPU fault or a device fault, a driver that prefetches, splits or collapses, an evictor, a thread that unmaps: each in turn | one shipped [`Transaction`](bifolio_migrate::Transaction) at a time, step by step, on a block that it has locked |
//! | the same, inside | making room while its own transaction waits for it, as `runtime::reclaim` does | looks at a victim without a lock, *tries* its block, looks again, evicts by a second transaction; several times, and answers |
//! | holder | code that has a reference of a folio for a while: a scanner, the kernel's `try_get` | takes one of any folio at any time; drops it at any time |
//! | pins | `Engine::pin` | pins a page of system memory, which then stays there; unpins it |
//! | teardown | `Engine::detach` | kills the pagemap at any time; has every folio brought home, beyond the limit of system memory; ends once it is drained |
//! | child | a forked child, as `runtime::heap::fork` serves it | has what is in system memory at once; fetches page by page what is on the device, while requests of the parent wait |
//!
//! A transaction owns its block until its end, so a block that is locked is passed over by all others, and a request
//! for it begins later. A holder makes a split busy and lets a released folio live on until it drops its
//! reference; teardown cannot end before that (I16). Threads of the program and units of the device go on writing
//! during all this, a fork included, wherever their page tables let them.
//!
//! # What is left out
//!
//! Which victim is best: every folio is tried. Waking of sleepers: a transaction that answers a fault must leave the page in
//! view, or in the table. Retries after `Busy`: the request is made again, or not. The reserve of system memory
//! is there if the [`Setup`] has one. Pages that are shared with a child, or pinned by the kernel, cannot be taken out of
//! view: that is one of the ways in which a step may fail. Device pages are handed out from the first free one on.
//!
//! # Where the rules are judged
//!
//! | When | Rules |
//! |---|---|
//! | in every state | I7, I8, I13, I16, I18 (locks), I20, I24, I27 |
//! | of every block | I12 (its own walk), I27 (pinned pages) |
//! | of a block without a transaction | I12, I18 (reservations), I20, I27 |
//! | when no transaction is under way | I23 |
//! | at a step | I9, I13, I14, I16, I17, I20, I21, I22 |
//! | when a victim is begun with | I26, I28 |
//! | at the end of a transaction | I12 (fault answered), I19, I23 |
//!
//! | Module | What it holds |
//! |---|---|
//! | `setup`, `worlds` | how many actors and how much memory; the worlds of `bifolio check` |
//! | `action`, `world` | actions, and which of them can be done |
//! | `reclaim`, `others` | making room; holder, teardown and child |
//! | `performer`, `perform`, `folios` | steps of transactions; what they do to the shipped pagemap |
//! | `judge` | the rules |
//! | `transition_cache` | blocks and machines by number, and what machines did before |
//! | `state`, `encoded`, `canonical` | a state, its stored form, and its renamings |
//! | `design`, `describe` | the world as a design, and in words |
#![expect(
    clippy::cast_possible_truncation,
    reason = "pages, orders and counts of a small world fit in 8 bits"
)]

mod action;
mod canonical;
mod describe;
mod design;
mod encoded;
mod folios;
mod judge;
mod mutate;
#[cfg(test)]
mod mutations;
mod others;
mod perform;
mod performer;
mod reclaim;
mod setup;
mod state;
mod transition_cache;
mod world;
mod worlds;

pub use setup::Setup;
#[cfg(test)]
pub use setup::{Memory, Others};
pub use world::Transactions;
pub use worlds::{LARGE, WORLDS};
