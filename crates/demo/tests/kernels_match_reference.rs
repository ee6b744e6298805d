//! The kernels, on simulated units, against the plain reference.

use bifolio_demo::arena::{ArenaError, ArenaMachine, Pace};
use bifolio_demo::graph::{Graph, Node};
use bifolio_demo::kernels::Kernel;
use bifolio_demo::layout::{Plan, job};
use bifolio_demo::memory::HostMemory;
use bifolio_demo::names::Names;
use bifolio_demo::personal::{self, PersonalRanks};
use bifolio_demo::reference::{self, PageRank};
use bifolio_demo::run::{self, Progress, RunError};
use bifolio_demo::shared_graph::SharedGraph;
use bifolio_demo::{order, verify};
use proptest::prelude::*;

fn numbered(nodes: usize, edges: &[(Node, Node)]) -> Graph {
    let names: Vec<String> = (0..nodes).map(|node| format!("n{node}")).collect();
    let names: Names = names.iter().map(String::as_str).collect();
    Graph::from_edges(names, edges).expect("all nodes exist")
}

fn machine_with(graph: &Graph, chain: usize, units: u32, pace: Pace) -> (ArenaMachine, SharedGraph) {
    let mut machine = ArenaMachine::new(Plan::new(graph, chain).bytes(), units, pace);
    let shared = SharedGraph::build_in_chains(&mut machine, graph, chain).expect("the plan states the bytes");
    (machine, shared)
}

fn check_pagerank(machine: &mut ArenaMachine, shared: &SharedGraph, graph: &Graph, settings: &PageRank) {
    run::pagerank(machine, shared, settings, |_| ()).expect("all pointers are right");
    let found = shared.ranks(machine).expect("the records are whole");
    let expected = reference::pagerank(graph, settings);
    verify::ranks(graph, &expected, &found, verify::RANK_TOLERANCE).expect("ranks agree");
}

fn check_bfs(machine: &mut ArenaMachine, shared: &SharedGraph, graph: &Graph, root: Node) {
    run::bfs(machine, shared, root, |_| ()).expect("all pointers are right");
    let found = shared.levels(machine).expect("the records are whole");
    let expected = reference::bfs(graph, root).expect("the root exists");
    verify::levels(graph, &expected, &found).expect("levels agree");
    let parents = shared.parents(machine).expect("the records are whole");
    verify::tree(graph, &found, &parents).expect("parents lead to their nodes");
}

fn check_personal(graph: &Graph, sources: &[Node], chain: usize, units: u32, pace: Pace) {
    let bytes = Plan::new(graph, chain).bytes() + personal::bytes_needed(graph, sources.len());
    let mut machine = ArenaMachine::new(bytes, units, pace);
    let shared = SharedGraph::build_in_chains(&mut machine, graph, chain).expect("the plan states the bytes");
    let ranks =
        PersonalRanks::build(&mut machine, graph, &shared, sources).expect("the plan states the bytes");
    let settings = PageRank::default();
    run::personal_ranks(&mut machine, &shared, &ranks, &settings, |_| ()).expect("all pointers are right");
    let found = ranks.ranks(&machine, graph);
    assert_eq!(found.len(), sources.len());
    for (&source, found) in sources.iter().zip(found) {
        let expected = reference::personal(graph, &settings, source);
        verify::ranks(graph, &expected, &found, verify::RANK_TOLERANCE).expect("ranks agree");
    }
}

fn debian() -> Graph {
    let graph = bifolio_demo::debian::packages().expect("the file is whole");
    order::renumber(&graph, &order::by_popularity(&graph)).expect("a full order")
}

#[test]
fn packages_rank_as_in_the_reference_on_four_threads() {
    let graph = debian();
    let (mut machine, shared) = machine_with(&graph, 512, 4, Pace::AtOnce);
    check_pagerank(&mut machine, &shared, &graph, &PageRank::default());
    let ranks = shared.ranks(&machine).expect("the records are whole");
    let (best, _) = reference::highest(&ranks, 1)[0];
    assert_eq!(shared.name(&machine, best), Ok(Some("libc6".to_owned())));
}

