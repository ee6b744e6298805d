/* bifolio.h - shared virtual memory between this program and a simulated device. ABI 0.
 *
 * RULES FOR EVERY CALL
 *   Result     0 = BF_OK; > 0 = an ordinary "not now" (BF_FAULT, BF_EMPTY, BF_PENDING), nothing changed;
 *              < 0 = an error, nothing changed. bf_last_error() has the text, for the calling thread.
 *   Handles    numbers with a generation, never pointers: null, closed, foreign or wrong-kind ones give BF_E_HANDLE.
 *   Structs    begin with `size`; set it to sizeof. A newer library reads what an older caller has, and the reverse.
 *   Ownership  the caller that gets a handle closes it. Bifolio copies what config structs point to before it returns, and
 *              keeps only `user`, and `ops` (BF_DEVICE_FOREIGN), until bf_device_detach has returned.
 *   Threads    (any)   from any thread, at the same time
 *              (port)  from one thread at a time for one port; different ports at the same time
 *   Blocking   (never) takes no lock that another thread holds while it waits for anything
 *              (moves) may move pages: microseconds to milliseconds; does not wait for the caller's own ports
 *   Callbacks  there are none, save `ops` of BF_DEVICE_FOREIGN. Everything else is an event that you fetch.
 *   Signals, setjmp, C++ exceptions must not leave an op. After fork only the parent may call: a child gets BF_E_THREAD. */
#ifndef BIFOLIO_H
#define BIFOLIO_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
#define BF_ABI 0

typedef struct { uint64_t id; } bf_space;
typedef struct { uint64_t id; } bf_device;
typedef struct { uint64_t id; } bf_port;
typedef int32_t bf_status;
enum { BF_OK = 0, BF_FAULT = 1, BF_EMPTY = 2, BF_PENDING = 3,
       BF_E_HANDLE = -1, BF_E_ARGUMENT = -2, BF_E_RANGE = -3 /* belongs to no allocation */, BF_E_MEMORY = -4,
       BF_E_BUSY = -5, BF_E_PINNED = -6, BF_E_DENIED = -7 /* write to read-only */, BF_E_DETACHED = -8,
       BF_E_LOST = -9 /* device died */, BF_E_GRANT = -10 /* see bf_probe */, BF_E_ABI = -11 /* a size that no version has */, BF_E_THREAD = -12,
       BF_E_INTERNAL = -127 /* a panic, caught; close the space */ };
enum { BF_READ = 1, BF_WRITE = 2, BF_ATOMIC = 4 };

/* ---- 1. library ------------------------------------------------------------------------------------------ */
uint32_t  bf_abi(void);                                              /* (any, never) */
size_t    bf_last_error(char *text, size_t room);                    /* (any, never) returns the length needed */
typedef struct { uint32_t size, full_faults /* system calls may touch device pages */, move, thread_id; } bf_grants;
bf_status bf_probe(bf_grants *out);                                  /* (any, never) what `bifolio doctor` says */

/* ---- 2. space: the host program's side -------------------------------------------------------------------- */
enum { BF_SPACE_NO_THREADS = 1 /* you call bf_serve */, BF_SPACE_CHECKED = 2, BF_SPACE_VIRTUAL_TIME = 4,
       BF_SPACE_TOUCHER = 8 /* a thread that touches answers its fault itself, in a handler for SIGBUS: see below */ };
/* BF_SPACE_TOUCHER: faults cost a third, and are for memory that only code touches. A system call on a page that is away fails with
 * EFAULT: bf_pin, then bf_prefetch home, before it. SIGBUS must not be blocked where memory is touched, 64 KiB of stack be left,
 * and a handler for SIGBUS that you install later pass on what it does not know. No bf_adopt: BF_E_ARGUMENT. Not with NO_THREADS. */
typedef struct { uint32_t size, flags; uint64_t bytes; uint64_t ram_limit /* 0: none */; } bf_space_config;
bf_status bf_space_open(const bf_space_config *, bf_space *out);     /* (any, moves) */
bf_status bf_space_close(bf_space, uint64_t patience_ns);            /* (any, moves) everything comes home; BF_E_BUSY names holders,
                                                                        the space stays usable; then its addresses are gone, and
                                                                        so are the handles of its devices and ports */
bf_status bf_alloc(bf_space, size_t bytes, size_t align, void **out);/* (any, never) zeros; small blocks share pages; align: a
                                                                        power of two up to 2 MiB, or 0 for 16 */
