// The host program of the dot engine: RTL gathers values by the program's pointers and adds weight times value.
#include "Vdot.h"
#include "bench.h"

// What program and RTL share, as 8-byte words in this order.
struct job {
    uint64_t count;
    uint64_t **pointers;
    uint64_t *weights;
    uint64_t result;
};

int main() {
    const size_t values = 1 << 17, count = 1 << 15;
    bifolio::space space(64 << 20, BF_SPACE_CHECKED | BF_SPACE_VIRTUAL_TIME);
    job *job = space.array<struct job>(1);
    uint64_t *value = space.array<uint64_t>(values);
    job->count = count;
    job->pointers = space.array<uint64_t *>(count);
    job->weights = space.array<uint64_t>(count);

    // Pointers without any order, and what the sum is by the CPU.
    uint64_t random = 1, expected = 0;
    auto next = [&] { return random = random * 6364136223846793005 + 1442695040888963407; };
    for (size_t i = 0; i < values; i++) value[i] = next();
    for (size_t i = 0; i < count; i++) {
        job->pointers[i] = &value[(next() >> 33) % values];
        job->weights[i] = next() >> 40;
        expected += job->weights[i] * *job->pointers[i];
    }

    const size_t bytes = sizeof *job + 8 * (values + 2 * count);
    bifolio::device device = bench::attach(space, (bytes / 4 + 4095) / 4096 * 4096);
    bifolio::port port = device.port(0, BF_PORT_CACHES);
    Vdot dot;
    const bench::totals run = bench::clock(dot, reinterpret_cast<uintptr_t>(job), space, port);

    const bf_stats stats = space.stats();
    std::printf("dot of %zu: %llu, by the CPU %llu; %llu cycles, %llu page requests, %.1f MiB moved, %llu violations\n", count,
                (unsigned long long)job->result, (unsigned long long)expected, (unsigned long long)run.cycles,
                (unsigned long long)run.faults, run.moved / 1048576.0, (unsigned long long)stats.violations);
    return job->result == expected && stats.evictions > 0 && stats.violations == 0 ? 0 : 1;
}
