//! The calls of `bifolio.h`, by its sections.
#![allow(clippy::missing_safety_doc, missing_docs, reason = "bifolio.h has what a caller must know")]

mod device;
mod drive;
mod library;
mod port;
mod space;

pub use device::*;
pub use drive::*;
pub use library::*;
pub use port::*;
pub use space::*;
