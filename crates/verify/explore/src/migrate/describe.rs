//! Actions and states in words.

use bifolio_migrate::Step;

use crate::design::Description;
use crate::folio::state::unpack;
use crate::migrate::action::{Action, Request, RoomAnswer, Way};
use crate::migrate::setup::Setup;
use crate::migrate::state::{State, Teardown};

/// Describes an action; `step` is what the transaction of an actor asks for.
pub(super) fn action(action: Action, step: impl Fn(u8) -> Option<Step>) -> Description {
    let by = |actor: &str, text: String| Description { actor: actor.to_owned(), text };
    match action {
        Action::CpuWrite { page } => by("program", format!("writes page {page}")),
        Action::DeviceWrite { page } => by("device", format!("writes page {page}")),
        Action::Map { page } => by("program", format!("maps page {page}")),
        Action::Hold { head } => {
            by("holder", format!("takes a reference of the folio at device page {head}"))
        }
        Action::DropHeld => by("holder", "drops its reference".to_owned()),
        Action::Kill => by("teardown", "kills the pagemap".to_owned()),
        Action::End => by("teardown", "looks whether the pagemap is drained".to_owned()),
        Action::Pin { page } => by("driver", format!("pins page {page}")),
        Action::Unpin { page } => by("driver", format!("unpins page {page}")),
        Action::Fork => by("program", "forks: the child has what is in system memory".to_owned()),
        Action::Fill { page } => by("child", format!("fetches page {page} from the device")),
        Action::Begin { actor, .. }
        | Action::Step { actor, .. }
        | Action::Look { actor, .. }
        | Action::TryVictim { actor, .. }
        | Action::MoveOut { actor, .. }
        | Action::Answer { actor, .. } => {
            by(&format!("actor {}", actor + 1), transaction(action, step(actor)))
        }
    }
}

/// What an actor does that runs transactions.
fn transaction(action: Action, step: Option<Step>) -> String {
    match action {
        Action::Begin { request, page, .. } => begin(request, page),
        Action::Look { head, .. } => format!("to make room, looks at the folio at device page {head}"),
        Action::TryVictim { page, .. } => {
            format!("tries the block of page {page}, and looks at its folio again")
        }
        Action::MoveOut { page, order, .. } => {
            format!("to make room, moves 2^{order} pages at {page} to the device")
        }
        Action::Answer { answer: RoomAnswer::Room, .. } => "answers that room was made".to_owned(),
        Action::Answer { answer: RoomAnswer::Nothing, .. } => "answers that nothing could go".to_owned(),
        Action::Answer { answer: RoomAnswer::Contended, .. } => {
            "answers that what could go is in use".to_owned()
        }
        Action::Step { way, .. } => {
            let how = if way == Way::Done { "" } else { ", failing" };
            step.map_or_else(String::new, |step| format!("{step:?}{how}"))
        }
        _ => String::new(),
    }
}

fn begin(request: Request, page: u8) -> String {
    match request {
        Request::CpuFault => format!("answers a CPU fault on page {page}"),
        Request::DeviceFault => format!("answers a device fault on page {page}"),
        Request::BringHome => format!("brings the folio of page {page} home, for teardown"),
        Request::Split => format!("splits the folio of page {page} where it is"),
        Request::Collapse => format!("collapses the folios of page {page} and the one after it"),
        Request::Evict => format!("evicts the folio of page {page}"),
        Request::Prefetch => format!("prefetches page {page} to the device"),
        Request::Unmap => format!("unmaps page {page}"),
        Request::UnmapBlock => format!("unmaps the block of page {page}"),
    }
}

/// One line for each page, and for each counter.
pub(super) fn view(state: &State, setup: &Setup) -> Vec<String> {
    let pages = state.pages.iter().enumerate();
    let mut lines: Vec<String> = pages.map(|(number, page)| format!("virtual {number}: {page:?}")).collect();
    for page in 0..usize::from(setup.device) {
        let (word, bytes) = (unpack(state.words[page]), state.device[page]);
        lines.push(format!("page {page}: {word:#x} bytes {bytes}"));
    }
    lines.push(format!("system memory: {} of {} pages", state.ram_used, setup.ram));
    if state.teardown != Teardown::Alive {
        lines.push(format!("pagemap: {:?}", state.teardown));
    }
    lines
}

/// How the world is scaled.
pub(super) fn scale(setup: &Setup) -> String {
    format!(
        "{:?} memory: {} blocks of {} virtual pages, {} device pages, {} pages of system memory, {} actors",
        setup.memory, setup.blocks, setup.block_pages, setup.device, setup.ram, setup.actors
    )
}
