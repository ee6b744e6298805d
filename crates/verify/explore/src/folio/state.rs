//! State of a world of shipped folios: page words, handles, backings, free pages.
#![expect(
    clippy::cast_possible_truncation,
    reason = "pages, orders and counts of a small world fit in 8 bits"
)]

use crate::folio::packed_words::{PAGES, PackedWords};

/// Room for actors of the largest world.
pub const ACTORS: usize = 3;

/// In a packed word: the page is the head of a folio.
pub const LIVE: u16 = 1 << LIVE_BIT;
/// The bits of a packed word that tell where a folio is.
pub const SHAPE: u16 = LIVE | 7 << ORDER_SHIFT;
/// The number of that bit.
pub const LIVE_BIT: u32 = 4;
/// In a packed word: the folio is locked.
pub const LOCKED: u16 = 1 << 5;
/// Where the order begins in a packed word.
pub const ORDER_SHIFT: u32 = 7;
/// The number of the bit that is set in any data.
pub const NAMED_BIT: u32 = 15;
/// Where the data begin in a packed word.
pub const DATA_SHIFT: u32 = 10;

/// In a packed word: the folio is being split or collapsed.
pub const FROZEN: u16 = 1 << 6;
/// In a packed word: what a folio leaves behind where words are reset when a folio is formed.
pub const LEFT_OVER: u16 = 7 << ORDER_SHIFT | 0x3f << DATA_SHIFT;

/// What kind of handle an actor has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum HandleKind {
    /// None.
    #[default]
    None,
    /// A range of free pages with its backing, not yet formed.
    Range,
    /// A locked folio.
    Locked,
    /// A reference of a folio.
    Live,
}

/// What an actor holds: a kind of handle, and the block it is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Handle {
    /// What kind.
    pub kind: HandleKind,
    /// First page.
    pub page: u8,
    /// Order.
    pub order: u8,
}

/// All of a world. Its stored form is smaller: [`Encoded`](crate::folio::encoded::Encoded).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// Page words, as [`pack`] makes them.
    pub words: PackedWords,
    /// Parked references, by head page: what each stands for in the word, or 0. A parked reference is one that no actor
    /// has at hand.
    pub parked: PackedWords,
    /// References of the backing that begins at the page, in the low 5 bits, and its order above.
    pub backings: [u8; PAGES],
    /// For each page the data that a word on its backing has; follows from the backings.
    pub owners: PackedWords,
    /// What the actors hold.
    pub handles: [Handle; ACTORS],
    /// Pages that the pool may hand out.
    pub free: u8,
    /// The pagemap's count of live pages.
    pub live: u8,
    /// Whether the pagemap was killed.
    pub dead: bool,
}

/// Packs a page word into 16 bits: references 4, flags 3, order 3, data 6. `None` if it does not fit.
#[must_use]
pub fn pack(word: u64) -> Option<u16> {
    let (references, high) = (word as u16 & 15, word >> 32);
    let packed = references | (high as u16 & 0x3f) << 4 | ((high >> 8) as u16) << 10;
    (unpack(packed) == word).then_some(packed)
}

/// Unpacks what [`pack`] made.
#[must_use]
pub fn unpack(packed: u16) -> u64 {
    let high = u64::from(packed >> 4 & 0x3f) | u64::from(packed >> 10) << 8;
    high << 32 | u64::from(packed & 15)
}

/// Order in a packed word.
#[must_use]
pub fn order_in(packed: u16) -> u8 {
    (packed >> ORDER_SHIFT & 7) as u8
}

/// Data in a packed word.
#[must_use]
pub fn data_in(packed: u16) -> u8 {
    (packed >> DATA_SHIFT) as u8
}

/// Pages of the folios whose heads have these words.
#[must_use]
pub fn pages_of(words: PackedWords) -> u8 {
    ones(words.pages_with(LIVE_BIT)).fold(0, |all, head| all | block(head, order_in(words.at(head))))
}

/// What names the block of an order that a page lies in, as the data of its folios: never 0.
#[must_use]
pub fn name(page: u8, order: u8) -> u8 {
    32 | order << 3 | page & !((1 << order) - 1)
}

/// All pages of a world.
#[must_use]
pub fn all_pages(pages: u8) -> u8 {
    ((1u16 << pages) - 1) as u8
}

