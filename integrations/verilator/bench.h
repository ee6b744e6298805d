// bench.h - connects an engine of RTL with an MMU (rtl/mmu.sv) to a port of Bifolio, and clocks it until it is done.
#ifndef BENCH_H
#define BENCH_H
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>

#include "bifolio.hpp"
#include "verilated.h"
#ifdef TRACE
#include "verilated_fst_c.h"
#endif

namespace bench {

const uint64_t PERIOD_PS = 10000; // 100 MHz

struct totals {
    uint64_t cycles = 0, faults = 0, moved = 0;
};

// A device with so much memory, behind a link of 500 ns and 25 GiB/s.
inline bifolio::device attach(const bifolio::space &space, uint64_t vram) {
    bf_device_config config = bifolio::sized<bf_device_config>();
    config.vram = vram;
    config.link_latency_ps = 500000;
    config.link_ps_per_kib = 40000;
    return space.attach(config);
}

// Runs a job on a model whose ports have the names of mmu.sv. The port is one that caches.
template <class Model>
totals clock(Model &model, uint64_t job, const bifolio::space &space, bifolio::port &port) {
    char *memory = nullptr; // device memory as this program sees it: physical address 0
    std::deque<bf_event> invalidations;
    totals run;
#ifdef TRACE
    Verilated::traceEverOn(true);
    VerilatedFstC trace;
    model.trace(&trace, 9);
    trace.open("walker.fst");
#endif
    model.job = job;
    bool enough = false;
    for (model.rst = 1; !model.done && !enough; run.cycles++) {
        if (run.cycles == 4) model.rst = 0, model.start = 1;
        space.advance(run.cycles * PERIOD_PS);

        // Events: pages that arrived, and translations that ended.
        model.prq_done = 0;
        for (bf_event event; !model.prq_done && port.next(event);) {
            if (event.kind == BF_EV_INVALIDATE) {
                invalidations.push_back(event);
            } else if (event.kind == BF_EV_FAULT) {
                if (event.result != BF_OK) std::fprintf(stderr, "fault: %d\n", event.result), std::exit(1);
                model.prq_done = 1, model.prq_done_tag = uint32_t(event.tag);
                run.moved += event.moved_in + event.moved_out;
            }
        }
        model.inv_valid = !invalidations.empty();
        if (model.inv_valid) model.inv_va = invalidations.front().va, model.inv_bytes = invalidations.front().bytes;

        // Ports that answer within the cycle.
        model.clk = 0, model.eval();
        model.ats_ready = model.ats_valid;
        if (model.ats_valid) {
            bf_translation found;
            uint32_t access = model.ats_write ? BF_READ | BF_WRITE : BF_READ;
            model.ats_hit = port.translate(model.ats_va, access, found);
            if (model.ats_hit) {
                model.ats_pfn = found.pfn;
                memory = static_cast<char *>(found.host) - found.pfn * 4096;
            }
        }
        if (model.mem_valid && !model.mem_write) std::memcpy(&model.mem_rdata, memory + model.mem_addr, 8);
        model.eval();
        if (model.mem_valid && model.mem_write) std::memcpy(memory + model.mem_addr, &model.mem_wdata, 8);
        bool requests = model.prq_valid;
        uint64_t va = model.prq_va, tag = model.prq_tag;
        uint32_t access = model.prq_write ? BF_READ | BF_WRITE : BF_READ;
        bool acknowledges = model.inv_ack;
#ifdef TRACE
        trace.dump(run.cycles * 10);
#endif
        model.clk = 1, model.eval();
#ifdef TRACE
        trace.dump(run.cycles * 10 + 5);
        enough = run.cycles == 200000; // to look at
#endif
        if (acknowledges) port.ack(invalidations.front().seq), invalidations.pop_front();
        if (requests) port.post(va, 8, access, tag), run.faults++;
    }
#ifdef TRACE
    trace.close();
    std::printf("walker.fst shows the first 200000 cycles\n");
    std::exit(0);
#endif
    return run;
}

} // namespace bench
#endif
