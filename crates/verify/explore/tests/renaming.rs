//! Renaming pages and actors loses no state: a search that knows nothing of it reaches the same ones.

use bifolio_explore::design::Bounds;
use bifolio_explore::explore::{Limits, explore};
use bifolio_explore::folio::Folios;

mod unrenamed;

#[test]
fn search_without_renaming_reaches_the_same_states_up_to_renaming() {
    let (seen, canonical) = unrenamed::sizes(&Folios::with_twins(Bounds::of(4, 2, 2)));
    let explored =
        explore(&Folios::new(Bounds::of(4, 2, 2)), &Limits { full: true, ..Limits::default() }, &mut |_| ());
    assert_eq!((canonical, seen), (explored.states, 17_468));
}
