//! The shortest sequences that break rules, repeated step by step under the names that pages and actors had.

use crate::design::{Applied, Design};
use crate::explore::expand::ends;
use crate::explore::{Broken, Limits, Progress, Search};
use crate::set::StateId;
use bifolio_rules::{Rule, RuleSet};

impl<D: Design> Search<'_, D> {
    /// Finds a shortest sequence for each rule that was broken. Where some interleavings were left out, it searches once
    /// more, in full.
    pub(super) fn shortest(&self, progress: &mut dyn FnMut(Progress)) -> Vec<Broken<D::State, D::Action>> {
        if self.reduced == 0 || self.found.is_empty() {
            return self.sequences(RuleSet::NONE);
        }
        let mut full = Search::new(self.design, &Limits { full: true, journal: None, ..self.limits });
        full.run(self.seen, progress);
        let mut broken = full.sequences(RuleSet::NONE);
        // Only if a limit came before: a sequence that may be too long is better than none.
        broken.extend(self.sequences(full.seen));
        broken
    }

    /// Finds the sequences to rules that were broken, some excepted.
    fn sequences(&self, without: RuleSet) -> Vec<Broken<D::State, D::Action>> {
        let found = self.found.iter().filter(|(rule, _)| !without.contains(*rule));
        let trace = |&(rule, parent): &(Rule, StateId)| {
            let short = || Broken { rule, states: vec![self.design.initial()], steps: Vec::new() };
            self.trace(rule, parent).unwrap_or_else(short)
        };
        found.map(trace).collect()
    }

    /// Finds the steps that lead to a broken rule, by repeating them without renaming. `None` if that fails: the
    /// design then treats renamed states differently, which it must not.
    fn trace(&self, rule: Rule, parent: StateId) -> Option<Broken<D::State, D::Action>> {
        let mut goals = Vec::new();
        let mut at = parent;
        while at != StateId::MAX {
            let (state, before) = self.states.get(at as usize);
            goals.push(*state);
            at = before;
        }
        goals.reverse();
        let mut scratch = self.design.scratch();
        let mut states = vec![self.design.initial()];
        let mut steps = Vec::new();
        for goal in &goals[1..] {
            let here = *states.last().expect("begins with the initial state");
            let reached = |_: D::Action, applied: &Applied<D::State>| {
                !ends(self.design, applied) && self.design.encode(&applied.state) == *goal
            };
            let (action, broken, state) = self.find_step(&mut scratch, &here, reached)?;
            steps.push((action, broken));
            states.push(state);
        }
        let here = *states.last().expect("begins with the initial state");
        let breaking = |_: D::Action, applied: &Applied<D::State>| applied.broken.contains(rule);
        let (action, broken, state) = self.find_step(&mut scratch, &here, breaking)?;
        steps.push((action, broken));
        states.push(state);
        Some(Broken { rule, states, steps })
    }

    fn find_step(
        &self,
        scratch: &mut D::Scratch,
        here: &D::State,
        wanted: impl Fn(D::Action, &Applied<D::State>) -> bool,
    ) -> Option<(D::Action, RuleSet, D::State)> {
        let mut actions = Vec::new();
        self.design.actions(here, &mut actions);
        actions.into_iter().find_map(|action| {
            let applied = self.design.apply(scratch, here, action);
            wanted(action, &applied).then_some((action, applied.broken, applied.state))
        })
    }
}
