/* Each error, and handles and structures that are wrong in each way: an error, and never a crash. */
#include "check.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static bf_space space;
static bf_device device;
static bf_port port;

static void null_pointers(void) {
    SIZED(bf_space_config, config);
    SIZED(bf_device_config, device_config);
    SIZED(bf_port_config, port_config);
    void *block;
    config.bytes = device_config.vram = MIB;
    EXPECT(BF_E_ARGUMENT, bf_space_open(NULL, &space));
    EXPECT(BF_E_ARGUMENT, bf_space_open(&config, NULL));
    EXPECT(BF_E_ARGUMENT, bf_device_attach(space, NULL, &device));
    EXPECT(BF_E_ARGUMENT, bf_device_attach(space, &device_config, NULL));
    EXPECT(BF_E_ARGUMENT, bf_port_open(device, NULL, &port));
    EXPECT(BF_E_ARGUMENT, bf_port_open(device, &port_config, NULL));
    EXPECT(BF_E_ARGUMENT, bf_alloc(space, 8, 0, NULL));
    EXPECT(BF_E_ARGUMENT, bf_alloc(space, 8, 3, &block));
    EXPECT(BF_E_ARGUMENT, bf_alloc(space, 8, 4 * MIB, &block));
    EXPECT(BF_E_ARGUMENT, bf_read(port, 4096, NULL, 8));
    EXPECT(BF_E_ARGUMENT, bf_write(port, 4096, NULL, 8, NULL));
    EXPECT(BF_E_ARGUMENT, bf_fault_resolve(port, NULL));
    EXPECT(BF_E_ARGUMENT, bf_fault_post(port, NULL));
    EXPECT(BF_E_ARGUMENT, bf_event_next(port, NULL));
    EXPECT(BF_E_ARGUMENT, bf_fault_took(port, NULL));
    EXPECT(BF_E_ARGUMENT, bf_space_stats(space, NULL));
    EXPECT(BF_E_ARGUMENT, bf_trace(space, "/nowhere/at/all", 0));
    EXPECT(BF_E_ARGUMENT, bf_trace(space, "too-short", 1));
    OK(bf_trace(space, NULL, 0));
    EXPECT(BF_E_ARGUMENT, bf_probe(NULL));
    EXPECT(BF_E_ARGUMENT, bf_query(space, &space, NULL) == BF_E_RANGE ? BF_E_ARGUMENT : BF_OK);
    EXPECT(BF_E_RANGE, bf_free(space, NULL));
    EXPECT(BF_E_RANGE, bf_prefetch(space, NULL, 8, device));
    CHECK(bf_last_error(NULL, 0) > 0);
}

