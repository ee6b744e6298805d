//! The engine: what transactions share, and the requests that are no faults.
//!
//! Lock order: a block or a buffer object, then the order of use of a node, then its pool. A second block or buffer object
//! is only ever tried (I24), save by an audit, which waits for one block after the other.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, PoisonError, Weak};

use bifolio_migrate::{Failure, Moved, NodeId, PageRun, Rights, Transaction};
pub use bifolio_policy::Side;
use bifolio_policy::{Decision, Memory, Policies};
use bifolio_pool::Rmap;

use crate::advise::Advised;
use crate::blocks::{BlockId, BlockRef, BlockState, Blocks};
use crate::budget::Budget;
use crate::clock::Clock;
use crate::device::{DeviceFault, DeviceRequest, FaultHandler, Served};
use crate::event::{Cause, EventKind, Observer, Observers};
use crate::node::{Node, NodeError, NodeParts, Nodes};
use crate::ram_order::RamOrder;
use crate::request::Request;
use crate::sync::atomic::AtomicU32;
use crate::sync::{Mutex, MutexGuard};
use crate::view::{CpuView, address_of};

/// Everything that transactions share.
pub struct Engine<V: CpuView> {
    pub(crate) view: V,
    pub(crate) nodes: Nodes,
    pub(crate) blocks: Blocks,
    /// Blocks with pages in system memory, and its policy.
    pub(crate) ram: Mutex<RamOrder>,
    /// What the policy of system memory decides about every fault, if that never changes.
    pub(crate) ram_constant: Option<Decision>,
    policies: Box<dyn Policies>,
    pub(crate) budget: Budget,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observers: Observers,
    /// What the program said of its memory.
    pub(crate) advised: Advised,
    /// Pages whose touch raises SIGBUS.
    pub(crate) poisoned: Mutex<BTreeSet<(BlockId, u16)>>,
    /// Faults to go until it is tried again to keep the limit of system memory.
    pub(crate) stuck: AtomicU32,
}

/// What an [`Engine`] is made of.
pub struct Parts<V> {
    /// The CPU's view.
    pub view: V,
    /// The devices, in the order of their numbers.
    pub nodes: Vec<NodeParts>,
    /// Pages of system memory that may be resident.
    pub budget: Budget,
    /// What moves, how much of it, and what leaves: makes a policy for each device and one for system memory.
    pub policy: Box<dyn Policies>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What hears of everything that happens.
    pub observers: Vec<Arc<dyn Observer>>,
}

impl<V: CpuView + 'static> Engine<V> {
    /// Makes an engine of no memory yet, and attaches its devices.
    ///
    /// # Errors
    /// [`NodeError`] if the devices do not fit together.
    pub fn new(parts: Parts<V>) -> Result<Arc<Engine<V>>, NodeError> {
        let (policies, pages) = (parts.policy, parts.budget.limit_pages());
        let sizes = parts.nodes.iter().map(|node| node.pagemap.pages());
        let least_pages = sizes.min().map_or(pages, |least| least.min(pages));
        let ram = policies.make(&Memory { side: Side::Ram, least_pages, ..Memory::device(pages) });
        let ram_constant = ram.constant();
        let engine = Arc::new(Engine {
            view: parts.view,
            nodes: Nodes::default(),
            blocks: Blocks::new(),
            ram: Mutex::new(RamOrder::new(ram)),
            ram_constant,
            policies,
            budget: parts.budget,
            clock: parts.clock,
            observers: Observers::new(parts.observers),
            advised: Advised::default(),
            poisoned: Mutex::default(),
            stuck: AtomicU32::new(0),
        });
        for node in parts.nodes {
            engine.add_node_beside(node, least_pages)?;
        }
        Ok(engine)
    }

    /// Adds a device to those there are, and attaches it.
    ///
    /// # Errors
    /// [`NodeError`] if it does not fit to the others; nothing changed then.
    pub fn add_node(self: &Arc<Self>, parts: NodeParts) -> Result<NodeId, NodeError> {
        let others = self.nodes.iter().map(|node| node.pagemap().pages());
        let least_pages = others.min().unwrap_or(u64::MAX).min(self.budget.limit_pages());
        self.add_node_beside(parts, least_pages)
    }

    /// Adds a device beside memories of which the smallest has `least_pages`.
    fn add_node_beside(self: &Arc<Self>, parts: NodeParts, least_pages: u64) -> Result<NodeId, NodeError> {
        let node = self.nodes.add(parts, self.policies.as_ref(), least_pages)?;
        let faults = NodeFaults { engine: Arc::downgrade(self), node: node.id() };
        node.device().attach(Arc::new(faults));
        Ok(node.id())
    }
}

