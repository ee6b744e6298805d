//! Bifolio for C and C++: what `include/bifolio.h` declares. That file has the rules; this crate is a thin face of `bifolio-host`.
//!
//! ```text
//!   lib      one function for each call        edge     pointers in, codes out, no panic across
//!   handle   numbers with a generation         status   errors as codes and text
//!   space, device, port, event, post, blocks, foreign   what handles stand for
//!   trace    a space that is recorded
//!   measure  reads by these calls, for `bifolio bench`
//! ```

pub mod abi;
mod blocks;
mod calls;
mod device;
mod edge;
mod event;
mod foreign;
mod handle;
mod loss;
pub mod measure;
mod port;
mod post;
mod space;
mod status;
mod trace;

pub use calls::*;