static void wrong_sizes_and_values(void) {
    SIZED(bf_space_config, config);
    SIZED(bf_device_config, device_config);
    SIZED(bf_port_config, port_config);
    SIZED(bf_stats, stats);
    bf_space other;
    bf_device other_device;
    bf_port other_port;
    config.bytes = 0;
    EXPECT(BF_E_ARGUMENT, bf_space_open(&config, &other));
    config.bytes = MIB;
    config.flags = 0x80;
    EXPECT(BF_E_ARGUMENT, bf_space_open(&config, &other));
    config.flags = 0;
    config.ram_limit = 1;
    EXPECT(BF_E_ARGUMENT, bf_space_open(&config, &other));
    config.size = 0;
    EXPECT(BF_E_ARGUMENT, bf_space_open(&config, &other));
    config.size = 4;
    EXPECT(BF_E_ABI, bf_space_open(&config, &other));
    config.size = 1u << 30;
    EXPECT(BF_E_ABI, bf_space_open(&config, &other));
    stats.size = 16;
    EXPECT(BF_E_ABI, bf_space_stats(space, &stats));
    EXPECT(BF_E_ARGUMENT, bf_device_attach(space, &device_config, &other_device)); /* no memory */
    device_config.vram = MIB;
    device_config.kind = 7;
    EXPECT(BF_E_ARGUMENT, bf_device_attach(space, &device_config, &other_device));
    device_config.kind = BF_DEVICE_FOREIGN;
    EXPECT(BF_E_ARGUMENT, bf_device_attach(space, &device_config, &other_device)); /* no ops */
    device_config.kind = BF_DEVICE_HOSTED;
    device_config.access = 64;
    EXPECT(BF_E_ARGUMENT, bf_device_attach(space, &device_config, &other_device));
    device_config.access = 0;
    device_config.smallest_order = 10;
    EXPECT(BF_E_ARGUMENT, bf_device_attach(space, &device_config, &other_device));
    device_config.smallest_order = 0;
    port_config.flags = 16;
    EXPECT(BF_E_ARGUMENT, bf_port_open(device, &port_config, &other_port));
    EXPECT(BF_E_ARGUMENT, bf_ack(port, 1));
    EXPECT(BF_E_ARGUMENT, bf_serve(space, 0, 1)); /* it has threads of its own */
    EXPECT(BF_E_ARGUMENT, bf_advance(space, 1)); /* its time is real */
    EXPECT(BF_E_ARGUMENT, bf_advise(space, &config, 8, 77, device));
    EXPECT(BF_E_ARGUMENT, bf_advise(space, &config, 8, BF_ADVISE_REMOTE, device));
    EXPECT(BF_E_RANGE, bf_advise(space, &config, 8, BF_ADVISE_RANDOM, device));
}

static void wrong_handles(void) {
    const uint64_t wrong[] = {0, 1, 5, ~(uint64_t)0, (uint64_t)1 << 63};
    uint64_t ids[8];
    uint64_t value;
    void *block;
    size_t i, count = 0;
    for (i = 0; i < 5; i++) ids[count++] = wrong[i];
    ids[count++] = device.id;
    ids[count++] = space.id + ((uint64_t)1 << 32);
    for (i = 0; i < count; i++) {
        bf_space bad = {ids[i]};
        SIZED(bf_stats, stats);
        EXPECT(BF_E_HANDLE, bf_alloc(bad, 8, 0, &block));
        EXPECT(BF_E_HANDLE, bf_space_stats(bad, &stats));
        EXPECT(BF_E_HANDLE, bf_space_close(bad, 0));
    }
    ids[count - 2] = space.id;
    ids[count - 1] = device.id + ((uint64_t)1 << 32);
    for (i = 0; i < count; i++) {
        bf_device bad = {ids[i]};
        SIZED(bf_port_config, config);
        EXPECT(BF_E_HANDLE, bf_port_open(bad, &config, &port));
        EXPECT(BF_E_HANDLE, bf_device_detach(bad, 0));
    }
    ids[count - 1] = port.id + ((uint64_t)1 << 32);
    for (i = 0; i < count; i++) {
        bf_port bad = {ids[i]};
        EXPECT(BF_E_HANDLE, bf_read(bad, 4096, &value, 8));
        EXPECT(BF_E_HANDLE, bf_ack(bad, 1));
        EXPECT(BF_E_HANDLE, bf_port_close(bad));
    }
}

static void addresses_of_no_block(void) {
    bf_fault fault = fault_at(va_of(&space), 8, BF_READ);
    uint64_t value;
    void *block;
    SIZED(bf_where, found);
    EXPECT(BF_FAULT, bf_read(port, va_of(&space), &value, 8));
    EXPECT(BF_E_RANGE, bf_fault_resolve(port, &fault));
    fault.va = ~(uint64_t)0 - 3;
    EXPECT(BF_E_RANGE, bf_fault_resolve(port, &fault));
    EXPECT(BF_FAULT, bf_read(port, ~(uint64_t)0 - 3, &value, 8));
    EXPECT(BF_E_RANGE, bf_query(space, &space, &found));
    EXPECT(BF_E_RANGE, bf_pin(space, &space, 8));
    EXPECT(BF_E_RANGE, bf_unpin(space, &space, 8));
    EXPECT(BF_E_RANGE, bf_prefetch(space, &space, 8, device));
    OK(bf_alloc(space, 100, 0, &block));
    EXPECT(BF_E_RANGE, bf_free(space, (char *)block + 1));
    OK(bf_free(space, block));
    EXPECT(BF_E_RANGE, bf_free(space, block));
    EXPECT(BF_E_MEMORY, bf_alloc(space, (size_t)1 << 40, 0, &block));
}