impl<V: CpuView> Engine<V> {
    /// The CPU's view.
    #[must_use]
    pub fn view(&self) -> &V {
        &self.view
    }

    /// The map from addresses to blocks.
    #[must_use]
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// The devices, by number.
    #[must_use]
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// A device.
    ///
    /// # Panics
    /// If there is none of that number.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[usize::from(id.0)]
    }

    /// The budget of system memory.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The clock by which events are timed.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Makes page-aligned addresses live and empty, as an allocation that begins.
    ///
    /// # Errors
    /// [`Failure::NotMapped`] if any of them lies in no block; nothing changed then.
    ///
    /// # Panics
    /// If any page is live already.
    pub fn map(&self, addresses: Range<usize>) -> Result<(), Failure> {
        let (address, bytes) = (addresses.start, addresses.len());
        for (found, run) in self.parts(addresses)? {
            let mut cell = self.lock(&found);
            self.view.forget_unmapped(found.base, run);
            cell.block.map(run);
            self.heal(&found, &mut cell, run);
        }
        self.observers.tell(None, || EventKind::Mapped { address, bytes });
        Ok(())
    }

    /// Makes page-aligned addresses live, as memory that joins with its bytes. Pages for whose address `has_bytes` is true are
    /// in system memory already, where [`CpuView::bytes`] finds them; the others are empty.
    ///
    /// # Errors
    /// As [`Engine::map`].
    ///
    /// # Panics
    /// If any page is live already.
    pub fn adopt(&self, addresses: Range<usize>, has_bytes: impl Fn(usize) -> bool) -> Result<(), Failure> {
        let (address, bytes) = (addresses.start, addresses.len());
        let mut filled: Vec<Range<usize>> = Vec::new();
        for (found, run) in self.parts(addresses)? {
            let mut cell = self.lock(&found);
            cell.block.map(run);
            for page in run.into_iter().filter(|page| has_bytes(address_of(found.base, *page))) {
                cell.block.fill(PageRun::single(page));
                self.budget.take_resident(1);
                let (start, end) = (address_of(found.base, page), address_of(found.base, page + 1));
                match filled.last_mut() {
                    Some(last) if last.end == start => last.end = end,
                    _ => filled.push(start..end),
                }
            }
            self.account(&found, &mut cell);
        }
        self.observers.tell(None, || EventKind::Mapped { address, bytes });
        for run in filled {
            self.observers.tell(None, || EventKind::Filled { address: run.start, bytes: run.len() });
        }
        Ok(())
    }

    /// Unmaps page-aligned addresses. What is live there loses its bytes.
    ///
    /// # Errors
    /// [`Failure::NotMapped`] if any of them lies in no block, or the first failure; what comes before it is unmapped.
    pub fn unmap(&self, addresses: Range<usize>) -> Result<(), Failure> {
        self.parts(addresses.clone())?.try_for_each(|(found, run)| {
            self.run_retrying(Request::new(Cause::Unmap), found, |_| Transaction::unmap(run)).map(drop)
        })?;
        self.advised.forget(addresses);
        Ok(())
    }

    /// Makes live, page-aligned addresses empty again: they read as zero, and no fault finds them unmapped in between. They
    /// keep their rights.
    ///
    /// # Errors
    /// As [`Engine::unmap`].
    pub fn reset(&self, addresses: Range<usize>) -> Result<(), Failure> {
        self.parts(addresses)?.try_for_each(|(found, run)| {
            self.retrying(|| {
                let mut cell = self.lock(&found);
                let request = Request::new(Cause::Unmap);
                let protected = protections_of(&cell, run);
                self.run(&found, &mut cell, Transaction::unmap(run), request)?;
                cell.block.map(run);
                protected.into_iter().try_for_each(|(page, rights)| {
                    let protect = Transaction::protect(PageRun::single(page), rights);
                    self.run(&found, &mut cell, protect, request).map(drop)
                })
            })
        })
    }

    /// Lets accesses to page-aligned addresses do what is in `rights` and nothing else, on both sides, until their
    /// allocation ends. Folios that reach over a border are split in place; nothing moves.
    ///
    /// A CPU access that is not allowed raises SIGSEGV, one of a device is answered by
    /// [`DeviceFault::Denied`].
    ///
    /// # Errors
    /// [`Failure::NotMapped`] if a page belongs to no allocation, [`Failure::Busy`] if a folio on a border is held
    /// elsewhere, [`Failure::MapFailed`] if the view cannot protect. What comes before it is protected.
    pub fn protect(&self, addresses: Range<usize>, rights: Rights) -> Result<(), Failure> {
        self.parts(addresses)?.try_for_each(|(found, run)| {
            let request = Request::new(Cause::Reshape);
            self.run_retrying(request, found, |_| Transaction::protect(run, rights)).map(drop)
        })
    }

    /// Brings page-aligned addresses to a side, folio by folio, as far as there is memory.
    ///
    /// # Errors
    /// [`Failure::NotMapped`] if any of them lies in no block, or the first failure; what comes before it was moved.
    pub fn prefetch(&self, addresses: Range<usize>, side: Side) -> Result<(), Failure> {
        let plan = |page| match side {
            Side::Device(node) => Transaction::to_device(node, page, self.node(node).orders()),
            Side::Ram => Transaction::to_ram(page),
        };
        self.move_each(addresses, plan)
    }

    /// Brings page-aligned addresses to a device and into its page table: what a device that takes no faults needs before
    /// it uses them.
    ///
    /// # Errors
    /// As [`Engine::prefetch`].
    pub fn prepare(&self, addresses: Range<usize>, node: NodeId) -> Result<(), Failure> {
        let orders = self.node(node).orders();
        self.move_each(addresses, |page| Transaction::device_fault(node, page, orders, Rights::READ))
    }

    fn move_each(&self, addresses: Range<usize>, plan: impl Fn(u16) -> Transaction) -> Result<(), Failure> {
        self.parts(addresses)?.try_for_each(|(found, run)| {
            let mut page = run.first();
            while page < run.end() {
                let request = Request::new(Cause::Prefetch);
                let (Moved::ToDevice(moved) | Moved::ToRam(moved) | Moved::AlreadyThere(moved)) =
                    self.run_retrying(request, found, |_: &BlockState| plan(page))?.moved
                else {
                    unreachable!("prefetches move or find")
                };
                page = moved.end();
            }
            Ok(())
        })
    }

    /// The parts of page-aligned addresses in their blocks, if all of them lie in blocks.
    pub(crate) fn parts(
        &self,
        addresses: Range<usize>,
    ) -> Result<impl Iterator<Item = (BlockRef<'_>, PageRun)>, Failure> {
        if !self.blocks.covers(&addresses) {
            return Err(Failure::NotMapped);
        }
        Ok(self.blocks.parts(addresses))
    }

    /// Waits for a block, and tells observers so.
    pub(crate) fn lock<'b>(&self, found: &BlockRef<'b>) -> MutexGuard<'b, BlockState> {
        self.observers.tell_detail(None, || EventKind::Waiting { block: found.base });
        found.lock()
    }
}

