//! The world of [`Transactions`] as a [`Design`].

use std::rc::Rc;

use bifolio_folio::PageMap;
use bifolio_migrate::{Block, PageRun};
use bifolio_rules::RuleSet;

use crate::design::{Applied, Description, Design};
use crate::folio::model_pool::ModelPool;
use crate::migrate::action::Action;
use crate::migrate::canonical::canonical;
use crate::migrate::encoded::Encoded;
use crate::migrate::mutate::{Mutate, Protocol};
use crate::migrate::state::{State, View, Virtual};
use crate::migrate::world::Transactions;
use crate::migrate::{describe, folios, judge};

impl<M: Mutate> Design for Transactions<M> {
    type State = State;
    type Encoded = Encoded;
    type Action = Action;
    type Scratch = Rc<PageMap<ModelPool>>;

    fn scratch(&self) -> Self::Scratch {
        ModelPool::pagemap(self.reset, self.setup.device)
    }

    fn initial(&self) -> State {
        let blocks = std::array::from_fn(|block| {
            let mut place = Block::new();
            if block < usize::from(self.setup.blocks) {
                let pages = u16::from(self.setup.block_pages);
                place.map(PageRun::new(0, pages).expect("blocks of these worlds have pages"));
            }
            self.write().block_number(&place)
        });
        State {
            free: ((1u16 << self.setup.device) - 1) as u8,
            blocks,
            pages: std::array::from_fn(|page| Virtual {
                expected: self.exists(page).then_some(0),
                ..Virtual::default()
            }),
            ..State::empty()
        }
    }

    fn actions(&self, state: &State, out: &mut Vec<Action>) {
        self.list_actions(state, out);
    }

    fn apply(&self, map: &mut Self::Scratch, state: &State, action: Action) -> Applied<State> {
        let mut applied = Applied::unbroken(*state);
        let page_at = |page: u8| state.pages[usize::from(page)];
        match action {
            Action::CpuWrite { page } => applied.state.write(page, page_at(page).cpu),
            Action::DeviceWrite { page } => {
                applied.state.write(page, page_at(page).table.map_or(View::Fault, View::Device));
            }
            Action::Map { page } => {
                applied.state.pages[usize::from(page)].expected = Some(0);
                self.on_block(&mut applied.state, page, Block::map);
            }
            Action::Pin { page } => self.on_block(&mut applied.state, page, Block::pin),
            Action::Unpin { page } => self.on_block(&mut applied.state, page, Block::unpin),
            Action::Hold { head } => folios::hold(map, &mut applied.state, head),
            Action::DropHeld => self.drop_held(map, &mut applied),
            Action::Kill => folios::kill(map, &mut applied.state),
            Action::End => self.end(map, &mut applied),
            Action::Fork => self.fork(&mut applied),
            Action::Fill { page } => self.fill(&mut applied, page),
            Action::Begin { actor, request, page } => self.begin(&mut applied, actor, request, page),
            Action::Step { actor, way } => self.step(map, &mut applied, actor, way),
            Action::Look { actor, head } => self.look(&mut applied, actor, head),
            Action::TryVictim { actor, .. } => self.try_victim(&mut applied, actor),
            Action::MoveOut { actor, page, order } => self.move_out(&mut applied, actor, page, order),
            Action::Answer { actor, answer } => self.answer(&mut applied, actor, answer),
        }
        let may_wait = !self.mutation.keeps(Protocol::TriesOnly);
        judge::state(&applied.state, &self.read(), self.setup.blocks, may_wait, &mut applied.broken);
        applied
    }

    fn encode(&self, state: &State) -> Encoded {
        Encoded::of(&canonical(*state, &self.read(), self.setup.blocks))
    }

    fn decode(&self, encoded: &Encoded) -> State {
        encoded.state(self.setup.device)
    }

    fn expresses(&self) -> RuleSet {
        RuleSet::of(&[7, 8, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26, 27, 28])
    }

    fn non_terminal(&self) -> RuleSet {
        RuleSet::NONE
    }

    fn by_construction(&self) -> &'static [(u8, &'static str)] {
        &[
            (
                15,
                "folio_free only notes that an object died; its memory is released later, where waiting is allowed",
            ),
            (25, "type: an engine has one pagemap, and no step of a transaction can name another"),
        ]
    }

    fn describe(&self, before: &State, action: Action, _after: &State) -> Description {
        describe::action(action, |actor| {
            let frame = before.actors[usize::from(actor)].top()?;
            Some(self.read().task(frame.task).step)
        })
    }

    fn view(&self, state: &State) -> Vec<String> {
        describe::view(state, &self.setup)
    }

    fn scale(&self) -> String {
        describe::scale(&self.setup)
    }
}
