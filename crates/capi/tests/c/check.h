/* check.h - what the test programs share. */
#ifndef CHECK_H
#define CHECK_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bifolio.h"

#define PAGE 4096u
#define MIB ((size_t)1 << 20)
#define ALL (BF_READ | BF_WRITE)

/* Ends the program if a condition does not hold. */
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

/* Ends the program if a call does not give a status. */
#define EXPECT(wanted, call) \
    do { \
        bf_status status_ = (call); \
        if (status_ != (wanted)) { \
            char text_[512]; \
            bf_last_error(text_, sizeof text_); \
            fprintf(stderr, "%s:%d: %s is %d, not %s: %s\n", __FILE__, __LINE__, #call, (int)status_, #wanted, text_); \
            exit(1); \
        } \
    } while (0)

#define OK(call) EXPECT(BF_OK, call)

#define SIZED(type, name) \
    type name; \
    memset(&name, 0, sizeof name); \
    name.size = sizeof name

static inline uint64_t va_of(const void *at) { return (uint64_t)(uintptr_t)at; }

static inline bf_space open_space(uint64_t bytes, uint32_t flags) {
    bf_space space;
    SIZED(bf_space_config, config);
    config.bytes = bytes;
    config.flags = flags;
    OK(bf_space_open(&config, &space));
    return space;
}

static inline bf_device attach_hosted(bf_space space, uint64_t vram) {
    bf_device device;
    SIZED(bf_device_config, config);
    config.kind = BF_DEVICE_HOSTED;
    config.vram = vram;
    config.link_latency_ps = 500000;
    config.link_ps_per_kib = 40000;
    OK(bf_device_attach(space, &config, &device));
    return device;
}

static inline bf_port open_port(bf_device device, uint32_t flags) {
    bf_port port;
    SIZED(bf_port_config, config);
    config.flags = flags;
    OK(bf_port_open(device, &config, &port));
    return port;
}

static inline bf_fault fault_at(uint64_t va, uint64_t bytes, uint32_t access) {
    SIZED(bf_fault, fault);
    fault.va = va;
    fault.bytes = bytes;
    fault.access = access;
    return fault;
}

static inline void resolve(bf_port port, uint64_t va, uint64_t bytes, uint32_t access) {
    bf_fault fault = fault_at(va, bytes, access);
    OK(bf_fault_resolve(port, &fault));
}

static inline uint64_t load(bf_port port, uint64_t va) {
    uint64_t value;
    bf_status status;
    while ((status = bf_read(port, va, &value, sizeof value)) == BF_FAULT) resolve(port, va, sizeof value, BF_READ);
    OK(status);
    return value;
}

static inline void store(bf_port port, uint64_t va, uint64_t value) {
    bf_status status;
    while ((status = bf_write(port, va, &value, sizeof value, NULL)) == BF_FAULT) resolve(port, va, sizeof value, ALL);
    OK(status);
}

static inline bf_stats stats_of(bf_space space) {
    SIZED(bf_stats, stats);
    OK(bf_space_stats(space, &stats));
    return stats;
}

static inline bf_where where_is(bf_space space, const void *at) {
    SIZED(bf_where, found);
    OK(bf_query(space, at, &found));
    return found;
}
#endif