static void pinned_and_held(void) {
    bf_fault fault;
    void *block;
    OK(bf_alloc(space, PAGE, 0, &block));
    fault = fault_at(va_of(block), 8, BF_READ);
    OK(bf_pin(space, block, PAGE));
    EXPECT(BF_E_PINNED, bf_fault_resolve(port, &fault));
    EXPECT(BF_E_PINNED, bf_prefetch(space, block, PAGE, device));
    EXPECT(BF_E_PINNED, bf_free(space, block));
    OK(bf_unpin(space, block, PAGE));
    EXPECT(BF_E_RANGE, bf_unpin(space, block, PAGE));
    OK(bf_fault_resolve(port, &fault));
    OK(bf_free(space, block));
}

static void rights_of_the_device(void) {
    bf_space other = open_space(8 * MIB, 0);
    bf_device reader;
    bf_port reads;
    bf_fault fault;
    uint64_t value = 7;
    void *block;
    SIZED(bf_device_config, config);
    config.vram = MIB;
    config.access = BF_READ;
    OK(bf_device_attach(other, &config, &reader));
    reads = open_port(reader, 0);
    OK(bf_alloc(other, PAGE, 0, &block));
    *(uint64_t *)block = 3;
    CHECK(load(reads, va_of(block)) == 3);
    EXPECT(BF_FAULT, bf_write(reads, va_of(block), &value, 8, NULL));
    fault = fault_at(va_of(block), 8, ALL);
    EXPECT(BF_E_DENIED, bf_fault_resolve(reads, &fault));
    EXPECT(BF_E_HANDLE, bf_prefetch(space, block, PAGE, reader)); /* of another space */
    config.smallest_order = 4;
    EXPECT(BF_E_ARGUMENT, bf_device_attach(other, &config, &reader)); /* after an allocation */
    OK(bf_space_close(other, 0));
    EXPECT(BF_E_HANDLE, bf_read(reads, va_of(&value), &value, 8));
    EXPECT(BF_E_HANDLE, bf_port_close(reads));
}

static void *uses_the_port(void *stop) {
    uint64_t value, seen = 0;
    while (!__atomic_load_n((int *)stop, __ATOMIC_ACQUIRE)) {
        bf_status status = bf_read(port, va_of(&space), &value, 8);
        CHECK(status == BF_FAULT || status == BF_E_THREAD);
        seen += status == BF_E_THREAD;
    }
    return (void *)(uintptr_t)seen;
}

