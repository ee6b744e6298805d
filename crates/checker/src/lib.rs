//! The rules, judged at every transition of a running engine: what `--checked` does.
//!
//! The engine knows nothing of this. A [`Checker`] hears its events as an observer, and stands before its devices and
//! pools; what it sees it tells a [`Shadow`](bifolio_rules::Shadow) as plain [events](bifolio_rules::Event), which judges
//! each rule that an event concerns.
//!
//! ```text
//!   engine --events--> Checker --+
//!      |                         +--rules::Event--> Shadow --judgements--> Statistics, violations
//!      +--> CheckedDevice -------+      (what is known of pages, blocks and bytes)
//!      |        +--> device      |
//!      +--> CheckedPool ---------+
//!               +--> pool
//! ```
//!
//! | File | What it sees | Rules |
//! |---|---|---|
//! | `pool` | ranges handed out and taken back, splits, collapses | I1, I4, I7, I9, I10, I11, I15, I21, I22 |
//! | `forming` | folios formed, and their neighbours | I1, I2, I3, I6, I8, I11, I16, I25 |
//! | `device` | copies, changes of the device's page table | I5, I20, I21, I22, I25 |
//! | `steps` | steps and ends of transactions | I12, I13, I14, I17, I18, I19, I23, I24, I26, I28 |
//! | `bytes` | digests of pages, before and after steps | I27, I28 |
//!
//! The lock of the shadow comes last in the lock order, before that of the violations.
#![forbid(unsafe_code)]

mod bytes;
mod checker;
mod device;
mod forming;
mod observed;
mod pool;
mod steps;
mod sync;
#[cfg(test)]
mod tests;

pub use checker::{Checker, KEPT};
pub use observed::Observed;
