//! Buffer objects of a machine, whose bytes the oracle knows.

use std::thread::panicking;

use super::WORDS;
use super::machine::{Machine, PageOf};
use crate::mutant::{self, Mutant};
use crate::space::object::{Object, ObjectError};

/// A buffer object. Its pages have numbers like those of blocks, so a unit of the device uses them in the same way while
/// it is pinned.
pub struct KnownObject<'m> {
    machine: &'m Machine,
    object: Object<'m>,
}

impl Machine {
    /// Makes an object of so many pages.
    ///
    /// # Errors
    /// As [`Space::allocate_object`](crate::space::Space::allocate_object).
    pub fn try_object(&self, pages: usize) -> Result<KnownObject<'_>, ObjectError> {
        let object = self.space.allocate_object(pages * bifolio_sys::PAGE)?;
        let known = KnownObject { machine: self, object };
        for page in 0..pages {
            self.oracle.beginning(known.number(page));
            self.oracle.begun(known.number(page));
        }
        Ok(known)
    }

    /// Makes an object of so many pages, for which there is room, and tries again if calls fail.
    ///
    /// # Panics
    /// If it is refused, though no call may fail.
    #[must_use]
    pub fn object(&self, pages: usize) -> KnownObject<'_> {
        loop {
            match self.try_object(pages) {
                Ok(object) => return object,
                Err(why) => assert!(self.may_fail(), "an object of {pages} pages is refused: {why}"),
            }
        }
    }
}

impl KnownObject<'_> {
    fn number(&self, page: usize) -> usize {
        self.machine.number_at(self.object.buffer.address()) + page
    }

    fn pages(&self) -> usize {
        self.object.len() / bifolio_sys::PAGE
    }

    /// The name of one of its pages, for units of the device.
    #[must_use]
    pub fn page(&self, page: usize) -> PageOf {
        (0, self.number(page))
    }

    /// Whether its bytes are on the device now.
    #[must_use]
    pub fn is_on_device(&self) -> bool {
        self.object.is_on_device()
    }

    /// Writes the word of a page that belongs to the calling thread, wherever the bytes are.
    pub fn write(&self, page: usize, word: usize) {
        let (begun, value) = self.machine.oracle.begin_write(self.number(page), word);
        let done = self.object.write(offset(page, word), &value.to_ne_bytes());
        self.machine.oracle.end_write(begun, done.is_ok(), self.machine.may_fail());
    }

    /// Reads a word of a page, wherever the bytes are.
    pub fn read(&self, page: usize, word: usize) {
        let begun = self.machine.oracle.begin_read(self.number(page), word);
        let mut bytes = [0; 8];
        let done = self.object.read(offset(page, word), &mut bytes);
        let value = done.is_ok().then(|| u64::from_ne_bytes(bytes));
        self.machine.oracle.end_read(begun, value, self.machine.may_fail());
    }

    /// Brings it to the device.
    ///
    /// # Panics
    /// If that is refused, though no call may fail.
    pub fn validate(&self) {
        let done = self.object.validate();
        assert!(done.is_ok() || self.machine.may_fail(), "an object is not brought to the device: {done:?}");
    }

    /// Brings it to system memory, unless somebody uses it.
    pub fn evict(&self) {
        // What came of it is seen by the bytes and the counts.
        let _ = self.machine.engine().evict_buffer(&self.object.buffer);
    }

    /// Does `work` while it is pinned, on the device and in its page table.
    ///
    /// # Errors
    /// If it cannot be pinned; nothing was done then.
    pub fn while_pinned<R>(&self, work: impl FnOnce() -> R) -> Result<R, ObjectError> {
        let pinned = self.object.pin()?;
        let pinned = (!mutant::is(Mutant::PinEndsAtOnce)).then_some(pinned);
        let result = work();
        drop(pinned);
        Ok(result)
    }
}

impl Drop for KnownObject<'_> {
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