static void one_thread_at_a_time(void) {
    int stop = 0;
    pthread_t thread;
    uint64_t value, turns, refused = 0;
    void *other;
    CHECK(pthread_create(&thread, NULL, uses_the_port, &stop) == 0);
    for (turns = 0; turns < 2000000 && refused < 10; turns++) {
        bf_status status = bf_read(port, va_of(&space), &value, 8);
        CHECK(status == BF_FAULT || status == BF_E_THREAD);
        refused += status == BF_E_THREAD;
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    CHECK(pthread_join(thread, &other) == 0);
    CHECK(refused + (uintptr_t)other > 0);
}

static void forked_child_is_told(void) {
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        uint64_t value;
        void *block;
        char text[200];
        EXPECT(BF_E_THREAD, bf_read(port, 4096, &value, 8));
        EXPECT(BF_E_THREAD, bf_alloc(space, 8, 0, &block));
        EXPECT(BF_E_THREAD, bf_space_close(space, 0));
        bf_last_error(text, sizeof text);
        CHECK(strstr(text, "fork") != NULL);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void translations_need_a_reader(void) {
    bf_space other = open_space(8 * MIB, BF_SPACE_NO_THREADS);
    bf_device own = attach_hosted(other, MIB);
    bf_port plain = open_port(own, 0), caching;
    SIZED(bf_translation, found);
    SIZED(bf_port_config, config);
    int fd;
    config.flags = BF_PORT_CACHES;
    EXPECT(BF_E_THREAD, bf_port_open(own, &config, &caching));
    EXPECT(BF_E_THREAD, bf_translate(plain, 4096, BF_READ, &found));
    EXPECT(BF_EMPTY, bf_serve(other, 1000, 1));
    OK(bf_serve_fd(other, &fd));
    OK(bf_space_close(other, 0));
}

/* Without a descriptor there is no userfaultfd. */
static void faults_that_cannot_be_caught(void) {
    struct rlimit before, none;
    bf_space other;
    SIZED(bf_grants, grants);
    SIZED(bf_space_config, config);
    config.bytes = 8 * MIB;
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none = before;
    none.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    EXPECT(BF_E_GRANT, bf_probe(&grants));
    EXPECT(BF_E_GRANT, bf_space_open(&config, &other));
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    OK(bf_probe(&grants));
}

/* The descriptor of the last file of a space that was made. */
static int file_of_the_last_space(void) {
    int fd, found = -1;
    for (fd = 0; fd < 1000; fd++) {
        char name[64], target[64] = "";
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        if (readlink(name, target, sizeof target - 1) > 0 && strstr(target, "bifolio-ram")) found = fd;
    }
    return found;
}

/* The program closes a descriptor of the library, which panics where it needs it. */
static void panics_are_caught(void) {
    bf_space other = open_space(8 * MIB, 0);
    int fd = file_of_the_last_space(), kept;
    char text[400];
    void *block;
    CHECK(fd >= 0 && (kept = dup(fd)) >= 0);
    OK(bf_alloc(other, PAGE, 0, &block));
    *(char *)block = 1;
    CHECK(close(fd) == 0);
    EXPECT(BF_E_INTERNAL, bf_free(other, block));
    bf_last_error(text, sizeof text);
    CHECK(strstr(text, "panic") != NULL && strstr(text, "close the space") != NULL);
    CHECK(dup2(kept, fd) == fd && close(kept) == 0);
    OK(bf_space_close(other, 0));
}

static void after_the_end(void) {
    uint64_t value;
    bf_fault fault;
    SIZED(bf_event, event);
    void *block;
    OK(bf_alloc(space, PAGE, 0, &block));
    store(port, va_of(block), 6);
    OK(bf_device_detach(device, 1000000000));
    CHECK(*(uint64_t *)block == 6);
    OK(bf_event_next(port, &event));
    CHECK(event.kind == BF_EV_DETACH);
    EXPECT(BF_EMPTY, bf_event_next(port, &event));
    EXPECT(BF_E_DETACHED, bf_read(port, va_of(block), &value, 8));
    fault = fault_at(va_of(block), 8, BF_READ);
    EXPECT(BF_E_DETACHED, bf_fault_resolve(port, &fault));
    EXPECT(BF_E_HANDLE, bf_device_detach(device, 0));
    OK(bf_space_close(space, 0));
    EXPECT(BF_E_HANDLE, bf_space_close(space, 0));
    EXPECT(BF_E_HANDLE, bf_alloc(space, 8, 0, &block));
    EXPECT(BF_E_HANDLE, bf_read(port, 4096, &value, 8));
    EXPECT(BF_E_HANDLE, bf_port_close(port));
}

int main(void) {
    space = open_space(8 * MIB, BF_SPACE_CHECKED);
    device = attach_hosted(space, MIB);
    port = open_port(device, 0);
    null_pointers();
    wrong_sizes_and_values();
    wrong_handles();
    addresses_of_no_block();
    pinned_and_held();
    rights_of_the_device();
    one_thread_at_a_time();
    forked_child_is_told();
    translations_need_a_reader();
    faults_that_cannot_be_caught();
    panics_are_caught();
    CHECK(stats_of(space).violations == 0);
    after_the_end();
    return 0;
}