/// The pages of `run` that may not be read and written, with what may be done.
fn protections_of(cell: &BlockState, run: PageRun) -> Vec<(u16, Rights)> {
    if cell.block.rights_in(run) == Rights::all() {
        return Vec::new();
    }
    let rights = run.into_iter().map(|page| (page, cell.block.rights_of(page)));
    rights.filter(|(_, rights)| *rights != Rights::all()).collect()
}

/// Answers the faults of one device, as long as there is an engine.
struct NodeFaults<V: CpuView> {
    engine: Weak<Engine<V>>,
    node: NodeId,
}

impl<V: CpuView> FaultHandler for NodeFaults<V> {
    fn device_fault(&self, request: &DeviceRequest) -> Result<Served, DeviceFault> {
        match self.engine.upgrade() {
            Some(engine) => engine.device_fault(self.node, request),
            None => Err(DeviceFault::Detached { address: request.address }),
        }
    }
}

/// The address of a page, for messages and device tables.
pub(crate) fn address(found: &BlockRef<'_>, page: u16) -> usize {
    address_of(found.base, page)
}

/// The pages of a block as the pool knows them.
pub(crate) fn rmap_for(found: &BlockRef<'_>, page: u16) -> Rmap {
    Rmap { block: found.id.0, page }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The orders are changed by single calls that either happen or panic before they change anything.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
