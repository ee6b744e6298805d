//! Bytes are copied, cleared and looked at again: I27.

use bifolio_rules::digest::OF_ZEROS;
use bifolio_rules::{BytesEvent, DeviceEvent, Place, TransactionEvent};

use crate::world::{BLOCK, NEAR, World, pages};

const RAM: Place = Place::Ram { block: BLOCK, first: 0 };
const DEVICE: Place = Place::Device { node: NEAR, first: 16 };
/// Digests of four pages.
const BYTES: &[u64] = &[1, 2, 3, 4];
/// The same, but for one page.
const OTHERS: &[u64] = &[1, 2, 9, 4];

fn out(arrived: Option<&[u64]>) -> BytesEvent<'_> {
    BytesEvent::Copied { from: RAM, to: DEVICE, sent: Some(BYTES), arrived }
}

fn home<'a>(sent: Option<&'a [u64]>, arrived: &'a [u64]) -> BytesEvent<'a> {
    BytesEvent::Copied { from: DEVICE, to: RAM, sent, arrived: Some(arrived) }
}

/// A world with a folio at page 16, in a transaction.
fn world() -> World {
    let mut world = World::new();
    world.formed(16, 2, 1).transaction(TransactionEvent::Began);
    world
}

#[test]
fn round_trip_of_the_same_bytes_keeps_i27() {
    world()
        .bytes(out(Some(BYTES)))
        .bytes(BytesEvent::Seen { place: RAM, digests: BYTES })
        .bytes(home(Some(BYTES), BYTES))
        .bytes(BytesEvent::Seen { place: DEVICE, digests: BYTES })
        .keeps(&[27]);
}

#[test]
fn page_that_changes_on_its_way_breaks_i27() {
    world().bytes(out(Some(OTHERS))).breaks(&[27]);
    world().bytes(home(Some(BYTES), OTHERS)).breaks(&[27]);
}

#[test]
fn page_that_changes_on_the_device_breaks_i27_even_if_it_cannot_be_looked_at() {
    world().bytes(out(None)).bytes(home(None, OTHERS)).breaks(&[27]);
    world().bytes(out(None)).bytes(home(Some(OTHERS), OTHERS)).breaks(&[27]);
}

#[test]
fn page_that_the_device_may_have_written_keeps_i27() {
    let mapped = DeviceEvent::Mapped { at: pages(512, 4), head: 16 };
    world().bytes(out(None)).keeps(&[]).device(mapped).bytes(home(Some(OTHERS), OTHERS)).keeps(&[27]);
    let shown = DeviceEvent::Shown { pages: pages(16, 4) };
    world().bytes(out(None)).device(shown).bytes(home(Some(OTHERS), OTHERS)).keeps(&[27]);
}

#[test]
fn system_memory_that_is_written_while_out_of_view_breaks_i27() {
    world().bytes(out(None)).bytes(BytesEvent::Seen { place: RAM, digests: OTHERS }).breaks(&[27]);
}

#[test]
fn system_memory_that_was_shown_may_be_written() {
    world()
        .bytes(out(None))
        .bytes(BytesEvent::Seen { place: RAM, digests: BYTES })
        .keeps(&[27])
        .bytes(BytesEvent::Seen { place: RAM, digests: OTHERS })
        .keeps(&[]);
}

#[test]
fn folio_that_is_written_after_it_was_copied_home_breaks_i27() {
    world()
        .bytes(home(Some(BYTES), BYTES))
        .keeps(&[27])
        .bytes(BytesEvent::Seen { place: DEVICE, digests: OTHERS })
        .breaks(&[27]);
}

#[test]
fn cleared_page_that_is_not_zero_breaks_i27() {
    let cleared = |arrived| BytesEvent::Cleared { node: NEAR, pages: pages(16, 4), arrived };
    world().bytes(cleared(Some(&[OF_ZEROS; 4]))).bytes(home(None, &[OF_ZEROS; 4])).keeps(&[27]);
    world().bytes(cleared(Some(BYTES))).breaks(&[27]);
    world().bytes(cleared(None)).bytes(home(None, BYTES)).breaks(&[27]);
}

#[test]
fn new_owner_of_device_memory_knows_nothing_of_its_bytes() {
    let mut world = world();
    world.bytes(out(Some(BYTES))).freed(16, 2, 1).formed(16, 2, 1);
    assert!(!world.shadow.knows_bytes(DEVICE));
    world.bytes(home(Some(OTHERS), OTHERS)).keeps(&[27]);
}

#[test]
fn runs_that_a_transaction_copied_are_known_until_they_are_looked_at_again() {
    let mut world = world();
    world.bytes(out(None));
    assert_eq!(world.shadow.known_runs(BLOCK), [(0, 4)]);
    world.bytes(BytesEvent::Seen { place: RAM, digests: BYTES });
    assert_eq!(world.shadow.known_runs(BLOCK), []);
    assert!(world.shadow.knows_bytes(DEVICE));
}
