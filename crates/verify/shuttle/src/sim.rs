//! The shipped simulated machine: see `bifolio-sim`.

#[path = "../../../sim/src/faulty/mod.rs"]
pub mod faulty;
#[path = "../../../sim/src/oracle.rs"]
pub mod oracle;
#[path = "../../../sim/src/view.rs"]
pub mod view;
