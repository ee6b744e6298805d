//! State of a world of shipped folios: page words, who holds what, backings, free pages.
#![expect(
    clippy::cast_possible_truncation,
    reason = "pages, orders and counts of a small world fit in 8 bits"
)]

/// Room for pages of the largest world.
pub const PAGES: usize = 8;
/// Room for actors of the largest world.
pub const ACTORS: usize = 3;

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

/// All of a world. What is kept of it is smaller: [`Kept`](crate::bifolio::kept::Kept).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// Page words, as [`pack`] makes them.
    pub words: [u16; PAGES],
    /// References laid aside, by head page: 1 + order, or 0.
    pub shelf: [u8; PAGES],
    /// References of the backing that begins at the page, in the low 5 bits, and its order above.
    pub backings: [u8; PAGES],
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
    (packed >> 7 & 7) as u8
}

/// Data in a packed word.
#[must_use]
pub fn data_in(packed: u16) -> u8 {
    (packed >> 10) as u8
}

/// What names the block of an order that a page lies in, as the data of its folios: never 0.
#[must_use]
pub fn name(page: u8, order: u8) -> u8 {
    32 | order << 3 | page & !((1 << order) - 1)
}

/// The pages of a block.
#[must_use]
pub fn block(page: u8, order: u8) -> u8 {
    (((1u16 << (1 << order)) - 1) << page) as u8
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
            words: [0; PAGES],
            shelf: [0; PAGES],
            backings: [0; PAGES],
            held: [Held::default(); ACTORS],
            free: ((1u16 << pages) - 1) as u8,
            live: 0,
            dead: false,
        }
    }

    /// Calls `each` with head, order and whether it is locked, for each reference that somebody holds.
    pub fn references(&self, mut each: impl FnMut(u8, u8, bool)) {
        for held in self.held.iter().filter(|held| held.hand >= Hand::Locked) {
            each(held.page, held.order, held.hand == Hand::Locked);
        }
        for page in filled(self.shelf) {
            each(page, self.shelf[usize::from(page)] - 1, false);
        }
    }

    /// Iterates over the backings: first page, references, order.
    pub fn owners(&self) -> impl Iterator<Item = (u8, u8, u8)> {
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
