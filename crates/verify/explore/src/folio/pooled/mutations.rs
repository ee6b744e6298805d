//! The judge is judged: every mutation of a pool is found, by a rule that forbids it.

use bifolio_folio::Reset;
use bifolio_pool::PoolName;
use bifolio_pool::snapshot::{Mutation as Inside, SmallPool};

use crate::design::Bounds;
use crate::explore::{Limits, explore};
use crate::folio::Pooled;
use crate::folio::pooled::call::Call;
use crate::folio::pooled::mutate::Mutate;
use crate::mutate::NoMutation;

/// One way to make a call of a pool wrong; the names say which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mutation {
    FreeOneOrderLess,
    FreeForgotten,
    NotJoined,
    ChunkGone,
    FolioForgotten,
    SplitTakesNothing,
    CollapseDropsNothing,
    FailsForEver,
    CloseForgotten,
    ReleasedInPut,
    DeadNotNoted,
    TakenForCleared,
    UseForgotten,
    Misplaced,
}

impl Mutate for Mutation {
    fn instead(&self, call: Call) -> Option<Call> {
        match (*self, call) {
            (Mutation::FreeForgotten, Call::Free { .. })
            | (Mutation::SplitTakesNothing, Call::Split { .. })
            | (Mutation::CollapseDropsNothing, Call::Collapse { .. })
            | (Mutation::CloseForgotten, Call::Close) => None,
            (Mutation::FreeOneOrderLess, Call::Free { page, order, name }) => {
                Some(Call::Free { page, order: order.saturating_sub(1), name })
            }
            _ => Some(call),
        }
    }

    fn afterwards(&self, pool: &SmallPool, call: Call, fails_next: bool) {
        match (*self, call) {
            (Mutation::NotJoined, Call::Free { page, order, .. }) => {
                pool.mutate(Inside::NotJoined(u64::from(page), order));
            }
            (Mutation::ChunkGone, Call::Free { page, .. }) => pool.mutate(Inside::ChunkGone(u64::from(page))),
            (Mutation::FolioForgotten, Call::Free { .. }) => pool.mutate(Inside::FolioForgotten),
            (Mutation::FailsForEver, Call::Allocate { .. }) if fails_next => pool.fail_next(),
            (Mutation::ReleasedInPut, Call::Free { .. }) => {
                pool.pool().release();
            }
            (Mutation::DeadNotNoted, Call::Free { .. }) => pool.mutate(Inside::DeadNotNoted),
            (Mutation::TakenForCleared, Call::Release) => pool.mutate(Inside::TakenForCleared),
            (Mutation::UseForgotten, Call::Split { page, .. }) => {
                pool.mutate(Inside::UseForgotten(u64::from(page)));
            }
            (Mutation::Misplaced, Call::Allocate { .. }) => pool.mutate(Inside::Misplaced),
            _ => {}
        }
    }
}

/// The rules by which a mutation is found, in the order of finding; empty if it is not found.
fn found<M: Mutate + std::fmt::Debug + 'static>(pool: PoolName, mutation: M) -> Vec<String> {
    // Addresses make many more states of the same pages.
    let pages = if pool == PoolName::Coherent { 2 } else { 4 };
    let world = Pooled::mutated(pool, Bounds::of(pages, 1, 2), Reset::OnFree, mutation);
    let broken = explore(&world, &Limits::default(), &mut |_| ()).broken;
    broken.iter().map(|broken| broken.rule.to_string()).collect()
}

macro_rules! mutations {
    ($name:ident, $pool:ident: $($mutation:ident by $rule:literal,)*) => {
        #[test]
        fn $name() {
            let mut missed = Vec::new();
            $(
                let rules = found(PoolName::$pool, Mutation::$mutation);
                if !rules.iter().any(|rule| rule == $rule) {
                    missed.push(format!("{}: {rules:?} without {}", stringify!($mutation), $rule));
                }
            )*
            assert!(missed.is_empty(), "{}", missed.join("\n"));
            // Here pools of equal views are compared, too.
            assert_eq!(found(PoolName::$pool, NoMutation), Vec::<String>::new());
        }
    };
}

mutations! {
    every_mutation_of_free_lists_breaks_the_rule_that_forbids_it, FreeList:
    FreeOneOrderLess by "I9",
    FreeForgotten by "I7",
    NotJoined by "I9",
    ChunkGone by "I7",
    FolioForgotten by "I9",
    SplitTakesNothing by "I7",
    CollapseDropsNothing by "I7",
}

mutations! {
    every_mutation_of_the_mirror_breaks_the_rule_that_forbids_it, Mirror:
    FailsForEver by "I9",
    CloseForgotten by "I18",
    NotJoined by "I9",
    ChunkGone by "I7",
}

mutations! {
    every_mutation_of_the_buddy_pool_breaks_the_rule_that_forbids_it, Buddy:
    FreeOneOrderLess by "I9",
    FreeForgotten by "I7",
    SplitTakesNothing by "I7",
    CollapseDropsNothing by "I7",
    ReleasedInPut by "I15",
    DeadNotNoted by "I9",
    TakenForCleared by "I22",
}

mutations! {
    every_mutation_of_the_coherent_pool_breaks_the_rule_that_forbids_it, Coherent:
    FreeOneOrderLess by "I9",
    FreeForgotten by "I7",
    SplitTakesNothing by "I7",
    ReleasedInPut by "I15",
    TakenForCleared by "I22",
    UseForgotten by "I7",
    Misplaced by "I27",
}
