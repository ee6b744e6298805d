//! The three memory traits over a plain vector: the job without any device.
//!
//! An arena has made-up addresses far from 0, so a pointer that is really an index or an offset is found out
//! at once. Its words are atomic, so its units may run one after the other or on threads of their own.

use crate::kernels::{Kernel, Launcher, run_unit};
use crate::layout::WORD;
use crate::memory::{DeviceMemory, HostMemory, Unit};
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

/// Address of the first byte of every arena: a multiple of any page size, and never a small number.
const BASE: usize = 0x6000_0000_0000;

/// Why an arena cannot do what it was asked.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ArenaError {
    /// The arena is used up.
    #[error("arena has {free} bytes left, {needed} are needed")]
    Full {
        /// Bytes asked for.
        needed: usize,
        /// Bytes left.
        free: usize,
    },
    /// A unit used an address outside the arena, or not a multiple of 8.
    #[error("no word at {address:#x}")]
    NoSuchWord {
        /// The address.
        address: u64,
    },
    /// A unit's thread panicked.
    #[error("unit {unit} panicked")]
    Panicked {
        /// The unit.
        unit: u32,
    },
}

/// Memory shared by the host and simulated units.
#[derive(Debug)]
pub struct Arena {
    words: Vec<AtomicU64>,
    used: usize,
}

impl Arena {
    /// Makes an arena of zeroed memory, rounded up to whole words.
    pub fn new(bytes: usize) -> Self {
        let mut words = Vec::new();
        words.resize_with(bytes.div_ceil(WORD), AtomicU64::default);
        Self { words, used: 0 }
    }

    fn word(&self, address: u64) -> Result<&AtomicU64, ArenaError> {
        let offset = usize::try_from(address).ok().and_then(|address| address.checked_sub(BASE));
        let index = offset.filter(|offset| offset.is_multiple_of(WORD)).map(|offset| offset / WORD);
        index.and_then(|index| self.words.get(index)).ok_or(ArenaError::NoSuchWord { address })
    }

    /// Returns a word that the host may use.
    fn host_word(&self, address: usize) -> &AtomicU64 {
        self.word(address as u64).expect("the host uses words that it allocated")
    }
}

impl HostMemory for Arena {
    type Error = ArenaError;

    fn allocate(&mut self, bytes: usize, align: usize) -> Result<usize, ArenaError> {
        let size = self.words.len() * WORD;
        let start = self.used.next_multiple_of(align);
        let free = size.saturating_sub(start);
        if bytes > free {
            return Err(ArenaError::Full { needed: bytes, free });
        }
        self.used = start + bytes;
        Ok(BASE + start)
    }

    /// Makes the words no number, so that a result shows any use of them.
    fn release(&mut self, address: usize, bytes: usize) {
        (address..address + bytes).step_by(WORD).for_each(|word| self.write_f64(word, f64::NAN));
    }

    fn write_u64(&mut self, address: usize, value: u64) {
        self.host_word(address).store(value, Ordering::Relaxed);
    }

    fn write_bytes(&mut self, address: usize, bytes: &[u8]) {
        for (address, &byte) in (address..).zip(bytes) {
            let within = address % WORD;
            let word = self.host_word(address - within);
            let mut whole = word.load(Ordering::Relaxed).to_le_bytes();
            whole[within] = byte;
            word.store(u64::from_le_bytes(whole), Ordering::Relaxed);
        }
    }

    fn read_u64(&self, address: usize) -> u64 {
        self.host_word(address).load(Ordering::Relaxed)
    }

    fn read_bytes(&self, address: usize, out: &mut [u8]) {
        for (address, byte) in (address..).zip(out) {
            let within = address % WORD;
            *byte = self.host_word(address - within).load(Ordering::Relaxed).to_le_bytes()[within];
        }
    }
}

// Relaxed throughout: within a launch the trait promises no order between words, and between launches the
// units' threads are joined.
impl DeviceMemory for &Arena {
    type Fault = ArenaError;

    fn load(&mut self, address: u64) -> Result<u64, ArenaError> {
        Ok(self.word(address)?.load(Ordering::Relaxed))
    }

    fn store(&mut self, address: u64, value: u64) -> Result<(), ArenaError> {
        self.word(address)?.store(value, Ordering::Relaxed);
        Ok(())
    }

    fn add_f64(&mut self, address: u64, amount: f64) -> Result<(), ArenaError> {
        let word = self.word(address)?;
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let sum = (f64::from_bits(seen) + amount).to_bits();
            match word.compare_exchange_weak(seen, sum, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => seen = now,
            }
        }
    }

    fn fetch_add(&mut self, address: u64, amount: u64) -> Result<u64, ArenaError> {
        Ok(self.word(address)?.fetch_add(amount, Ordering::Relaxed))
    }

    fn compare_exchange(&mut self, address: u64, old: u64, new: u64) -> Result<u64, ArenaError> {
        let replaced = self.word(address)?.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed);
        Ok(replaced.unwrap_or_else(|held| held))
    }
}

/// How the units of an arena's device run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// One after the other; the result is the same every time.
    InTurn,
    /// Each on a thread of its own.
    AtOnce,
}

