//! Renaming pages and actors loses no state: a search that knows nothing of it reaches the same ones.

use crate::design::Bounds;
use crate::designs::migration::LINUX_7_3;
use crate::explore::{Limits, explore};
use crate::folio::Folios;
use crate::linux::migration::World as Migrations;
use crate::tests::unrenamed::sizes_without_renaming;

#[test]
fn search_without_renaming_reaches_the_same_states_up_to_renaming() {
    let (seen, canonical) = sizes_without_renaming(&Folios::without_symmetry(Bounds::of(4, 2, 2)));
    let explored =
        explore(&Folios::new(Bounds::of(4, 2, 2)), &Limits { full: true, ..Limits::default() }, &mut |_| ());
    assert_eq!((canonical, seen), (explored.states, 17_468));
}

#[test]
fn threads_that_migrate_are_alike() {
    let world = Migrations::new(LINUX_7_3, 2);
    let explored = explore(&world, &Limits { full: true, ..Limits::default() }, &mut |_| ());
    assert_eq!(sizes_without_renaming(&world).1, explored.states);
}
