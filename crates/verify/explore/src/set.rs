//! [`StateSet`]: states seen so far: an arena of states and an open-addressing table of indices into it.
//!
//! ```text
//!   table   [ hash:32 | index+1:32 ]  8 bytes a slot, at most 5/8 full, linear probing
//!   arena   [ state ][ state ] ...    fixed size, no heap behind a state
//!   parents [ u32 ][ u32 ] ...        index of the state each was first reached from
//! ```
//!
//! Half of the hash is kept in the slot, so a probe that does not match rarely looks into the arena. The set is
//! deterministic: it has no random seed, and indices are given in the order of insertion.

use std::hash::{Hash, Hasher};

/// A fast hash for short fixed-size keys: multiply and fold, word by word.
#[derive(Clone, Copy, Debug, Default)]
pub struct WordHasher(u64);

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl WordHasher {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(MULTIPLIER | 1);
        #[expect(clippy::cast_possible_truncation, reason = "both halves are folded")]
        let folded = (product as u64) ^ ((product >> 64) as u64);
        self.0 = folded.wrapping_add(MULTIPLIER);
    }
}

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        let mut last = *self;
        last.mix(0x5851_f42d_4c95_7f2d);
        last.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, i: u8) {
        self.mix(u64::from(i));
    }

    fn write_u16(&mut self, i: u16) {
        self.mix(u64::from(i));
    }

    fn write_u32(&mut self, i: u32) {
        self.mix(u64::from(i));
    }

    fn write_u64(&mut self, i: u64) {
        self.mix(i);
    }

    fn write_usize(&mut self, i: usize) {
        self.mix(i as u64);
    }
}

/// Hashes a state, the same in every run.
pub fn hash_of<S: Hash>(state: &S) -> u64 {
    let mut hasher = WordHasher::default();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Number of a state, in the order of discovery.
pub type StateId = u32;

/// States that are looked for at once, see [`StateSet::missing`].
pub const LOOKS: usize = 128;

/// The states seen.
#[derive(Debug)]
pub struct StateSet<S> {
    table: Vec<u64>,
    arena: Vec<S>,
    parents: Vec<u32>,
}

impl<S: Copy + Eq> StateSet<S> {
    /// Makes an empty set.
    #[must_use]
    pub fn new() -> StateSet<S> {
        StateSet { table: vec![0; 1024], arena: Vec::new(), parents: Vec::new() }
    }

    /// Number of states.
    #[must_use]
    pub fn len(&self) -> usize {
        self.arena.len()
    }

    /// Whether there is no state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.arena.is_empty()
    }

    /// The state of an index, and the number of its parent.
    #[must_use]
    pub fn get(&self, index: usize) -> (&S, u32) {
        (&self.arena[index], self.parents[index])
    }

    /// Bytes in use.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.table.len() * 8 + self.arena.capacity() * size_of::<S>() + self.parents.capacity() * 4
    }

    /// Tells whether a state is there.
    #[must_use]
    pub fn contains(&self, hash: u64, state: &S) -> bool {
        self.find(hash, state).is_none()
    }

    /// Looks for many states at once and calls `missing` with the places of those that are not there.
    ///
    /// The table is larger than any cache, and a look at it waits for memory. Here all first looks are done before the
    /// first answer is needed, so that the processor waits for many of them at the same time.
    pub fn missing<'k>(
        &self,
        keys: impl Iterator<Item = (u64, &'k S)> + Clone,
        mut missing: impl FnMut(usize),
    ) where
        S: 'k,
    {
        let mut looks = [(0, None); LOOKS];
        for (look, (hash, _)) in looks.iter_mut().zip(keys.clone()) {
            look.0 = self.table[self.start(hash)];
        }
        for (slot, state) in &mut looks {
            *state = self.arena.get(index_in(*slot)).copied();
        }
        for (place, ((hash, key), (slot, state))) in keys.zip(looks).enumerate() {
            let there = tag(slot) == tag(hash) && state.as_ref() == Some(key);
            if slot == 0 || !there && !self.contains(hash, key) {
                missing(place);
            }
        }
    }

    /// Reads the places where states will be looked for, so that they are in the cache soon.
    pub fn touch(&self, hashes: impl Iterator<Item = u64>) {
        let all = hashes.fold(0, |all, hash| all ^ self.table[self.start(hash)]);
        std::hint::black_box(all);
    }

    /// The index of a state, if it is there.
    #[must_use]
    pub fn position(&self, hash: u64, state: &S) -> Option<usize> {
        let mask = self.table.len() - 1;
        let mut at = self.start(hash);
        loop {
            let slot = self.table[at];
            if slot == 0 {
                return None;
            }
            if tag(slot) == tag(hash) && self.arena[index_in(slot)] == *state {
                return Some(index_in(slot));
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a state unless it is there. Returns its index if it is new.
    pub fn insert(&mut self, hash: u64, state: &S, parent: u32) -> Option<usize> {
        if self.arena.len() * 8 >= self.table.len() * 5 {
            self.grow();
        }
        let at = self.find(hash, state)?;
        let index = self.arena.len();
        self.arena.push(*state);
        self.parents.push(parent);
        self.table[at] = tag(hash) | (index as u64 + 1);
        Some(index)
    }

    /// Finds the slot where a state is to be put, or `None` if it is there already.
    fn find(&self, hash: u64, state: &S) -> Option<usize> {
        let mask = self.table.len() - 1;
        let mut at = self.start(hash);
        loop {
            let slot = self.table[at];
            if slot == 0 {
                return Some(at);
            }
            if tag(slot) == tag(hash) && self.arena[index_in(slot)] == *state {
                return None;
            }
            at = (at + 1) & mask;
        }
    }

    /// The place where the probe begins, from the half of the hash that the slot keeps: growing needs no state.
    fn start(&self, hash: u64) -> usize {
        let place = ((hash >> 32) * self.table.len() as u64) >> 32;
        usize::try_from(place).unwrap_or(0)
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.table);
        self.table = vec![0; old.len() * 2];
        let mask = self.table.len() - 1;
        for slot in old.into_iter().filter(|slot| *slot != 0) {
            let mut at = self.start(slot);
            while self.table[at] != 0 {
                at = (at + 1) & mask;
            }
            self.table[at] = slot;
        }
    }
}

impl<S: Copy + Eq> Default for StateSet<S> {
    fn default() -> StateSet<S> {
        StateSet::new()
    }
}

/// The half of a hash that slots keep.
fn tag(hash: u64) -> u64 {
    hash & !0xffff_ffff
}

fn index_in(slot: u64) -> usize {
    usize::try_from((slot & 0xffff_ffff).wrapping_sub(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn set_gives_each_state_one_index_in_order_of_insertion() {
        let mut set = StateSet::new();
        let mut model: HashMap<u64, usize> = HashMap::new();
        // A sequence that repeats itself, with strides that collide in the low bits.
        for step in 0..200_000u64 {
            let state = (step * 4096) % 77_777;
            let new = set.insert(hash_of(&state), &state, 7);
            let count = model.len();
            let expected = if model.contains_key(&state) { None } else { Some(count) };
            model.entry(state).or_insert(count);
            assert_eq!(new, expected);
        }
        assert_eq!(set.len(), model.len());
        assert!(model.iter().all(|(state, index)| set.get(*index) == (state, 7)));
    }
}
