//! The built-in device: a hosted device (`bifolio-hosted`) whose units are threads that run kernels.
#![forbid(unsafe_code)]

mod builtin;
mod sync;
mod unit;

pub use bifolio_hosted::{
    AtomicOp, AtomicWidth, CachingPort, Hosted, Invalidation, Memory, MemoryError, Port, Refused, Translation,
};
pub use builtin::{Builtin, Kernel};
pub use unit::Unit;
