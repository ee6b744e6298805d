//! Folios are formed, split, collapsed and named: I1, I2, I3, I6, I7, I8, I10, I11, I14, I16, I17, I23, I25, I26.

use bifolio_rules::{DeviceEvent, Event, FolioEvent, NewFolio, PageRange, Words};

use crate::world::{FAR, World, folio};

#[test]
fn folio_formed_of_free_pages_keeps_every_rule_of_forming() {
    World::new().formed(16, 4, 1).keeps(&[1, 2, 3, 11, 16, 25]);
}

#[test]
fn folio_formed_over_a_live_one_breaks_i1() {
    World::new().formed(16, 4, 1).folio(FolioEvent::Formed(folio(16, 4, 1))).breaks(&[1]);
    World::new().formed(16, 4, 1).folio(FolioEvent::Formed(folio(24, 2, 1))).breaks(&[1]);
}

#[test]
fn folio_formed_of_memory_that_was_not_handed_out_breaks_i1() {
    World::new().folio(FolioEvent::Formed(folio(16, 4, 1))).breaks(&[1]);
}

#[test]
fn page_that_its_words_say_is_in_a_folio_breaks_i1() {
    World::new()
        .allocated(16, 4, 1)
        .folio(FolioEvent::FoundBusy { head: 16, order: 4, page: 20 })
        .breaks(&[1]);
    World::new()
        .allocated(16, 0, 1)
        .folio(FolioEvent::FoundBusy { head: 16, order: 0, page: 16 })
        .breaks(&[1]);
}

/// A folio at page 16 that is found otherwise than it should be.
fn found(change: impl Fn(&mut NewFolio)) -> World {
    let mut found = folio(16, 4, 1);
    change(&mut found);
    let mut world = World::new();
    world.allocated(16, 4, 1).folio(FolioEvent::Formed(found));
    world
}

#[test]
fn words_that_lead_elsewhere_break_i2() {
    let place = Some((16, 4));
    found(|folio| folio.words = Words { first: place, last: None, data: 1 }).breaks(&[2]);
    found(|folio| folio.words = Words { first: Some((16, 3)), last: place, data: 1 }).breaks(&[2]);
    found(|folio| folio.words = Words { first: place, last: place, data: 9 }).breaks(&[2]);
}

#[test]
fn folio_that_leads_to_no_pagemap_or_another_one_breaks_i3() {
    found(|folio| folio.pagemap = None).breaks(&[3]);
    found(|folio| folio.pagemap = Some(FAR)).breaks(&[3]);
}

#[test]
fn neighbour_that_changed_breaks_i6() {
    let seen = |found| FolioEvent::NeighbourSeen { page: 31, found };
    World::new().formed(16, 4, 1).formed(32, 4, 2).folio(seen(Some((16, 4)))).keeps(&[6]);
    World::new().formed(16, 4, 1).formed(32, 4, 2).folio(seen(None)).breaks(&[6]);
    World::new().formed(32, 4, 2).folio(seen(Some((16, 4)))).keeps(&[6]);
}

#[test]
fn split_and_collapse_that_the_object_is_told_of_keep_i7_and_i10() {
    World::new()
        .formed(16, 4, 1)
        .folio(FolioEvent::Split { head: 16, from: 4, to: 2, data: 1 })
        .folio(FolioEvent::Collapsed { head: 16, from: 2, to: 4, data: 1 })
        .freed(16, 4, 1)
        .keeps(&[7, 10]);
}

#[test]
fn split_that_another_object_is_told_of_breaks_i7() {
    let split = |from, data| FolioEvent::Split { head: 16, from, to: 2, data };
    World::new().formed(16, 4, 1).folio(split(4, 2)).breaks(&[7]);
    World::new().formed(16, 4, 1).folio(split(3, 1)).breaks(&[7]);
}

#[test]
fn collapse_of_pieces_that_are_not_all_there_breaks_i7() {
    let mut world = World::new();
    world.formed(16, 3, 1).formed(24, 3, 2);
    world.folio(FolioEvent::Collapsed { head: 16, from: 3, to: 4, data: 1 }).breaks(&[7]);
}

