// The host program of the walker: builds a graph of structs, lets RTL search it, compares. One thread does it all.
#include "../common/graph.h"
#include "Vwalker.h"
#include "bench.h"

int main(int count, char **words) {
    if (count != 2) std::fprintf(stderr, "usage: %s GRAPH.gz\n", words[0]), std::exit(2);

    // The host: shared memory, and a graph of real pointers in it.
    bifolio::space space(64 << 20, BF_SPACE_CHECKED | BF_SPACE_VIRTUAL_TIME);
    graph::graph graph = graph::build(space, words[1]);

    // The device: memory for a quarter of the data; the walker has a TLB.
    const uint64_t vram = graph::quarter(graph);
    bifolio::device device = bench::attach(space, vram);
    bifolio::port port = device.port(0, BF_PORT_CACHES);
    Vwalker walker;
    const bench::totals run = bench::clock(walker, reinterpret_cast<uintptr_t>(graph.queue), space, port);

    size_t reached = graph::check(graph);
    bf_stats stats = space.stats();
    std::printf("%zu of %zu nodes reached, as by the CPU; %.1f MiB of data, %.1f MiB of device memory\n", reached, graph.count,
                graph.bytes / 1048576.0, vram / 1048576.0);
    std::printf("%llu cycles, %llu page requests, %.1f MiB moved, %llu evictions, %llu invalidations, %llu violations\n",
                (unsigned long long)run.cycles, (unsigned long long)run.faults, run.moved / 1048576.0,
                (unsigned long long)stats.evictions, (unsigned long long)stats.invalidations,
                (unsigned long long)stats.violations);
    return reached == walker.reached && stats.violations == 0 ? 0 : 1;
}
