//! What is kept of a visited state: 56 bytes, the same for states that differ by names only.
//!
//! Free pages, the pagemap's counter and the use of system memory follow from the rest in a state that keeps all
//! rules, so they are left out.

use crate::bifolio::state::{LIVE, backing_parts, block, order_in};
use crate::svm::state::{Actor, DEVICE, Frame, State, Teardown, View, Virtual};

const WORDS: usize = 7;

/// A state as it is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Kept([u64; WORDS]);

/// Widths of fields in bits.
mod width {
    pub const BYTES: u32 = 4;
    pub const MAYBE_BYTES: u32 = 5;
    pub const PAGE: u32 = 3;
    pub const BLOCK: u32 = 2;
    pub const NUMBER: u32 = 16;
    pub const BACKING: u32 = 8;
    pub const CHILD: u32 = 7;
    pub const TEARDOWN: u32 = 2;
}

/// Fields one after the other.
struct Bits {
    words: [u64; WORDS],
    at: u32,
}

impl Bits {
    fn over(words: [u64; WORDS]) -> Bits {
        Bits { words, at: 0 }
    }

    fn put(&mut self, value: u64, width: u32) {
        debug_assert!(value >> width == 0, "{value} in {width} bits");
        let (word, shift) = ((self.at / 64) as usize, self.at % 64);
        self.words[word] |= value << shift;
        if shift + width > 64 {
            self.words[word + 1] |= value >> (64 - shift);
        }
        self.at += width;
    }

    fn get(&mut self, width: u32) -> u64 {
        let (word, shift) = ((self.at / 64) as usize, self.at % 64);
        let mut value = self.words[word] >> shift;
        if shift + width > 64 {
            value |= self.words[word + 1] << (64 - shift);
        }
        self.at += width;
        value & ((1 << width) - 1)
    }

    /// Puts a value below the largest one of its width, which stands for none.
    fn put_maybe(&mut self, value: Option<u8>, width: u32) {
        self.put(value.map_or((1 << width) - 1, u64::from), width);
    }

    fn get_maybe(&mut self, width: u32) -> Option<u8> {
        let value = self.get(width);
        (value != (1 << width) - 1).then_some(value as u8)
    }

    fn put_flag(&mut self, flag: bool) {
        self.put(u64::from(flag), 1);
    }

    fn get_flag(&mut self) -> bool {
        self.get(1) == 1
    }
}

impl Kept {
    /// Keeps a state that is in its canonical form.
    pub(super) fn of(state: &State) -> Kept {
        let mut bits = Bits::over([0; WORDS]);
        for page in 0..DEVICE {
            bits.put(u64::from(state.words[page]), width::NUMBER);
            bits.put(u64::from(state.backings[page]), width::BACKING);
            bits.put(u64::from(state.device[page]), width::BYTES);
            bits.put(u64::from(state.owners[page]), width::PAGE);
        }
        bits.put(state.teardown as u64, width::TEARDOWN);
        bits.put_maybe(state.held, width::PAGE);
        bits.put_maybe(state.child, width::CHILD);
        state.blocks.iter().for_each(|block| bits.put(u64::from(*block), width::NUMBER));
        state.pages.iter().for_each(|page| put_virtual(&mut bits, page));
        state.actors.iter().for_each(|actor| put_actor(&mut bits, actor));
        Kept(bits.words)
    }

    /// The state, in a world of `pages` device pages.
    pub(super) fn state(&self, pages: u8) -> State {
        let mut bits = Bits::over(self.0);
        let mut state = State::empty();
        for page in 0..DEVICE {
            state.words[page] = bits.get(width::NUMBER) as u16;
            state.backings[page] = bits.get(width::BACKING) as u8;
            state.device[page] = bits.get(width::BYTES) as u8;
            state.owners[page] = bits.get(width::PAGE) as u8;
        }
        state.teardown = match bits.get(width::TEARDOWN) {
            0 => Teardown::Alive,
            1 => Teardown::Killed,
            _ => Teardown::Ended,
        };
        state.held = bits.get_maybe(width::PAGE);
        state.child = bits.get_maybe(width::CHILD);
        state.blocks = state.blocks.map(|_| bits.get(width::NUMBER) as u16);
        state.pages = state.pages.map(|_| get_virtual(&mut bits));
        state.actors = state.actors.map(|_| get_actor(&mut bits));
        count(&mut state, pages);
        state
    }
}

/// Counts what is not kept.
fn count(state: &mut State, pages: u8) {
    state.free = ((1u16 << pages) - 1) as u8;
    for (first, backing) in (0u8..).zip(state.backings) {
        let (references, order) = backing_parts(backing);
        if references > 0 {
            state.free &= !block(first, order);
        }
    }
    let folios = state.words.iter().filter(|word| **word & LIVE != 0);
    state.live = folios.map(|word| 1 << order_in(*word)).sum();
    state.ram_used = state.pages.iter().map(|page| u8::from(page.reserved)).sum();
}

fn put_virtual(bits: &mut Bits, page: &Virtual) {
    bits.put_maybe(page.expected, width::MAYBE_BYTES);
    bits.put_maybe(page.ram, width::MAYBE_BYTES);
    bits.put_maybe(page.table, width::PAGE);
    let cpu = match page.cpu {
        View::Fault => 0,
        View::Ram => 1,
        View::Device(page) => 2 + u64::from(page),
    };
    bits.put(cpu, width::PAGE);
    bits.put_flag(page.taken);
    bits.put_flag(page.reserved);
}

fn get_virtual(bits: &mut Bits) -> Virtual {
    Virtual {
        expected: bits.get_maybe(width::MAYBE_BYTES),
        ram: bits.get_maybe(width::MAYBE_BYTES),
        table: bits.get_maybe(width::PAGE),
        cpu: match bits.get(width::PAGE) as u8 {
            0 => View::Fault,
            1 => View::Ram,
            page => View::Device(page - 2),
        },
        taken: bits.get_flag(),
        reserved: bits.get_flag(),
    }
}

fn put_actor(bits: &mut Bits, actor: &Actor) {
    for frame in [actor.outer, actor.inner] {
        bits.put_flag(frame.is_some());
        bits.put(frame.map_or(0, |frame| u64::from(frame.task)), width::NUMBER);
        bits.put(frame.map_or(0, |frame| u64::from(frame.block)), width::BLOCK);
    }
    bits.put_maybe(actor.victim.map(|(page, _)| page), width::PAGE);
    bits.put(actor.victim.map_or(0, |(_, head)| u64::from(head)), width::PAGE);
    bits.put_flag(actor.evicted);
    bits.put_flag(actor.contended);
}

fn get_actor(bits: &mut Bits) -> Actor {
    let [outer, inner] = [(); 2].map(|()| {
        let is_some = bits.get_flag();
        let frame = Frame { task: bits.get(width::NUMBER) as u16, block: bits.get(width::BLOCK) as u8 };
        is_some.then_some(frame)
    });
    let (page, head) = (bits.get_maybe(width::PAGE), bits.get(width::PAGE) as u8);
    let victim = page.map(|page| (page, head));
    Actor { outer, inner, victim, evicted: bits.get_flag(), contended: bits.get_flag() }
}
