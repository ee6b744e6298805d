//! [`Encoded`]: the stored form of a state: 16 bytes, one form for all states that differ by names only.
//!
//! In a state that keeps all rules, words, counters and free pages follow from what the handles say, and handles
//! from the words. So it is enough to store a *lane* of 16 bits for each page, and whether the pagemap is dead:
//!
//! ```text
//!   15  14   13 12   10 9 8   7   6    5    4   3    2      0
//! +---+--------+-------+-+-----+----+----+----+----+----------+     a  one of the references is parked
//! | n |  data  | owner |0|order| a  | LK | LV | D  |references|     n, data: the order of the block in the data
//! +---+--------+-------+-+-----+----+----+----+----+----------+     owner: the same of the page's backing  
//!                of each page                        D: dead, in the first lane
//! ```
//!
//! # Renaming
//!
//! Actors differ by what they hold, and that is counted in the lanes: their names are gone. A block of pages is a
//! *node* of a tree; the code treats page numbers by alignment only, so swapping the two halves of a node, or any two
//! blocks of the largest order, gives a state that behaves alike, with pages renamed. (What the code does
//! prefer, such as the order in which a split writes its pieces, happens inside one step.) The stored form has the larger
//! half of each node first, from the leaves up, and the blocks of the largest order sorted: one form for each class.
//! A folio's word stays at its head: the half that has it is the larger one.
//!
//! Where folios are reset when they are formed ([`Reset::OnForm`]), a free page or a tail keeps what the last folio that
//! began there left, and the first page of a block is not like the others. Then only whole blocks of the largest order
//! are renamed.
//!
//! For the same reason an action on a page is left out if its node has an equal half before it: see
//! [`without_symmetry`].
#![expect(
    clippy::cast_possible_truncation,
    reason = "lanes, pages, orders and counts of a small world are cut out of larger words"
)]

use bifolio_folio::Reset;

use crate::folio::packed_words::PackedWords;
use crate::folio::state::{
    ACTORS, Handle, HandleKind, LIVE, LIVE_BIT, LOCKED, NAMED_BIT, SHAPE, State, all_pages, backing, block,
    data_in, ones, order_in,
};

/// A state as it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Encoded([u64; 2]);

impl std::hash::Hash for Encoded {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.0[0]);
        hasher.write_u64(self.0[1]);
    }
}

/// The bit of the first lane that tells of a dead pagemap.
const DEAD: u128 = 1 << 3;
/// A lane with a reference parked.
const PARKED: u16 = 1 << PARKED_BIT;
const PARKED_BIT: u32 = 6;
/// What is stored of the data of a word, in its place: whether there is any, and the order of the block that it names.
const OF_DATA: u16 = 7 << 13;
/// What a lane has of a word: all but the fourth bit of the references, "frozen", the third bit of the order, and the
/// page in the data.
const OF_WORD: u16 = !(1 << 3 | 1 << 6 | 1 << 9 | 7 << 10);

/// PackedWords of a state, as its pages are named.
fn lanes(state: &State) -> PackedWords {
    let parked = (state.parked.0 & PackedWords::all(LIVE).0) << 2;
    let owners = (state.owners.0 & PackedWords::all(OF_DATA).0) >> 3;
    PackedWords(state.words.0 & PackedWords::all(OF_WORD).0 | parked | owners)
}

/// Data fields from their stored part: where there is any, it names the block of its order around the page.
fn data(stored: PackedWords) -> PackedWords {
    let one = PackedWords::all(1).0;
    let (low, high) = (stored.0 >> 13 & one, stored.0 >> 14 & one);
    let inside = (low | high) << 10 | high << 11 | (low & high) << 12;
    let pages = PackedWords::from([0, 1 << 10, 2 << 10, 3 << 10, 4 << 10, 5 << 10, 6 << 10, 7 << 10]).0;
    PackedWords((stored.0 | pages & !inside) & stored.where_set(NAMED_BIT).0)
}

impl Encoded {
    /// Returns the stored form of a state. `largest` is the largest order of a folio.
    #[must_use]
    pub fn of(state: &State, largest: u8, reset: Reset) -> Encoded {
        let sorted = sorted(lanes(state), largest, reset) | if state.dead { DEAD } else { 0 };
        Encoded([sorted as u64, (sorted >> 64) as u64])
    }

