//! What must be true of every state, of a block that no transaction has, of a quiet world, and at the end of a
//! transaction; each with the rule that says so.

use bifolio_migrate::{Failure, Finished, Moved, PageRun};
use bifolio_rules::RuleSet;
use bifolio_rules::facts::{self, Counted, Finalized, GaveUp, Removed};

use crate::folio::state::{LOCKED, backing_parts, data_in, order_in};
use crate::migrate::action::Request;
use crate::migrate::folios;
use crate::migrate::state::{ACTORS, BLOCK_PAGES, BLOCKS, DEVICE, GARBAGE, State, Teardown, View, Virtual};
use crate::migrate::transition_cache::{BlockView, Location, TaskView, TransitionCache};

/// Judges a state; `may_wait` says whether actors that make room may wait for a block.
pub(super) fn state(
    state: &State,
    cache: &TransitionCache,
    blocks: u8,
    may_wait: bool,
    broken: &mut RuleSet,
) {
    let blocks = usize::from(blocks).min(BLOCKS);
    state.pages[..blocks * BLOCK_PAGES].iter().for_each(|page| bytes(state, page, broken));
    counters(state, broken);
    device_table(state, broken);
    broken.require(!may_wait || facts::i24(&waits_for(state)), 24);
    for block in 0..blocks {
        let says = cache.view(state.blocks[block]);
        any_block(state, says, block, broken);
        if !state.is_locked(block as u8) {
            idle_block(state, says, block, broken);
        }
    }
    if state.is_quiet() {
        quiet(state, cache, broken);
    }
}

/// What can be read is what was written last.
fn bytes(state: &State, page: &Virtual, broken: &mut RuleSet) {
    let Some(expected) = page.expected else { return };
    let by_cpu = match page.cpu {
        View::Fault => expected,
        View::Ram => page.ram.unwrap_or(GARBAGE),
        View::Device(device) => state.device[usize::from(device)],
    };
    let by_device = page.table.map_or(expected, |device| byte_at(state, device));
    broken.require(facts::i27(by_cpu, expected) && facts::i27(by_device, expected), 27);
}

fn byte_at(state: &State, device: u8) -> u8 {
    state.device.get(usize::from(device)).copied().unwrap_or(GARBAGE)
}

fn counters(state: &State, broken: &mut RuleSet) {
    let folios = || folios::heads(state).map(|(_, word)| word);
    let pages = folios().map(|word| 1 << order_in(word)).sum();
    broken.require(facts::i8(&Counted { counter: i32::from(state.live), truth: pages }), 8);
    for (first, backing) in (0u8..).zip(state.backings) {
        let truth = folios().filter(|word| data_in(*word) == first).count() as i32;
        let references = i32::from(backing_parts(backing).0);
        broken.require(references == 0 || facts::i7(&Counted { counter: references, truth }), 7);
    }
    let reserved = state.pages.iter().filter(|page| page.reserved).count() as i32;
    broken.require(facts::i13(&Counted { counter: i32::from(state.ram_used), truth: reserved }), 13);
    let locked = folios().filter(|word| word & LOCKED != 0).count();
    broken.require(facts::i18(locked as u8), 18);
    broken.require(state.teardown != Teardown::Ended || folios().next().is_none(), 16);
}

/// The device's table leads to folios only: what was entered was removed before its folio went.
fn device_table(state: &State, broken: &mut RuleSet) {
    for device in state.pages.iter().filter_map(|page| page.table) {
        let entered = u16::from(folios::covering(state, device).is_some());
        broken.require(facts::i20(&Removed { named: 1, entered }), 20);
    }
}

/// For each actor, whose block it waits for.
fn waits_for(state: &State) -> [Option<usize>; ACTORS] {
    std::array::from_fn(|actor| {
        let block = state.actors[actor].victim?.0 / BLOCK_PAGES as u8;
        state.holder_of(block).filter(|holder| *holder != actor)
    })
}

