//! Devices: hosted ones, and what a handle of one stands for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bifolio_host::device::{Capabilities, Device, DeviceFault, DeviceRequest, Served};
use bifolio_host::{DeviceSlot, Hosted, Memory, NodeId, Order, Rights};

use crate::abi::{
    BF_ATOMIC, BF_DEVICE_FOREIGN, BF_DEVICE_HOSTED, BF_E_MEMORY, BF_EV_DETACH, BF_READ, BF_WRITE,
    bf_device_config, bf_device_ops,
};
use crate::event::{EventQueue, told};
use crate::foreign::Foreign;
use crate::handle::lock;
use crate::handle::{Kind, Table};
use crate::space::SpaceState;
use crate::status::Error;

pub static DEVICES: Table<DeviceState> = Table::new(Kind::Device);

/// A device, and what C has of it.
pub struct DeviceState {
    pub node: NodeId,
    pub space: Weak<SpaceState>,
    pub kind: DeviceKind,
    pub link: Link,
    pub detached: AtomicBool,
    /// Events of each of its open ports.
    pub queues: Mutex<Vec<Arc<EventQueue>>>,
    /// Its handle, once it has one.
    pub id: std::sync::OnceLock<u64>,
}

#[derive(Clone)]
pub enum DeviceKind {
    Hosted(Arc<Hosted>),
    Foreign(Arc<Foreign>),
}

impl DeviceKind {
    fn as_device(&self) -> Arc<dyn Device> {
        match self {
            DeviceKind::Hosted(hosted) => Arc::clone(hosted) as Arc<dyn Device>,
            DeviceKind::Foreign(foreign) => Arc::clone(foreign) as Arc<dyn Device>,
        }
    }
}

/// What moving costs in model time.
#[derive(Clone, Copy)]
pub struct Link {
    latency_ps: u64,
    ps_per_kib: u64,
}

impl Link {
    /// The time of a request that moved so many bytes, each started KiB in full.
    pub fn cost_ps(self, bytes: u64) -> u64 {
        self.latency_ps.saturating_add(bytes.div_ceil(1024).saturating_mul(self.ps_per_kib))
    }
}

/// How long a port may hold up an invalidation, unless told otherwise.
const ACK_LIMIT: Duration = Duration::from_secs(10);

impl DeviceState {
    pub fn attach(
        space: &Arc<SpaceState>,
        config: &bf_device_config,
        ops: Option<bf_device_ops>,
    ) -> Result<DeviceState, Error> {
        let order = u8::try_from(config.smallest_order)
            .ok()
            .and_then(Order::new)
            .filter(|order| *order <= Order::PMD);
        let order = order.ok_or_else(|| Error::argument("smallest_order is 0 to 9"))?;
        let rights = rights_of(config.access, "device")?;
        let limit = match config.ack_limit_ns {
            0 => ACK_LIMIT,
            limit => Duration::from_nanos(limit),
        };
        let vram = usize::try_from(config.vram).expect("64 bits");
        let mut kind = None;
        let node = space.space.attach(vram, |slot: DeviceSlot| -> Result<Arc<dyn Device>, Error> {
            let capabilities = Capabilities::new(slot.pages).with_smallest_order(order).with_rights(rights);
            let made = make_device(config, ops, slot, capabilities, limit)?;
            Ok(kind.insert(made).as_device())
        })?;
        let link = Link { latency_ps: config.link_latency_ps, ps_per_kib: config.link_ps_per_kib };
        Ok(DeviceState {
            node,
            space: Arc::downgrade(space),
            kind: kind.expect("made before it was attached"),
            link,
            detached: AtomicBool::new(false),
            queues: Mutex::default(),
            id: std::sync::OnceLock::new(),
        })
    }

    pub fn is_detached(&self) -> bool {
        self.detached.load(Ordering::Acquire)
    }

    /// Has a page request answered, on this thread.
    pub fn resolve(&self, request: &DeviceRequest) -> Result<Served, DeviceFault> {
        match &self.kind {
            DeviceKind::Hosted(hosted) => hosted.resolve(request),
            DeviceKind::Foreign(foreign) => foreign.resolve(request),
        }
    }

    /// Takes the device away from its space.
    pub fn detach(&self, space: &SpaceState, patience: Duration) -> Result<(), Error> {
        let event = told(BF_EV_DETACH, 0);
        lock(&self.queues).iter().for_each(|queue| queue.push(event));
        self.detached.store(true, Ordering::Release);
        space.space.engine().detach_node(self.node, patience)?;
        self.forget_ops();
        Ok(())
    }

    /// Calls no op any more from here on.
    pub fn forget_ops(&self) {
        if let DeviceKind::Foreign(foreign) = &self.kind {
            foreign.forget();
        }
    }
}

fn make_device(
    config: &bf_device_config,
    ops: Option<bf_device_ops>,
    slot: DeviceSlot,
    capabilities: Capabilities,
    limit: Duration,
) -> Result<DeviceKind, Error> {
    match (config.kind, ops) {
        (BF_DEVICE_HOSTED, _) => {
            let memory = Memory::new(slot.first, slot.pages).map_err(|why| Error::of(BF_E_MEMORY, &why))?;
            let hosted = Hosted::with_capabilities(memory, slot.addresses, capabilities, limit);
            Ok(DeviceKind::Hosted(Arc::new(hosted)))
        }
        (BF_DEVICE_FOREIGN, Some(ops)) => {
            Ok(DeviceKind::Foreign(Arc::new(Foreign::new(ops, config.user, slot, capabilities)?)))
        }
        (BF_DEVICE_FOREIGN, None) => Err(Error::argument("a foreign device has ops")),
        (kind, _) => Err(Error::argument(format!("unknown kind {kind} of a device"))),
    }
}

/// What an access needs: all of it if nothing is said.
pub fn rights_of(access: u32, what: &str) -> Result<Rights, Error> {
    if access & !(BF_READ | BF_WRITE | BF_ATOMIC) != 0 {
        return Err(Error::argument(format!("unknown access {access:#x} of a {what}")));
    }
    Ok(match access & (BF_WRITE | BF_ATOMIC) {
        0 if access == BF_READ => Rights::READ,
        _ => Rights::READ | Rights::WRITE,
    })
}

/// The bits of rights.
pub fn access_of(rights: Rights) -> u32 {
    let bit = |right, bit| if rights.contains(right) { bit } else { 0 };
    bit(Rights::READ, BF_READ) | bit(Rights::WRITE, BF_WRITE | BF_ATOMIC)
}