    /// Returns a state of this class in a world of `pages` pages.
    #[must_use]
    pub fn state(self, pages: u8) -> State {
        let lanes = PackedWords(u128::from(self.0[1]) << 64 | u128::from(self.0[0]));
        let (heads, parked) = (lanes.pages_with(LIVE_BIT), lanes.where_set(PARKED_BIT).0);
        let of_word = lanes.0 & PackedWords::all(OF_WORD).0 & !DEAD;
        let owners = data(PackedWords((lanes.0 & PackedWords::all(OF_DATA >> 3).0) << 3));
        let mut state = State {
            words: PackedWords(
                of_word & PackedWords::all(!OF_DATA).0
                    | data(PackedWords(of_word & PackedWords::all(OF_DATA).0)).0,
            ),
            parked: PackedWords(
                (lanes.0 & PackedWords::all(SHAPE & OF_WORD).0 | PackedWords::all(1).0) & parked,
            ),
            dead: lanes.0 & DEAD != 0,
            owners,
            free: all_pages(pages) & !owners.pages_with(NAMED_BIT),
            ..State::fresh(pages)
        };
        let mut handles = Handles { handles: [Handle::default(); ACTORS], next: 0 };
        for head in ones(heads) {
            handles.give_all(head, lanes.at(head));
            state.live += 1 << order_in(state.words.at(head));
        }
        for page in ones(owners.pages_with(NAMED_BIT)) {
            put_backing(&mut state, &mut handles, page, heads);
        }
        state.handles = handles.handles;
        state
    }
}

struct Handles {
    handles: [Handle; ACTORS],
    next: usize,
}

impl Handles {
    /// Gives the references of a folio to actors, those parked excepted.
    fn give_all(&mut self, page: u8, lane: u16) {
        let (order, locked, parked) = (order_in(lane & OF_WORD), lane & LOCKED != 0, lane & PARKED != 0);
        if locked {
            self.give(HandleKind::Locked, page, order);
        }
        let others = u16::from(locked) + u16::from(parked)..lane & 7;
        others.for_each(|_| self.give(HandleKind::Live, page, order));
    }

    fn give(&mut self, kind: HandleKind, page: u8, order: u8) {
        if let Some(free) = self.handles.get_mut(self.next) {
            *free = Handle { kind, page, order };
        }
        self.next += 1;
    }
}

/// Gives the backing that begins at a page its references, and a range of it to an actor if it has no folio.
fn put_backing(state: &mut State, handles: &mut Handles, page: u8, heads: u8) {
    let name = data_in(state.owners.at(page));
    let (first, order) = (name & 7, name >> 3 & 3);
    if first != page {
        return;
    }
    let folios = (heads & block(page, order)).count_ones() as u8;
    if folios == 0 {
        handles.give(HandleKind::Range, page, order);
    }
    state.backings[usize::from(page)] = backing(folios.max(1), order);
}

/// Puts the larger half of each node of an order up to `largest` first, then the blocks of that order by size.
fn sorted(lanes: PackedWords, largest: u8, reset: Reset) -> u128 {
    let singles = lanes.each().map(u64::from);
    if largest == 0 {
        return joined(singles, 16);
    }
    let halves = |parts: &[u64], at: usize, bits: u32| {
        let (one, other) = (parts[2 * at], parts[2 * at + 1]);
        if reset == Reset::OnForm || one >= other { other << bits | one } else { one << bits | other }
    };
    let pairs: [u64; 4] = std::array::from_fn(|at| halves(&singles, at, 16));
    if largest == 1 {
        return joined(pairs, 32);
    }
    let fours: [u64; 2] = std::array::from_fn(|at| halves(&pairs, at, 32));
    if largest == 2 || reset == Reset::OnFree {
        // There are two of them, be they halves or blocks.
        return u128::from(fours[0].min(fours[1])) << 64 | u128::from(fours[0].max(fours[1]));
    }
    u128::from(fours[1]) << 64 | u128::from(fours[0])
}

