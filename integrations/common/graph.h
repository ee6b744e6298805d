// graph.h - the graph of Debian's packages in shared memory, as structs with real pointers, and its levels by the CPU.
#ifndef BIFOLIO_GRAPH_H
#define BIFOLIO_GRAPH_H
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "bifolio.hpp"

namespace graph {

const uint64_t UNREACHED = ~uint64_t(0);

// What program and device share. The device reads it as 8-byte words, in this order.
struct node {
    uint64_t level;
    uint64_t count;
    node **edges;
};

// What a device needs to begin: the job is in shared memory too.
struct graph {
    node *nodes = nullptr;
    node **queue = nullptr; // room for each node once
    node *root = nullptr;
    size_t count = 0, edges = 0, bytes = 0;
    std::vector<std::vector<uint32_t>> lists; // the program's own copy
};

// Reads "name: target target ..." or "name target target ..." lines.
inline std::vector<std::vector<uint32_t>> read_lists(const std::string &path) {
    FILE *file = popen(("gzip -dc '" + path + "'").c_str(), "r");
    if (!file) std::perror("gzip"), std::exit(3);
    std::map<std::string, uint32_t> numbers;
    std::vector<std::vector<uint32_t>> lists;
    auto number = [&](const std::string &name) {
        auto found = numbers.emplace(name, uint32_t(lists.size()));
        if (found.second) lists.emplace_back();
        return found.first->second;
    };
    char *line = nullptr;
    size_t room = 0;
    while (getline(&line, &room, file) > 0) {
        if (line[0] == '#') continue;
        std::vector<uint32_t> words;
        for (const char *at = line; *at;) {
            const char *end = at;
            while (*end && *end != ' ' && *end != '\n' && *end != '\t' && *end != ':') end++;
            if (end > at) words.push_back(number(std::string(at, end)));
            at = *end ? end + 1 : end;
        }
        for (size_t i = 1; i < words.size(); i++) lists[words[0]].push_back(words[i]);
    }
    std::free(line);
    if (pclose(file) != 0 || lists.empty()) std::fprintf(stderr, "%s: no graph\n", path.c_str()), std::exit(2);
    return lists;
}

// Builds the graph in shared memory. The root is the node with the most edges.
inline graph build(const bifolio::space &space, const std::string &path) {
    graph made;
    made.lists = read_lists(path);
    made.count = made.lists.size();
    size_t root = 0;
    for (size_t i = 0; i < made.count; i++) {
        made.edges += made.lists[i].size();
        if (made.lists[i].size() > made.lists[root].size()) root = i;
    }
    made.nodes = space.array<node>(made.count);
    made.queue = space.array<node *>(made.count);
    node **edges = space.array<node *>(made.edges);
    made.bytes = made.count * (sizeof(node) + sizeof(node *)) + made.edges * sizeof(node *);
    for (size_t i = 0; i < made.count; i++) {
        made.nodes[i].level = i == root ? 0 : UNREACHED;
        made.nodes[i].count = made.lists[i].size();
        made.nodes[i].edges = edges;
        for (uint32_t target : made.lists[i]) *edges++ = &made.nodes[target];
    }
    made.root = made.queue[0] = &made.nodes[root];
    return made;
}

// Device memory for a quarter of the graph, whole pages.
inline uint64_t quarter(const graph &made) { return (made.bytes / 4 + 4095) / 4096 * 4096; }

// Computes the levels by the CPU, on the program's own copy, and compares. Returns how many nodes were reached.
inline size_t check(const graph &made) {
    std::vector<uint64_t> levels(made.count, UNREACHED);
    std::vector<uint32_t> frontier(1, uint32_t(made.root - made.nodes));
    levels[frontier[0]] = 0;
    for (size_t at = 0; at < frontier.size(); at++)
        for (uint32_t target : made.lists[frontier[at]])
            if (levels[target] == UNREACHED) levels[target] = levels[frontier[at]] + 1, frontier.push_back(target);
    for (size_t i = 0; i < made.count; i++)
        if (made.nodes[i].level != levels[i])
            std::fprintf(stderr, "node %zu has level %lld, by the CPU %lld\n", i, (long long)made.nodes[i].level,
                         (long long)levels[i]), std::exit(1);
    return frontier.size();
}

} // namespace graph
#endif
