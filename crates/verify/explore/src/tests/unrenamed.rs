//! A search that knows nothing of renaming pages and actors.

use std::collections::HashSet;

use crate::design::Design;

/// Returns how many states are reached, and how many are left when they are renamed.
///
/// # Panics
/// If a rule breaks on the way.
pub fn sizes_without_renaming<D: Design>(world: &D) -> (usize, u64)
where
    D::State: std::fmt::Debug + std::hash::Hash,
{
    let seen = states_without_renaming(world);
    let encoded: HashSet<_> = seen.iter().map(|state| world.encode(state)).collect();
    (seen.len(), encoded.len() as u64)
}

/// Returns the states that are reached.
///
/// # Panics
/// If a rule breaks on the way.
pub fn states_without_renaming<D: Design>(world: &D) -> HashSet<D::State>
where
    D::State: std::fmt::Debug + std::hash::Hash,
{
    let mut scratch = world.scratch();
    let mut seen = HashSet::from([world.initial()]);
    let mut left = vec![world.initial()];
    while let Some(state) = left.pop() {
        let mut actions = Vec::new();
        world.actions(&state, &mut actions);
        for action in actions {
            let applied = world.apply(&mut scratch, &state, action);
            assert!(applied.broken.is_empty(), "{action:?} of {state:?} breaks {}", applied.broken);
            if seen.insert(applied.state) {
                left.push(applied.state);
            }
        }
    }
    seen
}
