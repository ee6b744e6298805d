/* A program that answers faults of the CPU itself: no thread of the library. */
#include "check.h"

#include <poll.h>
#include <pthread.h>

static void *reads(void *at) { return (void *)(uintptr_t)*(volatile uint64_t *)at; }

int main(void) {
    bf_space space = open_space(8 * MIB, BF_SPACE_NO_THREADS);
    bf_device device = attach_hosted(space, MIB);
    bf_port port = open_port(device, 0);
    pthread_t thread;
    struct pollfd waiting;
    void *block, *value;
    int i;
    OK(bf_serve_fd(space, &waiting.fd));
    waiting.events = POLLIN;
    OK(bf_alloc(space, 64 * PAGE, 0, &block));
    for (i = 0; i < 64; i++) {
        bf_fault fault;
        SIZED(bf_event, event);
        store(port, va_of(block) + (uint64_t)i * PAGE, (uint64_t)i + 100);
        CHECK(pthread_create(&thread, NULL, reads, (char *)block + i * (int)PAGE) == 0);
        CHECK(poll(&waiting, 1, 10000) == 1);
        while (bf_serve(space, 1000000000, 8) == BF_EMPTY) {}
        CHECK(pthread_join(thread, &value) == 0);
        CHECK((uintptr_t)value == (uintptr_t)i + 100);
        /* Faults that are posted are answered on this thread. */
        fault = fault_at(va_of(block) + (uint64_t)i * PAGE, 8, BF_READ);
        OK(bf_fault_post(port, &fault));
        OK(bf_event_next(port, &event));
        CHECK(event.kind == BF_EV_FAULT && event.result == BF_OK);
    }
    OK(bf_space_close(space, 1000000000));
    return 0;
}