/// The pages of a block.
#[must_use]
pub fn block(page: u8, order: u8) -> u8 {
    const AT_0: [u8; 8] = [0x01, 0x03, 0x0f, 0xff, 0xff, 0xff, 0xff, 0xff];
    AT_0[usize::from(order & 7)] << (page & 7)
}

/// References and order of a packed backing.
#[must_use]
pub fn backing_parts(packed: u8) -> (u8, u8) {
    (packed & 31, packed >> 5)
}

/// Packs a backing; one without references is 0.
#[must_use]
pub fn backing(references: u8, order: u8) -> u8 {
    if references == 0 { 0 } else { order << 5 | references }
}

impl State {
    /// A world in which all is free.
    #[must_use]
    pub fn fresh(pages: u8) -> State {
        State {
            words: PackedWords::default(),
            parked: PackedWords::default(),
            backings: [0; PAGES],
            owners: PackedWords::default(),
            handles: [Handle::default(); ACTORS],
            free: all_pages(pages),
            live: 0,
            dead: false,
        }
    }

    /// Calls `each` with head, order and whether it is locked, for each reference that exists.
    pub fn references(&self, mut each: impl FnMut(u8, u8, bool)) {
        for handle in self.handles.iter().filter(|handle| handle.kind >= HandleKind::Locked) {
            each(handle.page, handle.order, handle.kind == HandleKind::Locked);
        }
        for page in ones(self.parked.pages_with(LIVE_BIT)) {
            each(page, order_in(self.parked.at(page)), false);
        }
    }

    /// Head and order of the folio that, by the handles, covers a page.
    #[must_use]
    pub fn folio_over(&self, page: u8) -> Option<(u8, u8)> {
        let mut found = None;
        self.references(|head, order, _| {
            if block(head, order) >> page & 1 == 1 {
                found = Some((head, order));
            }
        });
        found
    }

    /// Whether a handle says that the folio at a page is locked.
    #[must_use]
    pub fn is_locked(&self, page: u8) -> bool {
        let mut locked = false;
        self.references(|head, _, lock| locked |= head == page && lock);
        locked
    }

    /// Number of references of the folio at a page.
    #[must_use]
    pub fn count(&self, page: u8) -> u32 {
        let mut count = 0;
        self.references(|head, _, _| count += u32::from(head == page));
        count
    }

    /// Parks a reference of the folio at a page.
    pub fn park(&mut self, page: u8, order: u8) {
        self.parked.set(page, 1 | LIVE | u16::from(order) << ORDER_SHIFT);
    }

    /// Order of the folio at a page of which a reference is parked.
    #[must_use]
    pub fn parked_order(&self, page: u8) -> Option<u8> {
        let parked = self.parked.at(page);
        (parked != 0).then(|| order_in(parked))
    }

    /// Replaces the backings.
    pub fn set_backings(&mut self, backings: [u8; PAGES]) {
        if backings == self.backings {
            return;
        }
        self.backings = backings;
        self.owners = PackedWords(self.backings().fold(0, |all, (first, _, order)| {
            all | PackedWords::block(first, order, u16::from(name(first, order)) << DATA_SHIFT).0
        }));
    }

    /// Iterates over the backings: first page, references, order.
    pub fn backings(&self) -> impl Iterator<Item = (u8, u8, u8)> {
        let backings = self.backings;
        filled(backings).map(move |first| {
            let (references, order) = backing_parts(backings[usize::from(first)]);
            (first, references, order)
        })
    }
}

/// Iterates over the places that are not 0.
fn filled(places: [u8; PAGES]) -> impl Iterator<Item = u8> {
    let mut left = u64::from_le_bytes(places);
    std::iter::from_fn(move || {
        let place = (left != 0).then(|| left.trailing_zeros() / 8)?;
        left &= !(0xff << (8 * place));
        Some(place as u8)
    })
}

/// Iterates over the pages of a set.
pub fn ones(mut pages: u8) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let page = (pages != 0).then(|| pages.trailing_zeros())?;
        pages &= pages - 1;
        Some(page as u8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_fit_come_back() {
        let word = (61 << 40) | (3 << 35) | (7 << 32) | 4;
        assert_eq!(pack(word).map(unpack), Some(word));
        assert_eq!(pack(1 << 50), None);
        assert_eq!((order_in(pack(word).expect("fits")), data_in(pack(word).expect("fits"))), (3, 61));
    }
}
