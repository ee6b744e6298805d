/* A model with a TLB of its own, in the thread that is the host too: invalidations are events, and nothing waits for itself. */
#include "check.h"

#include <pthread.h>

enum { ENTRIES = 16, WORDS = 1024 };

static struct {
    uint64_t va;
    char *host;
} tlb[ENTRIES];

static uint64_t seen, forced;

/* Drops what invalidations name, and acknowledges them. */
static void fetch_events(bf_port port) {
    SIZED(bf_event, event);
    while (bf_event_next(port, &event) == BF_OK) {
        size_t i;
        CHECK(event.kind == BF_EV_INVALIDATE);
        seen++;
        forced += event.forced;
        for (i = 0; i < ENTRIES; i++)
            if (tlb[i].va >= event.va && tlb[i].va < event.va + event.bytes) tlb[i].va = 0;
        OK(bf_ack(port, event.seq));
    }
}

static uint64_t *through_tlb(bf_port port, uint64_t va) {
    size_t i = va / PAGE % ENTRIES;
    fetch_events(port);
    while (tlb[i].va != va / PAGE * PAGE) {
        SIZED(bf_translation, found);
        bf_status status = bf_translate(port, va, ALL, &found);
        CHECK(status == BF_OK || status == BF_FAULT);
        if (status == BF_FAULT) {
            resolve(port, va, 8, ALL);
        } else {
            tlb[i].va = found.va;
            tlb[i].host = (char *)found.host;
        }
        fetch_events(port);
    }
    return (uint64_t *)(void *)(tlb[i].host + va % PAGE);
}

static void model_and_host_in_one_thread(void) {
    bf_space space = open_space(16 * MIB, BF_SPACE_CHECKED);
    bf_device device = attach_hosted(space, MIB);
    bf_port port = open_port(device, BF_PORT_CACHES);
    uint64_t i;
    uint64_t *memory;
    void *block;
    OK(bf_alloc(space, WORDS * PAGE, 0, &block));
    memory = (uint64_t *)block;
    for (i = 0; i < WORDS; i++) memory[i * PAGE / 8] = i;
    for (i = 0; i < WORDS; i++) {
        uint64_t *word = through_tlb(port, va_of(memory) + i * PAGE);
        CHECK(*word == i);
        *word = i + 1;
        /* The host touches the page of which the model holds a translation. */
        if (i % 8 == 0) CHECK(memory[i * PAGE / 8] == i + 1);
    }
    for (i = 0; i < WORDS; i++) CHECK(memory[i * PAGE / 8] == i + 1);
    fetch_events(port);
    CHECK(seen > 0 && forced > 0);
    CHECK(stats_of(space).invalidations >= seen && stats_of(space).late_acks == 0);
    CHECK(stats_of(space).violations == 0);
    OK(bf_port_close(port));
    OK(bf_space_close(space, 1000000000));
    memset(tlb, 0, sizeof tlb);
}

/* A fault that is posted is answered by a thread of the library, which waits for acknowledgements of this one. */
static void posted_faults_with_a_tlb(void) {
    bf_space space = open_space(16 * MIB, 0);
    bf_device device = attach_hosted(space, MIB);
    bf_port port = open_port(device, BF_PORT_CACHES);
    uint64_t i, answered = 0;
    void *block;
    OK(bf_alloc(space, WORDS * PAGE, 0, &block));
    for (i = 0; i < WORDS; i++) {
        bf_fault fault = fault_at(va_of(block) + i * PAGE, 8, BF_READ);
        int waits = 1;
        SIZED(bf_translation, found);
        fault.tag = i;
        OK(bf_fault_post(port, &fault));
        while (waits) {
            SIZED(bf_event, event);
            if (i % 16 == 0) CHECK(((char *)block)[(i + WORDS / 2) % WORDS * PAGE] == 0); /* a touch of the host */
            if (bf_event_next(port, &event) != BF_OK) continue;
            if (event.kind == BF_EV_INVALIDATE) {
                OK(bf_ack(port, event.seq));
            } else {
                CHECK(event.kind == BF_EV_FAULT && event.tag == i && event.result == BF_OK);
                waits = 0;
                answered++;
            }
        }
        /* It may be gone again. */
        CHECK(bf_translate(port, fault.va, BF_READ, &found) >= 0);
    }
    CHECK(answered == WORDS && stats_of(space).late_acks == 0);
    OK(bf_space_close(space, 1000000000));
}

static void *touches(void *at) { return (void *)(uintptr_t)*(volatile uint64_t *)at; }

/* A model that never acknowledges loses its device, and is told; the bytes come home all the same. */
static void late_acknowledgement_ends_the_device(void) {
    bf_space space = open_space(8 * MIB, 0);
    bf_device device;
    bf_port port, other;
    pthread_t thread;
    uint64_t value;
    void *block, *touched;
    int lost = 0;
    SIZED(bf_translation, found);
    SIZED(bf_event, event);
    SIZED(bf_device_config, config);
    config.vram = MIB;
    config.ack_limit_ns = 2000000;
    OK(bf_device_attach(space, &config, &device));
    port = open_port(device, BF_PORT_CACHES);
    other = open_port(device, 0);
    OK(bf_alloc(space, 2 * MIB, 0, &block));
    store(other, va_of(block), 9);
    OK(bf_translate(port, va_of(block), BF_READ, &found));
    EXPECT(BF_EMPTY, bf_event_next(port, &event));
    /* Another thread of the host touches the page of the translation. */
    CHECK(pthread_create(&thread, NULL, touches, block) == 0 && pthread_join(thread, &touched) == 0);
    CHECK((uintptr_t)touched == 9 && stats_of(space).late_acks == 1);
    EXPECT(BF_E_LOST, bf_read(other, va_of(block), &value, 8));
    CHECK(*(uint64_t *)block == 9);
    while (bf_event_next(port, &event) == BF_OK) lost += event.kind == BF_EV_LOST;
    CHECK(lost == 1);
    OK(bf_space_close(space, 1000000000));
}

int main(void) {
    model_and_host_in_one_thread();
    posted_faults_with_a_tlb();
    late_acknowledgement_ends_the_device();
    return 0;
}
