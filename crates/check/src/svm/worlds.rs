//! The worlds of transactions that are explored by default, and larger ones.

use crate::svm::setup::{Memory, Others, Setup};

/// Nobody else is there.
const ALONE: Others = Others { holder: false, teardown: false, fork: false };
/// A third party holds folios for a while, and the pagemap is torn down.
const ENDING: Others = Others { holder: true, teardown: true, fork: false };
/// The program forks, too.
const ALL: Others = Others { fork: true, ..ENDING };

/// One block of two pages: folios of order 1 that are split, and pages that move one by one.
const PAGES: Setup = Setup {
    memory: Memory::Shared,
    blocks: 1,
    block_pages: 2,
    device: 2,
    ram: 2,
    reserve: 0,
    actors: 1,
    others: ENDING,
};
/// Two blocks of one page, whose transactions compete for two device pages and one page of system memory.
const BLOCKS: Setup = Setup { blocks: 2, block_pages: 1, ram: 1, actors: 2, ..PAGES };
/// Two blocks of two pages: folios make room for one another, in other blocks and in their own.
const ROOM: Setup = Setup { blocks: 2, others: ALONE, ..PAGES };

/// The worlds, each with a name.
pub const WORLDS: &[(&str, Setup)] = &[
    ("pages", PAGES),
    ("coherent pages", Setup { memory: Memory::Coherent, ..PAGES }),
    ("forking pages", Setup { memory: Memory::Anonymous, others: ALL, ..PAGES }),
    ("blocks", BLOCKS),
    ("coherent blocks", Setup { memory: Memory::Coherent, ..BLOCKS }),
    ("forking blocks", Setup { memory: Memory::Anonymous, others: ALL, ..BLOCKS }),
    ("room", ROOM),
];
