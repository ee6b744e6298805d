/* Makes random memory calls and prints what each has answered and what the bytes are: a run without Bifolio prints the same.

       memory_calls CALLS SEED PAGES [threads]

   With "threads" one more thread reads the region all the while, and another one uses pages of its own. The region lies where the kernel puts nothing by itself, so
   that its neighbours are the same in each run. A child prints its own calls, indented, before its parent goes on. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define REGION ((char *)0x100000000000)
/* Two places for the block that is resized. */
#define PLACE(number) ((char *)0x200000000000 + (size_t)(number) * (1ul << 40))
#define BLOCK_MOST 256ul
/* Where the pages of a thread are. */
#define OWN ((char *)0x400000000000)
#define OWN_PAGES 256ul
/* Bytes of the file that is read into the region. */
#define FILE_LEN (64 * PAGE)
#define COUNT(array) (sizeof(array) / sizeof *(array))

static uint64_t state;
static size_t pages;
static int file, depth;
/* Where a fault that is looked for goes. */
static __thread sigjmp_buf out;
static __thread volatile int is_looking;

static unsigned below(size_t most) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((state >> 33) % most);
}

static void on_fault(int number, siginfo_t *info, void *context) {
    (void)context;
    if (!is_looking) _exit(100 + number);
    siglongjmp(out, number * 16 + (info->si_code & 15));
}

static long answer(long result) { return result == -1 ? -errno : 0; }

/* Digest of each page's bytes, or of the signal that reading it raised. */
static uint64_t digest(char *start, size_t count) {
    volatile uint64_t total = 0;
    is_looking = 1;
    for (volatile size_t page = 0; page < count; page++) {
        int fault = sigsetjmp(out, 0);
        if (fault) {
            total = total * 31 + fault;
            continue;
        }
        uint64_t *words = (uint64_t *)(start + page * PAGE), here = 0;
        for (size_t word = 0; word < PAGE / 8; word += 32) here = here * 3 + words[word] + words[word + 31];
        total = total * 31 + here;
    }
    is_looking = 0;
    return total;
}

/* Writes to each page; returns a digest of the signals that this raised. */
static long fill(char *start, size_t count) {
    volatile long failed = 0;
    uint64_t salt = state;
    is_looking = 1;
    for (volatile size_t page = 0; page < count; page++) {
        int fault = sigsetjmp(out, 0);
        if (fault) {
            failed = (failed * 31 + fault) % 1000003;
            continue;
        }
        uint64_t *words = (uint64_t *)(start + page * PAGE);
        for (size_t word = 0; word < PAGE / 8; word += 32) words[word] = words[word + 31] = salt + page + word;
    }
    is_looking = 0;
    return failed;
}

static const int protections[] = {PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE,
                                  PROT_READ | PROT_WRITE | PROT_EXEC};

static long map(char *at, size_t len) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    if (below(8) == 0) flags |= below(2) ? MAP_NORESERVE : MAP_POPULATE;
    if (below(16) == 0) flags = (flags & ~MAP_FIXED) | MAP_FIXED_NOREPLACE;
    return answer((long)mmap(at, len, protections[below(COUNT(protections))], flags, -1, 0));
}

enum { COLLAPSE = 25, HWPOISON = 100, SOFT_OFFLINE = 101 };
/* Every advice that there is, and some that are not. */
static const int advices[] = {0,  1,  2,  3,  4,  4,  4,  4,  5,  6,  7,  8,  9,  10, 11,       12,           13,  14,  15,  16, 17,
                              18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 77, 99, -1, HWPOISON, SOFT_OFFLINE, 102, 103, 103, 104};

/* Gives bytes to pages of which the kernel may have kept or dropped the old ones: to all of each, since a file may be written from it. */
static void make_definite(char *start, size_t count) {
    for (char *page = start; page < start + count * PAGE; page += PAGE) {
        if (fill(page, 1)) {
            madvise(page, PAGE, MADV_DONTNEED_LOCKED);
        } else {
            memset(page, 0, PAGE);
            fill(page, 1);
        }
    }
}

