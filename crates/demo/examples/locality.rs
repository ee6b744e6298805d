//! Counts how often a device with too little memory would miss, for each order of the nodes.
//!
//! Runs the kernels on the package graph with one unit and counts, for device memory of 1/2, 1/4 and 1/16 of the
//! data, the pages that were not there when they were touched (least recently used goes first). Prints also the
//! figures of the graph. `cargo run --release -p bifolio-demo --example locality`
#![expect(clippy::print_stdout, reason = "an example that reports figures")]

use bifolio_demo::arena::{Arena, ArenaError, InArena};
use bifolio_demo::debian;
use bifolio_demo::graph::{Graph, Node};
use bifolio_demo::kernels::{Kernel, Launcher, run_unit};
use bifolio_demo::layout::{self, job};
use bifolio_demo::memory::{DeviceMemory, Unit};
use bifolio_demo::reference::PageRank;
use bifolio_demo::shared_graph::SharedGraph;
use bifolio_demo::{order, reference, run};
use std::error::Error;
use std::time::Instant;

const ROUNDS: u32 = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let graph = debian::packages()?;
    println!("{} bytes packed, read in {:?}", debian::SHIPPED.len(), started.elapsed());
    describe(&graph)?;
    [4096, 64 << 10].into_iter().try_for_each(|page| misses_by_order(&graph, page))
}

fn describe(graph: &Graph) -> Result<(), Box<dyn Error>> {
    println!("  {:?}", graph.statistics());
    println!("  shared memory: {} bytes", layout::bytes_needed(graph));
    for count in [10, 100, 1000, 5000] {
        println!("  edges to the {count} most popular: {:.3}", graph.concentration(count));
    }
    let started = Instant::now();
    let ranks = reference::pagerank(graph, &PageRank::default());
    println!("  reference pagerank, 20 rounds: {:?}", started.elapsed());
    for (node, rank) in reference::highest(&ranks, 10) {
        println!("    {rank:.5} {}", graph.names().get(node).unwrap_or("?"));
    }
    let root = order::busiest(graph).unwrap_or(0);
    let levels = reference::bfs(graph, root)?;
    let reached = levels.iter().filter(|&&level| level != reference::UNREACHED);
    let deepest = reached.clone().max().copied().unwrap_or(0);
    let root = graph.names().get(root).unwrap_or("?");
    println!("  bfs from {root}: {} reached, deepest level {deepest}", reached.count());
    Ok(())
}

fn misses_by_order(graph: &Graph, page: usize) -> Result<(), Box<dyn Error>> {
    let orders: [(&str, Vec<Node>); 4] = [
        ("by name", graph.node_numbers().collect()),
        ("by popularity", order::by_popularity(graph)),
        ("1000 hot, then by name", order::hot_then_named(graph, 1000)),
        ("5000 hot, then by name", order::hot_then_named(graph, 5000)),
    ];
    for (name, order) in orders {
        let graph = order::renumber(graph, &order)?;
        let root = order::busiest(&graph).unwrap_or(0);
        print!("  pages of {:>2} KiB, {name:<23}", page >> 10);
        for part in [2, 4, 16] {
            let mut machine = Tracer::new(&graph, page, part);
            let shared = SharedGraph::build(&mut machine, &graph)?;
            run::pagerank(&mut machine, &shared, &PageRank::new(0.85, ROUNDS)?, |_| ())?;
            let ranking = std::mem::take(&mut machine.resident.misses) / u64::from(ROUNDS);
            run::bfs(&mut machine, &shared, root, |_| ())?;
            print!(" | 1/{part}: {ranking:>6} a round, bfs {:>6}", machine.resident.misses);
        }
        println!();
    }
    Ok(())
}

/// An arena whose single unit has room for a part of the pages only.
struct Tracer {
    arena: Arena,
    resident: Resident,
}

impl Tracer {
    fn new(graph: &Graph, page: usize, part: usize) -> Self {
        let bytes = layout::bytes_needed(graph);
        Self {
            arena: Arena::new(bytes),
            resident: Resident::new(page, bytes.div_ceil(page) + 1, bytes / part / page),
        }
    }
}

/// Which pages are on the device, in a ring from the latest used to the earliest.
struct Resident {
    page: usize,
    room: usize,
    held: usize,
    misses: u64,
    first_page: Option<usize>,
    /// For each page, and for the ring's start behind the last one: the one used before and after it.
    links: Vec<Option<(usize, usize)>>,
}

impl Resident {
    fn new(page: usize, pages: usize, room: usize) -> Self {
        let mut links = vec![None; pages + 1];
        links[pages] = Some((pages, pages));
        Self { page, room: room.max(2), held: 0, misses: 0, first_page: None, links }
    }

    fn touch(&mut self, address: u64) {
        let number = usize::try_from(address).expect("64-bit addresses") / self.page;
        // The arena's first page is the job record, which every kernel touches first.
        let number = number - *self.first_page.get_or_insert(number);
        let start = self.links.len() - 1;
        if self.links[number].is_some() {
            self.unlink(number);
        } else {
            self.misses += 1;
            self.held += 1;
            if self.held > self.room {
                let earliest = self.links[start].map_or(start, |(before, _)| before);
                self.unlink(earliest);
                self.held -= 1;
            }
        }
        let second = self.links[start].map_or(start, |(_, after)| after);
        self.links[number] = Some((start, second));
        self.link_pair(start, number);
        self.link_pair(number, second);
    }

    fn unlink(&mut self, number: usize) {
        if let Some((before, after)) = self.links[number].take() {
            self.link_pair(before, after);
        }
    }

    fn link_pair(&mut self, before: usize, after: usize) {
        if let Some((_, next)) = &mut self.links[before] {
            *next = after;
        }
        if let Some((previous, _)) = &mut self.links[after] {
            *previous = before;
        }
    }
}

/// One unit's access to the arena, watched.
struct Watched<'a> {
    arena: &'a Arena,
    resident: &'a mut Resident,
}

impl DeviceMemory for Watched<'_> {
    type Fault = ArenaError;

    fn load(&mut self, address: u64) -> Result<u64, ArenaError> {
        self.resident.touch(address);
        self.arena.load(address)
    }

    fn store(&mut self, address: u64, value: u64) -> Result<(), ArenaError> {
        self.resident.touch(address);
        self.arena.store(address, value)
    }

    fn add_f64(&mut self, address: u64, amount: f64) -> Result<(), ArenaError> {
        self.resident.touch(address);
        self.arena.add_f64(address, amount)
    }

    fn fetch_add(&mut self, address: u64, amount: u64) -> Result<u64, ArenaError> {
        self.resident.touch(address);
        self.arena.fetch_add(address, amount)
    }

    fn compare_exchange(&mut self, address: u64, old: u64, new: u64) -> Result<u64, ArenaError> {
        self.resident.touch(address);
        self.arena.compare_exchange(address, old, new)
    }
}

impl Launcher for Tracer {
    type Error = ArenaError;

    fn launch(&mut self, kernel: Kernel, job: usize) -> Result<(), ArenaError> {
        let mut memory = Watched { arena: &self.arena, resident: &mut self.resident };
        memory.load((job + job::NODES) as u64)?;
        run_unit(kernel, &mut memory, job, Unit { index: 0, count: 1 })
    }
}

impl InArena for Tracer {
    fn arena(&self) -> &Arena {
        &self.arena
    }

    fn arena_mut(&mut self) -> &mut Arena {
        &mut self.arena
    }
}
