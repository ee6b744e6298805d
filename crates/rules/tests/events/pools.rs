//! Pools hand out memory and take it back: I1, I4, I7, I9, I11, I15, I21.

use bifolio_rules::{DeviceEvent, Event, FolioEvent, PageRange, PoolEvent, Purpose};

use crate::world::{FAR, World};

#[test]
fn memory_that_goes_back_can_be_handed_out_again() {
    let mut world = World::new();
    world
        .formed(16, 4, 1)
        .freed(16, 4, 1)
        .allocated(16, 3, 1)
        .allocated(24, 3, 2)
        .keeps(&[1, 4, 7, 9, 11, 21]);
}

#[test]
fn memory_in_use_that_is_handed_out_breaks_i1() {
    let mut world = World::new();
    world.formed(16, 4, 1).keeps(&[1]).allocated(24, 3, 2).breaks(&[1]);
    let mut world = World::new();
    let buffer = PoolEvent::Allocated {
        head: 8,
        order: 3,
        wanted: 3,
        data: 0,
        purpose: Purpose::Buffer,
        cleared: false,
    };
    world.pool(buffer).keeps(&[1]).allocated(8, 3, 2).breaks(&[1]);
}

#[test]
fn freed_folio_whose_order_is_lost_breaks_i4() {
    World::new().formed(16, 4, 1).freed(16, 4, 1).keeps(&[4]);
    World::new().formed(16, 4, 1).freed(16, 0, 1).breaks(&[4]);
}

#[test]
fn folio_freed_twice_breaks_i4() {
    World::new().formed(16, 4, 1).freed(16, 4, 1).keeps(&[4]).freed(16, 4, 1).breaks(&[4]);
}

#[test]
fn range_without_a_folio_that_is_freed_as_one_breaks_i4() {
    World::new()
        .allocated(16, 4, 1)
        .pool(PoolEvent::GivenBack { head: 16, order: 4, data: 1, cleared: false })
        .keeps(&[4]);
    World::new().allocated(16, 4, 1).freed(16, 4, 1).breaks(&[4]);
    World::new()
        .formed(16, 4, 1)
        .pool(PoolEvent::GivenBack { head: 16, order: 4, data: 1, cleared: false })
        .breaks(&[4]);
}

#[test]
fn range_given_back_to_another_object_breaks_i7() {
    World::new().formed(16, 4, 1).freed(16, 4, 2).breaks(&[7]);
}

#[test]
fn object_that_went_before_its_last_folio_breaks_i7() {
    let asked = |exists| PoolEvent::ObjectAsked { head: 24, data: 1, exists };
    let mut world = World::new();
    world
        .formed(16, 4, 1)
        .folio(FolioEvent::Split { head: 16, from: 4, to: 3, data: 1 })
        .freed(16, 3, 1)
        .pool(asked(true))
        .keeps(&[7])
        .pool(asked(false))
        .breaks(&[7]);
}

#[test]
fn object_without_a_range_may_go() {
    let asked = PoolEvent::ObjectAsked { head: 16, data: 1, exists: false };
    World::new().formed(16, 4, 1).freed(16, 4, 1).pool(asked).keeps(&[7]);
}

#[test]
fn refusal_without_a_reason_breaks_i9() {
    let refused = |largest_free| PoolEvent::Refused { wanted: 4, largest_free };
    World::new().pool(refused(None)).pool(refused(Some(3))).keeps(&[9]);
    World::new().pool(refused(Some(9))).breaks(&[9]);
}

#[test]
fn grant_of_another_order_breaks_i9() {
    let purpose = Purpose::Folio;
    World::new()
        .pool(PoolEvent::Allocated { head: 16, order: 3, wanted: 4, data: 1, purpose, cleared: false })
        .breaks(&[9]);
}

#[test]
fn folio_freed_while_the_device_maps_it_breaks_i11() {
    let mapped = DeviceEvent::Mapped { at: PageRange { first: 512, pages: 16 }, head: 16 };
    let unmapped = DeviceEvent::Unmapped { at: PageRange { first: 512, pages: 16 } };
    World::new().formed(16, 4, 1).device(mapped).device(unmapped).freed(16, 4, 1).keeps(&[11]);
    World::new().formed(16, 4, 1).device(mapped).freed(16, 4, 1).breaks(&[11]);
}

#[test]
fn release_within_a_put_breaks_i15() {
    let done = |released| PoolEvent::PutDone { head: 16, order: 4, released };
    World::new().pool(done(0)).keeps(&[15]);
    World::new().pool(done(1)).breaks(&[15]);
}

#[test]
fn range_that_is_not_aligned_or_not_of_the_node_breaks_i21() {
    World::new().allocated(48, 4, 1).keeps(&[21]);
    World::new().allocated(40, 4, 1).breaks(&[21]);
    World::new().allocated(64, 4, 1).breaks(&[21]);
}

#[test]
fn nodes_have_their_own_memory_and_objects() {
    let mut world = World::new();
    world.formed(0, 4, 1);
    let event = PoolEvent::Allocated {
        head: 64,
        order: 4,
        wanted: 4,
        data: 1,
        purpose: Purpose::Folio,
        cleared: false,
    };
    world.observe(&Event::Pool { node: FAR, event });
    world.freed(0, 4, 1);
    let exists = PoolEvent::ObjectAsked { head: 64, data: 1, exists: true };
    world.observe(&Event::Pool { node: FAR, event: exists });
    world.keeps(&[1, 4, 7]);
}
