//! Operations and states in words.

use crate::design::Description;
use crate::folio::action::{Action, Operation, PoolOperation};
use crate::folio::state::{HandleKind, State, data_in, ones, order_in, unpack};
use crate::folio::world::World;

/// An operation in words.
pub(super) fn action(before: &State, Action { actor, operation }: Action, after: &State) -> Description {
    let handle = before.handles[usize::from(actor)];
    let (head, order) = (handle.page, handle.order);
    let failed = if before == after { ": refused" } else { "" };
    let text = match operation {
        Operation::Allocate { page, order } => {
            format!("is given the pages of order {order} at page {page} by the pool")
        }
        Operation::Get { page } => format!("gets a reference of the folio over page {page}{failed}"),
        Operation::Unpark { page, .. } => {
            format!("takes over the parked reference of the folio at page {page}")
        }
        Operation::Park => format!("parks its reference of the folio at page {head}"),
        Operation::Kill => "kills the pagemap".to_owned(),
        Operation::Form => format!("forms a folio of order {order} at page {head}"),
        Operation::GiveBack => format!("gives the pages of order {order} at page {head} back, unformed"),
        Operation::Unlock => format!("unlocks the folio at page {head}"),
        Operation::TryLock => format!("tries to lock the folio at page {head}{failed}"),
        Operation::Split { to } => format!("splits the folio at page {head} to order {to}{failed}"),
        Operation::SplitAround { page, to } => {
            format!("splits the folio at page {head} around page {page} to order {to}{failed}")
        }
        Operation::Collapse { first, to } => {
            let last = first + (1 << to) - 1;
            format!("collapses the folios of pages {first} to {last} to order {to}{failed}")
        }
        Operation::Drop => format!("drops its reference of the folio at page {head}"),
        Operation::DropAndReuse => {
            format!(
                "drops the last reference of the folio at page {head}, whose pages are formed anew at once"
            )
        }
        Operation::Pool(PoolOperation::FailNext) => "makes the pool fail the next allocation".to_owned(),
        Operation::Pool(PoolOperation::Release) => "lets the pool release what died".to_owned(),
        Operation::Pool(PoolOperation::Close) => "closes the pool".to_owned(),
    };
    Description { actor: format!("actor {}", actor + 1), text }
}

/// A state in words.
pub(super) fn view(world: &World, state: &State) -> Vec<String> {
    let pages = 0..world.bounds.pages;
    let mut lines: Vec<String> = pages.clone().map(|page| page_line(page, state.words.at(page))).collect();
    for (actor, handle) in world.actors(state).filter(|(_, handle)| handle.kind != HandleKind::None) {
        let (kind, page, order) = (handle.kind, handle.page, handle.order);
        lines.push(format!("actor {}: {kind:?} page {page} order {order}", actor + 1));
    }
    for (page, order) in pages.clone().filter_map(|page| Some((page, state.parked_order(page)?))) {
        lines.push(format!("parked {page}: a reference of order {order}"));
    }
    for (page, references, order) in state.backings() {
        lines.push(format!("backing {page}: order {order}, {references} references"));
    }
    let free: Vec<String> = ones(state.free).map(|page| page.to_string()).collect();
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
