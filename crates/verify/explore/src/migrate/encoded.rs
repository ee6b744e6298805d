//! [`Encoded`]: the stored form of a state: 56 bytes, one form for all states that differ by names only.
//!
//! Free pages, the pagemap's counter and the use of system memory follow from the rest in a state that keeps all
//! rules, so they are left out.

use crate::bits::{BitReader, BitWriter};
use crate::folio::state::{LIVE, backing_parts, block, order_in};
use crate::migrate::state::{Actor, DEVICE, Frame, State, Teardown, View, Virtual};

const WORDS: usize = 7;

/// A state as it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Encoded([u64; WORDS]);

type Writer = BitWriter<WORDS>;
type Reader = BitReader<WORDS>;

/// Widths of fields, in bits.
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

impl Encoded {
    /// Encodes a state that is in its canonical form.
    pub(super) fn of(state: &State) -> Encoded {
        let mut out = Writer::new();
        for page in 0..DEVICE {
            out.put(u64::from(state.words[page]), width::NUMBER);
            out.put(u64::from(state.backings[page]), width::BACKING);
            out.put(u64::from(state.device[page]), width::BYTES);
            out.put(u64::from(state.owners[page]), width::PAGE);
        }
        out.put(state.teardown as u64, width::TEARDOWN);
        out.put_option(state.held, width::PAGE);
        out.put_option(state.child, width::CHILD);
        state.blocks.iter().for_each(|block| out.put(u64::from(*block), width::NUMBER));
        state.pages.iter().for_each(|page| put_virtual(&mut out, page));
        state.actors.iter().for_each(|actor| put_actor(&mut out, actor));
        Encoded(out.finish())
    }

    /// The state, in a world of `pages` device pages.
    pub(super) fn state(&self, pages: u8) -> State {
        let mut from = Reader::new(self.0);
        let mut state = State::empty();
        for page in 0..DEVICE {
            state.words[page] = from.take(width::NUMBER) as u16;
            state.backings[page] = from.take_u8(width::BACKING);
            state.device[page] = from.take_u8(width::BYTES);
            state.owners[page] = from.take_u8(width::PAGE);
        }
        state.teardown = match from.take(width::TEARDOWN) {
            0 => Teardown::Alive,
            1 => Teardown::Killed,
            _ => Teardown::Ended,
        };
        state.held = from.take_option(width::PAGE);
        state.child = from.take_option(width::CHILD);
        state.blocks = state.blocks.map(|_| from.take(width::NUMBER) as u16);
        state.pages = state.pages.map(|_| take_virtual(&mut from));
        state.actors = state.actors.map(|_| take_actor(&mut from));
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

fn put_virtual(out: &mut Writer, page: &Virtual) {
    out.put_option(page.expected, width::MAYBE_BYTES);
    out.put_option(page.ram, width::MAYBE_BYTES);
    out.put_option(page.table, width::PAGE);
    out.put(
        match page.cpu {
            View::Fault => 0,
            View::Ram => 1,
            View::Device(page) => 2 + u64::from(page),
        },
        width::PAGE,
    );
    out.put_flag(page.taken);
    out.put_flag(page.reserved);
}

fn take_virtual(from: &mut Reader) -> Virtual {
    let (expected, ram) = (from.take_option(width::MAYBE_BYTES), from.take_option(width::MAYBE_BYTES));
    let table = from.take_option(width::PAGE);
    let cpu = match from.take_u8(width::PAGE) {
        0 => View::Fault,
        1 => View::Ram,
        page => View::Device(page - 2),
    };
    let (taken, reserved) = (from.take_flag(), from.take_flag());
    Virtual { expected, ram, cpu, table, taken, reserved }
}

fn put_actor(out: &mut Writer, actor: &Actor) {
    for frame in [actor.outer, actor.inner] {
        out.put_flag(frame.is_some());
        out.put(frame.map_or(0, |frame| u64::from(frame.task)), width::NUMBER);
        out.put(frame.map_or(0, |frame| u64::from(frame.block)), width::BLOCK);
    }
    out.put_option(actor.victim.map(|(page, _)| page), width::PAGE);
    out.put(actor.victim.map_or(0, |(_, head)| u64::from(head)), width::PAGE);
    out.put_flag(actor.evicted);
    out.put_flag(actor.contended);
}

fn take_actor(from: &mut Reader) -> Actor {
    let [outer, inner] = [(); 2].map(|()| {
        let some = from.take_flag();
        let (task, block) = (from.take(width::NUMBER) as u16, from.take_u8(width::BLOCK));
        some.then_some(Frame { task, block })
    });
    let (page, head) = (from.take_option(width::PAGE), from.take_u8(width::PAGE));
    let victim = page.map(|page| (page, head));
    Actor { outer, inner, victim, evicted: from.take_flag(), contended: from.take_flag() }
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
