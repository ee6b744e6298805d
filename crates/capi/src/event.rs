//! Events that a port fetches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use bifolio_host::{Detail, Event, EventKind, Observer};

use crate::abi::{BF_E_LOST, BF_EV_FAULT, BF_EV_LOST, Sized32, bf_event};
use crate::device::DeviceState;
use crate::space::lock;

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

/// Tells ports of what is lost.
pub struct LossObserver(pub Arc<Mutex<BTreeMap<u8, Arc<DeviceState>>>>);

impl Observer for LossObserver {
    fn observe(&self, event: &Event<'_>) {
        let (node, va) = match event.kind {
            EventKind::DeviceLost { node, block } => (Some(node), block),
            EventKind::Poisoned { address, .. } => (None, address),
            _ => return,
        };
        let lost = bf_event { result: BF_E_LOST, ..told(BF_EV_LOST, va as u64) };
        for device in lock(&self.0).values().filter(|device| node.is_none_or(|node| node == device.node)) {
            lock(&device.queues).iter().for_each(|queue| queue.push(lost));
        }
    }

    fn detail(&self) -> Detail {
        Detail::Results
    }
}
