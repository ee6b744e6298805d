// The host program and the bench of the walker, in one thread: builds a graph of structs, lets RTL search it, compares.
#include <cstring>
#include <deque>
#include <memory>

#include "../common/graph.h"
#include "Vwalker.h"
#include "verilated.h"
#ifdef TRACE
#include "verilated_fst_c.h"
#endif

static const uint64_t PERIOD_PS = 10000; // 100 MHz

int main(int count, char **words) {
    if (count != 2) std::fprintf(stderr, "usage: %s GRAPH.gz\n", words[0]), std::exit(2);

    // The host: shared memory, and a graph of real pointers in it.
    bifolio::space space(64 << 20, BF_SPACE_CHECKED | BF_SPACE_VIRTUAL_TIME);
    graph::graph graph = graph::build(space, words[1]);

    // The device: memory for a quarter of the data, behind a link of 500 ns and 25 GiB/s; the walker has a TLB.
    bf_device_config config = bifolio::sized<bf_device_config>();
    config.vram = graph::quarter(graph);
    config.link_latency_ps = 500000;
    config.link_ps_per_kib = 40000;
    bifolio::device device = space.attach(config);
    bifolio::port port = device.port(0, BF_PORT_CACHES);

    Vwalker walker;
    char *memory = nullptr; // device memory as this program sees it: physical address 0
    std::deque<bf_event> invalidations;
    uint64_t cycle = 0, faults = 0, moved = 0;
#ifdef TRACE
    Verilated::traceEverOn(true);
    VerilatedFstC trace;
    walker.trace(&trace, 9);
    trace.open("walker.fst");
#endif
    walker.job = reinterpret_cast<uintptr_t>(graph.queue);
    bool enough = false;
    for (walker.rst = 1; !walker.done && !enough; cycle++) {
        if (cycle == 4) walker.rst = 0, walker.start = 1;
        space.advance(cycle * PERIOD_PS);

        // Events: pages that arrived, and translations that ended.
        walker.prq_done = 0;
        for (bf_event event; !walker.prq_done && port.next(event);) {
            if (event.kind == BF_EV_INVALIDATE) {
                invalidations.push_back(event);
            } else if (event.kind == BF_EV_FAULT) {
                if (event.result != BF_OK) std::fprintf(stderr, "fault: %d\n", event.result), std::exit(1);
                walker.prq_done = 1, walker.prq_done_tag = uint32_t(event.tag);
                moved += event.moved_in + event.moved_out;
            }
        }
        walker.inv_valid = !invalidations.empty();
        if (walker.inv_valid) walker.inv_va = invalidations.front().va, walker.inv_bytes = invalidations.front().bytes;

        // Ports that answer within the cycle.
        walker.clk = 0, walker.eval();
        walker.ats_ready = walker.ats_valid;
        if (walker.ats_valid) {
            bf_translation found;
            uint32_t access = walker.ats_write ? BF_READ | BF_WRITE : BF_READ;
            walker.ats_hit = port.translate(walker.ats_va, access, found);
            if (walker.ats_hit) {
                walker.ats_pfn = found.pfn;
                memory = static_cast<char *>(found.host) - found.pfn * 4096;
            }
        }
        if (walker.mem_valid && !walker.mem_write) std::memcpy(&walker.mem_rdata, memory + walker.mem_addr, 8);
        walker.eval();
        if (walker.mem_valid && walker.mem_write) std::memcpy(memory + walker.mem_addr, &walker.mem_wdata, 8);
        bool requests = walker.prq_valid;
        uint64_t va = walker.prq_va, tag = walker.prq_tag;
        uint32_t access = walker.prq_write ? BF_READ | BF_WRITE : BF_READ;
        bool acknowledges = walker.inv_ack;
#ifdef TRACE
        trace.dump(cycle * 10);
#endif
        walker.clk = 1, walker.eval();
#ifdef TRACE
        trace.dump(cycle * 10 + 5);
        enough = cycle == 200000; // to look at
#endif
        if (acknowledges) port.ack(invalidations.front().seq), invalidations.pop_front();
        if (requests) port.post(va, 8, access, tag), faults++;
    }
#ifdef TRACE
    trace.close();
    std::printf("walker.fst shows the first 200000 cycles\n");
    return 0;
#else
    size_t reached = graph::check(graph);
    bf_stats stats = space.stats();
    std::printf("%zu of %zu nodes reached, as by the CPU; %.1f MiB of data, %.1f MiB of device memory\n", reached, graph.count,
                graph.bytes / 1048576.0, config.vram / 1048576.0);
    std::printf("%llu cycles, %llu page requests, %.1f MiB moved, %llu evictions, %llu invalidations, %llu violations\n",
                (unsigned long long)cycle, (unsigned long long)faults, moved / 1048576.0,
                (unsigned long long)stats.evictions, (unsigned long long)stats.invalidations,
                (unsigned long long)stats.violations);
    return reached == walker.reached && stats.violations == 0 ? 0 : 1;
#endif
}
