//! What a version of the kernel and a driver agree on: the ways in which the Linux designs differ.

use bifolio_rules::RuleSet;

/// How a folio is formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Init {
    /// The pages are taken as they are found.
    AsFound,
    /// As found, but the driver first splits a stale large folio over a smaller range.
    SplitStale,
    /// Every page of the range is rewritten first.
    Rewrite,
}

/// What the freeing path does to the compound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Free {
    /// Nothing.
    Leave,
    /// Undoes it before `folio_free`.
    Undo,
    /// Leaves it to the driver, which undoes it inside `folio_free`.
    UndoInDriver,
    /// Undoes it after `folio_free`, and leaves no pagemap in the pages.
    UndoAfter,
}

/// Which flags a reset clears, be it when a folio is formed or when it is freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reset {
    /// The low 8 bits, where an order may be left.
    LowByte,
    /// All flags that a free page must not have.
    AllFlags,
}

/// How the driver learns the order in `folio_free`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrderFrom {
    /// It reads the folio.
    Folio,
    /// It is an argument.
    Argument,
    /// It knows the order from its own backing page.
    Backing,
}

/// How often `folio_free` is called for a folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Calls {
    /// Once.
    PerFolio,
    /// Once for each page.
    PerPage,
}

/// Where a pagemap is taken from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageMapFrom {
    /// The page is read.
    Page,
    /// It is an argument, or remembered.
    Caller,
}

/// How the driver keeps its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// Blocks of a buddy allocator; each folio is given back by itself.
    Blocks,
    /// Objects over such blocks, with a reference for each folio; the block is given back with the last one.
    Objects,
    /// Chunks that are all large folios or all single pages, each kind with a list.
    Lists,
}

/// What the driver's allocator does with memory that it gets back, in the order of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandBack {
    /// It is seen after all stores before it: a lock is given up, or a count goes down with a barrier, as in all drivers here.
    Ordered,
    /// It is a plain store.
    Plain,
}

/// Which folios are made of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Folios {
    /// One of the range's order.
    Whole,
    /// Single pages.
    Singles,
}

/// What the word of a tail that leads to its head is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CompoundInfo {
    /// The address of the head.
    Link,
    /// A mask for the address of the page, where the vmemmap is optimised (since 7.x). It leads to the same head, so it makes no
    /// difference to any rule, as a test shows; no design has it.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test compares it with the link"))]
    Mask,
}

/// A core and a driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contract {
    /// Name of the design.
    pub name: &'static str,
    /// Names that it had before.
    pub aliases: &'static [&'static str],
    /// What it is, in a sentence.
    pub about: &'static str,
    /// How a folio is formed.
    pub init: Init,
    /// Where forming finds the pagemap.
    pub init_pagemap: PageMapFrom,
    /// What is undone when a folio is freed.
    pub free: Free,
    /// Which flags are cleared by what forms or frees.
    pub reset: Reset,
    /// How often the driver is called.
    pub calls: Calls,
    /// How the driver learns the order.
    pub order_from: OrderFrom,
    /// Where the freeing path finds the pagemap whose references it drops last.
    pub free_pagemap: PageMapFrom,
    /// How memory is kept.
    pub memory: Memory,
    /// What orders the driver's getting memory back after what was stored before.
    pub hand_back: HandBack,
    /// Which folios are made.
    pub folios: Folios,
    /// Whether the driver takes a reference of the object for each new piece of a split.
    pub split_takes_references: bool,
    /// What leads from a tail to its head.
    pub compound_info: CompoundInfo,
}

impl Contract {
    /// Whether forming a folio leaves any of these flags as it finds them.
    #[must_use]
    pub const fn keeps_flags(&self, flags: u16) -> bool {
        match (self.init, self.reset) {
            (Init::Rewrite, Reset::AllFlags) => false,
            (Init::Rewrite, Reset::LowByte) => flags & !0xff != 0,
            _ => true,
        }
    }

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
