//! Every operation against the real kernel: what it does, and what each refusal is translated to.
//!
//! Each test has a time limit, so that a thread left asleep fails one test and not the run. What the kernel does not
//! grant (an ordinary user, an older kernel) is skipped by name on stderr.

mod collapsing;
mod events;
mod faults;
mod granting;
mod installing;
mod limits;
mod mapping;
mod moving;
mod protecting;
mod serving;
mod stopping;
mod touching;
