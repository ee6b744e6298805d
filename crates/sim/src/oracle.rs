//! What memory must read as (I27): each thread writes words of its own, numbered values in order.
//!
//! A read must return a value no older than the last write that had returned when the read began, and no newer than the
//! last write that had begun when it ended: [`judge::i27_recent`]. A page that is unmapped ends its life: what is read or
//! written across the end of a life may be anything.
//!
//! The shadow of the checker judges I27 too, but by whole pages and while nothing can write them. Only this oracle knows
//! of reads and writes that overlap with a move.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bifolio_rules::judge;

/// Words of a page that are used: one for each thread that writes.
pub const WORDS: usize = 8;

/// Whether a page belongs to an allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Live,
    /// It is being mapped or unmapped: whatever an access finds is right.
    Changing,
    Dead,
}

#[derive(Clone, Copy, Default, Debug)]
struct Word {
    started: u32,
    done: u32,
    /// A write crossed the end of a life: the next one tells again what is there.
    wild: bool,
}

#[derive(Clone, Debug)]
struct Page {
    life: Life,
    /// Counts lives.
    number: u32,
    words: [Word; WORDS],
}

/// An access that was begun.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    page: usize,
    word: usize,
    life: Life,
    number: u32,
    oldest: u32,
    wild: bool,
}

/// All that was written.
#[derive(Debug)]
pub struct Oracle {
    /// Never held while another thread may go on.
    pages: Mutex<Vec<Page>>,
}

impl Oracle {
    /// Knows of so many pages, none live.
    #[must_use]
    pub fn new(pages: usize) -> Oracle {
        let page = Page { life: Life::Dead, number: 0, words: Default::default() };
        Oracle { pages: Mutex::new(vec![page; pages]) }
    }

    fn pages(&self) -> MutexGuard<'_, Vec<Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a write of the thread that owns `word`; returns the value to write.
    pub fn begin_write(&self, page: usize, word: usize) -> (Begun, u64) {
        let mut pages = self.pages();
        let begun = begin(&pages[page], page, word);
        let entry = &mut pages[page].words[word];
        entry.started += 1;
        (begun, encode(page, word, entry.started))
    }

    /// Ends a write. `done` tells whether the access was answered.
    ///
    /// # Panics
    /// If it was refused and must not be, or the reverse.
    pub fn end_write(&self, begun: Begun, done: bool, may_fail: bool) {
        let mut pages = self.pages();
        let entry = &mut pages[begun.page];
        check_answer(begun, entry, done, may_fail);
        let calm = entry.life == Life::Live && begun.life == Life::Live && entry.number == begun.number;
        let word = &mut entry.words[begun.word];
        if done {
            word.done = word.started;
            word.wild = !calm;
        } else {
            // What was refused was not written.
            word.started = word.done;
        }
    }

    /// Begins a read of any word.
    #[must_use]
    pub fn begin_read(&self, page: usize, word: usize) -> Begun {
        begin(&self.pages()[page], page, word)
    }

    /// Ends a read that found `value`, or was refused.
    ///
    /// # Panics
    /// If the value is too old, too new or of another word, or the answer is not the right one.
    pub fn end_read(&self, begun: Begun, value: Option<u64>, may_fail: bool) {
        let pages = self.pages();
        let entry = &pages[begun.page];
        check_answer(begun, entry, value.is_some(), may_fail);
        let word = entry.words[begun.word];
        let crossed = entry.life != Life::Live || begun.life != Life::Live || entry.number != begun.number;
        let Some(value) = value.filter(|_| !crossed && !begun.wild && !word.wild) else { return };
        // A value that was never written here is no write of this word at all.
        let write = decode(begun.page, begun.word, value).map(u64::from);
        let judged = write.map(|write| judge::i27_recent(write, begun.oldest.into(), word.started.into()));
        assert!(
            judged.is_some_and(|verdict| verdict.kept),
            "I27: page {} word {} reads {value:#x}, not write {}..={}",
            begun.page,
            begun.word,
            begun.oldest,
            word.started
        );
    }

    /// The page is being unmapped.
    pub fn ending(&self, page: usize) {
        self.pages()[page].life = Life::Changing;
    }

    /// The page was unmapped, or could not be: `gone`.
    pub fn ended(&self, page: usize, gone: bool) {
        let entry = &mut self.pages()[page];
        entry.number += 1;
        entry.life = if gone { Life::Dead } else { Life::Live };
        entry.words.iter_mut().filter(|word| word.started != word.done).for_each(|word| word.wild = true);
    }

    /// The page is being mapped, and will read as zero.
    pub fn beginning(&self, page: usize) {
        let entry = &mut self.pages()[page];
        entry.life = Life::Changing;
        for word in &mut entry.words {
            let in_flight = word.started != word.done;
            *word = Word { started: 0, done: 0, wild: in_flight };
        }
    }

    /// The page was mapped.
    pub fn begun(&self, page: usize) {
        let entry = &mut self.pages()[page];
        entry.number += 1;
        entry.life = Life::Live;
    }
}

fn begin(entry: &Page, page: usize, word: usize) -> Begun {
    let Word { done, wild, .. } = entry.words[word];
    Begun { page, word, life: entry.life, number: entry.number, oldest: done, wild }
}

/// A live page answers, unless failures are injected; a dead one does not.
fn check_answer(begun: Begun, entry: &Page, answered: bool, may_fail: bool) {
    let same = begun.number == entry.number && begun.life == entry.life;
    match (same, entry.life) {
        (true, Life::Live) => assert!(answered || may_fail, "live page {} is refused", begun.page),
        (true, Life::Dead) => assert!(!answered, "dead page {} answers", begun.page),
        _ => {}
    }
}

/// A value that tells where it belongs; 0 is what an untouched page holds.
fn encode(page: usize, word: usize, number: u32) -> u64 {
    let place = (page * WORDS + word + 1) as u64;
    place << 32 | u64::from(number)
}

fn decode(page: usize, word: usize, value: u64) -> Option<u32> {
    let number = u32::try_from(value & u64::from(u32::MAX)).ok()?;
    (value == 0 || value == encode(page, word, number)).then_some(number)
}
