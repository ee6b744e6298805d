//! Traces: everything that an engine did, in a compact file, and back.
//!
//! ```text
//!   engine --events--> Recorder: a bounded queue --its own thread--> blocks: packed, compressed, checksummed --> FILE
//!                          full? counted as lost                                                                  |
//!   events, residency  <-------------------------------- Trace <--------------------------------------------------+
//! ```
//!
//! A [`Recorder`] is an [`Observer`](bifolio_engine::Observer). The thread that meets an event puts a value of fixed size
//! into a queue: it takes no lock, allocates nothing and waits for no one. Another thread writes the file. A file whose
//! writer was killed is read up to the last block that it wrote. What another process does comes through a [`SharedQueue`]. `docs/trace-format.md` tells every byte.
//!
//! ```
//! use bifolio_trace::{Options, Recorder, Trace};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("t.bifolio");
//! let recorder = Recorder::create(&path, &Options::new([("command", "an example")]))?;
//! let observer = recorder.observer(); // for `Parts::observers`, or `SpaceConfig::observers`
//! # drop(observer);
//! let written = recorder.finish([("total_ns", "0")])?;
//! assert_eq!((written.events, written.lost), (0, 0));
//!
//! let trace = Trace::open(&path)?;
//! assert_eq!(trace.note("command"), Some("an example"));
//! assert_eq!(trace.events().count(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod block;
mod event;
pub mod export;
mod file;
mod machine;
mod module;
mod observe;
mod reader;
mod recorder;
mod residency;
mod shared;
mod wire;

pub use event::{Answer, Event, Kind, Served, Trigger};
pub use file::{LIMIT_DEFAULT, LIMIT_LEAST, TraceFile, Written};
pub use machine::{command_words, machine_notes};
pub use module::{Module, NotAModule};
pub use observe::kinds_of;
pub use reader::{Trace, TraceError};
pub use recorder::{Accesses, Options, Recorder, Told};
pub use residency::{Place, Residency};
pub use shared::{SharedQueue, TOGETHER};
