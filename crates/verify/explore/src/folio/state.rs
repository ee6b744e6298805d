//! State of a world of shipped folios: page words, who holds what, backings, free pages.
#![expect(
    clippy::cast_possible_truncation,
    reason = "pages, orders and counts of a small world fit in 8 bits"
)]

use crate::folio::lanes::Lanes;

/// Room for pages of the largest world.
pub const PAGES: usize = 8;
/// Room for actors of the largest world.
pub const ACTORS: usize = 3;

/// In a packed word: the page is the head of a folio.
pub const LIVE: u16 = 1 << LIVE_BIT;
/// The bits of a packed word that tell where a folio is.
pub const SHAPE: u16 = LIVE | 7 << ORDER_SHIFT;
/// The number of that bit.
pub const LIVE_BIT: u32 = 4;
/// In a packed word: somebody has the folio lock.
pub const LOCKED: u16 = 1 << 5;
/// Where the order begins in a packed word.
pub const ORDER_SHIFT: u32 = 7;
/// The number of the bit that is set in any data.
pub const NAMED_BIT: u32 = 15;
/// Where the data begin in a packed word.
pub const DATA_SHIFT: u32 = 10;

/// In a packed word: what a folio leaves behind where words are reset when a folio is formed.
pub const LEFT_OVER: u16 = 7 << ORDER_SHIFT | 0x3f << DATA_SHIFT;

/// What an actor holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Hand {
    /// Nothing.
    #[default]
    Empty,
    /// A range of free pages with its backing, not yet formed.
    Range,
    /// A locked folio.
    Locked,
    /// A reference of a folio.
    Live,
}

/// A hand and the block it holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Held {
    /// What kind of thing.
    pub hand: Hand,
    /// First page.
    pub page: u8,
    /// Order.
    pub order: u8,
}

/// All of a world. What is kept of it is smaller: [`Kept`](crate::folio::kept::Kept).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// Page words, as [`pack`] makes them.
    pub words: Lanes,
    /// References laid aside, by head page: what each stands for in the word, or 0.
    pub shelf: Lanes,
    /// References of the backing that begins at the page, in the low 5 bits, and its order above.
    pub backings: [u8; PAGES],
    /// For each page the data that a word on its backing has; follows from the backings.
    pub owners: Lanes,
    /// What the actors hold.
    pub held: [Held; ACTORS],
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
pub fn pages_of(words: Lanes) -> u8 {
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
            words: Lanes::default(),
            shelf: Lanes::default(),
            backings: [0; PAGES],
            owners: Lanes::default(),
            held: [Held::default(); ACTORS],
            free: all_pages(pages),
            live: 0,
            dead: false,
        }
    }

    /// Calls `each` with head, order and whether it is locked, for each reference that somebody holds.
    pub fn references(&self, mut each: impl FnMut(u8, u8, bool)) {
        for held in self.held.iter().filter(|held| held.hand >= Hand::Locked) {
            each(held.page, held.order, held.hand == Hand::Locked);
        }
        for page in ones(self.shelf.pages_with(LIVE_BIT)) {
            each(page, order_in(self.shelf.at(page)), false);
        }
    }

    /// Lays a reference of the folio at a page aside.
    pub fn lay_aside(&mut self, page: u8, order: u8) {
        self.shelf.set(page, 1 | LIVE | u16::from(order) << ORDER_SHIFT);
    }

    /// Order of the reference that is laid aside for the folio at a page, if there is one.
    #[must_use]
    pub fn aside(&self, page: u8) -> Option<u8> {
        let aside = self.shelf.at(page);
        (aside != 0).then(|| order_in(aside))
    }

    /// Replaces the backings.
    pub fn set_backings(&mut self, backings: [u8; PAGES]) {
        if backings == self.backings {
            return;
        }
        self.backings = backings;
        self.owners = Lanes(self.backings().fold(0, |all, (first, _, order)| {
            all | Lanes::block(first, order, u16::from(name(first, order)) << DATA_SHIFT).0
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
