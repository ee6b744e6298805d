//! Deliberate faults of a pool: each makes one call of the shipped code wrong, to see that the checker finds it.
//!
//! Compiled in, but only tests can choose one.

use bifolio_pool::snapshot::{Damage, SmallPool};

use crate::folio::pooled::book::Call;

/// One deliberate fault; the names say what goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Slip {
    #[default]
    None,
    FreeOneOrderLess,
    FreeForgotten,
    NotJoined,
    ChunkGone,
    FolioForgotten,
    SplitTakesNothing,
    CollapseDropsNothing,
    FailsForEver,
    CloseForgotten,
    ReleasedInPut,
    DeadNotNoted,
    TakenForCleared,
    UseForgotten,
    Misplaced,
}

impl Slip {
    /// The call that the pool gets instead; `None` if it gets none.
    pub(super) fn instead(self, call: Call) -> Option<Call> {
        match (self, call) {
            (Slip::FreeForgotten, Call::Free { .. })
            | (Slip::SplitTakesNothing, Call::Split { .. })
            | (Slip::CollapseDropsNothing, Call::Collapse { .. })
            | (Slip::CloseForgotten, Call::Close) => None,
            (Slip::FreeOneOrderLess, Call::Free { page, order, name }) => {
                Some(Call::Free { page, order: order.saturating_sub(1), name })
            }
            _ => Some(call),
        }
    }

    /// What is done to the pool after a call.
    pub(super) fn afterwards(self, pool: &SmallPool, call: Call, told_to_fail: bool) {
        match (self, call) {
            (Slip::NotJoined, Call::Free { page, order, .. }) => {
                pool.damage(Damage::NotJoined(u64::from(page), order));
            }
            (Slip::ChunkGone, Call::Free { page, .. }) => pool.damage(Damage::ChunkGone(u64::from(page))),
            (Slip::FolioForgotten, Call::Free { .. }) => pool.damage(Damage::FolioForgotten),
            (Slip::FailsForEver, Call::Allocate { .. }) if told_to_fail => pool.fail_next(),
            (Slip::ReleasedInPut, Call::Free { .. }) => {
                pool.pool().release();
            }
            (Slip::DeadNotNoted, Call::Free { .. }) => pool.damage(Damage::DeadNotNoted),
            (Slip::TakenForCleared, Call::Release) => pool.damage(Damage::TakenForCleared),
            (Slip::UseForgotten, Call::Split { page, .. }) => {
                pool.damage(Damage::UseForgotten(u64::from(page)));
            }
            (Slip::Misplaced, Call::Allocate { .. }) => pool.damage(Damage::Misplaced),
            _ => {}
        }
    }
}