static long advise(char *at, size_t len) {
    int advice = advices[below(COUNT(advices))];
    /* As root these take memory away from the machine. */
    if ((advice == HWPOISON || advice == SOFT_OFFLINE) && geteuid() == 0) advice = MADV_DONTNEED;
    long result = answer(madvise(at, len, advice));
    if (advice == MADV_FREE) make_definite((char *)((uintptr_t)at & ~(PAGE - 1)), len / PAGE + 2);
    /* Whether a huge page can be had is up to the machine. */
    return advice == COLLAPSE ? 0 : result;
}

/* Moves. A range of several pages is neither resized by a move nor kept at its old place: the kernel does so only within one
   mapping, and how many there are is not the same under Bifolio. See resize_block. */
static long move(char *at, size_t len) {
    size_t to = below(pages), new_len = len == 1 && below(4) == 0 ? 1 + below(64) : len;
    if (to + new_len > pages) new_len = len = pages - to < len ? pages - to : len;
    int flags = below(4) ? MREMAP_MAYMOVE | MREMAP_FIXED : (int)below(16);
    if (len == 1 && below(4) == 0) flags |= MREMAP_DONTUNMAP;
    if (len > 1) flags &= ~MREMAP_DONTUNMAP;
    size_t old_len = below(32) ? len * PAGE : 0;
    char *moved = mremap(at, old_len, new_len * PAGE - (below(16) ? 0 : below(4096)), flags, REGION + to * PAGE);
    if (moved == MAP_FAILED) return -errno;
    if (moved == at || moved == REGION + to * PAGE) return 1;
    /* It is where the kernel wanted it: back into the region, or away. */
    long result = (long)(digest(moved, new_len) % 1000003);
    if (below(2)) {
        char *back = mremap(moved, new_len * PAGE, new_len * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, REGION + to * PAGE);
        return result * 3 + (back == MAP_FAILED ? -errno : 0);
    }
    munmap(moved, new_len * PAGE);
    return result;
}

static size_t block_len, block_place;

/* Grows and shrinks a block that is one mapping, in place, by a move, and so that its old place stays mapped. */
static long resize_block(void) {
    size_t len = 1 + below(BLOCK_MOST), other = 1 - block_place;
    int flags = below(2) ? MREMAP_MAYMOVE : MREMAP_MAYMOVE | MREMAP_FIXED;
    if (below(8) == 0) flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, len = block_len;
    char *old = PLACE(block_place);
    char *moved = mremap(old, block_len * PAGE, len * PAGE, flags, PLACE(other));
    if (moved == MAP_FAILED) return -errno;
    long result = (long)(digest(moved, len) % 1000003);
    if (flags & MREMAP_DONTUNMAP) {
        result = (result * 31 + (long)(digest(old, len) % 1000003)) % 1000003;
        munmap(old, len * PAGE);
    }
    block_len = len, block_place = moved != old ? other : block_place;
    if (below(2)) fill(moved, len);
    return result;
}

/* The kernel's own reads and writes of the region. */
static long transfer(char *at, size_t len) {
    char *elsewhere = REGION + below(pages) * PAGE;
    ssize_t done;
    switch (below(4)) {
    case 0: done = pread(file, at, len, below(64) * 100); break;
    case 1: done = pwrite(file, at, len < FILE_LEN ? len : FILE_LEN, 0); break;
    case 2: {
        struct iovec parts[3] = {{at, 100}, {at + len / 2, len / 2}, {elsewhere, below(20000)}};
        done = preadv(file, parts, 3, below(5000));
        break;
    }
    default: {
        int ends[2];
        if (pipe(ends)) exit(2);
        done = write(ends[1], at, len < 30000 ? len : 30000);
        if (done > 0 && read(ends[0], elsewhere, done) < 0) done = -1;
        close(ends[0]), close(ends[1]);
    }
    }
    return done < 0 ? -errno : done;
}

/* Memory below the program's break that is ours: each word holds its address, or 0 where it is fresh. */
static uint64_t *break_start, *break_end;

