//! The worlds of transactions that are explored by default, and larger ones.

use crate::migrate::setup::{Memory, Others, Setup};

/// A third party holds folios for a while, and pages are pinned.
const HELD: Others = Others { holder: true, pins: true, ..Others::NONE };
/// The pagemap is torn down, too.
const ENDING: Others = Others { teardown: true, ..HELD };

/// One block of two pages: folios of order 1 that are split, and pages that move one by one.
const PAGES: Setup = Setup { others: ENDING, ..Setup::ONE_BLOCK };
/// Two blocks of one page, whose transactions compete for two device pages and one page of system memory.
const BLOCKS: Setup = Setup { blocks: 2, block_pages: 1, ram: 1, actors: 2, others: HELD, ..PAGES };
/// The same with one device page, torn down.
const ENDING_BLOCKS: Setup = Setup { device: 1, others: ENDING, ..BLOCKS };
/// Two blocks of two pages: folios make room for one another, in other blocks and in their own.
const ROOM: Setup = Setup { blocks: 2, others: Others::NONE, ..PAGES };

/// Three blocks of one page, whose transactions compete for one page of each memory.
const THREE_BLOCKS: Setup =
    Setup { blocks: 3, device: 1, actors: 3, others: Others { holder: true, ..Others::NONE }, ..BLOCKS };

const fn coherent(setup: Setup) -> Setup {
    Setup { memory: Memory::Coherent, ..setup }
}

const fn forking(setup: Setup) -> Setup {
    Setup { memory: Memory::Anonymous, others: Others { fork: true, ..setup.others }, ..setup }
}

/// The worlds, each with a name.
pub const WORLDS: &[(&str, Setup)] = &[
    ("pages", PAGES),
    ("coherent pages", coherent(PAGES)),
    ("forking pages", forking(PAGES)),
    ("blocks", BLOCKS),
    ("coherent blocks", coherent(BLOCKS)),
    ("forking blocks", forking(BLOCKS)),
    ("ending blocks", ENDING_BLOCKS),
    ("coherent ending blocks", coherent(ENDING_BLOCKS)),
    ("room", ROOM),
    ("three blocks", THREE_BLOCKS),
];

/// Larger worlds, for minutes and gigabytes.
pub const LARGE: &[(&str, Setup)] = &[
    ("ending pages, more of them", Setup { device: 4, ..PAGES }),
    ("coherent room", coherent(ROOM)),
    ("forking room", forking(ROOM)),
    ("reserve and room", Setup { ram: 3, reserve: 1, ..ROOM }),
    ("blocks, ending", Setup { others: ENDING, ..BLOCKS }),
    ("three blocks, more memory", Setup { device: 2, ..THREE_BLOCKS }),
];
