//! Devices use their memory and change their page tables: I5, I20, I21, I22.

use bifolio_rules::{DeviceEvent, FolioEvent, PoolEvent};

use crate::world::{World, pages};

#[test]
fn use_of_memory_that_was_given_back_breaks_i5() {
    let accessed = DeviceEvent::Accessed { pages: pages(16, 16) };
    World::new()
        .formed(16, 4, 1)
        .device(accessed)
        .keeps(&[5, 21])
        .freed(16, 4, 1)
        .device(accessed)
        .breaks(&[5]);
}

#[test]
fn unmapping_as_mapped_keeps_i20() {
    World::new()
        .formed(16, 4, 1)
        .device(DeviceEvent::Mapped { at: pages(512, 16), head: 16 })
        .device(DeviceEvent::Unmapped { at: pages(512, 4) })
        .device(DeviceEvent::Unmapped { at: pages(516, 12) })
        .keeps(&[20]);
}

#[test]
fn unmapping_more_than_was_mapped_breaks_i20() {
    World::new()
        .formed(16, 4, 1)
        .device(DeviceEvent::Mapped { at: pages(512, 16), head: 16 })
        .device(DeviceEvent::Unmapped { at: pages(512, 512) })
        .breaks(&[20]);
}

#[test]
fn unmapping_twice_breaks_i20() {
    let unmapped = DeviceEvent::Unmapped { at: pages(512, 16) };
    World::new()
        .formed(16, 4, 1)
        .device(DeviceEvent::Mapped { at: pages(512, 16), head: 16 })
        .device(unmapped)
        .keeps(&[20])
        .device(unmapped)
        .breaks(&[20]);
}

#[test]
fn use_beyond_the_folio_breaks_i21() {
    let mut world = World::new();
    world.formed(16, 4, 1).formed(32, 4, 2);
    world.device(DeviceEvent::Accessed { pages: pages(24, 16) }).breaks(&[21]);
}

#[test]
fn use_beyond_a_piece_after_a_split_breaks_i21() {
    World::new()
        .formed(16, 4, 1)
        .folio(FolioEvent::Split { head: 16, from: 4, to: 3, data: 1 })
        .device(DeviceEvent::Accessed { pages: pages(16, 16) })
        .breaks(&[21]);
}

#[test]
fn memory_shown_before_it_was_written_breaks_i22() {
    let mapping = DeviceEvent::Mapping { pages: pages(16, 16) };
    World::new().formed(16, 4, 1).device(mapping).keeps(&[22]);
    // A former owner has written it.
    World::new().formed(16, 4, 1).freed(16, 4, 1).allocated(16, 4, 2).device(mapping).breaks(&[22]);
    let mut world = World::new();
    let half = DeviceEvent::Written { pages: pages(16, 8) };
    world.allocated(16, 4, 1).device(half).device(mapping).breaks(&[22]);
}

#[test]
fn memory_that_is_said_to_be_clear_and_was_cleared_keeps_i22() {
    let mut world = World::new();
    world.said_clear(16, 4, 1).device(DeviceEvent::Mapping { pages: pages(16, 16) }).keeps(&[22]);
    let cleared = DeviceEvent::Cleared { pages: pages(16, 16) };
    let mut world = World::new();
    world.formed(16, 4, 1).freed(16, 4, 1).device(cleared).said_clear(16, 4, 2).keeps(&[22]);
}

#[test]
fn memory_that_is_said_to_be_clear_and_was_written_breaks_i22() {
    World::new().formed(16, 4, 1).freed(16, 4, 1).said_clear(16, 3, 2).breaks(&[22]);
    let mut world = World::new();
    world.said_clear(16, 4, 1).device(DeviceEvent::Mapped { at: pages(512, 16), head: 16 });
    world.device(DeviceEvent::Unmapped { at: pages(512, 16) });
    world
        .pool(PoolEvent::GivenBack { head: 16, order: 4, data: 1, cleared: false })
        .said_clear(16, 4, 2)
        .breaks(&[22]);
}

#[test]
fn memory_that_is_given_back_as_clear_and_was_written_breaks_i22() {
    let given_back = PoolEvent::GivenBack { head: 16, order: 4, data: 1, cleared: true };
    let cleared = DeviceEvent::Cleared { pages: pages(16, 16) };
    World::new().allocated(16, 4, 1).device(cleared).pool(given_back).said_clear(16, 4, 2).keeps(&[22]);
    let written = DeviceEvent::Written { pages: pages(24, 1) };
    World::new().allocated(16, 4, 1).device(written).pool(given_back).breaks(&[22]);
}
