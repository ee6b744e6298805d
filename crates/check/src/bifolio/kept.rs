//! What is kept of a visited state: 16 bytes, the same for states that differ by names only.
//!
//! In a state that keeps all rules, words, counters and free pages follow from what the handles say, and handles
//! from the words. So it is enough to keep for each page a *lane* of 16 bits, and whether the pagemap is dead:
//!
//! ```text
//!   15   14     12  11   10   9  8     7     6  5   4     2  1    0
//! +----+----------+----+--------+-------+-------+---+------+---+------+
//! | LV | references| LK | order  | named | data  | a | owner| - | dead |    owner: 1 + order of the backing, or 0
//! +----+----------+----+--------+-------+-------+---+------+---+------+    a: one of the references is laid aside
//!  \_______ of the head's word __________________/        all pages of it     first lane only
//! ```
//!
//! # Renaming
//!
//! Actors differ by what they hold, and that is counted in the lanes: their names are gone. A block of pages is a
//! *node* of a tree; the code treats page numbers by alignment only, so swapping the two halves of a node, or any two
//! blocks of the largest order, gives a state that behaves alike, with pages renamed. (What the code does
//! prefer, such as the order in which a split writes its pieces, happens inside one step.) The kept form has the larger
//! half of each node first, from the leaves up, and the blocks of the largest order sorted: one form for each class.
//! A folio's word stays at its head: the half that has it is the larger one.
//!
//! For the same reason an action on a page is left out if its node has a *twin*, an equal half before it: see
//! [`without_twins`].

#![expect(
    clippy::cast_possible_truncation,
    reason = "lanes, pages, orders and counts of a small world are cut out of larger words"
)]

use crate::bifolio::state::{ACTORS, Hand, Held, PAGES, State, backing, block, name};

/// A state as it is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Kept([u64; 2]);

/// Set in the last lane of a dead pagemap.
const DEAD: u128 = 1;
/// A lane that is part of a live folio's head.
const LIVE: u16 = 1 << 15;
const LOCKED: u16 = 1 << 11;
const NAMED: u16 = 1 << 8;
const ASIDE: u16 = 1 << 5;

/// Lanes of all pages, the first one highest.
type Lanes = u128;

/// The owner field in all lanes of the block of each order at page 0.
const OWNER: [Lanes; 4] = [owner(0), owner(1), owner(2), owner(3)];

const fn owner(order: u32) -> Lanes {
    let (mut lanes, mut page) = (0, 0);
    while page < 1 << order {
        lanes |= ((order as Lanes + 1) << 2) << (16 * (7 - page));
        page += 1;
    }
    lanes
}

/// Lanes of a state, as its pages are named.
fn lanes(state: &State) -> Lanes {
    let mut lanes = 0;
    for (&word, &aside) in state.words.iter().zip(&state.shelf) {
        lanes = lanes << 16 | Lanes::from(of_word(word) | if aside == 0 { 0 } else { ASIDE });
    }
    let mut owners = u64::from_le_bytes(state.backings);
    while owners != 0 {
        let first = owners.trailing_zeros() / 8;
        let order = owners >> (8 * first + 5) & 3;
        lanes |= OWNER[order as usize] >> (16 * first);
        owners &= !(0xff << (8 * first));
    }
    lanes
}

/// The fields of a word: references and flags, order, and the order in its data.
fn of_word(word: u16) -> u16 {
    let (live, locked) = (word >> 4 & 1, word >> 5 & 1);
    live << 15 | (word & 7) << 12 | locked << 11 | (word >> 7 & 3) << 9 | (word >> 13 & 7) << 6
}

impl Kept {
    /// Returns what is kept of a state. `largest` is the largest order of a folio.
    #[must_use]
    pub fn of(state: &State, largest: u8) -> Kept {
        let sorted = sorted(lanes(state), largest) | if state.dead { DEAD } else { 0 };
        let halves = [(sorted >> 64) as u64, sorted as u64];
        Kept(halves)
    }

    /// Returns a state of this class in a world of `pages` pages.
    #[must_use]
    pub fn state(self, pages: u8) -> State {
        let lanes = Lanes::from(self.0[0]) << 64 | Lanes::from(self.0[1]);
        let mut state = State { free: 0, dead: lanes & DEAD != 0, ..State::fresh(pages) };
        let mut hands = Hands { held: [Held::default(); ACTORS], next: 0 };
        for page in 0..pages {
            let lane = (lanes >> (16 * (7 - page))) as u16;
            put_word(&mut state, &mut hands, page, lane);
            put_owner(&mut state, &mut hands, page, lane, lanes);
        }
        state.held = hands.held;
        state
    }
}

struct Hands {
    held: [Held; ACTORS],
    next: usize,
}

impl Hands {
    fn give(&mut self, hand: Hand, page: u8, order: u8) {
        if let Some(free) = self.held.get_mut(self.next) {
            *free = Held { hand, page, order };
        }
        self.next += 1;
    }
}

fn put_word(state: &mut State, hands: &mut Hands, page: u8, lane: u16) {
    let at = usize::from(page);
    let (references, locked, order) = (lane >> 12 & 7, lane >> 11 & 1, (lane >> 9 & 3) as u8);
    let data = if lane & NAMED == 0 { 0 } else { name(page, (lane >> 6 & 3) as u8) };
    state.words[at] =
        references | (lane >> 15) << 4 | locked << 5 | u16::from(order) << 7 | u16::from(data) << 10;
    if lane & LIVE == 0 {
        return;
    }
    let aside = lane & ASIDE != 0;
    if aside {
        state.shelf[at] = order + 1;
    }
    if lane & LOCKED != 0 {
        hands.give(Hand::Locked, page, order);
    }
    (locked + u16::from(aside)..references).for_each(|_| hands.give(Hand::Live, page, order));
    state.live += 1 << order;
}

