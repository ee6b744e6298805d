//! The machine: a transaction on one block, advanced step by step.

use bifolio_folio::Order;

use crate::collapse::Collapse;
use crate::populate::Populate;
use crate::split::Split;
use crate::to_device::ToDevice;
use crate::to_ram::ToRam;
use crate::unmap::Unmap;
use crate::{Block, Outcome, PageRun, Policy, Step};

/// A transaction on one block. Whoever runs it owns the block until [`Step::Finish`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Transaction {
    /// Pages go to the device.
    ToDevice(ToDevice),
    /// A folio comes home.
    ToRam(ToRam),
    /// A page is touched for the first time.
    Populate(Populate),
    /// Pages are unmapped.
    Unmap(Unmap),
    /// Folios are split where they are.
    Split(Split),
    /// Folios are collapsed where they are.
    Collapse(Collapse),
}

impl Transaction {
    /// Answers a CPU fault on `page`.
    #[must_use]
    pub fn cpu_fault(block: &Block, page: u16, policy: &dyn Policy) -> Transaction {
        let empty =
            block.live().contains(page) && !block.ram().contains(page) && !block.device().contains(page);
        if empty {
            return Transaction::Populate(Populate::new(page, policy.populate_order()));
        }
        Transaction::ToRam(ToRam::new(page, policy.to_ram_order(), true))
    }

    /// Answers a device fault on `page`.
    #[must_use]
    pub fn device_fault(page: u16, policy: &dyn Policy) -> Transaction {
        let (largest, smallest) = policy.to_device_orders();
        Transaction::ToDevice(ToDevice::new(page, largest, smallest, true))
    }

    /// Moves `page` and its neighbours up to `largest` to the device without mapping them there: a prefetch, or
    /// system memory being reclaimed.
    #[must_use]
    pub fn to_device(page: u16, largest: Order, policy: &dyn Policy) -> Transaction {
        let (_, smallest) = policy.to_device_orders();
        Transaction::ToDevice(ToDevice::new(page, largest, smallest, false))
    }

    /// Brings the folio that holds `page` home whole: a prefetch, or device memory being reclaimed.
    #[must_use]
    pub fn to_ram(page: u16) -> Transaction {
        Transaction::ToRam(ToRam::new(page, Order::PMD, false))
    }

    /// Unmaps `run`.
    #[must_use]
    pub fn unmap(run: PageRun) -> Transaction {
        Transaction::Unmap(Unmap::new(run))
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
    /// If the outcome is not one the last step can have.
    #[must_use]
    pub fn step(&mut self, block: &mut Block, outcome: Outcome) -> Step {
        match self {
            Transaction::ToDevice(inner) => inner.step(block, outcome),
            Transaction::ToRam(inner) => inner.step(block, outcome),
            Transaction::Populate(inner) => inner.step(block, outcome),
            Transaction::Unmap(inner) => inner.step(block, outcome),
            Transaction::Split(inner) => inner.step(block, outcome),
            Transaction::Collapse(inner) => inner.step(block, outcome),
        }
    }
}
