//! Bytes are copied, cleared and looked at again: I27, I28.

use bifolio_rules::digest::OF_ZEROS;
use bifolio_rules::judge::Residency;
use bifolio_rules::{BytesEvent, DeviceEvent, Place, TransactionEvent};

use crate::world::{BLOCK, NEAR, World, pages};

const RAM: Place = Place::Ram { block: BLOCK, first: 0 };
const DEVICE: Place = Place::Device { node: NEAR, first: 16 };
/// Digests of four pages.
const BYTES: &[u64] = &[1, 2, 3, 4];
/// The same, but for one page.
const OTHERS: &[u64] = &[1, 2, 9, 4];

/// System memory is copied to the device.
fn out(world: &mut World, arrived: Option<&[u64]>) {
    world.bytes(BytesEvent::Seen { place: RAM, digests: BYTES });
    world.bytes(BytesEvent::Copied { from: RAM, to: DEVICE, pages: 4, arrived });
}

/// Device memory is copied to system memory, looked at before that or not.
fn home(world: &mut World, sent: Option<&[u64]>, arrived: &[u64]) {
    if let Some(digests) = sent {
        world.bytes(BytesEvent::Seen { place: DEVICE, digests });
    }
    world.bytes(BytesEvent::Copied { from: DEVICE, to: RAM, pages: 4, arrived: Some(arrived) });
}

/// A world with a folio at page 16, in a transaction.
fn world() -> World {
    let mut world = World::new();
    world.formed(16, 2, 1).transaction(TransactionEvent::Began { pages: Residency::default() });
    world
}

/// After these pages were copied to the device, not looked at there, and shown to the device or not.
fn on_device(shown: Option<DeviceEvent>) -> World {
    let mut world = world();
    out(&mut world, None);
    world.bytes(BytesEvent::InView { block: BLOCK });
    if let Some(event) = shown {
        world.device(event);
    }
    world
}

#[test]
fn round_trip_of_the_same_bytes_keeps_i27() {
    let mut world = world();
    out(&mut world, Some(BYTES));
    world.bytes(BytesEvent::Seen { place: RAM, digests: BYTES }).bytes(BytesEvent::InView { block: BLOCK });
    home(&mut world, Some(BYTES), BYTES);
    world.bytes(BytesEvent::Seen { place: DEVICE, digests: BYTES }).keeps(&[27]);
}

#[test]
fn page_that_changes_on_its_way_breaks_i27() {
    let mut world = world();
    out(&mut world, Some(OTHERS));
    world.breaks(&[27]);
    let mut world = self::world();
    home(&mut world, Some(BYTES), OTHERS);
    world.breaks(&[27]);
}

#[test]
fn page_that_changes_on_the_device_breaks_i27_even_if_it_cannot_be_looked_at() {
    let mut world = on_device(None);
    home(&mut world, None, OTHERS);
    world.breaks(&[27]);
    let mut world = on_device(None);
    home(&mut world, Some(OTHERS), OTHERS);
    world.breaks(&[27]);
}

#[test]
fn page_that_the_device_or_the_cpu_may_have_written_keeps_i27() {
    let mapped = DeviceEvent::Mapped { at: pages(512, 4), head: 16 };
    let shown = DeviceEvent::Shown { pages: pages(16, 4) };
    for event in [mapped, shown] {
        let mut world = on_device(Some(event));
        home(&mut world, Some(OTHERS), OTHERS);
        world.keeps(&[27]);
    }
}

#[test]
fn system_memory_that_is_written_while_out_of_view_breaks_i27() {
    let mut world = world();
    out(&mut world, None);
    world.bytes(BytesEvent::Seen { place: RAM, digests: OTHERS }).breaks(&[27]);
}

#[test]
fn system_memory_in_view_may_be_written() {
    on_device(None).bytes(BytesEvent::Seen { place: RAM, digests: OTHERS }).keeps(&[]);
}

#[test]
fn folio_that_is_written_after_it_was_copied_home_breaks_i27() {
    let mut world = world();
    home(&mut world, Some(BYTES), BYTES);
    world.keeps(&[27]).bytes(BytesEvent::Seen { place: DEVICE, digests: OTHERS }).breaks(&[27]);
}

#[test]
fn cleared_page_that_is_not_zero_breaks_i27() {
    let cleared = DeviceEvent::Cleared { pages: pages(16, 4) };
    let seen = |digests| BytesEvent::Seen { place: DEVICE, digests };
    world().device(cleared).bytes(seen(&[OF_ZEROS; 4])).keeps(&[27]);
    world().device(cleared).bytes(seen(BYTES)).breaks(&[27]);
    let mut world = world();
    world.device(cleared);
    home(&mut world, None, BYTES);
    world.breaks(&[27]);
}

#[test]
fn new_owner_of_device_memory_knows_nothing_of_its_bytes() {
    let mut world = on_device(None);
    assert!(world.shadow.knows_bytes(DEVICE));
    world.freed(16, 2, 1).formed(16, 2, 1);
    assert!(!world.shadow.knows_bytes(DEVICE));
    home(&mut world, Some(OTHERS), OTHERS);
    world.keeps(&[27]);
}

#[test]
fn system_memory_is_known_while_it_is_out_of_view() {
    let mut world = world();
    out(&mut world, None);
    assert_eq!(world.shadow.known_runs(BLOCK), [(0, 4)]);
    world.bytes(BytesEvent::InView { block: BLOCK });
    assert_eq!(world.shadow.known_runs(BLOCK), []);
}

#[test]
fn folio_that_its_block_gave_up_is_no_source() {
    let mut world = on_device(None);
    home(&mut world, None, BYTES);
    world.keeps(&[27, 28]).transaction(TransactionEvent::FolioReleased { node: NEAR, head: 16, order: 2 });
    home(&mut world, None, BYTES);
    world.breaks(&[28]);
}

#[test]
fn memory_of_a_folio_that_was_given_up_is_a_source_in_its_next_life() {
    let mut world = on_device(None);
    world.transaction(TransactionEvent::FolioReleased { node: NEAR, head: 16, order: 2 });
    world.freed(16, 2, 1).formed(16, 2, 2);
    home(&mut world, None, BYTES);
    world.keeps(&[28]);
}
