//! The shipped checker of rules: see `bifolio-checker`.

#[path = "../../../checker/src/bytes.rs"]
mod bytes;
#[path = "../../../checker/src/checker.rs"]
#[expect(clippy::module_inception, reason = "it is named so at home")]
pub mod checker;
#[path = "../../../checker/src/device.rs"]
mod device;
#[path = "../../../checker/src/forming.rs"]
mod forming;
#[path = "../../../checker/src/observed.rs"]
mod observed;
#[path = "../../../checker/src/pool.rs"]
mod pool;
#[path = "../../../checker/src/steps.rs"]
mod steps;

pub use checker::Checker;
pub use observed::Observed;
