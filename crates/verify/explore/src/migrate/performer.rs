//! [`Performer`]: what a step of a transaction works on.

use bifolio_folio::PageMap;
use bifolio_migrate::{Outcome, PageRun};
use bifolio_rules::RuleSet;

use crate::folio::model_pool::ModelPool;
use crate::migrate::setup::Setup;
use crate::migrate::state::{BLOCK_PAGES, State, Virtual};
use crate::migrate::transition_cache::{Location, TaskView};

/// Does steps on a state.
pub struct Performer<'w> {
    pub map: &'w PageMap<ModelPool>,
    pub state: State,
    /// Where the pages of the block are, before the step.
    pub locations: [Location; BLOCK_PAGES],
    /// First page of the program in the block.
    pub base: u8,
    pub task: TaskView,
    /// Whether it makes room for another transaction.
    pub inner: bool,
    /// Whether it may take system memory beyond the limit.
    pub beyond: bool,
    pub setup: &'w Setup,
    pub broken: RuleSet,
}

impl Performer<'_> {
    pub fn page(&mut self, number: u16) -> Option<&mut Virtual> {
        let number = usize::from(number);
        if number >= BLOCK_PAGES {
            return None;
        }
        self.state.pages.get_mut(usize::from(self.base) + number)
    }

    pub fn each(&mut self, run: impl Into<PageRun>, mut change: impl FnMut(u8, &mut Virtual)) -> Outcome {
        for (offset, number) in (0u8..).zip(run.into()) {
            if let Some(page) = self.page(number) {
                change(offset, page);
            }
        }
        Outcome::Done
    }
}
