//! Steps and states in words.

use crate::design::{Action, Told};
use crate::folio::Folios;
use crate::folio::state::{Hand, State, backing_parts, data_in, order_in, unpack};
use crate::folio::world::verb;

/// A step in words.
pub(super) fn tell(before: &State, action: Action, after: &State) -> Told {
    let Action { actor, verb, page, order } = action;
    let held = before.held[usize::from(actor)];
    let head = held.page;
    let failed = if before == after { ": refused" } else { "" };
    let text = match verb {
        verb::ALLOCATE => format!("is given the pages of order {order} at page {page} by the pool"),
        verb::GET => format!("gets a reference of the folio over page {page}{failed}"),
        verb::TAKE => format!("takes the reference of the folio at page {page} that was laid aside"),
        verb::KILL => "kills the pagemap".to_owned(),
        verb::FORM => format!("forms a folio of order {order} at page {page}"),
        verb::GIVE_BACK => format!("gives the pages of order {order} at page {page} back, unformed"),
        verb::UNLOCK => format!("unlocks the folio at page {page}"),
        verb::SPLIT => format!("splits the folio at page {head} to order {order}{failed}"),
        verb::SPLIT_AROUND => {
            format!("splits the folio at page {head} around page {page} to order {order}{failed}")
        }
        verb::COLLAPSE => {
            format!(
                "collapses what is at hand of page {page} to {}: order {order}{failed}",
                page + (1 << order) - 1
            )
        }
        verb::DROP => format!("drops its reference of the folio at page {page}"),
        verb::DROP_AND_REUSE => {
            format!(
                "drops the last reference of the folio at page {page}, whose pages are formed anew at once"
            )
        }
        verb::TRY_LOCK => format!("tries to lock the folio at page {page}{failed}"),
        verb::SHELVE => format!("lays its reference of the folio at page {page} aside"),
        verb::FAIL_NEXT => "tells the pool to fail the next allocation".to_owned(),
        verb::RELEASE => "lets the pool release what died".to_owned(),
        verb::CLOSE => "closes the pool".to_owned(),
        other => format!("verb {other}"),
    };
    Told { actor: format!("actor {}", actor + 1), text }
}

/// A state in words.
pub(super) fn view(world: &Folios, state: &State) -> Vec<String> {
    let pages = 0..world.bounds.pages;
    let mut lines: Vec<String> = pages.clone().map(|page| page_line(page, state.words.at(page))).collect();
    for (actor, held) in world.actors(state).filter(|(_, held)| held.hand != Hand::Empty) {
        lines.push(format!("actor {}: {:?} page {} order {}", actor + 1, held.hand, held.page, held.order));
    }
    for (page, order) in pages.clone().filter_map(|page| Some((page, state.aside(page)?))) {
        lines.push(format!("aside {page}: a reference of order {order}"));
    }
    for page in pages.clone().filter(|page| state.backings[usize::from(*page)] != 0) {
        let (references, order) = backing_parts(state.backings[usize::from(page)]);
        lines.push(format!("backing {page}: order {order}, {references} references"));
    }
    let free: Vec<String> =
        pages.filter(|page| state.free >> page & 1 == 1).map(|page| page.to_string()).collect();
    lines.push(format!("pool: free pages {}", if free.is_empty() { "-".to_owned() } else { free.join(" ") }));
    lines.push(format!("pagemap: {} pages live{}", state.live, if state.dead { ", killed" } else { "" }));
    lines
}

fn page_line(page: u8, packed: u16) -> String {
    if packed == 0 {
        return format!("page {page}: 0");
    }
    let word = unpack(packed);
    let flag = |bit: u32, name| if word >> bit & 1 == 1 { name } else { "" };
    let (order, data) = (order_in(packed), data_in(packed));
    let flags = format!("{}{}{}", flag(32, " live"), flag(33, " locked"), flag(34, " frozen"));
    format!("page {page}: {word:#x} refs {} order {order} data {data}{flags}", word & 0xffff_ffff)
}
