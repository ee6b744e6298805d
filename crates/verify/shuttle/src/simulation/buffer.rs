//! Buffer objects of a machine, whose bytes the oracle knows.

use std::thread::panicking;

use super::machine::{Machine, PageOf};
use crate::mutant::{self, Mutant};
use crate::sim::oracle::WORDS;
use crate::space::BufferError;
use crate::space::buffer::Buffer;

/// A buffer object. Its pages have numbers like those of blocks, so a unit of the device uses them in the same way while
/// it is pinned.
pub struct KnownBuffer<'m> {
    machine: &'m Machine,
    buffer: Buffer<'m>,
}

impl Machine {
    /// Makes a buffer of so many pages.
    ///
    /// # Errors
    /// As [`Space::allocate_buffer`](crate::space::Space::allocate_buffer).
    pub fn try_buffer(&self, pages: usize) -> Result<KnownBuffer<'_>, BufferError> {
        let buffer = self.space.allocate_buffer(pages * bifolio_sys::PAGE)?;
        let known = KnownBuffer { machine: self, buffer };
        for page in 0..pages {
            self.oracle.beginning(known.number(page));
            self.oracle.begun(known.number(page));
        }
        Ok(known)
    }

    /// Makes a buffer of so many pages, for which there is room, and tries again if calls fail.
    ///
    /// # Panics
    /// If it is refused, though no call may fail.
    #[must_use]
    pub fn buffer(&self, pages: usize) -> KnownBuffer<'_> {
        loop {
            match self.try_buffer(pages) {
                Ok(buffer) => return buffer,
                Err(why) => assert!(self.may_fail(), "a buffer of {pages} pages is refused: {why}"),
            }
        }
    }
}

impl KnownBuffer<'_> {
    fn number(&self, page: usize) -> usize {
        self.machine.number_at(self.buffer.inner.address()) + page
    }

    fn pages(&self) -> usize {
        self.buffer.len() / bifolio_sys::PAGE
    }

    /// The name of one of its pages, for units of the device.
    #[must_use]
    pub fn page(&self, page: usize) -> PageOf {
        (0, self.number(page))
    }

    /// Whether its bytes are on the device now.
    #[must_use]
    pub fn is_on_device(&self) -> bool {
        self.buffer.is_on_device()
    }

    /// Writes the word of a page that belongs to the calling thread, wherever the bytes are.
    pub fn write(&self, page: usize, word: usize) {
        let (begun, value) = self.machine.oracle.begin_write(self.number(page), word);
        let done = self.buffer.write(offset(page, word), &value.to_ne_bytes());
        self.machine.oracle.end_write(begun, done.is_ok(), self.machine.may_fail());
    }

    /// Reads a word of a page, wherever the bytes are.
    pub fn read(&self, page: usize, word: usize) {
        let begun = self.machine.oracle.begin_read(self.number(page), word);
        let mut bytes = [0; 8];
        let done = self.buffer.read(offset(page, word), &mut bytes);
        let value = done.is_ok().then(|| u64::from_ne_bytes(bytes));
        self.machine.oracle.end_read(begun, value, self.machine.may_fail());
    }

    /// Brings it to the device.
    ///
    /// # Panics
    /// If that is refused, though no call may fail.
    pub fn validate(&self) {
        let done = self.buffer.validate();
        assert!(done.is_ok() || self.machine.may_fail(), "a buffer is not brought to the device: {done:?}");
    }

    /// Brings it to system memory, unless it is in use.
    pub fn evict(&self) {
        // What came of it is seen by the bytes and the counts.
        let _ = self.machine.engine().evict_buffer(&self.buffer.inner);
    }

    /// Does `work` while it is pinned, on the device and in its page table.
    ///
    /// # Errors
    /// If it cannot be pinned; nothing was done then.
    pub fn while_pinned<R>(&self, work: impl FnOnce() -> R) -> Result<R, BufferError> {
        let pinned = self.buffer.pin()?;
        let pinned = (!mutant::is(Mutant::PinEndsAtOnce)).then_some(pinned);
        let result = work();
        drop(pinned);
        Ok(result)
    }
}

impl Drop for KnownBuffer<'_> {
    fn drop(&mut self) {
        if panicking() {
            return;
        }
        let words = (0..self.pages()).flat_map(|page| (0..WORDS).map(move |word| (page, word)));
        words.for_each(|(page, word)| self.read(page, word));
        for page in 0..self.pages() {
            self.machine.oracle.ending(self.number(page));
            self.machine.oracle.ended(self.number(page), true);
        }
    }
}

fn offset(page: usize, word: usize) -> usize {
    page * bifolio_sys::PAGE + word * 8
}
