//! Transactions and what they leave: I12, I13, I18, I19, I23, I24.

use bifolio_rules::judge::Residency;
use bifolio_rules::{Ending, TransactionEvent};

use crate::world::{BLOCK, NEAR, World};

/// Pages of the block as bits, the first 64 of them.
const fn bits(low: u64) -> [u64; 8] {
    [low, 0, 0, 0, 0, 0, 0, 0]
}

const fn at(ram: u64, device: u64) -> Residency {
    Residency { ram: bits(ram), device: bits(device) }
}

/// A transaction that begins with pages 0..16 in system memory.
fn begun() -> World {
    begun_with(at(0xffff, 0))
}

fn begun_with(pages: Residency) -> World {
    let mut world = World::new();
    world.transaction(TransactionEvent::Began { pages });
    world
}

const fn ended(ending: Ending, pages: Residency) -> TransactionEvent {
    TransactionEvent::Ended { ending, pages, committed: bits(0), staged: false }
}

/// A folio of 16 pages takes the place of 16 pages of system memory.
const MOVED: TransactionEvent = TransactionEvent::Ended {
    ending: Ending::Done,
    pages: at(0, 0xffff),
    committed: bits(0xffff),
    staged: false,
};

#[test]
fn transaction_that_moves_all_keeps_every_rule() {
    begun()
        .transaction(TransactionEvent::MemoryAsked { order: 4, smallest: 0 })
        .transaction(TransactionEvent::FolioTaken { node: NEAR, head: 16 })
        .transaction(TransactionEvent::Reserved { pages: -16 })
        .transaction(MOVED)
        .keeps(&[12, 13, 18, 19]);
}

#[test]
fn transaction_that_fails_and_puts_all_back_keeps_every_rule() {
    begun()
        .transaction(TransactionEvent::MemoryAsked { order: 0, smallest: 0 })
        .transaction(TransactionEvent::FolioTaken { node: NEAR, head: 16 })
        .transaction(TransactionEvent::FolioReleased { node: NEAR, head: 16, order: 4 })
        .transaction(ended(Ending::NoMemory, at(0xffff, 0)))
        .keeps(&[12, 13, 18, 19, 23]);
}

#[test]
fn pages_left_out_of_view_break_i12_and_i18() {
    let pages = at(0xffff, 0);
    begun()
        .transaction(TransactionEvent::Ended {
            ending: Ending::Done,
            pages,
            committed: bits(0),
            staged: true,
        })
        .breaks(&[12, 18]);
}

#[test]
fn folio_that_no_page_is_on_breaks_i12_and_i18() {
    begun()
        .transaction(TransactionEvent::FolioTaken { node: NEAR, head: 16 })
        .transaction(ended(Ending::Done, at(0xffff, 0)))
        .breaks(&[12, 18]);
}

#[test]
fn slots_counted_for_pages_break_i13() {
    begun().transaction(TransactionEvent::Reserved { pages: -1 }).transaction(MOVED).breaks(&[13, 18]);
}

#[test]
fn giving_up_at_a_large_order_breaks_i19() {
    begun()
        .transaction(TransactionEvent::MemoryAsked { order: 4, smallest: 0 })
        .transaction(ended(Ending::NoMemory, at(0xffff, 0)))
        .breaks(&[19]);
}

#[test]
fn giving_up_for_another_reason_at_a_large_order_keeps_i19() {
    begun()
        .transaction(TransactionEvent::MemoryAsked { order: 4, smallest: 0 })
        .transaction(ended(Ending::Failed, at(0xffff, 0)))
        .keeps(&[19]);
}

#[test]
fn failure_that_moved_pages_all_the_same_breaks_i23() {
    begun()
        .transaction(TransactionEvent::Reserved { pages: -8 })
        .transaction(ended(Ending::Failed, at(0x00ff, 0xff00)))
        .breaks(&[23]);
}

#[test]
fn failure_after_a_part_was_committed_keeps_i23() {
    let pages = at(0x00ff, 0xff00);
    let event =
        TransactionEvent::Ended { ending: Ending::Failed, pages, committed: bits(0xff00), staged: false };
    begun().transaction(TransactionEvent::Reserved { pages: -8 }).transaction(event).keeps(&[23]);
}

#[test]
fn failure_after_pages_came_home_keeps_i23_if_their_folio_was_released() {
    let released = TransactionEvent::FolioReleased { node: NEAR, head: 16, order: 4 };
    let came_home = |world: &mut World| {
        world.transaction(TransactionEvent::Reserved { pages: 16 });
        world.transaction(ended(Ending::Failed, at(0xffff, 0)));
    };
    let mut world = begun_with(at(0, 0xffff));
    came_home(world.transaction(released));
    world.keeps(&[23]);
    let mut world = begun_with(at(0, 0xffff));
    came_home(&mut world);
    world.breaks(&[23]);
}

#[test]
fn pages_that_others_moved_while_it_was_paused_are_not_its_own() {
    begun()
        .transaction(TransactionEvent::Paused { pages: at(0xffff, 0) })
        .transaction(TransactionEvent::Resumed { pages: at(0x00ff, 0xff00) })
        .transaction(ended(Ending::Failed, at(0x00ff, 0xff00)))
        .keeps(&[13, 23]);
}

#[test]
fn pages_that_it_moved_before_it_was_paused_are_its_own() {
    let (out, home) = (at(0, 0xffff), at(0xffff, 0));
    let brought = |pages| {
        let mut world = begun_with(out);
        world
            .transaction(TransactionEvent::Reserved { pages })
            .transaction(TransactionEvent::FolioReleased { node: NEAR, head: 16, order: 4 })
            .transaction(TransactionEvent::Paused { pages: home })
            .transaction(TransactionEvent::Resumed { pages: home })
            .transaction(ended(Ending::Failed, home));
        world
    };
    brought(16).keeps(&[13, 23]);
    brought(1).breaks(&[13, 18]);
}

#[test]
fn waiting_while_another_block_is_held_breaks_i24() {
    let waiting = |holding| TransactionEvent::Waiting { holding };
    World::new().transaction(waiting(0)).keeps(&[24]).transaction(waiting(1)).breaks(&[24]);
}

#[test]
fn transaction_that_ended_leaves_nothing_to_the_next_one() {
    let mut world = begun();
    world.transaction(TransactionEvent::Reserved { pages: -16 }).transaction(MOVED).keeps(&[13]);
    world
        .transaction(TransactionEvent::Began { pages: at(0, 0xffff) })
        .transaction(ended(Ending::Failed, at(0, 0xffff)))
        .keeps(&[13, 18, 23]);
    assert_eq!(world.shadow.known_runs(BLOCK), []);
}
