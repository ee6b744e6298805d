/* Threads that answer their own faults, and a system call that does not. */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

enum { PAGES = 64 };

static char *block;
static bf_space space;

static void *adds(void *word) {
    int i;
    for (i = 0; i < PAGES; i++) {
        *(volatile uint64_t *)(block + (size_t)i * PAGE + (size_t)(uintptr_t)word) += (uint64_t)i;
    }
    return NULL;
}

int main(void) {
    bf_device device, home = {0};
    bf_port port;
    pthread_t threads[2];
    void *out;
    int i, ends[2];
    space = open_space(8 * MIB, BF_SPACE_TOUCHER | BF_SPACE_CHECKED);
    device = attach_hosted(space, MIB);
    port = open_port(device, 0);
    OK(bf_alloc(space, PAGES * PAGE, PAGE, &out));
    block = (char *)out;
    for (i = 0; i < PAGES; i++) store(port, va_of(block) + (uint64_t)i * PAGE, 100);
    for (i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, adds, (void *)(uintptr_t)(i * 8)) == 0);
    for (i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    for (i = 0; i < PAGES; i++) {
        CHECK(((volatile uint64_t *)(block + (size_t)i * PAGE))[0] == 100 + (uint64_t)i);
        CHECK(((volatile uint64_t *)(block + (size_t)i * PAGE))[1] == (uint64_t)i);
    }
    store(port, va_of(block), 7);
    CHECK(pipe(ends) == 0);
    CHECK(write(ends[1], block, 8) == -1 && errno == EFAULT);
    OK(bf_pin(space, block, PAGE));
    OK(bf_prefetch(space, block, PAGE, home));
    CHECK(write(ends[1], block, 8) == 8);
    OK(bf_unpin(space, block, PAGE));
    CHECK(bf_adopt(space, block, PAGE) == BF_E_ARGUMENT);
    OK(bf_space_close(space, 1000000000));
    return 0;
}