static long move_break(void) {
    if (sbrk(0) != break_end) {
        /* The allocator has moved it since. */
        break_start = break_end = sbrk(0);
        if (sbrk((long)(-(uintptr_t)break_end & 7)) == (void *)-1) return -errno;
        break_start = break_end = sbrk(0);
    }
    long wrong = 0;
    for (uint64_t *word = break_start; word + 64 < break_end; word += 64) wrong += *word != (uintptr_t)word;
    size_t have = (char *)break_end - (char *)break_start;
    /* As many numbers are drawn in any case: where the break is, the allocator has a say in, and it may have been refused to resize
       a block that is of two mappings under Bifolio. */
    unsigned grows = below(3), most = 1 << 17, some = below(most);
    long change = grows ? (long)some & ~7l : -(long)(have * some / most) & ~7l;
    if (change < 0 && (size_t)-change > have) change = 0;
    if (sbrk(change) == (void *)-1) return -errno;
    uint64_t *end = (uint64_t *)((char *)break_end + change);
    for (uint64_t *word = break_end; word < end; word++) wrong += *word != 0;
    for (uint64_t *word = break_start; word < end; word++) *word = (uintptr_t)word;
    /* What comes back after it was given up is zero: the rest of the last page keeps what it held. */
    if (change < 0) {
        char *page_end = (char *)(((uintptr_t)end + PAGE - 1) & ~(PAGE - 1));
        memset(end, 0, page_end < (char *)break_end ? page_end - (char *)end : (char *)break_end - (char *)end);
    }
    break_end = end;
    return wrong;
}

static char *blocks[8];
static size_t block_lens[8];

static long reallocate(void) {
    unsigned which = below(COUNT(blocks));
    size_t new_len = 1 + below(below(16) ? 1 << 16 : 1 << 21), len = block_lens[which];
    char *moved = realloc(blocks[which], new_len);
    if (!moved) return -errno;
    long result = malloc_usable_size(moved) < new_len;
    if (new_len > len) memset(moved + len, (int)state, new_len - len);
    blocks[which] = moved, block_lens[which] = new_len;
    for (size_t byte = 0; byte < new_len; byte += 509) result = (result * 31 + moved[byte]) % 1000003;
    if (below(8) == 0) free(moved), blocks[which] = NULL, block_lens[which] = 0;
    return result;
}

/* Locks all of the program's memory, or asks to. As an ordinary user it may be refused where that is within some 2 MiB of the
   limit, since libraries that came with Bifolio count: then only what is above any limit answers. */
static long lock_all(void) {
    static const int flags[] = {MCL_CURRENT, MCL_CURRENT | MCL_ONFAULT, MCL_ONFAULT, 0, 64};
    int chosen = flags[below(COUNT(flags))], limited = geteuid() && below(2);
    struct rlimit limit, low;
    getrlimit(RLIMIT_MEMLOCK, &limit);
    low = limit;
    if (limited) low.rlim_cur = PAGE;
    setrlimit(RLIMIT_MEMLOCK, &low);
    long result = answer(mlockall(chosen));
    setrlimit(RLIMIT_MEMLOCK, &limit);
    if (geteuid() && !limited && chosen & MCL_CURRENT) result = 0;
    return result * 3 + answer(munlockall());
}

static long lock(char *at, size_t len) {
    switch (below(8)) {
    case 0: return lock_all();
    case 1: return answer(mlock2(at, (len % 16 + 1) * PAGE, MLOCK_ONFAULT));
    case 2: case 3: case 4: return answer(mlock(at, (len % 16 + 1) * PAGE));
    default: return answer(munlock(at, len * PAGE));
    }
}

static long look(char *at, size_t len) {
    static unsigned char there[1 << 14];
    if (below(2)) return answer(mincore(at, len * PAGE, there));
    return answer(msync(at + (below(8) ? 0 : 1), len * PAGE, (int)below(8)));
}

static void step(long number);

/* A child looks at a range, and makes calls of its own. */
static long make_child(char *at, size_t len) {
    if (depth == 2) return 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        depth++;
        printf("%*s%llx\n", depth * 4, "", (unsigned long long)digest(at, len));
        for (long call = 0; call < 4; call++) step(call);
        fflush(stdout);
        _exit(0);
    }
    int status = 0;
    return child < 0 || waitpid(child, &status, 0) != child ? -errno : status;
}

