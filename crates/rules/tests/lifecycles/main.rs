//! Lifecycles of a naive machine: what it does breaks no rule, and each single change of what it tells is caught by the
//! rule that it breaks.

mod machine;
mod mutations;
mod record;

use bifolio_rules::{Rule, RuleSet, Shadow};
use proptest::prelude::*;

use machine::{Machine, Request};
use mutations::{MUTATIONS, Mutation};
use record::Record;

/// The rules that a stream of events breaks.
fn broken(stream: &[Record]) -> RuleSet {
    let (mut shadow, mut broken) = (Shadow::new(), RuleSet::NONE);
    for record in stream {
        record.tell(&mut shadow, &mut |judgement| {
            broken.require(judgement.broken.is_none(), judgement.rule.number());
        });
    }
    broken
}

/// Those of the rules that a mutation may break that a changed stream does break.
fn caught(mutation: &Mutation, changed: &[Record]) -> RuleSet {
    let expected = RuleSet::of(mutation.breaks);
    expected.without(expected.without(broken(changed)))
}

/// All that the machine tells while it does as it is asked, until everything is freed again.
fn stream(requests: &[Request]) -> Vec<Record> {
    let mut machine = Machine::new();
    requests.iter().for_each(|request| machine.serve(*request));
    machine.shut_down()
}

/// Requests that lead to every event.
fn all_requests() -> Vec<Request> {
    let place = |block, first, order| (block, first, order);
    vec![
        Request::Populate(place(0, 0, 4)),
        Request::Populate(place(1, 0, 3)),
        Request::ToDevice { place: place(0, 0, 4), node: 0, fails: false },
        Request::DeviceWrite { pick: 0 },
        Request::Split { pick: 0 },
        Request::Split { pick: 0 },
        Request::ToRam { pick: 1 },
        Request::Collapse { pick: 0 },
        Request::ToDevice { place: place(1, 0, 3), node: 1, fails: true },
        Request::ToDevice { place: place(1, 0, 2), node: 1, fails: false },
        Request::Clear { place: place(1, 16, 2), node: 0 },
        Request::Clear { place: place(1, 20, 2), node: 0 },
        Request::Buffer { node: 1, order: 2 },
        Request::Exhaust { place: place(1, 8, 1), node: 1 },
        Request::Audit,
        Request::ToRam { pick: 0 },
    ]
}

#[test]
fn machine_that_does_everything_breaks_no_rule() {
    assert_eq!(broken(&stream(&all_requests())), RuleSet::NONE);
}

#[test]
fn every_change_at_every_event_is_caught_and_every_rule_catches_one() {
    let (stream, mut catching) = (stream(&all_requests()), RuleSet::NONE);
    for mutation in MUTATIONS {
        let mut applied = 0;
        for at in 0..stream.len() {
            let Some(changed) = mutation.apply(&stream, at) else { continue };
            let caught = caught(mutation, &changed);
            assert!(!caught.is_empty(), "{} at {:?}", mutation.what, stream[at]);
            catching = catching.union(caught);
            applied += 1;
        }
        assert!(applied > 0, "{} applies nowhere", mutation.what);
    }
    assert_eq!(Rule::all().filter(|rule| !catching.contains(*rule)).collect::<Vec<_>>(), []);
}

proptest! {
    #[test]
    fn legal_lifecycles_break_no_rule(requests in machine::requests()) {
        prop_assert_eq!(broken(&stream(&requests)), RuleSet::NONE);
    }

    #[test]
    fn one_change_of_a_lifecycle_is_caught(
        requests in machine::requests(),
        mutation in 0..MUTATIONS.len(),
        start in any::<proptest::sample::Index>(),
    ) {
        let (stream, mutation) = (stream(&requests), &MUTATIONS[mutation]);
        let start = start.index(stream.len());
        let from_start = (start..stream.len()).chain(0..start);
        let changed = from_start.filter_map(|at| mutation.apply(&stream, at)).next();
        if let Some(changed) = changed {
            prop_assert!(!caught(mutation, &changed).is_empty(), "{}", mutation.what);
        }
    }
}
