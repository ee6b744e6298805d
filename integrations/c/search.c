/* A breadth-first search of the graph of Debian's packages through a port, in C: the model reads the program's structs. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bifolio.h"

#define UNREACHED (~(uint64_t)0)
#define SIZED(type, name) type name; memset(&name, 0, sizeof name); name.size = sizeof name

/* What program and model share. */
struct node {
    uint64_t level, count;
    struct node **edges;
};

/* The program's own copy: an edge from `from[i]` to `to[i]`, sorted by `from`. */
static uint32_t *from, *to, nodes, edges, room;

static void fail(const char *what) {
    char text[512] = "";
    bf_last_error(text, sizeof text);
    fprintf(stderr, "%s: %s\n", what, text);
    exit(1);
}

static void check(bf_status status, const char *what) {
    if (status != BF_OK) fail(what);
}

/* ---- the graph: "name target target ..." lines --------------------------------------------------------------- */

enum { SLOTS = 1 << 18 };
static char *names[SLOTS];
static uint32_t numbers[SLOTS];

static uint32_t number(const char *name) {
    size_t slot = 5381;
    const char *at;
    for (at = name; *at; at++) slot = slot * 33 + (unsigned char)*at;
    for (slot %= SLOTS; names[slot]; slot = (slot + 1) % SLOTS)
        if (strcmp(names[slot], name) == 0) return numbers[slot];
    names[slot] = strdup(name);
    return numbers[slot] = nodes++;
}

static void read_graph(const char *path) {
    char command[4096], *line = NULL, *word, *rest;
    size_t length = 0;
    FILE *file;
    snprintf(command, sizeof command, "gzip -dc '%s'", path);
    if (!(file = popen(command, "r"))) fail("gzip");
    while (getline(&line, &length, file) > 0) {
        uint32_t source;
        if (line[0] == '#' || !(word = strtok_r(line, " :\t\n", &rest))) continue;
        source = number(word);
        while ((word = strtok_r(NULL, " :\t\n", &rest))) {
            if (edges == room) {
                room = room * 2 + 1024;
                from = (uint32_t *)realloc(from, room * sizeof *from);
                to = (uint32_t *)realloc(to, room * sizeof *to);
                if (!from || !to) fail("no memory");
            }
            from[edges] = source;
            to[edges++] = number(word);
        }
    }
    free(line);
    if (pclose(file) != 0 || edges == 0) fail("no graph");
}

/* ---- in shared memory ------------------------------------------------------------------------------------------ */

static void *shared(bf_space space, size_t bytes) {
    void *block;
    check(bf_alloc(space, bytes, 0, &block), "bf_alloc");
    return block;
}

/* Builds the structs; the node with the most edges comes first in `queue`. */
static struct node *build(bf_space space, struct node **queue) {
    struct node *built = (struct node *)shared(space, nodes * sizeof *built);
    struct node **pointers = (struct node **)shared(space, edges * sizeof *pointers);
    uint32_t i, root = 0;
    for (i = 0; i < edges; i++) built[from[i]].count++;
    for (i = 0; i < nodes; i++) {
        built[i].level = UNREACHED;
        built[i].edges = pointers;
        pointers += built[i].count;
        if (built[i].count > built[root].count) root = i;
    }
    for (i = 0; i < nodes; i++) built[i].count = 0;
    for (i = 0; i < edges; i++) built[from[i]].edges[built[from[i]].count++] = &built[to[i]];
    built[root].level = 0;
    queue[0] = &built[root];
    return built;
}

/* ---- the model: it knows addresses, and has everything else from the port --------------------------------------- */

static void fault(bf_port port, uint64_t va, size_t bytes, uint32_t access) {
    SIZED(bf_fault, request);
    request.va = va;
    request.bytes = bytes;
    request.access = access;
    check(bf_fault_resolve(port, &request), "bf_fault_resolve");
}

