//! What must be true of every state, of a block that no transaction has, of a quiet world, and at the end of a
//! transaction; each with the rule that says so.

use bifolio_migrate::{Failure, Finished, Moved, PageRun};
use bifolio_rules::{RuleSet, judge};

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
    if may_wait {
        broken.note(judge::i24_no_cycle(&waits_for(state)));
    }
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
    broken.note(judge::i27_bytes(by_cpu, expected));
    broken.note(judge::i27_bytes(by_device, expected));
}

fn byte_at(state: &State, device: u8) -> u8 {
    state.device.get(usize::from(device)).copied().unwrap_or(GARBAGE)
}

fn counters(state: &State, broken: &mut RuleSet) {
    let folios = || folios::heads(state).map(|(_, word)| word);
    let pages = folios().map(|word| 1 << order_in(word)).sum();
    broken.note(judge::i8_counted(state.live.into(), pages));
    for (first, backing) in (0u8..).zip(state.backings) {
        let references = u64::from(backing_parts(backing).0);
        if references > 0 {
            let on_it = folios().filter(|word| data_in(*word) == first).count() as u64;
            broken.note(judge::i7_references(references, on_it, 0));
        }
    }
    let reserved = state.pages.iter().filter(|page| page.reserved).count() as u64;
    broken.note(judge::i13_pages(state.ram_used.into(), reserved, 0));
    broken.note(judge::i18_held(folios().filter(|word| word & LOCKED != 0).count() as u64));
    if state.teardown == Teardown::Ended {
        broken.note(judge::i16_ended(true, pages));
    }
}

/// The device's table leads to folios only: what was entered was removed before its folio went.
fn device_table(state: &State, broken: &mut RuleSet) {
    for device in state.pages.iter().filter_map(|page| page.table) {
        broken.note(judge::i20_live(folios::covering(state, device)));
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
    broken.note(judge::i12_consistent((!says.consistent).then_some(block)));
    for (page, _) in state.pages[block * BLOCK_PAGES..].iter().zip(says.pinned).filter(|(_, pinned)| *pinned)
    {
        broken.note(judge::i27_bytes((page.ram, page.taken), (page.expected, false)));
    }
}

/// Judges a block that no transaction has.
fn idle_block(state: &State, says: &BlockView, block: usize, broken: &mut RuleSet) {
    let (mut out_of_view, mut unaccounted) = (0, 0);
    for (page, location) in state.pages[block * BLOCK_PAGES..].iter().zip(says.locations) {
        out_of_view += u64::from(page.taken);
        unaccounted += u64::from(page.reserved != (location == Location::Ram));
        let (bytes, mapped) = match location {
            Location::Dead => (None, None),
            Location::Empty => (Some(0), None),
            Location::Ram => (page.ram, None),
            Location::Device { at, mapped, .. } => (Some(byte_at(state, at)), mapped.then_some(at)),
        };
        if let Location::Device { head, order, at, .. } = location {
            broken.note(judge::i23_piece(folios::covering(state, at), (head, order)));
        }
        let seen = (page.cpu == View::Ram).then_some(true);
        broken.note(judge::i12_view(seen, location == Location::Ram));
        broken.note(judge::i27_bytes(bytes, page.expected));
        broken.note(judge::i20_entry(page.table, mapped));
    }
    broken.note(judge::i12_finalized(out_of_view, 0));
    broken.note(judge::i18_held(unaccounted));
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
    for (word, references) in state.words.iter().zip(references) {
        broken.note(judge::i23_piece(Some(word & 15), references));
    }
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
    broken.note(judge::i19_gave_up(for_memory, task.tried, 0));
    let Ok(finished) = result else { return };
    let answered = match task.request {
        Request::CpuFault => page.cpu != View::Fault,
        Request::DeviceFault => page.table.is_some(),
        _ => true,
    };
    broken.note(judge::i12_finalized((!answered).into(), 0));
    let (moved, is_there): (PageRun, fn(&Location) -> bool) = match finished.moved {
        Moved::AlreadyThere(_) | Moved::Collapsed(_) | Moved::Protected(_) => return,
        Moved::Split(run) => (run, |it| !matches!(it, Location::Device { order: 1.., .. })),
        Moved::ToDevice(span) => (span.into(), |it| matches!(it, Location::Device { .. })),
        Moved::ToRam(span) | Moved::Populated(span) => (span.into(), |it| *it == Location::Ram),
        Moved::Unmapped(run) => (run, |it| *it == Location::Dead),
    };
    let there =
        (0..).zip(locations).filter(|(_, it)| is_there(it)).fold(0u16, |all, (page, _)| all | 1 << page);
    let moved = moved
        .into_iter()
        .filter(|page| usize::from(*page) < BLOCK_PAGES)
        .fold(0u16, |all, page| all | 1 << page);
    broken.note(judge::i23_moved(moved, there));
}