#[test]
fn personal_ranks_of_packages_are_those_of_the_reference_on_four_threads() {
    let graph = debian();
    check_personal(&graph, &order::most_edges(&graph, 11), 512, 4, Pace::AtOnce);
}

#[test]
fn packages_are_searched_as_in_the_reference_on_four_threads() {
    let graph = debian();
    let (mut machine, shared) = machine_with(&graph, 512, 4, Pace::AtOnce);
    let root = order::busiest(&graph).expect("the graph has nodes");
    check_bfs(&mut machine, &shared, &graph, root);
}

#[test]
fn a_second_run_starts_afresh() {
    let graph = numbered(5, &[(0, 1), (1, 2), (2, 0), (3, 0)]);
    let (mut machine, shared) = machine_with(&graph, 2, 2, Pace::InTurn);
    for root in [0, 3, 4] {
        check_bfs(&mut machine, &shared, &graph, root);
        check_pagerank(&mut machine, &shared, &graph, &PageRank::default());
    }
}

#[test]
fn progress_counts_rounds_and_levels() {
    let graph = numbered(3, &[(0, 1), (1, 2)]);
    let (mut machine, shared) = machine_with(&graph, 2, 1, Pace::InTurn);
    let mut seen = Vec::new();
    let settings = PageRank::new(0.85, 2).expect("a valid factor");
    run::pagerank(&mut machine, &shared, &settings, |progress| seen.push(progress)).expect("no faults");
    assert_eq!(seen, [1, 2].map(|done| Progress { done, total: Some(2) }));
    seen.clear();
    run::bfs(&mut machine, &shared, 0, |progress| seen.push(progress)).expect("no faults");
    assert_eq!(seen, [1, 2, 3].map(|done| Progress { done, total: None }));
}

#[test]
fn a_root_outside_the_graph_is_refused() {
    let graph = numbered(3, &[(0, 1)]);
    let (mut machine, shared) = machine_with(&graph, 2, 1, Pace::InTurn);
    let refused = run::bfs(&mut machine, &shared, 3, |_| ());
    assert!(matches!(refused, Err(RunError::Root(no)) if no.root == 3 && no.nodes == 3));
}

#[test]
fn a_pointer_out_of_memory_ends_the_kernel_with_its_address() {
    for pace in [Pace::InTurn, Pace::AtOnce] {
        let graph = numbered(3, &[(0, 1)]);
        let (mut machine, shared) = machine_with(&graph, 1, 2, pace);
        machine.write_u64(shared.job() + job::CHAINS, 64);
        let failed = run::pagerank(&mut machine, &shared, &PageRank::default(), |_| ());
        let Err(RunError::Launch { kernel, source }) = failed else { panic!("the pointer leads nowhere") };
        assert_eq!(kernel, Kernel::StartRanks);
        assert!(matches!(source, ArenaError::NoSuchWord { address: 64 | 72 }));
    }
}

proptest! {
    #[test]
    fn any_graph_gives_the_results_of_the_reference(
        nodes in 1_usize..40,
        edges in prop::collection::vec((0_u32..40, 0_u32..40), 0..150),
        root in 0_u32..40,
        chain in 1_usize..12,
        units in 1_u32..5,
        at_once in any::<bool>(),
    ) {
        let inside = |node: Node| node % u32::try_from(nodes).expect("below 40");
        let edges: Vec<_> = edges.into_iter().map(|(from, to)| (inside(from), inside(to))).collect();
        let graph = numbered(nodes, &edges);
        let pace = if at_once { Pace::AtOnce } else { Pace::InTurn };
        let (mut machine, shared) = machine_with(&graph, chain, units, pace);
        check_personal(&graph, &order::most_edges(&graph, 9), chain, units, pace);
        check_bfs(&mut machine, &shared, &graph, inside(root));
        check_pagerank(&mut machine, &shared, &graph, &PageRank::default());
    }
}
