//! A node: one device of an engine, with its memory, its order of use and its buffer objects.

use std::sync::{Arc, Weak};

use bifolio_folio::{MemoryKind, PageMap, Pfn};
use bifolio_migrate::{NodeId, OrderRange, Rights};
use bifolio_policy::{Decision, Memory, Policies, Policy, Side};
use bifolio_pool::DevicePool;
use bifolio_sys::SharedBytes;

use crate::buffer::Buffers;
use crate::device::{
    Capabilities, Copy, Device, DeviceError, DeviceFault, DeviceRequest, FaultHandler, Served, TableUpdate,
};
use crate::engine::Engine;
use crate::residents::Residents;
use crate::sync::Mutex;
use crate::view::CpuView;

/// The memory of a node: device pages, and the pool that hands them out.
pub type NodeMap = PageMap<Arc<dyn DevicePool>>;

/// What a [`Node`] is made of.
pub struct NodeParts {
    /// The device.
    pub device: Arc<dyn Device>,
    /// Its memory. The page numbers of the nodes of one engine do not overlap (I25).
    pub pagemap: NodeMap,
}

/// Why an engine cannot have a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NodeError {
    /// The pagemap has more pages than the device.
    #[error("pagemap of node {node} has {pages} pages, its device has {capacity}")]
    TooManyPages {
        /// The node.
        node: u8,
        /// Pages of the pagemap.
        pages: u64,
        /// Pages of the device.
        capacity: u64,
    },
    /// Two pagemaps have a page number in common (I25).
    #[error("device page {page} is in the pagemaps of nodes {first} and {second}")]
    Overlap {
        /// The page.
        page: Pfn,
        /// One node.
        first: u8,
        /// The other.
        second: u8,
    },
    /// More nodes than have numbers, or none.
    #[error("{0} nodes: an engine has 1 to {max}", max = NODES_MAX)]
    Count(usize),
}

/// Most nodes of one engine.
pub const NODES_MAX: usize = 16;

/// One device of an engine.
pub struct Node {
    id: NodeId,
    device: Arc<dyn Device>,
    /// What the device can do, which never changes.
    capabilities: Capabilities,
    pagemap: NodeMap,
    /// Orders of what comes without a fault.
    orders: OrderRange,
    /// What its policy decides about every fault, if that never changes.
    constant: Option<Decision>,
    /// What is on the device, and its policy.
    pub(crate) residents: Mutex<Residents>,
    pub(crate) buffers: Buffers,
}

impl Node {
    fn new(id: NodeId, parts: NodeParts, policy: Box<dyn Policy>) -> Node {
        let NodeParts { device, pagemap } = parts;
        let capabilities = device.capabilities();
        let orders = mappable(policy.orders(), &capabilities);
        let constant = policy.constant();
        let (residents, buffers) = (Mutex::new(Residents::new(policy)), Buffers::default());
        Node { id, device, capabilities, pagemap, orders, constant, residents, buffers }
    }

    /// Its number in the engine.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// Pages of device memory.
    #[must_use]
    pub fn pagemap(&self) -> &NodeMap {
        &self.pagemap
    }

    /// The pool that hands out its memory.
    #[must_use]
    pub fn pool(&self) -> &Arc<dyn DevicePool> {
        self.pagemap.pool()
    }

    /// How the CPU reaches its memory.
    #[must_use]
    pub fn kind(&self) -> MemoryKind {
        self.pagemap.kind()
    }

    /// What the device can do.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Orders of folios that come here without a fault, as its policy says. None is ever smaller than the smallest.
    #[must_use]
    pub fn orders(&self) -> OrderRange {
        self.orders
    }

    /// Whether its policy wants to know what came of what it decided.
    pub(crate) fn learns(&self) -> bool {
        self.constant.is_none()
    }

    /// What its policy decides about every fault, if that never changes.
    pub(crate) fn constant(&self) -> Option<Decision> {
        self.constant
    }

    /// Orders that its policy chose for a fault, as far as they are possible.
    pub(crate) fn possible(&self, orders: OrderRange) -> OrderRange {
        let smallest = self.orders.smallest;
        OrderRange { largest: orders.largest.max(smallest), smallest }
    }

    /// What mappings of the device may carry.
    pub(crate) fn rights(&self) -> Rights {
        self.capabilities.rights
    }

    /// Copies, and waits until it is done.
    pub(crate) fn copy(&self, batch: &[Copy<'_>]) -> Result<(), DeviceError> {
        self.device.copy(batch).and_then(|point| self.device.wait(point))
    }

    /// Changes the device's page table, and waits until it is done.
    pub(crate) fn update(&self, batch: &[TableUpdate]) -> Result<(), DeviceError> {
        self.device.update(batch).and_then(|point| self.device.wait(point))
    }

    /// The bytes of device pages, if they can be had without a copy.
    pub(crate) fn inspect(&self, first: Pfn, pages: u64) -> Option<SharedBytes<'_>> {
        self.device.inspect(first, pages)
    }
}

/// The orders of a policy, as far as the device's page table can map them.
fn mappable(orders: OrderRange, capabilities: &Capabilities) -> OrderRange {
    let smallest = orders.smallest.max(capabilities.smallest_order);
    OrderRange { largest: orders.largest.max(smallest), smallest }
}

/// Numbers the nodes of an engine, and refuses what does not fit together.
pub(crate) fn number(
    parts: Vec<NodeParts>,
    policies: &dyn Policies,
    least_pages: u64,
) -> Result<Box<[Node]>, NodeError> {
    if parts.is_empty() || parts.len() > NODES_MAX {
        return Err(NodeError::Count(parts.len()));
    }
    let make = |(number, parts): (u8, NodeParts)| {
        let (id, pages) = (NodeId(number), parts.pagemap.pages());
        let smallest = parts.device.capabilities().smallest_order;
        let memory = Memory { side: Side::Device(id), pages, least_pages, smallest, remote: false };
        Node::new(id, parts, policies.make(&memory))
    };
    let nodes: Box<[Node]> = (0..).zip(parts).map(make).collect();
    for (at, node) in nodes.iter().enumerate() {
        let (pages, capacity) = (node.pagemap.pages(), node.capabilities.pages);
        if pages > capacity {
            return Err(NodeError::TooManyPages { node: node.id.0, pages, capacity });
        }
        for other in &nodes[at + 1..] {
            let later = node.pagemap.first().max(other.pagemap.first());
            if node.pagemap.contains(later) && other.pagemap.contains(later) {
                return Err(NodeError::Overlap { page: later, first: node.id.0, second: other.id.0 });
            }
        }
    }
    Ok(nodes)
}

/// Answers the faults of one device, as long as there is an engine.
pub(crate) struct NodeFaults<V: CpuView> {
    pub(crate) engine: Weak<Engine<V>>,
    pub(crate) node: NodeId,
}

impl<V: CpuView> FaultHandler for NodeFaults<V> {
    fn device_fault(&self, request: &DeviceRequest) -> Result<Served, DeviceFault> {
        match self.engine.upgrade() {
            Some(engine) => engine.device_fault(self.node, request),
            None => Err(DeviceFault::Detached { address: request.address }),
        }
    }
}
