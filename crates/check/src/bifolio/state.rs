//! State of a world of shipped folios: page words, who holds what, backings, free pages; and its canonical form.
//!
//! # Renaming pages
//!
//! Free pages and tails carry nothing, so a folio, a backing or a free page is a *node* of the buddy tree. Swapping
//! the two halves of any node that no folio or backing covers gives a state that behaves alike: each action of one
//! corresponds to the action of the other with its pages renamed, as the code treats page numbers by alignment
//! only. (What the code does prefer, such as the order in which a split writes its pieces, happens inside one
//! step.) The canonical form gives each node a label of what is at it and below it, and puts the half with the
//! smaller label first. Where labels are equal the halves are alike up to who holds them, and actors are sorted
//! afterwards. A form that misses a renaming costs states, not soundness: it is always the result of a renaming.
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

/// All of a world, 48 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

impl std::hash::Hash for State {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        let words = |four: &[u16]| four.iter().fold(0u64, |all, word| all << 16 | u64::from(*word));
        hasher.write_u64(words(&self.words[..4]));
        hasher.write_u64(words(&self.words[4..]));
        hasher.write_u64(u64::from_le_bytes(self.shelf));
        hasher.write_u64(u64::from_le_bytes(self.backings));
        let held = self.held.iter().fold(0u64, |all, held| all << 12 | held.bits());
        let rest = u64::from(self.free) << 9 | u64::from(self.live) << 1 | u64::from(self.dead);
        hasher.write_u64(held << 20 | rest);
    }
}

impl Held {
    fn bits(self) -> u64 {
        (self.hand as u64) << 8 | u64::from(self.page) << 4 | u64::from(self.order)
    }
}

/// Packs a page word into 16 bits: references 4, flags 3, order 5, data 4. `None` if it does not fit.
#[must_use]
pub fn pack(word: u64) -> Option<u16> {
    let packed = u16::try_from(word >> 32 << 4 | (word & 15)).ok()?;
    (unpack(packed) == word).then_some(packed)
}

/// Unpacks what [`pack`] made.
#[must_use]
pub fn unpack(packed: u16) -> u64 {
    u64::from(packed >> 4) << 32 | u64::from(packed & 15)
}

/// Order in a packed word.
#[must_use]
pub fn order_in(packed: u16) -> u8 {
    (packed >> 7 & 31) as u8
}

/// Data in a packed word.
#[must_use]
pub fn data_in(packed: u16) -> u8 {
    (packed >> 12) as u8
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
        for (page, shelved) in (0u8..).zip(self.shelf).filter(|(_, shelved)| *shelved > 0) {
            each(page, shelved - 1, false);
        }
    }

    /// For each page the first page of the backing that covers it, or 15.
    #[must_use]
    pub fn owners(&self) -> [u8; PAGES] {
        let mut owners = [15; PAGES];
        for (first, packed) in (0u8..).zip(self.backings).filter(|(_, packed)| *packed != 0) {
            let order = packed >> 5;
            owners[usize::from(first)..].iter_mut().take(1 << order).for_each(|owner| *owner = first);
        }
        owners
    }

    /// Returns the state with pages renamed and actors sorted, see the module.
    #[must_use]
    pub fn canonical(self, pages: u8, actors: usize) -> State {
        let mut state = if pages.is_power_of_two() { self.renamed(pages, self.swaps(pages)) } else { self };
        state.held[..actors].sort_unstable();
        state
    }

    /// For each node (numbered as in a heap, 1 is the whole world), whether its halves are to be swapped.
    fn swaps(&self, pages: u8) -> u16 {
        let mut labels = [0u64; 2 * PAGES];
        let mut put = |page: u8, order: u8, what: u64| {
            let node = usize::from(pages + page) >> order;
            labels[node] = labels[node].wrapping_add(mix(what));
        };
        for page in 0..pages {
            let at = usize::from(page);
            if self.words[at] != 0 {
                put(page, order_in(self.words[at]), u64::from(self.words[at] & 0xfff) << 8 | 1);
            }
            if self.backings[at] != 0 {
                put(page, self.backings[at] >> 5, u64::from(self.backings[at]) << 8 | 2);
            }
            if self.shelf[at] != 0 {
                put(page, self.shelf[at] - 1, 3);
            }
        }
        for held in self.held.iter().filter(|held| held.hand != Hand::Empty) {
            put(held.page, held.order, (held.hand as u64) << 8 | 4);
        }
        let mut swaps = 0;
        for node in (1..usize::from(pages)).rev() {
            let (left, right) = (labels[2 * node], labels[2 * node + 1]);
            if left > right {
                swaps |= 1 << node;
            }
            labels[node] = mix(labels[node] ^ mix(left.min(right)).wrapping_add(left.max(right)));
        }
        swaps
    }

    fn renamed(&self, pages: u8, swaps: u16) -> State {
        if swaps == 0 {
            return *self;
        }
        let to = |page: u8, order: u8| new_name(swaps, pages, page, order);
        let mut new = State { words: [0; PAGES], shelf: [0; PAGES], backings: [0; PAGES], free: 0, ..*self };
        for page in 0..pages {
            let at = usize::from(page);
            new.free |= (self.free >> page & 1) << to(page, 0);
            if self.backings[at] != 0 {
                new.backings[usize::from(to(page, self.backings[at] >> 5))] = self.backings[at];
            }
            if self.shelf[at] != 0 {
                new.shelf[usize::from(to(page, self.shelf[at] - 1))] = self.shelf[at];
            }
            let word = self.words[at];
            if word != 0 {
                let first = data_in(word);
                let data = to(first, self.backings[usize::from(first)] >> 5);
                new.words[usize::from(to(page, order_in(word)))] = word & 0xfff | u16::from(data) << 12;
            }
        }
        for held in &mut new.held {
            if held.hand != Hand::Empty {
                held.page = to(held.page, held.order);
            }
        }
        new
    }
}

/// The new name of a block: at each node above it, the bit that chooses the half is turned if the node is swapped.
fn new_name(swaps: u16, pages: u8, page: u8, order: u8) -> u8 {
    let mut new = page;
    let mut node = (pages + page) >> order;
    let mut bit = order;
    while node > 1 {
        node >>= 1;
        new ^= ((swaps >> node & 1) as u8) << bit;
        bit += 1;
    }
    new
}

fn mix(word: u64) -> u64 {
    let product = u128::from(word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    (product ^ (product >> 64)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_differ_by_names_have_one_canonical_form() {
        let mut one = State::fresh(8);
        one.backings[6] = backing(1, 1);
        one.words[6] = pack((6 << 40) | (1 << 35) | (3 << 32) | 1).expect("small");
        one.held[1] = Held { hand: Hand::Locked, page: 6, order: 1 };
        one.free = 0b0011_1111;
        let mut other = State::fresh(8);
        other.backings[2] = backing(1, 1);
        other.words[2] = pack((2 << 40) | (1 << 35) | (3 << 32) | 1).expect("small");
        other.held[0] = Held { hand: Hand::Locked, page: 2, order: 1 };
        other.free = 0b1111_0011;
        assert_eq!(one.canonical(8, 2), other.canonical(8, 2));
        assert_eq!(one.canonical(8, 2).canonical(8, 2), one.canonical(8, 2));
    }

    #[test]
    fn words_that_fit_come_back() {
        let word = (7 << 40) | (3 << 35) | (7 << 32) | 4;
        assert_eq!(pack(word).map(unpack), Some(word));
        assert_eq!(pack(1 << 50), None);
        assert_eq!((order_in(pack(word).expect("fits")), data_in(pack(word).expect("fits"))), (3, 7));
    }
}
