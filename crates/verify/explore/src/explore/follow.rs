//! Going one way through a design instead of all: the steps of a story, taken again.

use super::{Broken, End, Explored};
use crate::design::Design;
use bifolio_rules::RuleSet;

/// Takes the actions that `choices` name by their places in the list of actions of each state.
///
/// The end is [`End::Followed`], or [`End::Unfit`] if a state has no such action in this version of the design.
pub(crate) fn follow<D: Design>(design: &D, choices: &[u32]) -> Explored<D::State, D::Action> {
    let (mut scratch, mut actions) = (design.scratch(), Vec::new());
    let (mut states, mut steps) = (vec![design.initial()], Vec::new());
    let (mut named, mut broken) = (RuleSet::NONE, Vec::new());
    let mut end = End::Followed;
    for choice in choices {
        let state = states[states.len() - 1];
        actions.clear();
        design.actions(&state, &mut actions);
        let Some(&action) = actions.get(*choice as usize) else {
            end = End::Unfit;
            break;
        };
        let applied = design.apply(&mut scratch, &state, action);
        states.push(applied.state);
        steps.push((action, applied.broken));
        for rule in applied.broken.without(named).iter() {
            broken.push(Broken { rule, states: states.clone(), steps: steps.clone() });
        }
        named = named.union(applied.broken);
    }
    let taken = steps.len() as u64;
    Explored { states: taken + 1, steps: taken, depth: u32::try_from(taken).unwrap_or(u32::MAX), end, broken }
}
