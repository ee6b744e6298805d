/* A device whose memory and page table are the program's: ops, page requests, and what happens when it is lost. */
#include "check.h"

#include <pthread.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

enum { PAGES = 256, SLOTS = 4096 };

struct entry {
    uint64_t va, pfn;
    uint32_t access, used;
};

/* Direct-mapped by page number: the test's addresses fit without collisions. */
static struct {
    pthread_mutex_t lock;
    unsigned char memory[PAGES][PAGE];
    struct entry table[SLOTS];
    int lost;
} model;

static struct entry *entry_of(uint64_t va) { return &model.table[va / PAGE % SLOTS]; }

static bf_status copy_in(void *user, uint64_t pfn, const void *from, size_t bytes) {
    CHECK(user == &model && pfn * PAGE + bytes <= sizeof model.memory);
    pthread_mutex_lock(&model.lock);
    memcpy(model.memory[pfn], from, bytes);
    pthread_mutex_unlock(&model.lock);
    return BF_OK;
}

static bf_status copy_out(void *user, uint64_t pfn, void *to, size_t bytes) {
    CHECK(user == &model && pfn * PAGE + bytes <= sizeof model.memory);
    if (model.lost) return BF_E_LOST;
    pthread_mutex_lock(&model.lock);
    memcpy(to, model.memory[pfn], bytes);
    pthread_mutex_unlock(&model.lock);
    return BF_OK;
}

static bf_status clear(void *user, uint64_t pfn, size_t bytes) {
    CHECK(user == &model && pfn * PAGE + bytes <= sizeof model.memory);
    pthread_mutex_lock(&model.lock);
    memset(model.memory[pfn], 0, bytes);
    pthread_mutex_unlock(&model.lock);
    return BF_OK;
}

static bf_status update(void *user, const bf_map *maps, size_t count) {
    size_t i, page;
    CHECK(user == &model);
    pthread_mutex_lock(&model.lock);
    for (i = 0; i < count; i++)
        for (page = 0; page < (size_t)1 << maps[i].order; page++) {
            struct entry *entry = entry_of(maps[i].va + page * PAGE);
            if (maps[i].access == 0) {
                entry->access = 0;
                continue;
            }
            if (entry->va != maps[i].va + page * PAGE || entry->access == 0) entry->used = 0;
            entry->va = maps[i].va + page * PAGE;
            entry->pfn = maps[i].pfn + page;
            entry->access = maps[i].access;
        }
    pthread_mutex_unlock(&model.lock);
    return BF_OK;
}

static uint32_t used(void *user, uint64_t va, uint32_t order) {
    uint32_t bits = 0;
    size_t page;
    CHECK(user == &model);
    pthread_mutex_lock(&model.lock);
    for (page = 0; page < (size_t)1 << order; page++) bits |= entry_of(va + page * PAGE)->used;
    pthread_mutex_unlock(&model.lock);
    return bits;
}

/* One access of the model: its own page table first, a page request if there is no entry. No lock is held meanwhile. */
static void access_word(bf_port port, uint64_t va, uint64_t *value, uint32_t access) {
    for (;;) {
        struct entry *entry = entry_of(va);
        pthread_mutex_lock(&model.lock);
        if (entry->va == va / PAGE * PAGE && (entry->access & access) == access) {
            void *at = model.memory[entry->pfn] + va % PAGE;
            if (access & BF_WRITE) memcpy(at, value, 8);
            else memcpy(value, at, 8);
            entry->used |= access;
            pthread_mutex_unlock(&model.lock);
            return;
        }
        pthread_mutex_unlock(&model.lock);
        resolve(port, va, 8, access);
    }
}

static uint64_t read_word(bf_port port, uint64_t va) {
    uint64_t value;
    access_word(port, va, &value, BF_READ);
    return value;
}

static bf_device attach_foreign(bf_space space) {
    bf_device device;
    SIZED(bf_device_ops, ops);
    SIZED(bf_device_config, config);
    config.kind = BF_DEVICE_FOREIGN;
    config.vram = sizeof model.memory;
    config.user = &model;
    config.ops = &ops;
    EXPECT(BF_E_ARGUMENT, bf_device_attach(space, &config, &device)); /* no op is set */
    ops.copy_in = copy_in;
    ops.copy_out = copy_out;
    ops.clear = clear;
    ops.update = update;
    ops.used = used;
    OK(bf_device_attach(space, &config, &device));
    memset(&ops, 0, sizeof ops); /* it was copied */
    return device;
}

static void more_than_fits(bf_space space, bf_port port) {
    enum { WORDS = 4 * PAGES };
    uint64_t i, value;
    uint64_t *memory;
    void *block;
    OK(bf_alloc(space, WORDS * PAGE, 0, &block));
    memory = (uint64_t *)block;
    for (i = 0; i < WORDS; i++) memory[i * PAGE / 8] = i;
    for (i = 0; i < WORDS; i++) CHECK(read_word(port, va_of(memory) + i * PAGE) == i);
    CHECK(stats_of(space).evictions > 0);
    CHECK(stats_of(space).to_ram_bytes == 0); /* it only read */
    for (i = 0; i < WORDS; i++) {
        value = i * 3;
        access_word(port, va_of(memory) + i * PAGE + 8, &value, ALL);
    }
    for (i = 0; i < WORDS; i++) CHECK(memory[i * PAGE / 8] == i && memory[i * PAGE / 8 + 1] == i * 3);
    CHECK(stats_of(space).to_ram_bytes > 0 && stats_of(space).violations == 0);
    OK(bf_free(space, block));
}

static void ports_have_no_memory(bf_port port) {
    uint64_t value;
    bf_port other;
    SIZED(bf_translation, found);
    SIZED(bf_port_config, config);
    (void)other, (void)config;
    EXPECT(BF_E_ARGUMENT, bf_read(port, 4096, &value, 8));
    EXPECT(BF_E_ARGUMENT, bf_translate(port, 4096, BF_READ, &found));
}

/* In a child, since SIGBUS ends it: the event is there before the signal. */
static bf_port lost_port;

static void on_sigbus(int signal) {
    SIZED(bf_event, event);
    int lost = 0;
    (void)signal;
    while (bf_event_next(lost_port, &event) == BF_OK) lost += event.kind == BF_EV_LOST && event.result == BF_E_LOST;
    _exit(lost >= 2 ? 42 : 1);
}

static void lost_device_is_told(void) {
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        execl("/proc/self/exe", "foreign", "lost", (char *)NULL);
        _exit(2);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

static int lose(void) {
    bf_space space = open_space(8 * MIB, 0);
    bf_device device = attach_foreign(space);
    uint64_t value = 5;
    void *block;
    lost_port = open_port(device, 0);
    OK(bf_alloc(space, PAGE, 0, &block));
    access_word(lost_port, va_of(block), &value, ALL);
    model.lost = 1;
    signal(SIGBUS, on_sigbus);
    return *(volatile int *)block;
}

int main(int count, char **words) {
    bf_space space;
    bf_device device;
    bf_port port;
    CHECK(pthread_mutex_init(&model.lock, NULL) == 0);
    if (count > 1 && strcmp(words[1], "lost") == 0) return lose();
    space = open_space(16 * MIB, BF_SPACE_CHECKED);
    device = attach_foreign(space);
    port = open_port(device, 0);
    more_than_fits(space, port);
    ports_have_no_memory(port);
    OK(bf_device_detach(device, 1000000000));
    OK(bf_space_close(space, 1000000000));
    lost_device_is_told();
    return 0;
}
