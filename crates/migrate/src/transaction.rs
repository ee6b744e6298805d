//! The machine: a transaction on one block, advanced step by step.

use bifolio_folio::Order;

use crate::collapse::Collapse;
use crate::populate::Populate;
use crate::protect::Protect;
use crate::split::Split;
use crate::to_device::ToDevice;
use crate::to_ram::ToRam;
use crate::unmap::Unmap;
use crate::{Block, CpuFaultOrders, NodeId, OrderRange, Outcome, PageRun, Rights, Step};

/// A transaction on one block. Its runner owns the block until [`Step::Finish`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Transaction {
    /// Pages go to a device.
    ToDevice(ToDevice),
    /// A folio comes to system memory.
    ToRam(ToRam),
    /// A page is touched for the first time.
    Populate(Populate),
    /// Pages are unmapped.
    Unmap(Unmap),
    /// Pages are given other rights.
    Protect(Protect),
    /// Folios are split where they are.
    Split(Split),
    /// Folios are collapsed where they are.
    Collapse(Collapse),
}

impl Transaction {
    /// Answers a CPU fault on `page`.
    #[must_use]
    pub fn cpu_fault(block: &Block, page: u16, orders: CpuFaultOrders) -> Transaction {
        let empty =
            block.live().contains(page) && !block.ram().contains(page) && !block.device().contains(page);
        if empty {
            return Transaction::Populate(Populate::new(page, orders.populate));
        }
        Transaction::ToRam(ToRam::new(page, orders.to_ram, true))
    }

    /// Answers a fault of the device `node` on `page`, which wants to do `access`: the page and its neighbours go there, from
    /// system memory or from another device, and its page table gets them with all rights that the pages have.
    #[must_use]
    pub fn device_fault(node: NodeId, page: u16, orders: OrderRange, access: Rights) -> Transaction {
        Transaction::ToDevice(ToDevice::new(node, page, orders, access))
    }

    /// Moves `page` and its neighbours to the device `node` without mapping them there: a prefetch, or system memory being
    /// reclaimed.
    #[must_use]
    pub fn to_device(node: NodeId, page: u16, orders: OrderRange) -> Transaction {
        Transaction::ToDevice(ToDevice::new(node, page, orders, Rights::empty()))
    }

    /// Brings the folio that holds `page` to system memory whole: a prefetch, or device memory being reclaimed.
    #[must_use]
    pub fn to_ram(page: u16) -> Transaction {
        Transaction::ToRam(ToRam::new(page, Order::PMD, false))
    }

    /// Unmaps `run`.
    #[must_use]
    pub fn unmap(run: PageRun) -> Transaction {
        Transaction::Unmap(Unmap::new(run))
    }

    /// Lets accesses to `run` do what is in `rights` and nothing else, on both sides.
    #[must_use]
    pub fn protect(run: PageRun, rights: Rights) -> Transaction {
        Transaction::Protect(Protect::new(run, rights))
    }

    /// Splits the folios above order `to` that hold pages of `run`, as far as those pages need it.
    #[must_use]
    pub fn split(run: PageRun, to: Order) -> Transaction {
        Transaction::Split(Split::new(run, to))
    }

    /// Collapses the folios that lie in `run`, as far as they go together.
    #[must_use]
    pub fn collapse(run: PageRun) -> Transaction {
        Transaction::Collapse(Collapse::new(run))
    }

    /// Takes the outcome of the last step ([`Outcome::Start`] at first) and returns the next one.
    ///
    /// # Panics
    /// If the outcome is not one that the last step [allows](Step::allows).
    #[must_use]
    pub fn step(&mut self, block: &mut Block, outcome: Outcome) -> Step {
        match self {
            Transaction::ToDevice(inner) => inner.step(block, outcome),
            Transaction::ToRam(inner) => inner.step(block, outcome),
            Transaction::Populate(inner) => inner.step(block, outcome),
            Transaction::Unmap(inner) => inner.step(block, outcome),
            Transaction::Protect(inner) => inner.step(block, outcome),
            Transaction::Split(inner) => inner.step(block, outcome),
            Transaction::Collapse(inner) => inner.step(block, outcome),
        }
    }
}
