//! Actions and states in words.

use bifolio_migrate::Step;

use crate::design::{Action, Told};
use crate::folio::state::unpack;
use crate::migrate::perform::how;
use crate::migrate::setup::Setup;
use crate::migrate::state::{State, Teardown};
use crate::migrate::world::verb;

/// Tells an action; `step` is what the transaction of its actor asks for.
pub(super) fn told(action: Action, step: Option<Step>) -> Told {
    let (actor, page) = (action.actor, action.page);
    let by = |actor: &str, text: String| Told { actor: actor.to_owned(), text };
    match action.verb {
        verb::CPU_WRITE => by("program", format!("writes page {page}")),
        verb::DEVICE_WRITE => by("device", format!("writes page {page}")),
        verb::MAP => by("program", format!("maps page {page}")),
        verb::HOLD => by("holder", format!("takes a reference of the folio at device page {page}")),
        verb::DROP => by("holder", "drops its reference".to_owned()),
        verb::KILL => by("teardown", "kills the pagemap".to_owned()),
        verb::END => by("teardown", "looks whether the pagemap is drained".to_owned()),
        verb::PIN => by("driver", format!("pins page {page}")),
        verb::UNPIN => by("driver", format!("unpins page {page}")),
        verb::FORK => by("program", "forks: the child has what is in system memory".to_owned()),
        verb::FILL => by("child", format!("fetches page {page} from the device")),
        _ => by(&format!("actor {}", actor + 1), transaction(action, step)),
    }
}

fn transaction(action: Action, step: Option<Step>) -> String {
    let page = action.page;
    match action.verb {
        verb::CPU_FAULT => format!("answers a CPU fault on page {page}"),
        verb::DEVICE_FAULT => format!("answers a device fault on page {page}"),
        verb::BRING => format!("brings the folio of page {page} home, for teardown"),
        verb::SPLIT => format!("splits the folio of page {page} where it is"),
        verb::COLLAPSE => format!("collapses the folios of page {page} and the one after it"),
        verb::EVICT => format!("evicts the folio of page {page}"),
        verb::PREFETCH => format!("prefetches page {page} to the device"),
        verb::UNMAP => format!("unmaps page {page}"),
        verb::UNMAP_BLOCK => format!("unmaps the block of page {page}"),
        verb::LOOK => format!("to make room, looks at the folio at device page {page}"),
        verb::TRY => format!("tries the block of page {page}, and looks at its folio again"),
        verb::MOVE_OUT => format!("to make room, moves 2^{} pages at {page} to the device", action.order),
        verb::ANSWER => {
            let came = ["room was made", "there is nothing that could go", "what could go is in use"];
            came[usize::from(action.order) % 3].to_owned()
        }
        _ => {
            let way = if action.order == how::WELL { "" } else { ", failing" };
            step.map_or_else(String::new, |step| format!("{step:?}{way}"))
        }
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
