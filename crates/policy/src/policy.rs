//! The trait of all policies: [`Policy`], and what makes them: [`Policies`].

use alloc::boxed::Box;

use bifolio_migrate::OrderRange;

use crate::eviction::Eviction;
use crate::fact::Fact;
use crate::fault::{Decision, Fault};
use crate::memory::Memory;

/// Decides for one memory of an engine what moves there, and what leaves.
///
/// A policy does nothing itself, reads no clock and calls nothing: the same calls have the same answers. The engine calls it
/// under the lock of the memory's order of use, once for each fault and once for each folio that comes or leaves.
pub trait Policy: Send {
    /// What is done about a fault.
    fn decide(&mut self, fault: &Fault) -> Decision;

    /// Orders of what comes without a fault: by a prefetch of the program, or to make room elsewhere. Asked once, before
    /// anything else. No decision goes below the smallest of them.
    fn orders(&self) -> OrderRange;

    /// What it decides about every fault, if that is always the same. Asked once; the engine then neither asks about
    /// faults nor tells what happens.
    fn constant(&self) -> Option<Decision> {
        None
    }

    /// Learns what happened.
    fn learn(&mut self, fact: Fact<'_>) {
        let _ = fact;
    }

    /// The order in which objects leave.
    fn eviction(&mut self) -> &mut dyn Eviction;
}

/// Makes the policies of an engine: one for each memory.
pub trait Policies: Send + Sync {
    /// Makes the policy of a memory that is empty.
    fn make(&self, memory: &Memory) -> Box<dyn Policy>;
}

impl<F: Fn(&Memory) -> Box<dyn Policy> + Send + Sync> Policies for F {
    fn make(&self, memory: &Memory) -> Box<dyn Policy> {
        self(memory)
    }
}