#[test]
fn split_or_collapse_of_free_pages_breaks_i10() {
    let split = FolioEvent::Split { head: 16, from: 4, to: 2, data: 1 };
    let collapse = FolioEvent::Collapsed { head: 16, from: 2, to: 4, data: 1 };
    World::new().folio(split).breaks(&[7, 10]);
    World::new().folio(collapse).breaks(&[7, 10]);
    World::new().allocated(16, 4, 1).folio(split).breaks(&[7, 10]);
}

#[test]
fn counter_below_the_live_pages_breaks_i8() {
    let read = |counted| FolioEvent::LivePagesRead { counted };
    World::new().formed(16, 4, 1).folio(read(16)).folio(read(20)).keeps(&[8]);
    World::new().formed(16, 4, 1).folio(read(1)).breaks(&[8]);
}

#[test]
fn folio_born_unlocked_or_without_a_reference_breaks_i11() {
    found(|folio| folio.references = 2).keeps(&[11]);
    found(|folio| folio.locked = false).breaks(&[11]);
    found(|folio| folio.references = 0).breaks(&[11]);
}

#[test]
fn step_that_names_another_order_than_that_of_the_folio_breaks_i14() {
    let named = |page, order| FolioEvent::Named { page, order: Some(order) };
    World::new().formed(16, 4, 1).folio(named(16, 4)).keeps(&[14, 17]);
    World::new().formed(16, 4, 1).folio(named(16, 0)).breaks(&[14]);
    World::new().formed(16, 4, 1).folio(named(20, 4)).breaks(&[14]);
}

#[test]
fn folio_formed_after_the_kill_breaks_i16() {
    let formed = FolioEvent::Formed(folio(16, 4, 1));
    World::new().allocated(16, 4, 1).folio(FolioEvent::Killed).folio(formed).breaks(&[16]);
    World::new()
        .allocated(16, 4, 1)
        .folio(FolioEvent::Killed)
        .folio(FolioEvent::Forming { head: 16 })
        .folio(formed)
        .breaks(&[16]);
}

#[test]
fn kill_while_a_folio_is_being_formed_keeps_i16() {
    World::new()
        .allocated(16, 4, 1)
        .folio(FolioEvent::Forming { head: 16 })
        .folio(FolioEvent::Killed)
        .folio(FolioEvent::Formed(folio(16, 4, 1)))
        .keeps(&[16]);
}

#[test]
fn step_on_a_folio_that_was_freed_breaks_i17() {
    let named = FolioEvent::Named { page: 20, order: None };
    World::new().formed(16, 4, 1).folio(named).keeps(&[17]).freed(16, 4, 1).folio(named).breaks(&[17]);
    World::new().allocated(16, 4, 1).folio(named).breaks(&[17]);
}

#[test]
fn block_with_pages_on_a_folio_that_is_not_there_breaks_i23() {
    let in_block = |order| FolioEvent::InBlock { head: 16, order };
    World::new().formed(16, 4, 1).folio(in_block(4)).keeps(&[23]);
    World::new().formed(16, 4, 1).folio(in_block(3)).breaks(&[23]);
    World::new().folio(in_block(4)).breaks(&[23]);
}

#[test]
fn folio_for_a_node_of_pages_of_another_breaks_i25() {
    let mut world = World::new();
    world.allocated(64, 4, 1).folio(FolioEvent::Formed(folio(64, 4, 1))).breaks(&[21, 25]);
}

#[test]
fn mapping_of_another_nodes_memory_breaks_i25() {
    let mapping = DeviceEvent::Mapping { pages: PageRange { first: 16, pages: 16 } };
    World::new().formed(16, 4, 1).device(mapping).keeps(&[25]);
    let mut world = World::new();
    world.formed(16, 4, 1);
    world.observe(&Event::Device { node: FAR, event: mapping });
    // No range of that node has the pages.
    world.breaks(&[5, 25]);
}

#[test]
fn event_of_a_node_that_was_not_added_breaks_i25() {
    let mut world = World::new();
    world.observe(&Event::Folio { node: 7, event: FolioEvent::Killed });
    world.breaks(&[25]);
}

#[test]
fn folio_that_is_not_looked_at_again_breaks_i26() {
    let rechecked = |found| FolioEvent::Rechecked { wanted: 16, found };
    World::new().folio(rechecked(Some(16))).keeps(&[26]).folio(rechecked(Some(32))).breaks(&[26]);
    World::new().folio(rechecked(None)).breaks(&[26]);
}
