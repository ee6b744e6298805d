/* Memory of the program joins a space where it lies, a model works on it, and the program gets it back. */
#include "check.h"

#include <pthread.h>
#include <sys/mman.h>

enum { WORDS_OF_PAGE = PAGE / 8, PAGES = 1024 };

static uint64_t *pages_of_the_program(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    return (uint64_t *)memory;
}

/* A list through all pages, by real pointers. */
static void link_pages(uint64_t *memory) {
    size_t i;
    for (i = 0; i < PAGES; i++) {
        uint64_t *page = memory + i * WORDS_OF_PAGE;
        page[0] = i + 1 < PAGES ? va_of(page + WORDS_OF_PAGE) : 0;
        page[1] = i;
    }
}

static uint64_t walk(bf_port port, const uint64_t *memory) {
    uint64_t at, sum = 0;
    for (at = va_of(memory); at != 0; at = load(port, at)) {
        sum += load(port, at + 8);
        store(port, at + 16, sum);
    }
    return sum;
}

static void model_works_on_memory_of_the_program(bf_space space, bf_port port) {
    uint64_t *memory = pages_of_the_program(PAGES * (size_t)PAGE), value;
    size_t i, sum = 0;
    link_pages(memory);
    CHECK(bf_read(port, va_of(memory), &value, 8) == BF_FAULT);
    OK(bf_adopt(space, memory, PAGES * (size_t)PAGE));
    CHECK(walk(port, memory) == (uint64_t)PAGES * (PAGES - 1) / 2);
    CHECK(stats_of(space).evictions > 0);
    for (i = 0; i < PAGES; i += 2) CHECK(memory[i * WORDS_OF_PAGE + 1] == i);
    OK(bf_release(space, memory, PAGES * (size_t)PAGE));
    for (i = 0; i < PAGES; i++) {
        sum += i;
        CHECK(memory[i * WORDS_OF_PAGE + 2] == sum);
    }
    EXPECT(BF_E_RANGE, bf_release(space, memory, PAGES * (size_t)PAGE));
    EXPECT(BF_E_RANGE, bf_pin(space, memory, PAGE));
    /* It is private memory of the program again. */
    CHECK(munmap(memory, PAGES * (size_t)PAGE) == 0);
}

static void what_cannot_join_is_refused(bf_space space) {
    uint64_t *memory = pages_of_the_program(4 * PAGE);
    void *block, *shared;
    CHECK((shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED);
    OK(bf_alloc(space, PAGE, 0, &block));
    EXPECT(BF_E_ARGUMENT, bf_adopt(space, (char *)memory + 8, PAGE));
    EXPECT(BF_E_ARGUMENT, bf_adopt(space, memory, 100));
    EXPECT(BF_E_ARGUMENT, bf_adopt(space, NULL, PAGE));
    EXPECT(BF_E_ARGUMENT, bf_adopt(space, shared, PAGE));
    EXPECT(BF_E_BUSY, bf_adopt(space, block, PAGE));
    OK(bf_adopt(space, memory, 4 * PAGE));
    EXPECT(BF_E_BUSY, bf_adopt(space, memory, PAGE));
    EXPECT(BF_E_RANGE, bf_release(space, memory, PAGE));
    EXPECT(BF_E_RANGE, bf_free(space, memory));
    OK(bf_pin(space, memory, PAGE));
    EXPECT(BF_E_PINNED, bf_release(space, memory, 4 * PAGE));
    OK(bf_unpin(space, memory, PAGE));
    OK(bf_release(space, memory, 4 * PAGE));
    OK(bf_free(space, block));
    CHECK(munmap(shared, PAGE) == 0 && munmap(memory, 4 * PAGE) == 0);
}

static void room_is_needed_and_given_back(bf_space space) {
    uint64_t *large = pages_of_the_program(128 * MIB), *small = pages_of_the_program(4 * MIB);
    int i;
    EXPECT(BF_E_MEMORY, bf_adopt(space, large, 128 * MIB));
    for (i = 0; i < 40; i++) {
        OK(bf_adopt(space, small, 4 * MIB));
        OK(bf_release(space, small, 4 * MIB));
    }
    CHECK(munmap(large, 128 * MIB) == 0 && munmap(small, 4 * MIB) == 0);
}

static int ended;

static void *count(void *counters) {
    volatile uint64_t *words = (volatile uint64_t *)counters;
    uint64_t done = 0;
    while (!__atomic_load_n(&ended, __ATOMIC_RELAXED)) {
        words[done % 64 * WORDS_OF_PAGE]++;
        done++;
    }
    return (void *)(uintptr_t)done;
}

static void no_write_of_another_thread_is_lost(bf_space space, bf_device device) {
    uint64_t *memory = pages_of_the_program(64 * PAGE), sum = 0;
    pthread_t counter;
    void *done;
    int i;
    CHECK(pthread_create(&counter, NULL, count, memory) == 0);
    for (i = 0; i < 20; i++) {
        OK(bf_adopt(space, memory, 64 * PAGE));
        OK(bf_prefetch(space, memory, 32 * PAGE, device));
        OK(bf_release(space, memory, 64 * PAGE));
    }
    __atomic_store_n(&ended, 1, __ATOMIC_RELAXED);
    CHECK(pthread_join(counter, &done) == 0);
    for (i = 0; i < 64; i++) sum += memory[i * WORDS_OF_PAGE];
    CHECK(sum == (uint64_t)(uintptr_t)done);
    CHECK(munmap(memory, 64 * PAGE) == 0);
}

int main(void) {
    bf_space space = open_space(32 * MIB, BF_SPACE_CHECKED);
    bf_device device = attach_hosted(space, MIB);
    bf_port port = open_port(device, 0);
    uint64_t *left = pages_of_the_program(8 * PAGE);
    model_works_on_memory_of_the_program(space, port);
    what_cannot_join_is_refused(space);
    room_is_needed_and_given_back(space);
    no_write_of_another_thread_is_lost(space, device);
    left[0] = 17;
    OK(bf_adopt(space, left, 8 * PAGE));
    store(port, va_of(left) + 8, 18);
    CHECK(stats_of(space).violations == 0);
    OK(bf_port_close(port));
    OK(bf_device_detach(device, 1000000000));
    OK(bf_space_close(space, 1000000000));
    /* What was adopted still was given back. */
    CHECK(left[0] == 17 && left[1] == 18 && munmap(left, 8 * PAGE) == 0);
    return 0;
}
