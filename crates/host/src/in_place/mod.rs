//! Heaps in place: the private memory of a program that knows nothing of us, managed where the program put it.
//!
//! ```text
//!   service    the process beside the program: its loop        board      what threads of the program ask of it
//!   watch      samples, the scan of mappings, registering      eligible   which mappings may be managed
//!   faults     a page comes home, or begins as zeros           regions    which are
//!   evict      a block leaves, through the landing             view       the engine's side of both
//!   events     removals, unmappings and moves                  store      where pages are that are away
//!   gauges     what the command reports                      settings   what the command says
//!   child      how a forked child gets its bytes               own_pages  private pages of ours
//! ```

pub mod board;
pub mod child;
mod eligible;
mod events;
mod evict;
mod faults;
pub mod gauges;
mod measure;
mod own_pages;
mod regions;
mod requests;
mod service;
pub mod settings;
mod store;
mod view;
mod watch;

/// The least system memory that a program is given, in bytes.
pub const RAM_LEAST: usize = 1 << 20;

pub use board::{Board, Request};
pub use child::{BytesMissing, follow_plan};
pub use gauges::{GaugeError, GaugeReading, Gauges, Outside};
pub use service::{Service, ServiceConfig};
