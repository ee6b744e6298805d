// bifolio.hpp - bifolio.h for C++11: objects that close what they own, and exceptions for errors. Header only.
//
// A negative status throws bifolio::error; "not now" (a fault, no event) is a result. Objects move and do not copy. Destroy
// ports before their device's space; what is destroyed after its space was closed does no harm.
#ifndef BIFOLIO_HPP
#define BIFOLIO_HPP
#include "bifolio.h"

#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace bifolio {

// What a call that failed said.
class error : public std::runtime_error {
public:
    explicit error(bf_status code) : std::runtime_error(text()), code_(code) {}
    bf_status code() const noexcept { return code_; }

private:
    static std::string text() {
        std::string text(bf_last_error(nullptr, 0) + 1, '\0');
        text.resize(bf_last_error(&text[0], text.size()));
        return text;
    }
    bf_status code_;
};

// Passes "done" and "not now" on, and throws errors.
inline bf_status check(bf_status status) {
    if (status < 0) throw error(status);
    return status;
}

// A structure of bifolio.h that is zero but for its size.
template <class T> T sized() {
    T value;
    std::memset(&value, 0, sizeof value);
    value.size = static_cast<uint32_t>(sizeof value);
    return value;
}

class port {
public:
    port() noexcept : port_() {}
    port(bf_device device, const bf_port_config &config) : port_() { check(bf_port_open(device, &config, &port_)); }
    port(port &&other) noexcept : port_(other.port_) { other.port_.id = 0; }
    port &operator=(port &&other) noexcept { std::swap(port_, other.port_); return *this; }
    port(const port &) = delete;
    port &operator=(const port &) = delete;
    ~port() { if (port_.id) bf_port_close(port_); }
    bf_port get() const noexcept { return port_; }

    // Accesses: false if a page is missing; not one byte was moved then.
    bool read(uint64_t va, void *to, size_t bytes) { return check(bf_read(port_, va, to, bytes)) == BF_OK; }
    bool write(uint64_t va, const void *from, size_t bytes, const uint8_t *strobe = nullptr) {
        return check(bf_write(port_, va, from, bytes, strobe)) == BF_OK;
    }
    bool atomic(uint64_t va, int op, int bytes, uint64_t arg, uint64_t expected, uint64_t *old) {
        return check(bf_atomic(port_, va, op, bytes, arg, expected, old)) == BF_OK;
    }
    bool translate(uint64_t va, uint32_t access, bf_translation &out) {
        out.size = static_cast<uint32_t>(sizeof out);
        return check(bf_translate(port_, va, access, &out)) == BF_OK;
    }

    // Has pages brought while model time stands still.
    void resolve(uint64_t va, uint64_t bytes, uint32_t access) {
        bf_fault fault = request(va, bytes, access, 0);
        check(bf_fault_resolve(port_, &fault));
    }
    // What the last of these moved.
    bf_event took() {
        bf_event event = sized<bf_event>();
        check(bf_fault_took(port_, &event));
        return event;
    }
    // Asks for pages; an event tells when they are there.
    void post(uint64_t va, uint64_t bytes, uint32_t access, uint64_t tag) {
        bf_fault fault = request(va, bytes, access, tag);
        check(bf_fault_post(port_, &fault));
    }
    bool next(bf_event &event) {
        event.size = static_cast<uint32_t>(sizeof event);
        return check(bf_event_next(port_, &event)) == BF_OK;
    }
    void ack(uint64_t sequence) { check(bf_ack(port_, sequence)); }

    // Loads and stores a value, whatever it takes.
    template <class T> T load(uint64_t va) {
        T value;
        while (!read(va, &value, sizeof value)) resolve(va, sizeof value, BF_READ);
        return value;
    }
    template <class T> void store(uint64_t va, const T &value) {
        while (!write(va, &value, sizeof value)) resolve(va, sizeof value, BF_READ | BF_WRITE);
    }

private:
    static bf_fault request(uint64_t va, uint64_t bytes, uint32_t access, uint64_t tag) {
        bf_fault fault = sized<bf_fault>();
        fault.va = va, fault.bytes = bytes, fault.access = access, fault.tag = tag;
        return fault;
    }
    bf_port port_;
};

// A device of a space, which ends with it at the latest.
class device {
public:
    device() noexcept : device_() {}
    device(bf_space space, const bf_device_config &config) : device_() {
        check(bf_device_attach(space, &config, &device_));
    }
    bf_device get() const noexcept { return device_; }
    void detach(uint64_t patience_ns = 1000000000) { check(bf_device_detach(device_, patience_ns)); }
    bifolio::port port(uint32_t unit = 0, uint32_t flags = 0) const {
        bf_port_config config = sized<bf_port_config>();
        config.unit = unit, config.flags = flags;
        return bifolio::port(device_, config);
    }

private:
    bf_device device_;
};

class space {
public:
    explicit space(uint64_t bytes, uint32_t flags = 0, uint64_t ram_limit = 0) : space_() {
        bf_space_config config = sized<bf_space_config>();
        config.bytes = bytes, config.flags = flags, config.ram_limit = ram_limit;
        check(bf_space_open(&config, &space_));
    }
    space(space &&other) noexcept : space_(other.space_) { other.space_.id = 0; }
    space(const space &) = delete;
    space &operator=(const space &) = delete;
    ~space() { if (space_.id) bf_space_close(space_, 1000000000); }
    bf_space get() const noexcept { return space_; }
    void close(uint64_t patience_ns = 1000000000) {
        check(bf_space_close(space_, patience_ns));
        space_.id = 0;
    }

    // A hosted device of `vram` bytes.
    bifolio::device attach(uint64_t vram) const {
        bf_device_config config = sized<bf_device_config>();
        config.kind = BF_DEVICE_HOSTED, config.vram = vram;
        return bifolio::device(space_, config);
    }
    bifolio::device attach(const bf_device_config &config) const { return bifolio::device(space_, config); }

    void *allocate(size_t bytes, size_t align = 0) const {
        void *block = nullptr;
        check(bf_alloc(space_, bytes, align, &block));
        return block;
    }
    // An array of zeros, of a type that zeros are values of.
    template <class T> T *array(size_t count) const {
        return static_cast<T *>(allocate(count * sizeof(T), alignof(T)));
    }
    void free(void *block) const { check(bf_free(space_, block)); }
    void prefetch(const void *at, size_t bytes, bf_device to = bf_device()) const {
        check(bf_prefetch(space_, at, bytes, to));
    }
    // Private anonymous memory of the program joins, and leaves.
    void adopt(void *memory, size_t bytes) const { check(bf_adopt(space_, memory, bytes)); }
    void release(void *memory, size_t bytes) const { check(bf_release(space_, memory, bytes)); }
    void advance(uint64_t now_ps) const { check(bf_advance(space_, now_ps)); }
    bf_where where(const void *at) const {
        bf_where found = sized<bf_where>();
        check(bf_query(space_, at, &found));
        return found;
    }
    // Records what happens until it ends, or the space is closed; at most `limit` bytes, 0: 256 MiB.
    void trace(const char *file, uint64_t limit = 0) const { check(bf_trace(space_, file, limit)); }
    void end_trace() const { check(bf_trace(space_, nullptr, 0)); }
    bf_stats stats() const {
        bf_stats counts = sized<bf_stats>();
        check(bf_space_stats(space_, &counts));
        return counts;
    }

private:
    bf_space space_;
};

} // namespace bifolio
#endif
