//! PageRank on a live space in too little device memory, every move of a folio judged: right by every policy, and by the
//! default with every pool, reset and kind of memory.

use std::io::Write;

use bifolio_demo::graph::Graph;
use bifolio_demo::live::LiveMachine;
use bifolio_demo::reference::{self, PageRank};
use bifolio_demo::shared_graph::SharedGraph;
use bifolio_demo::{debian, layout, run, verify};
use bifolio_folio::{MemoryKind, Reset};
use bifolio_host::{Counter, PoolName, Snapshot, Space, SpaceConfig};
use bifolio_policy::{EvictionName, Granularity, PolicyName};
use bifolio_sys::{Features, Reads, Uffd};

/// Whether a space can be made here. If not, `test` is named as skipped.
fn grants(test: &str) -> bool {
    let needed = Features::MINOR_SHMEM | Features::MISSING_SHMEM | Features::EVENT_REMAP;
    match Uffd::open_ready(Reads::Blocking, needed, Features::empty()) {
        Ok(_) => true,
        Err(refused) => {
            writeln!(std::io::stderr(), "SKIP {test}: {refused}").expect("stderr is open");
            false
        }
    }
}

/// A quarter of the data fits on the device.
fn config(graph: &Graph) -> SpaceConfig {
    let data = layout::bytes_needed(graph);
    SpaceConfig { checked: true, ..SpaceConfig::new(2 * data + (32 << 20), data / 4) }
}

/// Runs one round of PageRank, checks ranks and rules, and returns the counters.
fn rank(graph: &Graph, config: SpaceConfig, what: &str) -> Snapshot {
    let settings = PageRank::new(0.85, 1).expect("a damping");
    let space = Space::new(config).expect("a space");
    let mut machine = LiveMachine::new(&space);
    let shared = SharedGraph::build(&mut machine, graph).expect("it fits");
    run::pagerank(&mut machine, &shared, &settings, &mut |_| {}).expect("every fault is answered");
    let ranks = shared.ranks(&machine).expect("records are whole");
    let expected = reference::pagerank(graph, &settings);
    verify::ranks(graph, &expected, &ranks, verify::RANK_TOLERANCE).expect("the ranks of a plain run");
    assert_eq!(space.audit(), [], "{what}");
    space.close().expect("no folio is held elsewhere");
    let statistics = space.statistics();
    assert_eq!(statistics.get(Counter::Violations), 0, "{what}");
    statistics
}

#[test]
fn every_policy_is_right_and_breaks_no_rule() {
    if !grants("every_policy_is_right_and_breaks_no_rule") {
        return;
    }
    let graph = debian::packages().expect("the graph");
    let plain = Granularity::ALL.map(|granularity| PolicyName { granularity, ..PolicyName::default() });
    let evictions = EvictionName::ALL.map(|eviction| PolicyName {
        granularity: Granularity::Density,
        eviction: Some(eviction),
        throttle: true,
    });
    for name in plain.into_iter().chain(evictions) {
        let statistics = rank(&graph, config(&graph).with_policy(name), &name.to_string());
        assert!(statistics.get(Counter::Evictions) > 0, "{name} was not short of memory");
    }
}

#[test]
fn auto_is_right_with_every_pool_reset_and_kind() {
    if !grants("auto_is_right_with_every_pool_reset_and_kind") {
        return;
    }
    let graph = debian::packages().expect("the graph");
    for pool in PoolName::ALL {
        for reset in [Reset::OnFree, Reset::OnForm] {
            for kind in [MemoryKind::Private, MemoryKind::Coherent] {
                let config = SpaceConfig { pool: *pool, reset, kind, ..config(&graph) };
                let what = format!("{pool}, {reset:?}, {kind:?}");
                let statistics = rank(&graph, config, &what);
                assert!(statistics.get(Counter::Evictions) > 0, "{what}");
            }
        }
    }
}

#[test]
fn auto_uses_memory_in_place_and_moves_less_than_fixed_orders() {
    if !grants("auto_uses_memory_in_place_and_moves_less_than_fixed_orders") {
        return;
    }
    let graph = debian::packages().expect("the graph");
    let moved = |granularity| {
        let name = PolicyName { granularity, ..PolicyName::default() };
        let statistics = rank(&graph, config(&graph).with_policy(name), &name.to_string());
        let counters = [Counter::BytesToDevice, Counter::BytesToRam, Counter::BytesRemote];
        (counters.map(|counter| statistics.get(counter)).iter().sum::<u64>(), statistics)
    };
    let ((fixed, of_fixed), (auto, of_auto)) = (moved(Granularity::Fixed), moved(Granularity::Auto));
    assert_eq!(of_fixed.get(Counter::BytesRemote), 0);
    assert!(of_auto.get(Counter::BytesRemote) > 0);
    assert!(auto * 2 < fixed, "{auto} bytes by auto, {fixed} by fixed orders");
}