fn put_owner(state: &mut State, hands: &mut Hands, page: u8, lane: u16, lanes: Lanes) {
    let Some(order) = ((lane >> 2 & 7) as u8).checked_sub(1) else {
        state.free |= 1 << page;
        return;
    };
    if page & ((1 << order) - 1) != 0 {
        return;
    }
    let heads = (page..page + (1 << order)).filter(|page| lanes >> (16 * (7 - page) + 15) & 1 == 1).count();
    if heads == 0 {
        hands.give(Hand::Range, page, order);
    }
    let references = heads.max(1) as u8;
    state.backings[usize::from(page)] = backing(references, order);
}

/// Puts the larger half of each node of an order up to `largest` first, then the blocks of that order by size.
fn sorted(lanes: Lanes, largest: u8) -> Lanes {
    let singles: [u64; PAGES] = std::array::from_fn(|page| lane(lanes, page));
    if largest == 0 {
        return joined(singles, 16);
    }
    let pairs: [u64; 4] = std::array::from_fn(|at| larger_first(&singles, at, 16));
    if largest == 1 {
        return joined(pairs, 32);
    }
    let fours: [u64; 2] = std::array::from_fn(|at| larger_first(&pairs, at, 32));
    // There are two of them, be they halves or blocks.
    Lanes::from(fours[0].max(fours[1])) << 64 | Lanes::from(fours[0].min(fours[1]))
}

fn lane(lanes: Lanes, page: usize) -> u64 {
    (lanes >> (16 * (7 - page)) & 0xffff) as u64
}

fn larger_first(parts: &[u64], at: usize, bits: u32) -> u64 {
    let (one, other) = (parts[2 * at], parts[2 * at + 1]);
    one.max(other) << bits | one.min(other)
}

fn joined<const N: usize>(mut parts: [u64; N], bits: u32) -> Lanes {
    parts.sort_unstable_by(|one, other| other.cmp(one));
    parts.iter().fold(0, |all, part| all << bits | Lanes::from(*part))
}

/// Pages without those that differ from an earlier page by a renaming that leaves the state as it is: pages in the
/// second of two equal halves, or of two equal blocks of the largest order.
#[must_use]
pub fn without_twins(state: &State, largest: u8) -> u8 {
    let lanes = lanes(state);
    let singles: [u64; PAGES] = std::array::from_fn(|page| lane(lanes, page));
    let pairs: [u64; 4] = std::array::from_fn(|at| singles[2 * at] << 16 | singles[2 * at + 1]);
    let fours: [u64; 2] = std::array::from_fn(|at| pairs[2 * at] << 32 | pairs[2 * at + 1]);
    let mut twins = 0;
    if largest == 0 {
        return !repeated(&singles, 0);
    }
    for at in 0..4 {
        twins |= if singles[2 * at] == singles[2 * at + 1] { block(2 * at as u8 + 1, 0) } else { 0 };
    }
    if largest == 1 {
        return !(twins | repeated(&pairs, 1));
    }
    for at in 0..2 {
        twins |= if pairs[2 * at] == pairs[2 * at + 1] { block(4 * at as u8 + 2, 1) } else { 0 };
    }
    twins |= if fours[0] == fours[1] { block(4, 2) } else { 0 };
    !twins
}

/// Pages of blocks that are equal to an earlier one.
fn repeated(blocks: &[u64], order: u8) -> u8 {
    let again = (0..blocks.len()).filter(|&at| blocks[..at].contains(&blocks[at]));
    again.fold(0, |all, at| all | block((at as u8) << order, order))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bifolio::state::pack;

    /// A world in which an actor holds a locked folio of order 1 at a page.
    fn locked(actor: usize, page: u8) -> State {
        let mut state = State::fresh(8);
        state.backings[usize::from(page)] = backing(1, 1);
        let data = u64::from(name(page, 1));
        state.words[usize::from(page)] = pack((data << 40) | (1 << 35) | (3 << 32) | 1).expect("small");
        state.held[actor] = Held { hand: Hand::Locked, page, order: 1 };
        state.free &= !block(page, 1);
        state.live = 2;
        state
    }

    #[test]
    fn states_that_differ_by_names_are_kept_alike() {
        for largest in 1..=3 {
            assert_eq!(Kept::of(&locked(1, 6), largest), Kept::of(&locked(0, 2), largest));
        }
    }

    #[test]
    fn kept_state_comes_back_under_the_smallest_names() {
        let dead = State { dead: true, ..locked(2, 6) };
        assert_eq!(Kept::of(&dead, 3).state(8), State { dead: true, ..locked(0, 0) });
    }

    #[test]
    fn twins_are_pages_of_equal_halves_and_blocks() {
        assert_eq!(without_twins(&State::fresh(8), 3), 0b1);
        assert_eq!(without_twins(&State::fresh(8), 0), 0b1);
        // Beside the folio at 2 there are two free pages, and on the other side four.
        assert_eq!(without_twins(&locked(0, 2), 3), 0b0001_1101);
        assert_eq!(without_twins(&locked(0, 2), 1), 0b0000_1101);
    }
}
