//! What goes wrong below the engine: calls fail by chance, and mutants break promises.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use shuttle::rand::{Rng, thread_rng};

use crate::mutant::{self, Mutant};
use crate::sim::faulty::{Call, FaultKind, Script};
use crate::sim::view::Quirks;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Decides which calls go wrong, and lets other threads go on where that matters: between two pages of a copy, and around
/// calls of a pool, whose own lock is never contended here. Its choices are part of the schedule, so a replay makes them
/// again.
#[derive(Debug)]
pub struct Faults {
    per_mille: u32,
    over: AtomicBool,
    steps: AtomicU64,
}

impl Faults {
    /// Lets this many of a thousand calls fail.
    #[must_use]
    pub fn per_mille(per_mille: u32) -> Faults {
        Faults { per_mille, over: AtomicBool::new(false), steps: AtomicU64::new(0) }
    }

    /// Tells whether a call may have failed so far, or may yet.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.per_mille > 0
    }

    /// Lets nothing fail from here on.
    pub fn end(&self) {
        self.over.store(true, Relaxed);
    }

    fn fails(&self) -> bool {
        self.is_any() && !self.over.load(Relaxed) && thread_rng().gen_range(0..1000) < self.per_mille
    }

    fn let_others_go_on(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }
}

impl Script for Faults {
    fn fault(&self, call: Call) -> Option<FaultKind> {
        if call.is_copy() || call.is_of_pool() {
            self.let_others_go_on();
        }
        if call.may_fail() && self.fails() {
            return Some(FaultKind::Refuse);
        }
        by_mutant(call)
    }

    fn ended(&self, call: Call) {
        // Allocated and not yet formed, or handed out and in no order of victims yet.
        if matches!(call, Call::Allocate | Call::AllocateDirty | Call::AddPlain) {
            self.let_others_go_on();
        }
    }
}

fn by_mutant(call: Call) -> Option<FaultKind> {
    let (mutant, kind) = match call {
        Call::CopyToDevice | Call::CopyToRam => (Mutant::DeviceForgetsCopies, FaultKind::Skip),
        Call::Clear => (Mutant::DeviceDoesNotClear, FaultKind::Skip),
        Call::Unmap => (Mutant::DeviceKeepsTranslations, FaultKind::Skip),
        Call::Remap => (Mutant::DeviceRemapsToHead, FaultKind::Spoil),
        Call::Discard => (Mutant::UnmappedStaysMapped, FaultKind::Skip),
        Call::UnmapCoherent => (Mutant::CoherentStaysMapped, FaultKind::Skip),
        Call::FolioSplit => (Mutant::SplitTakesNoReference, FaultKind::Skip),
        Call::FolioCollapse => (Mutant::CollapseKeepsReferences, FaultKind::Skip),
        Call::GiveBack => (Mutant::GivesNothingBack, FaultKind::Skip),
        Call::Release => (Mutant::ReleasesNothing, FaultKind::Skip),
        _ => return None,
    };
    mutant::is(mutant).then_some(kind)
}

/// How the view breaks its promises.
#[must_use]
pub fn quirks() -> Quirks {
    Quirks {
        isolates_late: mutant::is(Mutant::IsolatesAfterCopy),
        maps_without_waking: mutant::is(Mutant::MapsWithoutWaking),
        poisons_without_waking: mutant::is(Mutant::PoisonsWithoutWaking),
    }
}