bf_status bf_free(bf_space, void *);                                 /* (any, moves) */
/* Private anonymous memory of the program, in whole pages, joins the space where it lies, with its bytes, and leaves it again.
 * Other threads may use it meanwhile; a system call that writes to it may fail with EFAULT where bf_probe says full_faults 0. In
 * between: no munmap, mremap, madvise or free of it; forked children do not have it. The space's own `bytes` must have room for
 * it, in whole 2 MiB. What is adopted still when the space is closed is given back. */
bf_status bf_adopt(bf_space, void *, size_t bytes);                  /* (any, moves) BF_E_ARGUMENT: not such memory; BF_E_BUSY: in
                                                                        the space already; BF_E_MEMORY: no room */
bf_status bf_release(bf_space, void *, size_t bytes);                /* (any, moves) ends bf_adopt of the same range; bytes are
                                                                        home; BF_E_PINNED */
bf_status bf_prefetch(bf_space, const void *, size_t, bf_device to); /* (any, moves) id 0: home */
enum { BF_ADVISE_PREFER, BF_ADVISE_STAY, BF_ADVISE_READ_MOSTLY, BF_ADVISE_REMOTE /* map, do not move */, BF_ADVISE_NORMAL,
       BF_ADVISE_SEQUENTIAL /* larger folios, and the next one too */, BF_ADVISE_RANDOM /* single pages */ };
bf_status bf_advise(bf_space, const void *, size_t, int what, bf_device);       /* (any, never) until other advice or bf_free, from
                                                                        the next fault on. PREFER: on other sides than `device`
                                                                        (id 0: home) single pages come. NORMAL: nothing is said.
                                                                        STAY, READ_MOSTLY, REMOTE: BF_E_ARGUMENT, since no device
                                                                        of this version uses memory where it is */
bf_status bf_pin(bf_space, const void *, size_t);                    /* (any, moves) home, and stays: counts */
bf_status bf_unpin(bf_space, const void *, size_t);                  /* (any, never) the same pages as were pinned together */
typedef struct { uint32_t size, order; uint64_t va, bytes, device /* id, 0: home */; uint32_t dirty, pins; } bf_where;
bf_status bf_query(bf_space, const void *, bf_where *out);           /* (any, never) the folio that holds it */
typedef struct { uint32_t size, _0; uint64_t cpu_faults, device_faults, to_device_bytes, to_ram_bytes, evictions, splits,
                 fallbacks, busy, failures, violations, invalidations, late_acks; } bf_stats;
bf_status bf_space_stats(bf_space, bf_stats *out);                   /* (any, never) */
bf_status bf_trace(bf_space, const char *file, uint64_t limit);      /* (any, never) records from now on what happens, for `bifolio
                                                                        trace`, `report` and `replay`; `limit` bytes at most, 0:
                                                                        256 MiB, the newest stay. NULL, or bf_space_close, ends
                                                                        it. BF_E_ARGUMENT: the file cannot be written (NULL tells
                                                                        that of all that was recorded); BF_E_BUSY: recorded */

/* ---- 3. who drives it -------------------------------------------------------------------------------------- */
bf_status bf_serve(bf_space, uint64_t timeout_ns, uint32_t most);    /* (any, moves) answers CPU faults of OTHER threads; the only
                                                                        place where they are answered with NO_THREADS. BF_EMPTY:
                                                                        none came in time */
bf_status bf_serve_fd(bf_space, int *fd);                            /* (any, never) readable: bf_serve has work */
bf_status bf_advance(bf_space, uint64_t now_ps);                     /* (any, never) model time; events are due by it; it only
                                                                        goes on; wants BF_SPACE_VIRTUAL_TIME */

/* ---- 4. device ---------------------------------------------------------------------------------------------- */
enum { BF_DEVICE_HOSTED /* Bifolio has its memory and page table */, BF_DEVICE_FOREIGN /* you have: ops */ };
typedef struct { uint64_t va, pfn; uint32_t order, access; } bf_map;  /* access 0: unmap */
typedef struct {                                /* BF_DEVICE_FOREIGN only. Called on ANY thread, several at once for different 2 MiB */
  uint32_t size, _0;                            /* blocks, also on the thread that is inside bf_fault_resolve: hold no lock of yours */
  bf_status (*copy_in)(void *user, uint64_t pfn, const void *from, size_t bytes);   /* there that takes an op to get. An op must */
  bf_status (*copy_out)(void *user, uint64_t pfn, void *to, size_t bytes);          /* not call bf_*, nor touch shared memory. */
  bf_status (*clear)(void *user, uint64_t pfn, size_t bytes);
  bf_status (*update)(void *user, const bf_map *, size_t n);     /* on return no access uses what was unmapped. An error of an */
  uint32_t  (*used)(void *user, uint64_t va, uint32_t order);    /* unmap means: device lost. used: BF_READ|BF_WRITE since mapped */
} bf_device_ops;                                                 /* last; WRITE unset lets a clean folio go home uncopied. NULL:
                                                                    all is copied. pfn counts from 0 in each device. */
