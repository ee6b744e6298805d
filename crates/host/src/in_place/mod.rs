//! Heaps in place: the private memory of a program that knows nothing of us, managed where the program put it.
//!
//! ```text
//!   service    the process beside the program: its loop        control    what threads of the program ask of it
//!   watch      samples, the scan of mappings, registering      eligible   which mappings may be managed
//!   faults     a page comes home, or begins as zeros           regions    which are
//!   evict      a block leaves, through the staging             view       the engine's side of both
//!   events     removals, unmappings and moves                  store      where pages are that are away
//!   advised    advice that no event tells of                  same_cpu   the program's thread and the service on one processor
//!   held       which pages of a block hold something          hazards    what system calls use
//!   user_mode  where the kernel's own faults are not caught
//!   settings   what the command says
//!   residents  what is there, and the policy of what leaves    record     what a trace is told of zeros and unmappings
//!   child      how a forked child gets its bytes               sharing    takes back pages that were shared with one
//!   helper     what the service cannot do itself
//!   own_pages  private pages of ours
//! ```

mod advised;
pub mod child;
pub mod control;
mod dropping;
mod eligible;
mod events;
mod evict;
mod faults;
pub mod hazards;
mod held;
mod helper;
mod measure;
mod own_pages;
mod record;
mod regions;
mod requests;
mod residents;
mod same_cpu;
mod service;
pub mod settings;
mod sharing;
mod store;
mod user_mode;
mod view;
mod watch;

/// The least system memory that a program is given, in bytes.
pub const RAM_LEAST: usize = 1 << 20;

pub use advised::{DOFORK, DONTFORK, GUARD_INSTALL, WIPEONFORK};
pub use child::{BytesMissing, follow_plan};
pub use control::{Control, NextMapping, Request};
pub use helper::Helper;
pub use service::{HoldCall, Service, ServiceConfig, StartHelper};
