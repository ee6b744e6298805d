// The smallest model: a loop that reads shared memory through a port. Give it a module of your own instead of `sum += ...`.
#include "bifolio.hpp"

#include <cstdio>

struct node {
    node *next;
    uint64_t value;
};

int main() {
    bifolio::space space(64 << 20);
    bifolio::device device = space.attach(1 << 20); // 1 MiB of device memory
    bifolio::port port = device.port();

    const uint64_t count = 300000; // 4.6 MiB
    node *nodes = space.array<node>(count);
    for (uint64_t i = 0; i < count; i++) nodes[i] = {i + 1 < count ? &nodes[i + 1] : nullptr, i};

    uint64_t sum = 0, cycles = 0;
    for (uint64_t at = reinterpret_cast<uintptr_t>(nodes); at != 0; cycles++) {
        node read;
        if (!port.read(at, &read, sizeof read)) {
            port.resolve(at, sizeof read, BF_READ); // the page comes; the next cycle finds it
            continue;
        }
        sum += read.value;
        at = reinterpret_cast<uintptr_t>(read.next);
    }
    std::printf("sum %llu, expected %llu, in %llu cycles\n", (unsigned long long)sum,
                (unsigned long long)(count * (count - 1) / 2), (unsigned long long)cycles);
    return sum == count * (count - 1) / 2 ? 0 : 1;
}
