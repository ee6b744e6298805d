/* A program and a hosted device on the same pointers: accesses of every kind, more data than device memory. */
#include "check.h"

struct node {
    struct node *next;
    uint64_t value;
    char rest[PAGE - 2 * sizeof(uint64_t)];
};

enum { NODES = 2048 };

static void walks_real_pointers(bf_space space, bf_port port) {
    void *memory;
    struct node *nodes;
    uint64_t at, sum = 0;
    size_t i;
    OK(bf_alloc(space, NODES * sizeof(struct node), 0, &memory));
    nodes = (struct node *)memory;
    for (i = 0; i < NODES; i++) {
        nodes[i].value = i;
        nodes[i].next = i + 1 < NODES ? &nodes[(i + 1) * 7 % NODES] : NULL;
    }
    /* In the order of multiples of 7, as the nodes are linked. */
    for (i = 0; i < NODES; i++) nodes[i * 7 % NODES].next = i + 1 < NODES ? &nodes[(i + 1) * 7 % NODES] : NULL;
    for (at = va_of(nodes); at != 0; at = load(port, at)) {
        sum += load(port, at + 8);
        store(port, at + 16, sum);
    }
    CHECK(sum == (uint64_t)NODES * (NODES - 1) / 2);
    /* The host touches what the model wrote, in the same thread. */
    memcpy(&at, nodes[(NODES - 1) * 7 % NODES].rest, sizeof at);
    CHECK(at == sum);
    CHECK(stats_of(space).evictions > 0 && stats_of(space).violations == 0);
    OK(bf_free(space, memory));
}

static void small_blocks_share_pages(bf_space space) {
    void *blocks[300];
    size_t i;
    for (i = 0; i < 300; i++) {
        OK(bf_alloc(space, 1 + i % 200, i % 3 == 0 ? 64 : 0, &blocks[i]));
        CHECK(va_of(blocks[i]) % (i % 3 == 0 ? 64 : 16) == 0);
        CHECK(((char *)blocks[i])[0] == 0);
        memset(blocks[i], (int)i, 1 + i % 200);
    }
    CHECK(va_of(blocks[1]) / PAGE == va_of(blocks[2]) / PAGE);
    for (i = 0; i < 300; i++) {
        CHECK(((unsigned char *)blocks[i])[i % 200] == (unsigned char)i);
        OK(bf_free(space, blocks[i]));
    }
    OK(bf_alloc(space, 3 * PAGE, MIB, &blocks[0]));
    CHECK(va_of(blocks[0]) % MIB == 0);
    OK(bf_free(space, blocks[0]));
}

static void accesses_of_every_length(bf_space space, bf_port port) {
    unsigned char out[300], in[300];
    uint8_t strobe[38];
    void *memory;
    size_t i, bytes;
    OK(bf_alloc(space, 4 * PAGE, 0, &memory));
    for (i = 0; i < sizeof out; i++) out[i] = (unsigned char)(i * 13 + 1);
    for (bytes = 0; bytes <= sizeof out; bytes += bytes < 66 ? 1 : 78) {
        uint64_t at = va_of(memory) + PAGE - bytes / 2;
        while (bf_write(port, at, out, bytes, NULL) == BF_FAULT) resolve(port, at, bytes, ALL);
        OK(bf_read(port, at, in, bytes));
        CHECK(memcmp(in, out, bytes) == 0);
        CHECK(memcmp((char *)memory + PAGE - bytes / 2, out, bytes) == 0);
    }
    memset(strobe, 0x55, sizeof strobe);
    memset(memory, 0xee, 2 * PAGE);
    while (bf_write(port, va_of(memory), out, sizeof out, strobe) == BF_FAULT)
        resolve(port, va_of(memory), sizeof out, ALL);
    for (i = 0; i < sizeof out; i++) CHECK(((unsigned char *)memory)[i] == (i % 2 == 0 ? out[i] : 0xee));
    OK(bf_free(space, memory));
}

static void atomics(bf_space space, bf_port port) {
    uint64_t old = 0, *word;
    void *memory;
    double sum = 1.5, more = 2.25;
    uint64_t bits;
    OK(bf_alloc(space, 64, 0, &memory));
    word = (uint64_t *)memory;
    *word = 40;
    while (bf_atomic(port, va_of(word), BF_ADD, 8, 2, 0, &old) == BF_FAULT) resolve(port, va_of(word), 8, ALL);
    CHECK(old == 40);
    OK(bf_atomic(port, va_of(word), BF_CAS, 8, 50, 42, &old));
    CHECK(old == 42 && load(port, va_of(word)) == 50);
    OK(bf_atomic(port, va_of(word), BF_XOR, 1, 0xff, 0, NULL));
    CHECK(load(port, va_of(word)) == (50 ^ 0xff));
    memcpy(&bits, &more, 8);
    memcpy(word, &sum, 8);
    while (bf_atomic(port, va_of(word), BF_FADD, 8, bits, 0, NULL) == BF_FAULT) resolve(port, va_of(word), 8, ALL);
    memcpy(&sum, word, 8);
    CHECK(sum == 3.75);
    EXPECT(BF_E_ARGUMENT, bf_atomic(port, va_of(word) + 1, BF_ADD, 8, 1, 0, NULL));
    EXPECT(BF_E_ARGUMENT, bf_atomic(port, va_of(word), BF_FADD, 2, 1, 0, NULL));
    EXPECT(BF_E_ARGUMENT, bf_atomic(port, va_of(word), BF_ADD, 3, 1, 0, NULL));
    EXPECT(BF_E_ARGUMENT, bf_atomic(port, va_of(word), 99, 8, 1, 0, NULL));
    OK(bf_free(space, memory));
}

