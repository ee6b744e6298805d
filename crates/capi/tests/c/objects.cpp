// bifolio.hpp: objects that close what they own, and exceptions.
#include "bifolio.hpp"

#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            std::exit(1); \
        } \
    } while (0)

struct node {
    node *next;
    uint64_t value;
};

static uint64_t va(const void *at) { return reinterpret_cast<uintptr_t>(at); }

int main() {
    bifolio::space space(64 << 20, BF_SPACE_CHECKED);
    bifolio::device device = space.attach(1 << 20);
    bifolio::port port = device.port();

    const size_t count = 200000;
    node *nodes = space.array<node>(count);
    for (size_t i = 0; i < count; i++) nodes[i].value = i, nodes[i].next = i + 1 < count ? &nodes[i + 1] : nullptr;
    uint64_t sum = 0;
    for (uint64_t at = va(nodes); at != 0;) {
        node read = port.load<node>(at);
        sum += read.value;
        at = va(read.next);
    }
    CHECK(sum == uint64_t(count) * (count - 1) / 2);
    CHECK(space.stats().evictions > 0 && space.stats().violations == 0);
    port.store<uint64_t>(va(&nodes[7].value), 70);
    CHECK(nodes[7].value == 70);

    bifolio::port moved(std::move(port));
    CHECK(port.get().id == 0 && moved.load<uint64_t>(va(&nodes[7].value)) == 70);
    bool thrown = false;
    try {
        moved.load<uint64_t>(va(&space));
    } catch (const bifolio::error &why) {
        thrown = why.code() == BF_E_RANGE && std::string(why.what()).find("no allocation") != std::string::npos;
    }
    CHECK(thrown);
    space.free(nodes);
    space.close();
    try {
        moved.load<uint64_t>(4096);
        CHECK(false);
    } catch (const bifolio::error &why) {
        CHECK(why.code() == BF_E_HANDLE);
    }
    return 0;
}