static long make_call(unsigned kind, char *at, size_t len) {
    size_t odd = below(16) ? 0 : 1 + below(4095);
    switch (kind) {
    case 0: case 1: return map(at, len * PAGE - odd);
    case 2: return munmap(at + odd, len * PAGE) ? -errno : 0;
    case 3: return answer(mprotect(at + odd, len * PAGE, protections[below(COUNT(protections))]));
    case 4: case 5: return advise(at + odd, len * PAGE - (below(8) ? 0 : below(4096)));
    case 6: return move(at + odd, len);
    case 7: return lock(at, len);
    case 8: return look(at, len);
    case 9: return below(8) ? 0 : make_child(at, len);
    case 10: return reallocate();
    case 11: return below(4) ? 0 : move_break();
    case 12: return transfer(at + below(100), len * PAGE);
    case 13: return below(4) ? 0 : resize_block();
    default: return fill(at, len);
    }
}

static const char *const names[] = {"map",   "map",   "unmap",   "protect",  "advise", "advise",   "move",   "lock",
                                    "look",  "child", "realloc", "break",    "transfer", "resize", "fill",   "fill"};

/* Makes a call and prints it. How many random numbers it draws may depend on its answer; the next call does not. */
static void step(long number) {
    uint64_t next = state ^ 0x9e3779b97f4a7c15;
    below(2);
    size_t first = below(pages), len = 1 + below(below(32) ? 32 : pages);
    if (first + len > pages) len = pages - first;
    unsigned kind = below(COUNT(names));
    char *at = REGION + first * PAGE;
    long result = make_call(kind, at, len);
    printf("%*s%ld %s %zu %zu: %ld", depth * 4, "", number, names[kind], first, len, result);
    if (!below(4)) printf(" %llx", (unsigned long long)digest(at, len));
    putchar('\n');
    state = next * 6364136223846793005u + 1442695040888963407u;
}

static void *read_on(void *argument) {
    (void)argument;
    for (uint64_t turn = 1;; turn = turn * 6364136223846793005u + 1442695040888963407u) {
        digest(REGION + (turn >> 33) % (pages - 1) * PAGE, 2);
        usleep(50);
    }
    return NULL;
}

/* Writes and drops pages that no other thread knows, and ends the program if one does not hold what it should. A drop that is
   refused because another thread locks the page meanwhile may have been made. */
static void *use_own(void *start) {
    static uint64_t words[OWN_PAGES];
    for (uint64_t turn = 1;; turn = turn * 6364136223846793005u + 1442695040888963407u) {
        size_t page = (turn >> 33) % OWN_PAGES;
        uint64_t *word = (uint64_t *)((char *)start + page * PAGE);
        if (word[0] != words[page] || word[PAGE / 8 - 1] != words[page]) _exit(90);
        if ((turn >> 60) == 0) {
            int refused = madvise(word, PAGE, MADV_DONTNEED);
            if (word[0] == 0 || !refused) words[page] = 0;
        } else {
            word[0] = word[PAGE / 8 - 1] = words[page] = turn;
        }
        if ((turn >> 50) % 16 == 0) usleep(50);
    }
    return NULL;
}

static int map_private(char *at, size_t len) {
    return mmap(at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == at;
}

static int start_threads(void) {
    pthread_t reader, user;
    return map_private(OWN, OWN_PAGES * PAGE) && !pthread_create(&reader, NULL, read_on, NULL) &&
           !pthread_create(&user, NULL, use_own, OWN);
}

static int prepare(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_NODEFER | SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    file = memfd_create("bytes", 0);
    for (size_t byte = 0; byte < FILE_LEN; byte += 8)
        if (pwrite(file, &byte, 8, byte) != 8) return 0;
    block_len = BLOCK_MOST;
    if (!map_private(REGION, pages * PAGE) || !map_private(PLACE(0), block_len * PAGE)) return 0;
    fill(REGION, pages), fill(PLACE(0), block_len);
    return 1;
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    long calls = atol(arguments[1]);
    state = strtoull(arguments[2], NULL, 10);
    pages = strtoull(arguments[3], NULL, 10);
    setvbuf(stdout, NULL, _IOFBF, 1 << 12);
    if (!prepare()) return 2;
    if (count > 4 && !start_threads()) return 2;
    for (long call = 0; call < calls; call++) step(call);
    printf("%llx %llx\n", (unsigned long long)digest(REGION, pages), (unsigned long long)digest(PLACE(block_place), block_len));
    return 0;
}
