//! Steps and states in words.

use crate::design::Description;
use crate::linux::migration::action::Action;
use crate::linux::migration::state::{Bytes, Entry, Job, Kind, Stage, State, members};

pub(super) fn action(before: &State, action: Action, after: &State) -> Description {
    let by = |actor: &str, text: String| Description { actor: actor.to_owned(), text };
    match action {
        Action::CpuWrite { page } => by("program", format!("writes page {page}")),
        Action::DeviceWrite { page } => by("device", format!("writes page {page}")),
        Action::GpuMap { head } => by("device", format!("maps the folio at device page {head}")),
        Action::Touch { page } => {
            by("program", format!("touches page {page}, which is empty: it gets a zeroed page"))
        }
        Action::Drop { pages } => {
            by("program", format!("drops {}: the device's range is destroyed", list(pages)))
        }
        Action::Hold { head } => {
            by("another thread", format!("takes a reference of the folio at device page {head}"))
        }
        Action::PutHeld => by("another thread", "puts its reference".to_owned()),
        Action::Die => by("process", "begins to die".to_owned()),
        Action::Begin { actor, kind } => by(&thread(actor), begin(before, kind)),
        Action::BeginWithoutArrays { actor } => by(
            &thread(actor),
            "begins to evict, takes the process, and gets no memory for its arrays".to_owned(),
        ),
        Action::Collect { actor } => {
            let job = |state: &State| state.actors[usize::from(actor)];
            by(&thread(actor), collect(job(before), job(after)))
        }
        Action::Allocate { actor }
        | Action::LargeFails { actor }
        | Action::AllocateFails { actor }
        | Action::Copy { actor }
        | Action::Move { actor, .. }
        | Action::Finalize { actor } => {
            let job = before.actors[usize::from(actor)];
            by(&thread(actor), job.map_or_else(String::new, |job| step(action, &job)))
        }
    }
}

fn thread(actor: u8) -> String {
    format!("thread {}", actor + 1)
}

fn begin(before: &State, kind: Kind) -> String {
    let slots = if before.ram_large { "one slot" } else { "two slots" };
    match kind {
        Kind::ToDevice => format!("collects the range for the device, in {slots}"),
        Kind::Fault(page) => format!("faults on page {page}, and takes a reference of its device folio"),
        Kind::Evict => "begins to evict, and looks for the folios of the object by device page".to_owned(),
    }
}

fn collect(before: Option<Job>, after: Option<Job>) -> String {
    let Some(job) = after else {
        return "finds nothing that it can lock without waiting, and returns".to_owned();
    };
    let locked_before =
        before.filter(|before| before.stage == Stage::Locking).map_or(0, |before| before.folios);
    if locked_before == 0 && job.wanted == 0 {
        return "locks what it can without waiting, and takes its pages out".to_owned();
    }
    let next = match job.next_wanted() {
        Some(head) => format!(", and wants the lock of the one at device page {head}"),
        None => String::new(),
    };
    match members(job.folios & !locked_before).next() {
        Some(head) => format!("locks the folio at device page {head}, takes its pages out{next}"),
        None => format!("finds no page on the folio that it wanted{next}"),
    }
}

fn step(action: Action, job: &Job) -> String {
    let target = if job.kind == Kind::ToDevice { "the device" } else { "system memory" };
    match action {
        Action::Allocate { .. } => format!("gets its target in {target}"),
        Action::LargeFails { .. } => "gets no large page of system memory".to_owned(),
        Action::AllocateFails { .. } => format!("gets no target in {target}, and gives up"),
        Action::Copy { .. } => format!("copies to {target}"),
        Action::Move { moved, .. } => format!("moves the mappings of {}", list(moved)),
        Action::Finalize { .. } if job.moved == job.pages => "finalizes".to_owned(),
        Action::Finalize { .. } => {
            let left = job.pages & !job.moved;
            let stay = if left.count_ones() == 1 { "stays" } else { "stay" };
            format!("finalizes, {} {stay} on the old side", list(left))
        }
        _ => String::new(),
    }
}

fn list(pages: u8) -> String {
    let names: Vec<String> = members(pages).map(|page| page.to_string()).collect();
    match names.len() {
        0 => "no page".to_owned(),
        1 => format!("page {}", names[0]),
        _ => format!("pages {}", names.join(" and ")),
    }
}

pub(super) fn view(state: &State) -> Vec<String> {
    let mut lines = Vec::new();
    for (page, it) in state.pages.iter().enumerate() {
        let entry = match it.entry {
            Entry::Empty => "nothing",
            Entry::Ram => "system memory",
            Entry::Device => "device page",
            Entry::Migrating => "migration entry",
        };
        let gpu = if it.gpu { ", mapped by the device" } else { "" };
        lines.push(format!(
            "page {page}: {entry}{gpu}{}{}",
            bytes("system", it.ram),
            bytes("device", it.device)
        ));
    }
    for head in state.heads() {
        let folio = state.folios[usize::from(head)];
        let (order, references) = (if folio.large { 9 } else { 0 }, folio.references);
        let locked = if folio.locked { ", locked" } else { "" };
        let retired = if folio.retired { ", retired" } else { "" };
        lines.push(format!("device folio {head}: order {order}, references {references}{locked}{retired}"));
    }
    lines.push(format!("object: references {}", state.object));
    lines
}

fn bytes(place: &str, bytes: Bytes) -> String {
    match bytes {
        Bytes::None => String::new(),
        Bytes::Stale => format!(", {place} bytes old"),
        Bytes::Latest => format!(", {place} bytes right"),
    }
}