/// An arena with a device of some units on it.
#[derive(Debug)]
pub struct ArenaMachine {
    arena: Arena,
    units: u32,
    pace: Pace,
}

impl ArenaMachine {
    /// Makes a machine with `bytes` of shared memory and `units` units, at least one.
    pub fn new(bytes: usize, units: u32, pace: Pace) -> Self {
        Self { arena: Arena::new(bytes), units: units.max(1), pace }
    }

    fn run(&self, kernel: Kernel, job: usize, index: u32) -> Result<(), ArenaError> {
        run_unit(kernel, &mut &self.arena, job, Unit { index, count: self.units })
    }

    fn run_at_once(&self, kernel: Kernel, job: usize) -> Result<(), ArenaError> {
        std::thread::scope(|scope| {
            let units: Vec<_> = (0..self.units)
                .map(|unit| (unit, scope.spawn(move || self.run(kernel, job, unit))))
                .collect();
            let join = |(unit, thread): (u32, std::thread::ScopedJoinHandle<'_, _>)| {
                thread.join().unwrap_or(Err(ArenaError::Panicked { unit }))
            };
            units.into_iter().map(join).fold(Ok(()), Result::and)
        })
    }
}

impl Launcher for ArenaMachine {
    type Error = ArenaError;

    fn launch(&mut self, kernel: Kernel, job: usize) -> Result<(), ArenaError> {
        match self.pace {
            Pace::InTurn => (0..self.units).try_for_each(|unit| self.run(kernel, job, unit)),
            Pace::AtOnce => self.run_at_once(kernel, job),
        }
    }
}

/// A machine whose shared memory is an arena.
pub trait InArena {
    /// Its memory.
    fn arena(&self) -> &Arena;

    /// Its memory, to be changed.
    fn arena_mut(&mut self) -> &mut Arena;
}

impl<M: InArena> HostMemory for M {
    type Error = ArenaError;

    fn allocate(&mut self, bytes: usize, align: usize) -> Result<usize, ArenaError> {
        self.arena_mut().allocate(bytes, align)
    }

    fn release(&mut self, address: usize, bytes: usize) {
        self.arena_mut().release(address, bytes);
    }

    fn write_u64(&mut self, address: usize, value: u64) {
        self.arena_mut().write_u64(address, value);
    }

    fn write_bytes(&mut self, address: usize, bytes: &[u8]) {
        self.arena_mut().write_bytes(address, bytes);
    }

    fn read_u64(&self, address: usize) -> u64 {
        self.arena().read_u64(address)
    }

    fn read_bytes(&self, address: usize, out: &mut [u8]) {
        self.arena().read_bytes(address, out);
    }
}

impl InArena for ArenaMachine {
    fn arena(&self) -> &Arena {
        &self.arena
    }

    fn arena_mut(&mut self) -> &mut Arena {
        &mut self.arena
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_aligned_and_apart() {
        let mut arena = Arena::new(100);
        let first = arena.allocate(5, 8).expect("room for 5");
        let second = arena.allocate(8, 32).expect("room for 8");
        assert_eq!((first, second), (BASE, BASE + 32));
        assert_eq!(arena.allocate(100, 8), Err(ArenaError::Full { needed: 100, free: 64 }));
    }

    #[test]
    fn bytes_are_read_back_across_words() {
        let mut arena = Arena::new(64);
        let address = arena.allocate(30, 8).expect("room for 30") + 3;
        arena.write_bytes(address, b"across the words");
        let mut read = [0; 16];
        arena.read_bytes(address, &mut read);
        assert_eq!(&read, b"across the words");
        assert_eq!(arena.read_u64(address - 3).to_le_bytes(), *b"\0\0\0acros");
    }

    #[test]
    fn released_words_are_no_numbers() {
        let mut arena = Arena::new(24);
        let address = arena.allocate(24, 8).expect("room for 24");
        arena.release(address, 16);
        let numbers = [0, 8, 16].map(|offset| arena.read_f64(address + offset).is_nan());
        assert_eq!(numbers, [true, true, false]);
    }

    #[test]
    fn a_unit_that_leaves_the_arena_gets_a_fault() {
        let arena = Arena::new(64);
        let outside = BASE as u64 + 64;
        assert_eq!((&mut &arena).load(outside), Err(ArenaError::NoSuchWord { address: outside }));
        assert_eq!((&mut &arena).load(0), Err(ArenaError::NoSuchWord { address: 0 }));
        let odd = BASE as u64 + 4;
        assert_eq!((&mut &arena).store(odd, 1), Err(ArenaError::NoSuchWord { address: odd }));
    }

    #[test]
    fn compare_exchange_returns_what_was_held() {
        let arena = Arena::new(8);
        let mut memory = &arena;
        assert_eq!(memory.compare_exchange(BASE as u64, 0, 7), Ok(0));
        assert_eq!(memory.compare_exchange(BASE as u64, 0, 9), Ok(7));
        assert_eq!(memory.fetch_add(BASE as u64, 3), Ok(7));
        assert_eq!(memory.load(BASE as u64), Ok(10));
    }
}