fn joined<const N: usize>(mut parts: [u64; N], bits: u32) -> u128 {
    parts.sort_unstable();
    parts.iter().fold(0, |all, part| all << bits | u128::from(*part))
}

/// Pages without those that differ from an earlier page by a renaming that leaves the state as it is: pages in the
/// second of two equal halves, or of two equal blocks of the largest order.
#[must_use]
pub fn without_symmetry(state: &State, largest: u8, reset: Reset) -> u8 {
    let singles = lanes(state).each().map(u64::from);
    let pairs: [u64; 4] = std::array::from_fn(|at| singles[2 * at] << 16 | singles[2 * at + 1]);
    let fours: [u64; 2] = std::array::from_fn(|at| pairs[2 * at] << 32 | pairs[2 * at + 1]);
    let blocks: [&[u64]; 4] = [&singles, &pairs, &fours, &[]];
    let halves = if reset == Reset::OnForm { 0 } else { usize::from(largest.min(3)) };
    let equal =
        (0u8..).zip(&blocks[..halves]).fold(0, |all, (order, blocks)| all | second_halves(blocks, order));
    !(equal | repeated(blocks[usize::from(largest.min(3))], largest))
}

/// Pages of second halves that are equal to the first one; the halves have this order.
fn second_halves(halves: &[u64], order: u8) -> u8 {
    let pairs = halves.chunks_exact(2).enumerate().filter(|(_, pair)| pair[0] == pair[1]);
    pairs.fold(0, |all, (at, _)| all | block(((2 * at + 1) as u8) << order, order))
}

/// Pages of blocks that are equal to an earlier one.
fn repeated(blocks: &[u64], order: u8) -> u8 {
    let again = (0..blocks.len()).filter(|&at| blocks[..at].contains(&blocks[at]));
    again.fold(0, |all, at| all | block((at as u8) << order, order))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folio::state::{name, pack};

    /// A world in which an actor holds a locked folio of order 1 at a page.
    fn locked(actor: usize, page: u8) -> State {
        let mut state = State::fresh(8);
        let mut backings = [0; 8];
        backings[usize::from(page)] = backing(1, 1);
        state.set_backings(backings);
        let data = u64::from(name(page, 1));
        state.words.set(page, pack((data << 40) | (1 << 35) | (3 << 32) | 1).expect("small"));
        state.handles[actor] = Handle { kind: HandleKind::Locked, page, order: 1 };
        state.free &= !block(page, 1);
        state.live = 2;
        state
    }

    #[test]
    fn states_that_differ_by_names_have_one_form() {
        for largest in 1..=3 {
            assert_eq!(
                Encoded::of(&locked(1, 6), largest, Reset::OnFree),
                Encoded::of(&locked(0, 2), largest, Reset::OnFree)
            );
        }
    }

    #[test]
    fn stored_state_comes_back_under_the_smallest_names() {
        let dead = State { dead: true, ..locked(2, 6) };
        assert_eq!(Encoded::of(&dead, 3, Reset::OnFree).state(8), State { dead: true, ..locked(0, 0) });
    }

    #[test]
    fn only_whole_blocks_are_alike_where_words_outlive_folios() {
        let encoded = |page, largest| Encoded::of(&locked(0, page), largest, Reset::OnForm);
        assert_eq!(encoded(6, 1), encoded(2, 1));
        assert_eq!(encoded(6, 2), encoded(2, 2));
        assert_ne!(encoded(6, 3), encoded(2, 3));
        assert_ne!(encoded(2, 2), encoded(0, 2));
        assert_eq!(without_symmetry(&State::fresh(8), 2, Reset::OnForm), 0b1111);
    }

    #[test]
    fn pages_of_equal_halves_and_blocks_are_left_out() {
        assert_eq!(without_symmetry(&State::fresh(8), 3, Reset::OnFree), 0b1);
        assert_eq!(without_symmetry(&State::fresh(8), 0, Reset::OnFree), 0b1);
        // Beside the folio at 2 there are two free pages, and on the other side four.
        assert_eq!(without_symmetry(&locked(0, 2), 3, Reset::OnFree), 0b0001_1101);
        assert_eq!(without_symmetry(&locked(0, 2), 1, Reset::OnFree), 0b0000_1101);
    }
}