/// Judges any block: it does not contradict itself, and the bytes of a pinned page are where it is.
fn any_block(state: &State, says: &BlockView, block: usize, broken: &mut RuleSet) {
    broken.require(says.consistent, 12);
    for (page, _) in state.pages[block * BLOCK_PAGES..].iter().zip(says.pinned).filter(|(_, pinned)| *pinned)
    {
        broken.require(page.ram == page.expected && !page.taken, 27);
    }
}

/// Judges a block that no transaction has.
fn idle_block(state: &State, says: &BlockView, block: usize, broken: &mut RuleSet) {
    let (mut out_of_view, mut unaccounted, mut right) = (0, 0, true);
    for (page, location) in state.pages[block * BLOCK_PAGES..].iter().zip(says.locations) {
        out_of_view += u8::from(page.taken);
        unaccounted += u8::from(page.reserved != (location == Location::Ram));
        let (bytes, mapped) = match location {
            Location::Dead => (None, None),
            Location::Empty => (Some(0), None),
            Location::Ram => (page.ram, None),
            Location::Device { at, mapped, .. } => (Some(byte_at(state, at)), mapped.then_some(at)),
        };
        right &= is_of_a_folio(state, location) && (page.cpu != View::Ram || location == Location::Ram);
        broken.require(bytes == page.expected, 27);
        let entered = u16::from(mapped == page.table);
        broken.require(facts::i20(&Removed { named: 1, entered }), 20);
    }
    broken.require(right && facts::i12(&Finalized { out_of_view, leaked: 0, folios_hold_pages: true }), 12);
    broken.require(facts::i18(unaccounted), 18);
}

/// A page on the device is in a live folio of the order that the block knows.
fn is_of_a_folio(state: &State, location: Location) -> bool {
    match location {
        Location::Device { head, order, at, .. } => folios::covering(state, at) == Some((head, order)),
        _ => true,
    }
}

/// Judges a world in which no transaction is under way: folios are those, and only those, that hold pages, or that
/// a third party holds; each has its reference for each.
fn quiet(state: &State, cache: &TransitionCache, broken: &mut RuleSet) {
    let mut references = [0; DEVICE];
    for number in state.blocks {
        for location in cache.view(number).locations {
            if let Location::Device { head, at, .. } = location {
                references[usize::from(head)] |= u16::from(head == at);
            }
        }
    }
    if let Some((head, _)) = state.held.and_then(|page| folios::covering(state, page)) {
        references[usize::from(head)] += 1;
    }
    let hold = state.words.iter().zip(references).all(|(word, references)| word & 15 == references);
    let finalized = Finalized { out_of_view: 0, leaked: 0, folios_hold_pages: hold };
    broken.require(facts::i23(&finalized), 23);
}

/// Judges how a transaction ended. Its block is not yet given up.
pub(super) fn end(
    result: Result<Finished, Failure>,
    task: &TaskView,
    locations: &[Location; BLOCK_PAGES],
    page: &Virtual,
    broken: &mut RuleSet,
) {
    let for_memory = matches!(result, Err(Failure::NoRam | Failure::NoDeviceMemory));
    broken.require(facts::i19(&GaveUp { for_memory, order: task.tried }), 19);
    let Ok(finished) = result else { return };
    let answered = match task.request {
        Request::CpuFault => page.cpu != View::Fault,
        Request::DeviceFault => page.table.is_some(),
        _ => true,
    };
    broken.require(answered, 12);
    let all = |run: PageRun, is: fn(&Location) -> bool| {
        locations.iter().skip(usize::from(run.first())).take(usize::from(run.pages())).all(is)
    };
    let moved = match finished.moved {
        Moved::AlreadyThere(_) | Moved::Collapsed(_) | Moved::Protected(_) => true,
        Moved::Split(run) => all(run, |location| !matches!(location, Location::Device { order: 1.., .. })),
        Moved::ToDevice(span) => all(span.into(), |location| matches!(location, Location::Device { .. })),
        Moved::ToRam(span) | Moved::Populated(span) => {
            all(span.into(), |location| *location == Location::Ram)
        }
        Moved::Unmapped(run) => all(run, |location| *location == Location::Dead),
    };
    broken.require(moved, 23);
}
