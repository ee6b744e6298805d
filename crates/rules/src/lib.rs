//! The rules I1 to I28 of device folios: sentence, source and judgement of each, in one place.
//!
//! There are two ways to be judged:
//! - **by events**: [`Shadow::observe`] takes [`Event`]s, plain numbers that tell what happened to pages, blocks and
//!   bytes, keeps what is known from them, and judges each rule that an event concerns. The live checker and recorded
//!   traces are judged so;
//! - **by functions**: [`judge`] has, next to the sentence and source of each rule, the functions that judge it. Each gets
//!   what was seen and what should be, and gives a [`judge::Verdict`]. `Shadow` calls them, and so does the explorer, which
//!   has states of its own, packed into bits. [`Pages`] are the sets that both speak of.
//!
//! ```
//! use bifolio_rules::{Event, PageRange, PoolEvent, Purpose, Rule, Shadow};
//!
//! let mut shadow = Shadow::new();
//! let mut broken = Vec::new();
//! let node = 0;
//! let allocated =
//!     PoolEvent::Allocated { head: 16, order: 4, wanted: 4, data: 1, purpose: Purpose::Folio, cleared: false };
//! // Nouveau would have heard of order 0 in v3 of the series: the order is lost.
//! let given_back = PoolEvent::GivenBack { head: 16, order: 0, data: 1, cleared: false };
//! for event in [
//!     Event::NodeAdded { node, pagemap: PageRange { first: 0, pages: 512 } },
//!     Event::Pool { node, event: allocated },
//!     Event::Pool { node, event: given_back },
//! ] {
//!     shadow.observe(&event, &mut |judged| {
//!         if judged.broken.is_some() {
//!             broken.push(judged.rule);
//!         }
//!     });
//! }
//! assert_eq!(broken, [Rule::known(4)]);
//! assert_eq!(broken[0].info().short, "order is told once");
//! ```

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod digest;
mod event;
pub mod judge;
mod pages;
mod rule;
mod rule_set;
mod shadow;

pub use event::{
    AuditEvent, BytesEvent, Counter, DeviceEvent, Ending, Event, FolioEvent, NewFolio, Place, PoolEvent,
    Purpose, Structure, TransactionEvent, Words,
};
pub use pages::{PageRange, Pages};
pub use rule::{COUNT, Info, Rule};
pub use rule_set::RuleSet;
pub use shadow::{Held, Judgement, Shadow, Use, Violation};
