//! An exploration that was stopped and went on later finds what an uninterrupted one finds.

use std::fmt::Debug;

use crate::design::{Bounds, Design};
use crate::designs::thread::{V2, V3};
use crate::explore::{Explored, explore_as};
use crate::folio::{Folios, Pooled};
use crate::linux::World;
use crate::migrate::{Transactions, WORLDS};
use crate::{End, Journal, Limits, Options, Report, find};
use bifolio_folio::Reset;
use bifolio_pool::PoolName;

const WHAT: &str = "a test";

fn run(design: &str, bounds: Bounds, limits: Limits) -> Report {
    let options = Options { bounds: Some(bounds), limits, ..Options::default() };
    find(design).expect("a design").run(&options, &mut |_| ()).expect("good bounds")
}

fn journal(bytes: Option<&[u8]>) -> &'static Journal {
    let read = |bytes| Journal::read(bytes, WHAT, u64::MAX).expect("as saved");
    Box::leak(Box::new(bytes.map_or_else(|| Journal::new(WHAT), read)))
}

/// Explores in portions of so many states, each from what the last one wrote, by one thread and by two in turn. Each
/// makes the world anew, as another process would.
fn in_portions<D: Design>(design: impl Fn() -> D, portion: u64) -> (Explored<D::State, D::Action>, u32) {
    let (mut written, mut portions) = (None, 0);
    loop {
        portions += 1;
        let left = journal(written.as_deref());
        let limits = Limits {
            states: portion * u64::from(portions),
            threads: 1 + portions as usize % 2,
            journal: Some(left),
            ..Limits::default()
        };
        let explored = explore_as("a world", &design(), &limits, &mut |_| ());
        if explored.end == End::Complete {
            return (explored, portions);
        }
        assert_eq!(explored.end, End::States);
        written = Some(left.to_bytes());
    }
}

fn goes_on<D: Design<State: Debug>>(design: impl Fn() -> D, portion: u64) {
    let whole = explore_as("a world", &design(), &Limits::default(), &mut |_| ());
    let (resumed, portions) = in_portions(design, portion);
    assert!(portions > 2, "{portions}");
    assert_eq!((resumed.states, resumed.steps, resumed.depth), (whole.states, whole.steps, whole.depth));
    assert_eq!(resumed.broken, whole.broken);
}

#[test]
fn result_in_portions_is_that_of_one_run() {
    goes_on(|| World::new(V3, Bounds::of(4, 2, 2)), 9_000);
    goes_on(|| Folios::new(Bounds::of(4, 2, 3)), 2_500);
}

#[test]
fn pools_and_transactions_go_on_though_their_states_are_numbered_anew() {
    goes_on(|| Pooled::new(PoolName::FreeList, Bounds::of(4, 1, 2), Reset::OnFree), 1_500);
    let (_, setup) = WORLDS.iter().find(|(name, _)| *name == "ending blocks").expect("a world");
    goes_on(|| Transactions::new(*setup), 30_000);
}

#[test]
fn steps_of_another_design_are_refused() {
    let explored = |contract, limits| {
        explore_as("a world", &World::new(contract, Bounds::of(4, 2, 2)), &limits, &mut |_| ()).end
    };
    let left = journal(None);
    explored(V3, Limits { states: 2_000, journal: Some(left), ..Limits::default() });
    let saved = journal(Some(&left.to_bytes()));
    let end = explored(V2, Limits { journal: Some(saved), ..Limits::default() });
    assert_eq!(end, End::Unfit);
}

#[test]
fn request_to_stop_is_followed() {
    static STOP: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(true);
    let report = run("linux-v3", Bounds::of(4, 2, 2), Limits { stop: Some(&STOP), ..Limits::default() });
    assert_eq!(report.parts[0].end, End::Stopped);
    assert!(!report.is_complete());
}
