//! [`Encoded`]: the stored form of a state: 56 bytes, one form for all states that differ by names only.
//!
//! Free pages, the pagemap's counter and the use of system memory follow from the rest in a state that keeps all
//! rules, so they are left out.

use crate::folio::state::{LIVE, backing_parts, block, order_in};
use crate::migrate::state::{Actor, DEVICE, Frame, State, Teardown, View, Virtual};

const WORDS: usize = 7;

/// A state as it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Encoded([u64; WORDS]);

/// Fields of a record, the last one lowest; no more than 64 bits.
#[derive(Clone, Copy)]
struct Record(u64);

impl Record {
    const EMPTY: Record = Record(0);

    fn with(self, value: u64, width: u32) -> Record {
        debug_assert!(value >> width == 0, "{value} in {width} bits");
        Record(self.0 << width | value)
    }

    /// Adds a value below the largest one of its width, which stands for none.
    fn with_maybe(self, value: Option<u8>, width: u32) -> Record {
        self.with(value.map_or((1 << width) - 1, u64::from), width)
    }

    fn with_flag(self, flag: bool) -> Record {
        self.with(u64::from(flag), 1)
    }

    /// Takes the last field off.
    fn take(&mut self, width: u32) -> u64 {
        let value = self.0 & ((1 << width) - 1);
        self.0 >>= width;
        value
    }

    fn take_maybe(&mut self, width: u32) -> Option<u8> {
        let value = self.take(width);
        (value != (1 << width) - 1).then_some(value as u8)
    }

    fn take_flag(&mut self) -> bool {
        self.take(1) == 1
    }
}

/// Widths of fields and of records, in bits.
mod width {
    pub const BYTES: u32 = 4;
    pub const MAYBE_BYTES: u32 = 5;
    pub const PAGE: u32 = 3;
    pub const BLOCK: u32 = 2;
    pub const NUMBER: u32 = 16;
    pub const BACKING: u32 = 8;
    pub const CHILD: u32 = 7;
    pub const TEARDOWN: u32 = 2;

    pub const DEVICE_PAGE: u32 = NUMBER + BACKING + BYTES + PAGE;
    pub const OTHERS: u32 = TEARDOWN + PAGE + CHILD;
    pub const VIRTUAL: u32 = 2 * MAYBE_BYTES + 2 * PAGE + 2;
    pub const FRAME: u32 = 1 + NUMBER + BLOCK;
    pub const ACTOR: u32 = 2 * FRAME + 2 * PAGE + 2;
}

/// Records one after the other.
struct Bits {
    words: [u64; WORDS],
    at: u32,
}

impl Bits {
    fn over(words: [u64; WORDS]) -> Bits {
        Bits { words, at: 0 }
    }

    fn put(&mut self, record: Record, width: u32) {
        let (word, shift) = ((self.at / 64) as usize, self.at % 64);
        self.words[word] |= record.0 << shift;
        if shift + width > 64 {
            self.words[word + 1] |= record.0 >> (64 - shift);
        }
        self.at += width;
    }

    fn get(&mut self, width: u32) -> Record {
        let (word, shift) = ((self.at / 64) as usize, self.at % 64);
        let mut value = self.words[word] >> shift;
        if shift + width > 64 {
            value |= self.words[word + 1] << (64 - shift);
        }
        self.at += width;
        Record(value & ((1 << width) - 1))
    }
}

impl Encoded {
    /// Encodes a state that is in its canonical form.
    pub(super) fn of(state: &State) -> Encoded {
        let mut bits = Bits::over([0; WORDS]);
        (0..DEVICE).for_each(|page| bits.put(of_device_page(state, page), width::DEVICE_PAGE));
        bits.put(of_others(state), width::OTHERS);
        for block in state.blocks {
            bits.put(Record(u64::from(block)), width::NUMBER);
        }
        state.pages.iter().for_each(|page| bits.put(of_virtual(page), width::VIRTUAL));
        state.actors.iter().for_each(|actor| bits.put(of_actor(actor), width::ACTOR));
        Encoded(bits.words)
    }

    /// The state, in a world of `pages` device pages.
    pub(super) fn state(&self, pages: u8) -> State {
        let mut bits = Bits::over(self.0);
        let mut state = State::empty();
        (0..DEVICE).for_each(|page| to_device_page(bits.get(width::DEVICE_PAGE), &mut state, page));
        to_others(bits.get(width::OTHERS), &mut state);
        state.blocks = state.blocks.map(|_| bits.get(width::NUMBER).0 as u16);
        state.pages = state.pages.map(|_| to_virtual(bits.get(width::VIRTUAL)));
        state.actors = state.actors.map(|_| to_actor(bits.get(width::ACTOR)));
        count(&mut state, pages);
        state
    }
}

