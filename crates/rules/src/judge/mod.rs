//! For each rule its sentence, its source, and the functions that judge it.
//!
//! A function is named for its rule and for what it looks at: [`i4_told`] judges I4 by what the owner of the memory was
//! told. Most rules speak of more than one moment, and have a function for each. All are pure: they get what was seen
//! and what should be, and give a [`Verdict`], which carries the number of the rule.
//!
//! [`Shadow`](crate::Shadow) calls them with what it knows from events. The explorer calls them with its packed
//! states. Sets of pages are [`Pages`](crate::Pages) for that reason: bits there, ranges here.
//!
//! | File | Rules |
//! |---|---|
//! | `forming` | I1, I2, I3, I6, I11, I16: a folio is formed, locked, and freed clean; no folio after the kill |
//! | `freeing` | I4, I5, I10, I15, I17: a folio is split, put for the last time, and handed back |
//! | `references` | I7, I8: counters of objects and of pagemaps |
//! | `memory` | I9, I20, I21, I22, I25, I27: what pools hand out, what devices map, what pages hold |
//! | `transaction` | I12, I13, I14, I18, I19, I23, I24, I26, I28: what a migration names, takes, waits for and leaves |

use crate::{COUNT, Info, Rule};

mod forming;
mod freeing;
mod memory;
mod references;
mod transaction;

pub use forming::{
    Path, Remains, Teardown, i1_formed, i1_handed_out, i2_words, i3_pagemap, i6_neighbour, i11_born,
    i11_freed, i11_lock, i16_ended, i16_formed, words_of_others,
};
pub use freeing::{i4_accepted, i4_told, i5_memory, i10_frozen, i15_put, i17_alone, i17_found, i17_lives};
pub use memory::{
    i9_granted, i9_refused, i9_whole, i20_entry, i20_live, i20_unmapped, i20_whole, i21_aligned, i21_backing,
    i22_clear, i25_pagemap, i27_bytes, i27_pages, i27_recent,
};
pub use references::{
    i7_belongs, i7_consistent, i7_joined, i7_outlives, i7_references, i7_used_is_not_free, i8_at_least,
    i8_counted,
};
pub use transaction::{
    Kept, Residency, i12_consistent, i12_finalized, i12_view, i13_pages, i14_orders, i18_held, i18_returned,
    i19_gave_up, i23_failed, i23_moved, i23_piece, i24_holding, i24_no_cycle, i26_rechecked, i28_source,
};

/// What a judgement came to.
#[must_use = "a verdict that is dropped judges nothing"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The rule.
    pub rule: Rule,
    /// Whether it was kept.
    pub kept: bool,
}

impl Verdict {
    #[inline]
    const fn new(number: u8, kept: bool) -> Verdict {
        Verdict { rule: Rule::known(number), kept }
    }
}

/// Texts of all rules in the order of their numbers.
pub(crate) static TEXTS: [Info; COUNT as usize] = [
    forming::I1,
    forming::I2,
    forming::I3,
    freeing::I4,
    freeing::I5,
    forming::I6,
    references::I7,
    references::I8,
    memory::I9,
    freeing::I10,
    forming::I11,
    transaction::I12,
    transaction::I13,
    transaction::I14,
    freeing::I15,
    forming::I16,
    freeing::I17,
    transaction::I18,
    transaction::I19,
    memory::I20,
    memory::I21,
    memory::I22,
    transaction::I23,
    transaction::I24,
    memory::I25,
    transaction::I26,
    memory::I27,
    transaction::I28,
];
