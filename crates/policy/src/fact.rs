//! What a policy learns: [`Fact`].

use bifolio_folio::PageSet;

/// Something that happened in the memory that a policy governs. Addresses are those of first pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fact<'f> {
    /// Pages came.
    Came {
        /// Where they begin.
        address: usize,
        /// How many.
        pages: u32,
        /// Why.
        why: Coming,
    },
    /// Pages left: how much they were worth is known now.
    Left {
        /// Where they begin.
        address: usize,
        /// How many.
        pages: u32,
        /// Why they came.
        came: Coming,
        /// Which of them were used here, counted from the first; `None` if that is unknown.
        used: Option<&'f PageSet>,
        /// Why they left.
        why: Leaving,
    },
}

/// Why pages came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Coming {
    /// They were touched, or are neighbours of such a page.
    #[default]
    Fault,
    /// A policy, or the program, wanted them before they were touched.
    Prefetch,
    /// To make room in the memory that they come from.
    Room,
}

/// Why pages left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaving {
    /// To make room.
    Evicted,
    /// Another side touched them, or a prefetch brought them there.
    Wanted,
    /// They were unmapped, or the device was taken away.
    Gone,
}