/// Counts what is not stored.
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

fn of_device_page(state: &State, page: usize) -> Record {
    Record::EMPTY
        .with(u64::from(state.words[page]), width::NUMBER)
        .with(u64::from(state.backings[page]), width::BACKING)
        .with(u64::from(state.device[page]), width::BYTES)
        .with(u64::from(state.owners[page]), width::PAGE)
}

fn to_device_page(mut record: Record, state: &mut State, page: usize) {
    state.owners[page] = record.take(width::PAGE) as u8;
    state.device[page] = record.take(width::BYTES) as u8;
    state.backings[page] = record.take(width::BACKING) as u8;
    state.words[page] = record.take(width::NUMBER) as u16;
}

fn of_others(state: &State) -> Record {
    Record::EMPTY
        .with(state.teardown as u64, width::TEARDOWN)
        .with_maybe(state.held, width::PAGE)
        .with_maybe(state.child, width::CHILD)
}

fn to_others(mut record: Record, state: &mut State) {
    state.child = record.take_maybe(width::CHILD);
    state.held = record.take_maybe(width::PAGE);
    state.teardown = match record.take(width::TEARDOWN) {
        0 => Teardown::Alive,
        1 => Teardown::Killed,
        _ => Teardown::Ended,
    };
}

fn of_virtual(page: &Virtual) -> Record {
    let cpu = match page.cpu {
        View::Fault => 0,
        View::Ram => 1,
        View::Device(page) => 2 + u64::from(page),
    };
    Record::EMPTY
        .with_maybe(page.expected, width::MAYBE_BYTES)
        .with_maybe(page.ram, width::MAYBE_BYTES)
        .with_maybe(page.table, width::PAGE)
        .with(cpu, width::PAGE)
        .with_flag(page.taken)
        .with_flag(page.reserved)
}

fn to_virtual(mut record: Record) -> Virtual {
    let (reserved, taken) = (record.take_flag(), record.take_flag());
    let cpu = match record.take(width::PAGE) as u8 {
        0 => View::Fault,
        1 => View::Ram,
        page => View::Device(page - 2),
    };
    let (table, ram) = (record.take_maybe(width::PAGE), record.take_maybe(width::MAYBE_BYTES));
    Virtual { expected: record.take_maybe(width::MAYBE_BYTES), ram, cpu, table, taken, reserved }
}

fn of_actor(actor: &Actor) -> Record {
    let mut record = Record::EMPTY;
    for frame in [actor.outer, actor.inner] {
        record = record
            .with_flag(frame.is_some())
            .with(frame.map_or(0, |frame| u64::from(frame.task)), width::NUMBER)
            .with(frame.map_or(0, |frame| u64::from(frame.block)), width::BLOCK);
    }
    record
        .with_maybe(actor.victim.map(|(page, _)| page), width::PAGE)
        .with(actor.victim.map_or(0, |(_, head)| u64::from(head)), width::PAGE)
        .with_flag(actor.evicted)
        .with_flag(actor.contended)
}

fn to_actor(mut record: Record) -> Actor {
    let (contended, evicted) = (record.take_flag(), record.take_flag());
    let (head, page) = (record.take(width::PAGE) as u8, record.take_maybe(width::PAGE));
    let [inner, outer] = [(); 2].map(|()| {
        let (block, task) = (record.take(width::BLOCK) as u8, record.take(width::NUMBER) as u16);
        record.take_flag().then_some(Frame { task, block })
    });
    Actor { outer, inner, victim: page.map(|page| (page, head)), evicted, contended }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::state::GARBAGE;

    #[test]
    fn encoded_state_comes_back() {
        let mut state = State::empty();
        state.words = [0x1f3, 0, 0xffff, 7];
        state.backings = [33, 0, 1, 0];
        state.device = [15, 3, 0, 6];
        state.owners = [1, 5, 0, 2];
        (state.held, state.child, state.teardown) = (Some(3), Some(0x3e), Teardown::Killed);
        state.blocks = [1, 0, 65_535];
        state.pages[5] = Virtual {
            expected: Some(6),
            ram: Some(GARBAGE),
            cpu: View::Device(3),
            table: Some(2),
            taken: true,
            reserved: true,
        };
        state.actors[2] = Actor {
            outer: Some(Frame { task: 65_535, block: 2 }),
            inner: Some(Frame { task: 1, block: 0 }),
            victim: Some((5, 7)),
            evicted: true,
            contended: false,
        };
        state.actors[0].inner = Some(Frame { task: 3, block: 1 });
        count(&mut state, 4);
        assert_eq!(Encoded::of(&state).state(4), state);
    }
}
