//! [`Encoded`]: the stored form of a state, without the pages and actors that a world does not have.

use crate::bits::{BitReader, BitWriter};
use crate::design::Bounds;
use crate::linux::memory_order::Late;
use crate::linux::page::{Data, HOT, Info, LOW_BYTE, Mapping, Memcg, Page};
use crate::linux::state::{Actor, Folio, Object, Phase, State};

const WORDS: usize = 9;

/// A state as it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Encoded([u64; WORDS]);

type Writer = BitWriter<WORDS>;
type Reader = BitReader<WORDS>;

impl Encoded {
    /// Encodes a state.
    pub fn of(state: &State, bounds: Bounds) -> Encoded {
        let (mut out, pages) = (Writer::new(), usize::from(bounds.pages));
        for page in 0..pages {
            put_page(&mut out, &state.pages[page]);
            out.put(state.folios[page].phase as u64, 3);
            out.put(u64::from(state.folios[page].order), 2);
            out.put(u64::from(state.objects[page].references), 4);
            out.put(u64::from(state.objects[page].order), 2);
        }
        for set in [state.free, state.small, state.large] {
            out.put(u64::from(set), bounds.pages.into());
        }
        // In a state that keeps all rules it counts pages, of which there are 8 at most.
        out.put(u64::try_from(state.pagemap).unwrap_or(0), 4);
        out.put_flag(state.was_hot);
        out.put_flag(state.killed);
        out.put_flag(state.ended);
        for (actor, late) in state.actors.iter().zip(state.late).take(bounds.actors.into()) {
            put_actor(&mut out, *actor);
            out.put_flag(late.put);
            out.put(late.undone.into(), bounds.pages.into());
        }
        Encoded(out.finish())
    }

    /// The state.
    pub fn state(&self, bounds: Bounds) -> State {
        let mut from = Reader::new(self.0);
        let mut state = State::fresh(bounds.pages);
        for page in 0..usize::from(bounds.pages) {
            state.pages[page] = take_page(&mut from);
            let phase = take_phase(&mut from);
            state.folios[page] = Folio { phase, order: from.take_u8(2) };
            let references = from.take_u8(4);
            state.objects[page] = Object { references, order: from.take_u8(2) };
        }
        for set in [&mut state.free, &mut state.small, &mut state.large] {
            *set = from.take_u8(bounds.pages.into()).into();
        }
        state.pagemap = i8::try_from(from.take(4)).unwrap_or(0);
        state.was_hot = from.take_flag();
        (state.killed, state.ended) = (from.take_flag(), from.take_flag());
        for actor in 0..usize::from(bounds.actors) {
            state.actors[actor] = take_actor(&mut from);
            let put = from.take_flag();
            state.late[actor] = Late { put, undone: from.take_u8(bounds.pages.into()).into() };
        }
        state
    }
}

fn put_page(out: &mut Writer, page: &Page) {
    out.put(u64::from(page.flags & LOW_BYTE), 8);
    out.put(u64::from((page.flags & HOT) >> 8), 2);
    out.put(
        match page.info {
            Info::Null => 0,
            Info::PageMap => 1,
            Info::Link(head) => 2 + u64::from(head),
            Info::Mask(order) => 10 + u64::from(order),
        },
        4,
    );
    out.put(
        match page.data {
            Data::Null => 0,
            Data::LargeMapcount => 1,
            Data::DeferredList => 2,
            Data::Object(object) => 3 + u64::from(object),
        },
        4,
    );
    out.put(page.mapping as u64, 2);
    out.put_flag(page.mm_ids);
    out.put(
        match page.memcg {
            Memcg::Null => 0,
            Memcg::Charged => 1,
            Memcg::Pages(order) => 2 + u64::from(order),
        },
        3,
    );
    out.put(u64::from(page.references), 2);
}

