//! What a version of the kernel and a driver agree on: the ways in which the Linux designs differ.

use bifolio_rules::RuleSet;

/// How a folio is formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Init {
    /// The page is taken as it is found, its pagemap read from it.
    AsFound,
    /// As found, but the driver first splits a stale large folio over a smaller range.
    SplitStale,
    /// Every page of the range is rewritten first; the pagemap is an argument.
    Rewrite,
}

/// What the freeing path does to the compound before `folio_free`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Free {
    /// Nothing.
    Leave,
    /// Undoes it.
    Undo,
}

/// How the driver learns the order in `folio_free`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrderFrom {
    /// It reads the folio.
    Folio,
    /// It is an argument.
    Argument,
}

/// Where the freeing path finds the pagemap whose references it drops last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageMapFrom {
    /// It reads the folio again.
    Folio,
    /// It remembers it from before `folio_free`.
    Memory,
}

/// How the driver keeps its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// Blocks of a buddy allocator; each folio goes back for itself.
    Blocks,
    /// Objects over such blocks, with a reference for each folio; the block goes back with the last one.
    Objects,
    /// Chunks that are all large folios or all single pages, each kind with a list.
    Lists,
}

/// Which folios are made of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Folios {
    /// One of the range's order.
    Whole,
    /// Single pages.
    Singles,
}

/// A core and a driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contract {
    /// Name of the design.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// How a folio is formed.
    pub init: Init,
    /// What is undone when it is freed.
    pub free: Free,
    /// How the driver learns the order.
    pub order_from: OrderFrom,
    /// Where the pagemap is found at the end.
    pub pagemap_from: PageMapFrom,
    /// How memory is kept.
    pub memory: Memory,
    /// Which folios are made.
    pub folios: Folios,
    /// Whether the driver takes a reference of the object for each new piece of a split.
    pub split_takes_references: bool,
}

impl Contract {
    /// Rules that a model of this contract can express.
    #[must_use]
    pub const fn expresses(&self) -> RuleSet {
        const LIFE: RuleSet = RuleSet::of(&[1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 16]);
        match self.memory {
            Memory::Objects => LIFE.union(RuleSet::of(&[7])),
            Memory::Blocks | Memory::Lists => LIFE,
        }
    }
}
