//! Parts that scenarios share.

use bifolio_folio::MemoryKind;
use bifolio_shuttle::runner::explore;
use bifolio_shuttle::simulation::machine::{Machine, OnUnit, PageOf, Setup};

/// Which words of a page are whose. Each thread writes its own.
pub mod word {
    pub const FIRST: usize = 0;
    pub const SECOND: usize = 1;
    /// Another device's, which knows physical addresses alone.
    pub const OUTSIDE: usize = 7;
    /// The first unit's; those of further units follow.
    pub const UNIT: usize = 2;
}

/// Explores a scenario on a machine whose calls do not fail.
pub fn plain(kind: MemoryKind, scenario: impl Fn(Setup) + Send + Sync + Copy + 'static) {
    explore(move || scenario(Setup::new(kind)));
}

/// Explores a scenario on a machine some of whose calls fail.
pub fn failing(kind: MemoryKind, scenario: impl Fn(Setup) + Send + Sync + Copy + 'static) {
    explore(move || scenario(Setup { failures_per_mille: 30, ..Setup::new(kind) }));
}

/// A program's thread writes and reads its word of each page, and reads the unit's.
pub fn program(machine: &Machine, pages: &[PageOf], word: usize) {
    for &page in pages {
        machine.write(page, word);
        machine.read(page, word::UNIT);
        machine.read(page, word);
    }
}

/// A unit writes and reads its word of each page, and reads the first thread's.
pub fn unit(on: &mut OnUnit<'_, '_>, pages: &[PageOf], number: usize) {
    for &page in pages {
        on.write(page, word::UNIT + number);
        on.read(page, word::FIRST);
        on.read(page, word::UNIT + number);
    }
}