fn take_page(from: &mut Reader) -> Page {
    let flags = u16::from(from.take_u8(8)) | u16::from(from.take_u8(2)) << 8;
    let info = match from.take_u8(4) {
        0 => Info::Null,
        1 => Info::PageMap,
        link @ 2..10 => Info::Link(link - 2),
        mask => Info::Mask(mask - 10),
    };
    let data = match from.take_u8(4) {
        0 => Data::Null,
        1 => Data::LargeMapcount,
        2 => Data::DeferredList,
        object => Data::Object(object - 3),
    };
    let mapping = match from.take_u8(2) {
        0 => Mapping::Null,
        1 => Mapping::Anon,
        2 => Mapping::Tail,
        _ => Mapping::DeferredList,
    };
    let mm_ids = from.take_flag();
    let memcg = match from.take_u8(3) {
        0 => Memcg::Null,
        1 => Memcg::Charged,
        pages => Memcg::Pages(pages - 2),
    };
    Page { flags, info, data, mapping, mm_ids, memcg, references: from.take_u8(2) }
}

fn take_phase(from: &mut Reader) -> Phase {
    match from.take_u8(3) {
        0 => Phase::Gone,
        1 => Phase::New,
        2 => Phase::Live,
        3 => Phase::Frozen,
        _ => Phase::Freeing,
    }
}

/// An actor by the number of its kind, its page, its order, and what else it remembers.
fn put_actor(out: &mut Writer, actor: Actor) {
    let (kind, page, order, more) = match actor {
        Actor::Idle => (0, 0, 0, 0),
        Actor::Claimed { page, order } => (1, page, order, 0),
        Actor::Looked { page, order, stale: None } => (2, page, order, 0),
        Actor::Looked { page, order, stale: Some((head, stale)) } => (3, page, order, head << 2 | stale),
        Actor::Ready { page, order } => (4, page, order, 0),
        Actor::Formed { page, order } => (5, page, order, 0),
        Actor::Splitting { page, to } => (6, page, to, 0),
        Actor::Freeing { page, order } => (7, page, order, 0),
        Actor::Undone { page, order } => (8, page, order, 0),
        Actor::HandingBack { page, order, done } => (9, page, order, done),
        Actor::HandedBack { page, order } => (10, page, order, 0),
        Actor::UndoneAfter { page, order } => (11, page, order, 0),
    };
    out.put(kind, 4);
    out.put(u64::from(page), 3);
    out.put(u64::from(order), 2);
    out.put(u64::from(more), 5);
}

fn take_actor(from: &mut Reader) -> Actor {
    let (kind, page, order, more) = (from.take(4), from.take_u8(3), from.take_u8(2), from.take_u8(5));
    match kind {
        0 => Actor::Idle,
        1 => Actor::Claimed { page, order },
        2 => Actor::Looked { page, order, stale: None },
        3 => Actor::Looked { page, order, stale: Some((more >> 2, more & 3)) },
        4 => Actor::Ready { page, order },
        5 => Actor::Formed { page, order },
        6 => Actor::Splitting { page, to: order },
        7 => Actor::Freeing { page, order },
        8 => Actor::Undone { page, order },
        9 => Actor::HandingBack { page, order, done: more },
        10 => Actor::HandedBack { page, order },
        _ => Actor::UndoneAfter { page, order },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::page::{ACTIVE, HEAD, LOCKED, WORKINGSET};

    #[test]
    fn encoded_state_comes_back() {
        let bounds = Bounds::of(8, 3, 3);
        let mut state = State::fresh(8);
        let page = Page {
            flags: LOCKED | HEAD | ACTIVE | WORKINGSET,
            info: Info::Link(7),
            data: Data::Object(7),
            mapping: Mapping::DeferredList,
            mm_ids: true,
            memcg: Memcg::Pages(3),
            references: 1,
        };
        state.pages[7] = page;
        state.pages[6] =
            Page { info: Info::Mask(3), memcg: Memcg::Charged, data: Data::LargeMapcount, ..page };
        state.pages[5] = Page { info: Info::Null, mapping: Mapping::Tail, data: Data::DeferredList, ..page };
        state.folios[7] = Folio { phase: Phase::Freeing, order: 3 };
        state.objects[6] = Object { references: 9, order: 3 };
        (state.free, state.small, state.large) = (0x81, 0x42, 0x24);
        (state.pagemap, state.was_hot, state.killed, state.ended) = (8, true, true, true);
        state.actors = [
            Actor::Looked { page: 7, order: 2, stale: Some((7, 3)) },
            Actor::HandingBack { page: 6, order: 3, done: 7 },
            Actor::Splitting { page: 5, to: 1 },
        ];
        state.late[1] = Late { put: true, undone: 0xc0 };
        assert_eq!(Encoded::of(&state, bounds).state(bounds), state);
    }
}
