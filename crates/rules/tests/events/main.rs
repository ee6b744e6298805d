//! For each rule, events that keep it and events that break it, as [`Shadow`](bifolio_rules::Shadow) judges them.

mod audits;
mod bytes;
mod devices;
mod folios;
mod pools;
mod transactions;
mod world;