static void pages_are_moved_pinned_and_found(bf_space space, bf_device device, bf_port port) {
    bf_device home = {0};
    SIZED(bf_event, took);
    void *memory;
    OK(bf_alloc(space, 64 * PAGE, 0, &memory));
    memset(memory, 5, 64 * PAGE);
    OK(bf_prefetch(space, memory, 64 * PAGE, device));
    CHECK(where_is(space, memory).device == device.id && where_is(space, memory).bytes >= PAGE);
    OK(bf_prefetch(space, memory, 64 * PAGE, home));
    CHECK(where_is(space, memory).device == 0);
    resolve(port, va_of(memory), PAGE, BF_READ);
    OK(bf_fault_took(port, &took));
    CHECK(took.moved_in >= PAGE && took.due_ps >= 500000 + 4 * 40000);
    CHECK(where_is(space, memory).dirty == 0);
    store(port, va_of(memory), 9);
    CHECK(where_is(space, memory).dirty == 1);
    OK(bf_pin(space, memory, PAGE));
    OK(bf_pin(space, memory, PAGE));
    CHECK(where_is(space, memory).pins == 2 && where_is(space, memory).device == 0);
    OK(bf_unpin(space, memory, PAGE));
    OK(bf_unpin(space, memory, PAGE));
    CHECK(where_is(space, memory).pins == 0 && *(uint64_t *)memory == 9);
    OK(bf_advise(space, memory, PAGE, BF_ADVISE_NORMAL, device));
    OK(bf_free(space, memory));
}

/* How many pages are on the device after a touch of one that was at home. */
static size_t pages_that_come(bf_space space, bf_port port, char *memory, size_t pages) {
    bf_device home = {0};
    size_t page, count = 0;
    OK(bf_prefetch(space, memory, pages * PAGE, home));
    load(port, va_of(memory) + 16 * PAGE);
    for (page = 0; page < pages; page++) count += where_is(space, memory + page * PAGE).device != 0;
    return count;
}

static void advice_says_how_much_comes(bf_space space, bf_device device, bf_port port) {
    bf_device home = {0};
    size_t usual;
    void *memory;
    char *at;
    OK(bf_alloc(space, 64 * PAGE, 64 * PAGE, &memory));
    at = (char *)memory;
    memset(at, 3, 64 * PAGE);
    usual = pages_that_come(space, port, at, 64);
    CHECK(usual > 1);
    OK(bf_advise(space, at, 64 * PAGE, BF_ADVISE_RANDOM, home));
    CHECK(pages_that_come(space, port, at, 64) == 1);
    OK(bf_advise(space, at, 64 * PAGE, BF_ADVISE_SEQUENTIAL, home));
    CHECK(pages_that_come(space, port, at, 64) == 2 * usual);
    OK(bf_advise(space, at, 64 * PAGE, BF_ADVISE_PREFER, home));
    CHECK(pages_that_come(space, port, at, 64) == 1);
    OK(bf_advise(space, at, 64 * PAGE, BF_ADVISE_PREFER, device));
    CHECK(pages_that_come(space, port, at, 64) == usual);
    OK(bf_advise(space, at, 64 * PAGE, BF_ADVISE_NORMAL, home));
    CHECK(pages_that_come(space, port, at, 64) == usual);
    OK(bf_free(space, memory));
    EXPECT(BF_E_RANGE, bf_advise(space, memory, PAGE, BF_ADVISE_RANDOM, home));
}

static void translation_leads_to_the_bytes(bf_space space, bf_port port) {
    SIZED(bf_translation, found);
    void *memory;
    OK(bf_alloc(space, PAGE, 0, &memory));
    store(port, va_of(memory) + 24, 77);
    OK(bf_translate(port, va_of(memory) + 24, BF_READ, &found));
    CHECK(found.va == va_of(memory) && found.bytes == PAGE && (found.access & BF_READ));
    CHECK(((uint64_t *)found.host)[3] == 77);
    /* This thread touches the page while it holds a translation of it. */
    CHECK(((uint64_t *)memory)[3] == 77);
    EXPECT(BF_FAULT, bf_translate(port, va_of(memory), BF_READ, &found));
    OK(bf_free(space, memory));
}

int main(void) {
    bf_space space = open_space(64 * MIB, BF_SPACE_CHECKED);
    bf_device device = attach_hosted(space, 2 * MIB);
    bf_port port = open_port(device, 0);
    SIZED(bf_grants, grants);
    CHECK(bf_abi() == BF_ABI);
    OK(bf_probe(&grants));
    walks_real_pointers(space, port);
    small_blocks_share_pages(space);
    accesses_of_every_length(space, port);
    atomics(space, port);
    pages_are_moved_pinned_and_found(space, device, port);
    advice_says_how_much_comes(space, device, port);
    translation_leads_to_the_bytes(space, port);
    CHECK(stats_of(space).violations == 0);
    OK(bf_port_close(port));
    OK(bf_device_detach(device, 1000000000));
    OK(bf_space_close(space, 1000000000));
    return 0;
}
