/* A space that is recorded: usage: trace FILE. Prints what the space has counted meanwhile. */
#include "check.h"

int main(int count, char **words) {
    CHECK(count == 2);
    bf_space space = open_space(64 * MIB, 0);
    bf_device device = attach_hosted(space, MIB);
    bf_port port = open_port(device, 0);
    void *memory;
    OK(bf_trace(space, words[1], 0));
    EXPECT(BF_E_BUSY, bf_trace(space, words[1], 0));
    OK(bf_alloc(space, 4 * MIB, 0, &memory));
    /* The device holds a quarter, so the second round evicts. */
    for (int round = 0; round < 2; round++)
        for (size_t at = 0; at < 4 * MIB; at += PAGE) store(port, va_of(memory) + at, at);
    for (size_t at = 0; at < 4 * MIB; at += PAGE) CHECK(*(uint64_t *)((char *)memory + at) == at);
    bf_stats stats = stats_of(space);
    OK(bf_trace(space, NULL, 0));
    /* What comes later is not recorded. */
    store(port, va_of(memory), 7);
    CHECK(stats_of(space).device_faults > stats.device_faults);
    printf("%llu %llu\n", (unsigned long long)stats.device_faults, (unsigned long long)stats.evictions);
    OK(bf_port_close(port));
    OK(bf_space_close(space, 1000000000));
    return 0;
}
