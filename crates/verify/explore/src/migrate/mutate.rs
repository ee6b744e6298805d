//! [`Mutate`]: what a test may make wrong in a runner of transactions.

use bifolio_migrate::{Outcome, Step};

use crate::migrate::performer::Performer;
use crate::migrate::state::State;
use crate::mutate::NoMutation;

/// A part of the protocol that a runner keeps beside the steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// Requests of the parent wait until a child has its bytes.
    ParentWaits,
    /// A fork waits until no transaction is under way.
    ForkWaits,
    /// A child fetches what is on the device.
    ChildFetches,
    /// A page is pinned under the lock of its block.
    PinsUnderLock,
    /// An actor that makes room tries blocks and never waits for one.
    TriesOnly,
    /// A victim is compared again once its block is locked.
    LooksAgain,
    /// Teardown ends only if the pagemap is drained.
    EndsWhenDrained,
    /// A smaller order is tried when a larger one cannot be had.
    SmallerOrders,
}

/// A change to what a runner of transactions does.
pub trait Mutate: Sync {
    /// The step that is done in place of another; `None` if none is done.
    fn instead(&self, _performer: &mut Performer<'_>, step: Step) -> Option<Step> {
        Some(step)
    }

    /// The outcome that the machine is given for a step. `before` is the state before it.
    fn afterwards(
        &self,
        _before: &State,
        _performer: &mut Performer<'_>,
        _step: &Step,
        outcome: Outcome,
    ) -> Outcome {
        outcome
    }

    /// Whether the runner keeps a part of the protocol.
    fn keeps(&self, _protocol: Protocol) -> bool {
        true
    }
}

impl Mutate for NoMutation {}