static void load(bf_port port, uint64_t va, void *value, size_t bytes) {
    bf_status status;
    while ((status = bf_read(port, va, value, bytes)) == BF_FAULT) fault(port, va, bytes, BF_READ);
    check(status, "bf_read");
}

static uint64_t word(bf_port port, uint64_t va) {
    uint64_t value;
    load(port, va, &value, sizeof value);
    return value;
}

static void store(bf_port port, uint64_t va, uint64_t value) {
    bf_status status;
    while ((status = bf_write(port, va, &value, sizeof value, NULL)) == BF_FAULT)
        fault(port, va, sizeof value, BF_READ | BF_WRITE);
    check(status, "bf_write");
}

static uint64_t search(bf_port port, uint64_t queue) {
    uint64_t head, edge, tail = queue + 8;
    for (head = queue; head != tail; head += 8) {
        struct node node;
        load(port, word(port, head), &node, sizeof node);
        for (edge = 0; edge < node.count; edge++) {
            uint64_t target = word(port, (uint64_t)(uintptr_t)(node.edges + edge));
            if (word(port, target) != UNREACHED) continue;
            store(port, target, node.level + 1);
            store(port, tail, target);
            tail += 8;
        }
    }
    return (tail - queue) / 8;
}

/* ---- the same by the CPU, on the program's own copy ------------------------------------------------------------- */

/* Level by level, over all edges: another algorithm than the model's. Returns how many nodes are reached. */
static uint64_t compare(const struct node *built, uint32_t root) {
    uint64_t *levels = (uint64_t *)malloc(nodes * sizeof *levels), level = 0, reached = 1;
    uint32_t i, grown = 1;
    for (i = 0; i < nodes; i++) levels[i] = UNREACHED;
    for (levels[root] = 0; grown > 0; level++, reached += grown)
        for (grown = i = 0; i < edges; i++)
            if (levels[from[i]] == level && levels[to[i]] == UNREACHED) levels[to[i]] = level + 1, grown++;
    for (i = 0; i < nodes; i++)
        if (built[i].level != levels[i]) fail("a level is not that of the CPU");
    free(levels);
    return reached;
}

int main(int count, char **words) {
    SIZED(bf_space_config, space_config);
    SIZED(bf_device_config, device_config);
    SIZED(bf_port_config, port_config);
    SIZED(bf_stats, stats);
    bf_space space;
    bf_device device;
    bf_port port;
    struct node *built, **queue;
    uint64_t reached, bytes;
    if (count != 2) return fprintf(stderr, "usage: %s GRAPH.gz\n", words[0]), 2;
    read_graph(words[1]);
    space_config.bytes = (uint64_t)64 << 20;
    space_config.flags = BF_SPACE_CHECKED;
    check(bf_space_open(&space_config, &space), "bf_space_open");
    queue = (struct node **)shared(space, nodes * sizeof *queue);
    built = build(space, queue);
    bytes = nodes * (sizeof *built + sizeof *queue) + edges * sizeof *queue;
    device_config.vram = (bytes / 4 + 4095) / 4096 * 4096;
    check(bf_device_attach(space, &device_config, &device), "bf_device_attach");
    check(bf_port_open(device, &port_config, &port), "bf_port_open");

    reached = search(port, (uint64_t)(uintptr_t)queue);
    check(bf_space_stats(space, &stats), "bf_space_stats");
    if (compare(built, (uint32_t)(queue[0] - built)) != reached) fail("another number of nodes than by the CPU");
    if (stats.violations != 0 || stats.evictions == 0) fail("violations, or no evictions");
    printf("C: %llu of %u nodes reached, levels as by the CPU; %llu faults, %llu evictions, 0 violations\n",
           (unsigned long long)reached, nodes, (unsigned long long)stats.device_faults,
           (unsigned long long)stats.evictions);
    check(bf_space_close(space, 1000000000), "bf_space_close");
    return 0;
}
