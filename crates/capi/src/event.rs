//! Events that a port fetches.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::abi::{BF_EV_FAULT, Sized32, bf_event};
use crate::handle::lock;

/// What waits for one port.
#[derive(Default)]
pub struct EventQueue {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<bf_event>,
    /// Faults that were posted and not fetched yet.
    faults: u32,
}

impl EventQueue {
    pub fn push(&self, event: bf_event) {
        lock(&self.waiting).events.push_back(event);
    }

    /// Counts a fault that is posted; `false` if there are `most` already.
    pub fn begin_fault(&self, most: u32) -> bool {
        let mut waiting = lock(&self.waiting);
        let room = waiting.faults < most;
        waiting.faults += u32::from(room);
        room
    }

    /// The next event that is due: the earliest one, and of those that are due at the same time the first.
    pub fn next(&self, now_ps: u64) -> Option<bf_event> {
        let mut waiting = lock(&self.waiting);
        let due = waiting.events.iter().enumerate().filter(|(_, event)| event.due_ps <= now_ps);
        let (at, _) = due.min_by_key(|(at, event)| (event.due_ps, *at))?;
        let event = waiting.events.remove(at)?;
        waiting.faults -= u32::from(event.kind == BF_EV_FAULT);
        Some(event)
    }
}

/// An event that is due at once.
pub fn told(kind: u32, va: u64) -> bf_event {
    bf_event { kind, va, ..bf_event::ZERO }
}
