//! A node: one device of an engine, with its memory, its order of use and its buffer objects.

use std::ops::Index;
use std::sync::{Arc, PoisonError};

use bifolio_folio::{MemoryKind, Order, PageMap, Pfn};
use bifolio_migrate::{NodeId, OrderRange, Rights};
use bifolio_policy::{Decision, Memory, Policies, Policy, Side};
use bifolio_pool::DevicePool;
use bifolio_sys::SharedBytes;

use crate::buffer::Buffers;
use crate::device::{Capabilities, Copy, Device, DeviceError, TableUpdate};
use crate::residents::Residents;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Mutex, OnceLock};

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
    /// More nodes than have numbers.
    #[error("{0} nodes: an engine has at most {max}", max = NODES_MAX)]
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
    /// 1 once observers were told that the device is lost.
    lost: AtomicU32,
    /// What is on the device, and its policy.
    pub(crate) residents: Mutex<Residents>,
    pub(crate) buffers: Buffers,
}

impl Node {
    fn new(id: NodeId, parts: NodeParts, policy: Box<dyn Policy>) -> Node {
        let NodeParts { device, pagemap } = parts;
        let capabilities = device.capabilities();
        let orders = mappable(policy.orders(), &capabilities);
        let (constant, lost) = (policy.constant(), AtomicU32::new(0));
        let (residents, buffers) = (Mutex::new(Residents::new(policy)), Buffers::default());
        Node { id, device, capabilities, pagemap, orders, constant, lost, residents, buffers }
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

    /// Takes note that the device is lost; `true` for the first time.
    pub(crate) fn is_newly_lost(&self) -> bool {
        self.lost.swap(1, Ordering::Relaxed) == 0
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

/// The devices of an engine, by number. Devices are added, and never removed: one that was taken away stays, dead.
#[derive(Default)]
pub struct Nodes {
    cells: [OnceLock<Node>; NODES_MAX],
    /// Held while one is added.
    adding: Mutex<()>,
}

impl Nodes {
    /// The devices, in the order of their numbers.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.cells.iter().map_while(OnceLock::get)
    }

    /// The device of that number, if there is one.
    #[must_use]
    #[inline]
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.cells.get(usize::from(id.0))?.get()
    }

    /// Number of devices, those that were taken away included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells[0].get().is_none()
    }

    /// The first page number that no device has, a multiple of a block.
    #[must_use]
    pub fn next_first(&self) -> Pfn {
        let ends = self.iter().map(|node| node.pagemap.first().get() + node.pagemap.pages());
        Pfn::new(ends.max().unwrap_or(0).next_multiple_of(Order::MAX.pages()))
    }

    /// Adds a device, unless it does not fit to the others.
    pub(crate) fn add(
        &self,
        parts: NodeParts,
        policies: &dyn Policies,
        least_pages: u64,
    ) -> Result<&Node, NodeError> {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let at = self.len();
        let cell = self.cells.get(at).ok_or(NodeError::Count(at + 1))?;
        let id = NodeId(u8::try_from(at).expect("few nodes"));
        let (pages, capabilities) = (parts.pagemap.pages(), parts.device.capabilities());
        let (smallest, least_pages) = (capabilities.smallest_order, least_pages.min(pages));
        let remote = capabilities.remote;
        let memory = Memory { side: Side::Device(id), pages, least_pages, smallest, remote, blind: false };
        let node = Node::new(id, parts, policies.make(&memory));
        let capacity = capabilities.pages;
        if pages > capacity {
            return Err(NodeError::TooManyPages { node: id.0, pages, capacity });
        }
        for other in self.iter() {
            let later = node.pagemap.first().max(other.pagemap.first());
            if node.pagemap.contains(later) && other.pagemap.contains(later) {
                return Err(NodeError::Overlap { page: later, first: other.id.0, second: id.0 });
            }
        }
        Ok(cell.get_or_init(|| node))
    }
}

impl Index<usize> for Nodes {
    type Output = Node;

    #[inline]
    fn index(&self, number: usize) -> &Node {
        self.cells[number].get().expect("a device of this number")
    }
}