typedef struct { uint32_t size, kind; uint64_t vram; uint32_t smallest_order, access /* READ|WRITE|ATOMIC */;
                 uint64_t link_latency_ps, link_ps_per_kib, ack_limit_ns; const bf_device_ops *ops; void *user; } bf_device_config;
/* smallest_order above 0: before the first bf_alloc. access 0: all. ack_limit_ns 0: 10 s. A space has at most 16 devices, those
 * that were detached included. */
bf_status bf_device_attach(bf_space, const bf_device_config *, bf_device *out);     /* (any, moves) */
bf_status bf_device_detach(bf_device, uint64_t patience_ns);                        /* (any, moves) */

/* ---- 5. port: where a model's memory requests enter. One for each unit, initiator, or AXI master. ----------- */
enum { BF_PORT_CACHES = 1 /* it keeps translations: invalidations are events that it must acknowledge */ };
typedef struct { uint32_t size, flags, unit, queue /* faults posted at once, 0: 64 */; } bf_port_config;
/* On a port of a foreign device only bf_fault_*, bf_event_next and bf_port_close work: it has its memory itself. CACHES and
 * bf_translate need a reader of faults at all times: BF_E_THREAD with BF_SPACE_NO_THREADS. */
bf_status bf_port_open(bf_device, const bf_port_config *, bf_port *out);            /* (any, never) */
bf_status bf_port_close(bf_port);                                                   /* (port, never) */
/* Access. Never waits, keeps nothing on return; may cross pages. BF_FAULT: not one byte was moved. */
bf_status bf_read(bf_port, uint64_t va, void *to, size_t);                          /* (port, never) aligned 1..8 never tear */
bf_status bf_write(bf_port, uint64_t va, const void *from, size_t, const uint8_t *strobe);  /* strobe: a bit a byte, or NULL */
enum { BF_ADD, BF_SWAP, BF_CAS, BF_AND, BF_OR, BF_XOR, BF_MIN, BF_MAX, BF_FADD };
bf_status bf_atomic(bf_port, uint64_t va, int op, int bytes, uint64_t arg, uint64_t expected, uint64_t *old);
                          /* (port, never) 1, 2, 4 or 8 aligned bytes, numbers without signs; FADD: 4 or 8; old: or NULL */
/* Translation, for models with a TLB, DMI or ATS. Without CACHES it is good until the next bf_* call on this port, and until
 * this thread touches shared memory by a host pointer; with CACHES until you acknowledge an invalidation of it. */
typedef struct { uint32_t size, access; void *host; uint64_t va, bytes /* all of its page or folio */, pfn, epoch; } bf_translation;
bf_status bf_translate(bf_port, uint64_t va, uint32_t access, bf_translation *out); /* (port, never) BF_FAULT: not there */
/* Faults, two ways. resolve: there on return, model time stands still. post: BF_EV_FAULT comes at post time + link model in
 * virtual time (the same cycle in each run), else as soon as it is done. */
typedef struct { uint32_t size, access; uint64_t va, bytes, tag, pasid; } bf_fault;
bf_status bf_fault_resolve(bf_port, const bf_fault *);                              /* (port, moves) */
bf_status bf_fault_post(bf_port, const bf_fault *);   /* (port, moves with VIRTUAL_TIME or NO_THREADS, else never) BF_E_BUSY: too
                                                         many out */
enum { BF_EV_FAULT, BF_EV_INVALIDATE, BF_EV_LOST, BF_EV_DETACH };
typedef struct { uint32_t size, kind; uint64_t tag, seq, va, bytes, due_ps, moved_in, moved_out; bf_status result; uint32_t forced; } bf_event;
bf_status bf_fault_took(bf_port, bf_event *out);      /* (port, never) what the last bf_fault_resolve moved; due_ps: when it would
                                                         have been due by the link model */
bf_status bf_event_next(bf_port, bf_event *out);                                    /* (port, never) BF_EMPTY */
bf_status bf_ack(bf_port, uint64_t seq);     /* (port, never) all invalidations up to seq. Later than ack_limit: counted, then
                                                the device is lost. A port whose own thread sleeps in a CPU fault is taken as
                                                acknowledged (`forced`), and so is one whose thread is inside a call
                                                that moves: fetch events before you use a translation again. */
/* ---- 6. a device in another process: comes later; its calls will be bf_device_listen and bf_device_connect. --- */
#ifdef __cplusplus
}
#endif
#endif
