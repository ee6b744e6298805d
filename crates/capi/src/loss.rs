//! What is lost, told to the ports of the devices that it concerns.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bifolio_host::{Detail, Event, EventKind, Observer};

use crate::abi::{BF_E_LOST, BF_EV_LOST, bf_event};
use crate::device::DeviceState;
use crate::event::told;
use crate::handle::lock;

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
