// A breadth-first search of the graph of Debian's packages through a port, in C++: the model reads the program's structs.
#include "../common/graph.h"

static uint64_t va(const void *at) { return reinterpret_cast<uintptr_t>(at); }

// The model: it knows addresses, and has everything else from the port. Returns how many nodes it reached.
static uint64_t search(bifolio::port &port, uint64_t queue) {
    uint64_t tail = queue + 8;
    for (uint64_t head = queue; head != tail; head += 8) {
        const auto node = port.load<graph::node>(port.load<uint64_t>(head));
        for (uint64_t edge = 0; edge < node.count; edge++) {
            const auto target = port.load<uint64_t>(va(node.edges + edge));
            if (port.load<uint64_t>(target) != graph::UNREACHED) continue;
            port.store<uint64_t>(target, node.level + 1);
            port.store<uint64_t>(tail, target);
            tail += 8;
        }
    }
    return (tail - queue) / 8;
}

int main(int count, char **words) {
    if (count != 2) return std::fprintf(stderr, "usage: %s GRAPH.gz\n", words[0]), 2;
    bifolio::space space(64 << 20, BF_SPACE_CHECKED);
    graph::graph graph = graph::build(space, words[1]);
    bifolio::device device = space.attach(graph::quarter(graph));
    bifolio::port port = device.port();
    const uint64_t reached = search(port, va(graph.queue));
    const bf_stats stats = space.stats();
    if (graph::check(graph) != reached || stats.violations != 0 || stats.evictions == 0) return 1;
    std::printf("C++: %llu of %zu nodes reached, levels as by the CPU; %llu faults, %llu evictions, 0 violations\n",
                (unsigned long long)reached, graph.count, (unsigned long long)stats.device_faults,
                (unsigned long long)stats.evictions);
    space.close();
    return 0;
}
