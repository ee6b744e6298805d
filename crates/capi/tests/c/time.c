/* Model time: faults are answered at post time and what the link takes, the same in each run. */
#include "check.h"

enum { NODES = 256, PERIOD_PS = 20000 };

struct node {
    struct node *next;
    uint64_t value;
};

/* A model that walks a list, one step a cycle, and posts its faults; the host touches the list now and then. */
static uint64_t run(void) {
    bf_space space = open_space(16 * MIB, BF_SPACE_VIRTUAL_TIME);
    bf_device device = attach_hosted(space, MIB / 4);
    bf_port port = open_port(device, 0);
    uint64_t cycle = 0, at, sum = 0, waits_for = 0, moved = 0;
    struct node *nodes[NODES];
    size_t i;
    void *block;
    OK(bf_alloc(space, NODES * PAGE, 0, &block));
    for (i = 0; i < NODES; i++) nodes[i] = (struct node *)(void *)((char *)block + i * 5 % NODES * PAGE);
    for (i = 0; i < NODES; i++) {
        nodes[i]->value = i;
        nodes[i]->next = i + 1 < NODES ? nodes[i + 1] : NULL;
    }
    for (at = va_of(nodes[0]); at != 0; cycle++) {
        struct node node;
        SIZED(bf_event, event);
        OK(bf_advance(space, cycle * PERIOD_PS));
        if (cycle % 50 == 0) CHECK(nodes[cycle / 50 % NODES]->value == cycle / 50 % NODES);
        if (waits_for != 0) {
            if (bf_event_next(port, &event) == BF_EMPTY) continue;
            CHECK(event.kind == BF_EV_FAULT && event.tag == waits_for && event.result == BF_OK);
            CHECK(event.due_ps <= cycle * PERIOD_PS);
            moved += event.moved_in + event.moved_out;
            waits_for = 0;
        }
        if (bf_read(port, at, &node, sizeof node) == BF_FAULT) {
            bf_fault fault = fault_at(at, sizeof node, BF_READ);
            fault.tag = waits_for = cycle + 1;
            OK(bf_fault_post(port, &fault));
            continue;
        }
        sum += node.value;
        at = va_of(node.next);
    }
    CHECK(sum == (uint64_t)NODES * (NODES - 1) / 2 && moved > 0);
    EXPECT(BF_E_ARGUMENT, bf_advance(space, 0));
    OK(bf_space_close(space, 1000000000));
    return cycle;
}

int main(void) {
    uint64_t first = run();
    int i;
    /* Each fault takes at least the latency of the link. */
    CHECK(first > 500);
    for (i = 1; i < 100; i++) {
        uint64_t cycles = run();
        if (cycles != first) {
            fprintf(stderr, "run %d takes %llu cycles, the first took %llu\n", i, (unsigned long long)cycles,
                    (unsigned long long)first);
            return 1;
        }
    }
    printf("%llu cycles in each of 100 runs\n", (unsigned long long)first);
    return 0;
}
