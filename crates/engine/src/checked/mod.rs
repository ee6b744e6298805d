//! The rules, judged at every transition of the running engine: what `--checked` does.
//!
//! The engine runs as always; what it does is seen from four places, and each fact is judged by the rule's function in
//! [`bifolio_rules::facts`]. The check of rule In is where `facts::in` is called:
//!
//! | Seen from | Judged there |
//! |---|---|
//! | `pool`: ranges handed out and taken back, splits, collapses | I1, I4, I7, I9, I10, I11, I15, I21 |
//! | `form`: folios formed | I1, I2, I3, I6, I8, I11, I16 |
//! | `device`: copies, changes of the device's page table | I5, I20, I21, I22, I25 |
//! | `steps`: steps and ends of transactions | I12, I13, I14, I17, I18, I19, I22, I23, I24, I26, I27, I28 |
//! | [`audit`](super::audit): everything, when all is quiet | I2, I7, I8, I12, I13, I16 |
//!
//! They compare with a shadow `ledger` of device memory: who has each page by what was handed out, formed, split
//! and freed, and what was written there. The lock of the ledger comes last in the lock order.
//!
//! An engine that is not checked has no [`Checker`]: each place tests an `Option`, and nothing else is different.

use std::fmt;
use std::sync::{Arc, PoisonError};

use bifolio_folio::{Order, Pfn};
use bifolio_pool::DevicePool;
use bifolio_rules::Rule;
use bifolio_rules::facts::Stretch;

use crate::node::NodeParts;
use crate::statistics::{Counter, Statistics};
use crate::sync::{Mutex, MutexGuard};

mod device;
mod digest;
mod form;
mod ledger;
mod pool;
mod steps;
#[cfg(test)]
mod tests;

use device::CheckedDevice;
use ledger::Ledger;
use pool::CheckedPool;
pub(crate) use steps::{Watch, waits_for_a_block};

/// A rule that was broken, and how.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{rule}: {what}")]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// What was seen.
    pub what: String,
}

/// Violations that are kept with their text; all are counted.
pub const KEPT: usize = 64;

/// Judges what an engine does, and keeps what broke a rule.
pub struct Checker {
    statistics: Statistics,
    /// Device pages.
    pages: u64,
    kept: Mutex<Vec<Violation>>,
    ledger: Mutex<Ledger>,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").field("kept", &*self.kept()).finish_non_exhaustive()
    }
}

impl Checker {
    /// Makes a checker, if there is to be one, and puts it between the engine and the device and pool of its only node.
    pub(crate) fn install(
        statistics: Option<Statistics>,
        mut nodes: Vec<NodeParts>,
    ) -> (Option<Arc<Checker>>, Vec<NodeParts>) {
        let Some(statistics) = statistics.filter(|_| nodes.len() == 1) else { return (None, nodes) };
        let NodeParts { device, pagemap } = nodes.remove(0);
        let pages = pagemap.pages();
        let checker = Arc::new(Checker {
            statistics,
            pages,
            kept: Mutex::default(),
            ledger: Mutex::new(Ledger::new(pages)),
        });
        let device = Arc::new(CheckedDevice::new(device, Arc::clone(&checker)));
        let of_pool = Arc::clone(&checker);
        let pagemap =
            pagemap.map_pool(|pool| Arc::new(CheckedPool::new(pool, of_pool)) as Arc<dyn DevicePool>);
        (Some(checker), vec![NodeParts { device, pagemap }])
    }

    /// The first violations, with their text; [`Counter::Violations`] counts all.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.kept().clone()
    }

    pub(super) fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Counts a judgement of rule `number`, and keeps what broke it.
    fn judge(&self, number: u8, kept: bool, what: impl FnOnce() -> String) {
        let rule = Rule::known(number);
        self.statistics.add_judged(rule, 1);
        if !kept {
            self.statistics.add(Counter::Violations, 1);
            self.keep(Violation { rule, what: what() });
        }
    }

    /// Keeps a violation that is counted already.
    pub(super) fn keep(&self, violation: Violation) {
        let mut kept = self.kept();
        if kept.len() < KEPT {
            kept.push(violation);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Violation>> {
        // Violations are pushed whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A panic of a checked engine ends the check; what others see then does not matter.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pages of a range of device memory.
fn stretch(head: Pfn, order: Order) -> Stretch {
    Stretch { first: head.get(), pages: order.pages() }
}
