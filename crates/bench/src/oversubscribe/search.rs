//! The accesses of a search of the graph of Debian's packages, as the demonstration does it, by one unit.

use bifolio_demo::arena::{Arena, ArenaError, InArena};
use bifolio_demo::kernels::{Kernel, Launcher, run_unit};
use bifolio_demo::layout::bytes_needed;
use bifolio_demo::memory::Unit;
use bifolio_demo::shared_graph::SharedGraph;
use bifolio_demo::told::Told;
use bifolio_demo::{debian, order, run};
use bifolio_folio::{BLOCK_PAGES, PAGE_SIZE};
use bifolio_replay::Touch;

use super::pattern::AccessString;
use crate::row::BenchError;

/// An arena whose device tells what it touches.
struct Recorder {
    arena: Arena,
    touches: Vec<Touch>,
}

impl Recorder {
    /// An access of the device. Those in a row to one page, in one way, are one touch.
    fn note(touches: &mut Vec<Touch>, address: u64, write: bool) {
        let page = address / PAGE_SIZE;
        match touches.last_mut() {
            Some(last) if last.page == page && last.write == write => last.accesses += 1,
            _ => touches.push(Touch { write, ..Touch::read(page) }),
        }
    }
}

impl Launcher for Recorder {
    type Error = ArenaError;

    fn launch(&mut self, kernel: Kernel, job: usize) -> Result<(), ArenaError> {
        let Recorder { arena, touches } = self;
        let tell = |address, write| Recorder::note(touches, address, write);
        run_unit(kernel, &mut Told::new(&*arena, tell), job, Unit { index: 0, count: 1 })
    }
}

impl InArena for Recorder {
    fn arena(&self) -> &Arena {
        &self.arena
    }

    fn arena_mut(&mut self) -> &mut Arena {
        &mut self.arena
    }
}

/// Searches the graph and returns the device's accesses.
pub(super) fn accesses() -> Result<AccessString, BenchError> {
    let failed = |why: &dyn std::error::Error| BenchError::Failed(why.to_string());
    let graph = debian::packages().map_err(|why| failed(&why))?;
    let places = order::by_popularity(&graph);
    let graph = order::renumber(&graph, &places).map_err(|why| failed(&why))?;
    let bytes = bytes_needed(&graph);
    let mut machine = Recorder { arena: Arena::new(bytes), touches: Vec::new() };
    let shared = SharedGraph::build(&mut machine, &graph).map_err(|why| failed(&why))?;
    let root = order::busiest(&graph).ok_or_else(|| BenchError::Failed("the graph is empty".to_owned()))?;
    run::bfs(&mut machine, &shared, root, |_| ()).map_err(|why| failed(&why))?;
    let mut touches = machine.touches;
    let lowest = touches.iter().map(|touch| touch.page).min().unwrap_or(0);
    // The arena begins with a block.
    let first = lowest - lowest % u64::from(BLOCK_PAGES);
    touches.iter_mut().for_each(|touch| touch.page -= first);
    Ok(AccessString { pages: (bytes as u64).div_ceil(PAGE_SIZE), touches })
}
