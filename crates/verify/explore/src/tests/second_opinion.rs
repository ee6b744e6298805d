//! An independent explorer, stateright, counts the same states on the same designs.

use crate::design::{Bounds, Design};
use crate::designs::gpu_buddy::{UNMERGED, World as Allocators};
use crate::designs::kernels::MAINLINE;
use crate::designs::migration::LINUX_7_3;
use crate::designs::thread::V3;
use crate::explore::{Limits, explore};
use crate::folio::{Folios, Pooled};
use crate::linux::World;
use crate::linux::migration::World as Migrations;
use crate::migrate::{Memory, Others, Setup, Transactions};
use bifolio_folio::Reset;
use bifolio_pool::PoolName;
use stateright::{Checker, Model};

/// A design as stateright wants it: states are canonical, and nothing follows what our explorer does not follow.
struct Same<D>(D);

impl<D: Design<Encoded: std::fmt::Debug>> Model for Same<D> {
    type State = D::Encoded;
    type Action = D::Action;

    fn init_states(&self) -> Vec<D::Encoded> {
        vec![self.0.encode(&self.0.initial())]
    }

    fn actions(&self, state: &D::Encoded, actions: &mut Vec<D::Action>) {
        self.0.actions(&self.0.decode(state), actions);
    }

    fn next_state(&self, state: &D::Encoded, action: D::Action) -> Option<D::Encoded> {
        let applied = self.0.apply(&mut self.0.scratch(), &self.0.decode(state), action);
        let ends = applied.fatal || !applied.broken.without(self.0.non_terminal()).is_empty();
        (!ends).then(|| self.0.encode(&applied.state))
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        // Without a property the checker would stop at once.
        vec![stateright::Property::always("goes on", |_, _| true)]
    }
}

/// States and levels below the first, by our explorer.
fn ours<D: Design>(design: &D) -> (u64, u32) {
    let explored = explore(design, &Limits { full: true, ..Limits::default() }, &mut |_| ());
    (explored.states, explored.depth)
}

/// The same by stateright, which counts levels from 1.
fn theirs<D: Design<Encoded: std::fmt::Debug> + Send + 'static>(design: D) -> (u64, u32) {
    let checker = Same(design).checker().spawn_bfs().join();
    let depth = u32::try_from(checker.max_depth()).expect("small");
    (checker.unique_state_count() as u64, depth - 1)
}

#[test]
fn stateright_counts_the_same_states_of_linux_v3() {
    let world = World::new(V3, Bounds::of(2, 1, 2));
    assert_eq!(ours(&world), (2_560, 26));
    assert_eq!(theirs(world), ours(&world));
}

#[test]
fn stateright_counts_the_same_states_of_mainline() {
    let world = World::new(MAINLINE, Bounds::of(2, 1, 2));
    assert_eq!(theirs(world), ours(&world));
}

#[test]
fn stateright_counts_the_same_states_of_migration() {
    let world = Migrations::new(LINUX_7_3, 2);
    assert_eq!(theirs(world), ours(&world));
}

#[test]
fn stateright_counts_the_same_states_of_an_allocator() {
    let world = Allocators::new(UNMERGED, Bounds::of(4, 2, 2));
    assert_eq!(theirs(world), ours(&world));
}

#[test]
fn stateright_counts_the_same_states_of_shipped_folios() {
    let world = Folios::new(Bounds::of(4, 2, 2));
    assert_eq!(ours(&world), (1_864, 19));
    assert_eq!(theirs(world), ours(&world));
}

#[test]
fn stateright_counts_the_same_states_of_shipped_pools() {
    for &pool in PoolName::ALL {
        let world = || Pooled::new(pool, Bounds::of(2, 1, 2), Reset::OnFree);
        assert_eq!(theirs(world()), ours(&world()), "{pool}");
    }
}

#[test]
fn stateright_counts_the_same_states_of_shipped_transactions() {
    let others = Others { holder: true, teardown: true, pins: false, fork: true };
    let memory = Memory::Anonymous;
    let setup = Setup { memory, blocks: 2, block_pages: 1, device: 1, ram: 1, reserve: 0, actors: 2, others };
    let ours = ours(&Transactions::new(setup));
    assert_eq!(ours, (53_401, 33));
    assert_eq!(theirs(Transactions::new(setup)), ours);
}
