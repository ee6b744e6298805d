// A TLM-2.0 target over Bifolio, and an initiator that searches the graph of Debian's packages through it.
#include <cstring>

#include <systemc>
#include <tlm>
#include <tlm_utils/simple_initiator_socket.h>
#include <tlm_utils/simple_target_socket.h>

#include "../common/graph.h"

// Device memory behind virtual addresses. A transaction whose page is missing takes as long as the link needs to bring it.
// Direct memory pointers are translations: they are invalidated on the kernel's thread, before anything else is done.
class device_memory : public sc_core::sc_module {
public:
    tlm_utils::simple_target_socket<device_memory> socket;
    uint64_t faults = 0, invalidated = 0;

    device_memory(sc_core::sc_module_name name, const bifolio::space &space, bifolio::port &port)
        : sc_module(name), socket("socket"), space_(space), port_(port) {
        socket.register_b_transport(this, &device_memory::transport);
        socket.register_get_direct_mem_ptr(this, &device_memory::direct);
    }

private:
    void transport(tlm::tlm_generic_payload &payload, sc_core::sc_time &delay) {
        fetch_events();
        const bool writes = payload.is_write();
        while (!access(payload, writes)) {
            port_.resolve(payload.get_address(), payload.get_data_length(), writes ? BF_READ | BF_WRITE : BF_READ);
            faults++;
            delay += sc_core::sc_time(double(port_.took().due_ps), sc_core::SC_PS);
            fetch_events(); // what was evicted for it
        }
        delay += sc_core::sc_time(10, sc_core::SC_NS);
        payload.set_dmi_allowed(true);
        payload.set_response_status(tlm::TLM_OK_RESPONSE);
    }

    bool access(tlm::tlm_generic_payload &payload, bool writes) {
        const uint64_t va = payload.get_address();
        void *data = payload.get_data_ptr();
        return writes ? port_.write(va, data, payload.get_data_length()) : port_.read(va, data, payload.get_data_length());
    }

    bool direct(tlm::tlm_generic_payload &payload, tlm::tlm_dmi &dmi) {
        bf_translation found;
        fetch_events();
        if (!port_.translate(payload.get_address(), BF_READ, found)) return false;
        dmi.allow_read();
        dmi.set_dmi_ptr(static_cast<unsigned char *>(found.host));
        dmi.set_start_address(found.va);
        dmi.set_end_address(found.va + found.bytes - 1);
        dmi.set_read_latency(sc_core::sc_time(10, sc_core::SC_NS));
        return true;
    }

    void fetch_events() {
        for (bf_event event; port_.next(event);) {
            if (event.kind != BF_EV_INVALIDATE) continue;
            socket->invalidate_direct_mem_ptr(event.va, event.va + event.bytes - 1);
            port_.ack(event.seq);
            invalidated++;
        }
    }

    const bifolio::space &space_;
    bifolio::port &port_;
};

// Searches breadth first: nodes, edges and the queue are read and written by their virtual addresses.
class searcher : public sc_core::sc_module {
public:
    tlm_utils::simple_initiator_socket<searcher> socket;
    uint64_t reached = 0, direct_reads = 0;

    SC_HAS_PROCESS(searcher);
    searcher(sc_core::sc_module_name name, uint64_t queue) : sc_module(name), socket("socket"), queue_(queue) {
        socket.register_invalidate_direct_mem_ptr(this, &searcher::invalidate);
        SC_THREAD(run);
    }

private:
    void run() {
        uint64_t tail = queue_ + 8;
        for (uint64_t head = queue_; head != tail; head += 8) {
            const uint64_t node = read(head), level = read(node), count = read(node + 8), edges = read(node + 16);
            for (uint64_t edge = 0; edge < count; edge++) {
                const uint64_t target = read(edges + 8 * edge);
                if (read(target) != graph::UNREACHED) continue;
                write(target, level + 1);
                write(tail, target);
                tail += 8;
            }
        }
        reached = (tail - queue_) / 8;
    }

    uint64_t read(uint64_t va) {
        uint64_t value;
        if (dmi_.is_read_allowed() && va >= dmi_.get_start_address() && va + 7 <= dmi_.get_end_address()) {
            std::memcpy(&value, dmi_.get_dmi_ptr() + (va - dmi_.get_start_address()), 8);
            wait(dmi_.get_read_latency());
            direct_reads++;
            return value;
        }
        if (transact(tlm::TLM_READ_COMMAND, va, value).is_dmi_allowed()) socket->get_direct_mem_ptr(payload_, dmi_);
        return value;
    }

    void write(uint64_t va, uint64_t value) { transact(tlm::TLM_WRITE_COMMAND, va, value); }

    tlm::tlm_generic_payload &transact(tlm::tlm_command command, uint64_t va, uint64_t &value) {
        sc_core::sc_time delay = sc_core::SC_ZERO_TIME;
        payload_.set_command(command);
        payload_.set_address(va);
        payload_.set_data_ptr(reinterpret_cast<unsigned char *>(&value));
        payload_.set_data_length(8);
        payload_.set_streaming_width(8);
        payload_.set_byte_enable_ptr(nullptr);
        payload_.set_dmi_allowed(false);
        payload_.set_response_status(tlm::TLM_INCOMPLETE_RESPONSE);
        socket->b_transport(payload_, delay);
        sc_assert(payload_.is_response_ok());
        wait(delay);
        return payload_;
    }

    void invalidate(sc_dt::uint64 start, sc_dt::uint64 end) {
        if (start <= dmi_.get_end_address() && end >= dmi_.get_start_address()) dmi_.init(), dmi_.allow_none();
    }

    uint64_t queue_;
    tlm::tlm_generic_payload payload_;
    tlm::tlm_dmi dmi_;
};

int sc_main(int count, char **words) {
    if (count != 2) std::fprintf(stderr, "usage: %s GRAPH.gz\n", words[0]), std::exit(2);
    bifolio::space space(64 << 20, BF_SPACE_CHECKED);
    graph::graph graph = graph::build(space, words[1]);
    bf_device_config config = bifolio::sized<bf_device_config>();
    config.vram = graph::quarter(graph);
    config.link_latency_ps = 500000;
    config.link_ps_per_kib = 40000;
    bifolio::device device = space.attach(config);
    bifolio::port port = device.port(0, BF_PORT_CACHES);

    device_memory memory("memory", space, port);
    searcher search("searcher", reinterpret_cast<uintptr_t>(graph.queue));
    search.socket.bind(memory.socket);
    sc_core::sc_start();

    const size_t reached = graph::check(graph);
    const bf_stats stats = space.stats();
    std::printf("%zu of %zu nodes reached, as by the CPU; %.1f ms of model time\n", reached, graph.count,
                sc_core::sc_time_stamp().to_seconds() * 1e3);
    std::printf("%llu faults, %llu evictions, %llu direct reads, %llu invalidations, %llu violations\n",
                (unsigned long long)memory.faults, (unsigned long long)stats.evictions,
                (unsigned long long)search.direct_reads, (unsigned long long)memory.invalidated,
                (unsigned long long)stats.violations);
    return reached == search.reached && stats.violations == 0 ? 0 : 1;
}
