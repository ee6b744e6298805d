/* Calls on memory of which most is away, and what the bytes are after them: a run without Bifolio prints the same. */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define PAGES 8192ul
static sigjmp_buf out;

static void on_fault(int number) { siglongjmp(out, number); }

static char *fresh(void) {
    char *start = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t page = 0; page < PAGES; page++) *(size_t *)(start + page * PAGE) = page + 1;
    return start;
}

/* How many pages hold their number, zero, something else, or raise a signal. */
static void count(const char *what, char *start, size_t from, size_t to) {
    volatile unsigned right = 0, zero = 0, other = 0, faults = 0;
    for (volatile size_t page = from; page < to; page++) {
        if (sigsetjmp(out, 1)) {
            faults++;
            continue;
        }
        size_t word = *(volatile size_t *)(start + page * PAGE);
        if (word == page + 1) right++;
        else if (word == 0) zero++;
        else other++;
    }
    printf("%s: %u right, %u zero, %u other, %u faults\n", what, right, zero, other, faults);
}

static void guards(void) {
    char *start = fresh();
    printf("install %d %d\n", madvise(start + 100 * PAGE, 300 * PAGE, 102), errno);
    count("guarded", start, 0, 1000);
    printf("remove %d\n", madvise(start + 100 * PAGE, 300 * PAGE, 103));
    count("unguarded", start, 0, 1000);
    printf("install %d\n", madvise(start + 1000 * PAGE, PAGE, 102));
    /* First touches beside a guard spare it. */
    madvise(start + 1001 * PAGE, 200 * PAGE, MADV_DONTNEED);
    count("beside", start, 1001, 1201);
    count("guard", start, 1000, 1001);
    munmap(start, PAGES * PAGE);
}

/* A range that is refused at its locked end has guards before it. The kernel's own writes spare them. */
static void refused_guards(void) {
    char *start = fresh();
    mlock(start + 110 * PAGE, PAGE);
    printf("refused %d %d\n", madvise(start + 100 * PAGE, 20 * PAGE, 102), errno);
    int file = memfd_create("bytes", 0);
    printf("size %d\n", ftruncate(file, 20 * PAGE));
    printf("read %zd %d\n", pread(file, start + 100 * PAGE, 20 * PAGE, 0), errno);
    madvise(start + 90 * PAGE, 5 * PAGE, MADV_DONTNEED);
    count("guarded before the locked page", start, 90, 120);
    /* Where no program has memory. */
    for (int advice = 9; advice < 104; advice++)
        for (uintptr_t at = 0x7ffffffff000; at; at = at == 0x7ffffffff000 ? 0x800000000000 : at > 0x800000000000 ? 0 : -4 * PAGE)
            if (madvise((void *)at, PAGE, advice) == 0) printf("%d at %#lx\n", advice, at);
            else printf("%d ", errno);
    printf("\n");
    close(file);
    munmap(start, PAGES * PAGE);
}

/* Populates more than the library makes ready at once, up to what is refused. */
static void populates(void) {
    char *start = fresh();
    mprotect(start + 5000 * PAGE, PAGE, PROT_READ);
    printf("to read %d %d\n", madvise(start, 6000 * PAGE, MADV_POPULATE_READ), errno);
    printf("to write %d %d\n", madvise(start, 6000 * PAGE, MADV_POPULATE_WRITE), errno);
    munmap(start + 4000 * PAGE, PAGE);
    printf("over a hole %d %d\n", madvise(start, 6000 * PAGE, MADV_POPULATE_WRITE), errno);
    printf("unaligned %d %d\n", madvise(start + 1, 6000 * PAGE, MADV_POPULATE_WRITE), errno);
    printf("nothing %d\n", madvise(start, 0, MADV_POPULATE_WRITE));
    printf("all %d %d\n", mlock(start, 3000 * PAGE), errno);
    printf("on fault %d %d\n", mlock2(start, 1500 * PAGE, MLOCK_ONFAULT), errno);
    printf("touched %d %d\n", mlock(start, 1500 * PAGE), errno);
    printf("locked over a hole %d %d\n", mlock(start + 3990 * PAGE, 20 * PAGE), errno);
    count("populated", start, 0, PAGES);
    munmap(start, PAGES * PAGE);
}

/* What is locked under a limit is the program's memory only. */
static void limits(void) {
    char *start = mmap(NULL, 5 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("all locked %d\n", mlockall(MCL_CURRENT | MCL_ONFAULT));
    munlockall();
    munmap(start, 5 << 20);
}

static void children(void) {
    char *start = fresh();
    printf("%d", madvise(start, 1000 * PAGE, MADV_WIPEONFORK));
    printf(" %d", madvise(start + 2000 * PAGE, 1000 * PAGE, MADV_DONTFORK));
    printf(" %d", madvise(start + 4000 * PAGE, 1000 * PAGE, MADV_DONTFORK));
    printf(" %d\n", madvise(start + 4000 * PAGE, 1000 * PAGE, MADV_DOFORK));
    for (int round = 0; round < 2; round++) {
        fflush(stdout);
        if (fork() == 0) {
            count("wiped", start, 0, 1000);
            count("plain", start, 1000, 2000);
            count("kept", start, 2000, 3000);
            count("given again", start, 3000, PAGES);
            fflush(stdout);
            _exit(0);
        }
        wait(NULL);
        count("parent", start, 0, PAGES);
    }
    munmap(start, PAGES * PAGE);
}

static void several(void) {
    char *start = fresh(), *to = fresh();
    mprotect(start + 1000 * PAGE, 500 * PAGE, PROT_READ);
    madvise(start + 600 * PAGE, 20 * PAGE, 102);
    char *moved = mremap(start, 3000 * PAGE, 3000 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    printf("moved %d %d\n", moved == to, moved == MAP_FAILED ? errno : 0);
    count("moved", to, 0, 3000);
    madvise(to + 610 * PAGE, 2000 * PAGE, MADV_DONTNEED);
    count("guards have moved", to, 600, 3000);
    count("rest", start, 3000, PAGES);
    count("left", start, 0, 3000);
    munmap(start, PAGES * PAGE), munmap(to, PAGES * PAGE);
}

static void locks(void) {
    char *start = fresh();
    size_t *top = sbrk(0);
    for (int round = 0; round < 6; round++) {
        printf("%d", mlockall(round % 2 ? MCL_CURRENT : MCL_CURRENT | MCL_ONFAULT));
        printf(" %d\n", munlockall());
        if (sbrk(1 << 20) == (void *)-1) return;
        size_t wrong = 0;
        for (size_t word = 0; word < (1 << 20) / sizeof *top; word++) wrong += top[word] != 0, top[word] = word;
        count("between", start, 0, PAGES);
        for (size_t word = 0; word < (1 << 20) / sizeof *top; word++) wrong += top[word] != word;
        printf("%zu wrong\n", wrong);
        memset(top, 0, 4096);
        sbrk(-(1 << 20));
    }
    printf("locked %d\n", mlockall(MCL_CURRENT));
    count("locked", start, 0, PAGES);
}

/* Calls that reach a hole transfer what comes before it. */
static void holes(void) {
    char *start = fresh();
    munmap(start + 2000 * PAGE, 10 * PAGE);
    int file = memfd_create("bytes", 0);
    struct iovec parts[2] = {{start + 1500 * PAGE, PAGE}, {start + 1990 * PAGE, 20 * PAGE}};
    printf("write %zd\n", pwrite(file, start + 1900 * PAGE, 200 * PAGE, 0));
    printf("writev %zd\n", pwritev(file, parts, 2, 0));
    printf("size %d\n", ftruncate(file, 64 * PAGE));
    printf("readv %zd\n", preadv(file, parts, 2, 0));
    count("after", start, 1400, 2100);
    close(file);
    munmap(start, PAGES * PAGE);
}

/* Reads into memory that was never touched, longer than the library makes ready at once. */
static void long_reads(void) {
    char *start = fresh();
    madvise(start, PAGES * PAGE, MADV_DONTNEED);
    int file = memfd_create("bytes", 0);
    printf("size %d\n", ftruncate(file, 20 << 20));
    struct iovec parts[2] = {{start + 4096 * PAGE, 6 << 20}, {start + 6000 * PAGE, 6 << 20}};
    printf("read %zd %zd\n", pread(file, start, 4 << 20, 0), pread(file, start + 100, 12 << 20, 4 << 20));
    printf("readv %zd %zd\n", preadv(file, parts, 2, 0), readv(file, parts, 2));
    count("after", start, 0, PAGES);
    close(file);
    munmap(start, PAGES * PAGE);
}

/* Bytes that are written right after a drop stay. */
static void drops(void) {
    char *start = fresh();
    for (size_t round = 0; round < 4; round++) {
        for (size_t first = 0; first < PAGES; first += 8) {
            madvise(start + first * PAGE, 8 * PAGE, round % 2 ? MADV_FREE : MADV_DONTNEED);
            for (size_t page = first; page < first + 8; page++) *(size_t *)(start + page * PAGE) = page + 1;
        }
        count("written anew", start, 0, PAGES);
    }
    munmap(start, PAGES * PAGE);
}

/* Children have what mappings have grown by, and what was mapped in place of others. */
static void growth(void) {
    char *other = fresh(), *start = mmap((char *)0x300000000000, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(other, PAGE, MADV_DONTFORK), madvise(other, PAGE, MADV_DOFORK);
    for (size_t pages = 1; pages < 3000; pages += 100) {
        if (mremap(start, pages * PAGE, (pages + 100) * PAGE, 0) == MAP_FAILED) return;
        for (size_t page = 0; page < pages + 100; page++) *(size_t *)(start + page * PAGE) = page + 1;
        mmap(other, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        for (size_t page = 0; page < PAGES; page += 7) *(size_t *)(other + page * PAGE) = page + 1;
        fflush(stdout);
        if (fork() == 0) {
            count("grown", start, 0, pages + 100);
            count("mapped anew", other, 0, PAGES);
            fflush(stdout);
            _exit(0);
        }
        wait(NULL);
    }
    munmap(start, 3001 * PAGE), munmap(other, PAGES * PAGE);
}

/* Children have what a page has grown by as it moved, also where the page itself has gone since, and have no more than
   before of what is kept from them and grows up to other memory. */
static void growth_by_moves(void) {
    char *start = fresh(), *to = (char *)0x310000000000;
    char *moved = mremap(start + 10 * PAGE, PAGE, 40 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    printf("moved %d %d\n", moved == to, munmap(to, 2 * PAGE));
    mprotect(to + 2 * PAGE, 38 * PAGE, PROT_READ);
    printf("kept %d\n", madvise(start + 20 * PAGE, 10 * PAGE, MADV_DONTFORK));
    munmap(start + 30 * PAGE, 10 * PAGE);
    printf("grown %d\n", mremap(start + 29 * PAGE, PAGE, 11 * PAGE, 0) == start + 29 * PAGE);
    fflush(stdout);
    if (fork() == 0) {
        count("grown by a move", to, 0, 40);
        count("kept", start, 11, 50);
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    munmap(to, 40 * PAGE), munmap(start, PAGES * PAGE);
}

/* A locked page moves and grows: the kernel touches what is new before it tells of the move. */
static void locked_growth(void) {
    char *start = fresh(), *to = (char *)0x320000000000;
    for (int round = 0; round < 3; round++) {
        printf("locked %d\n", mlock(start + round * 10 * PAGE, PAGE));
        char *moved = mremap(start + round * 10 * PAGE, PAGE, 40 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
        printf("moved %d, %zu\n", moved == to, *(size_t *)to);
        count("grown", to, 1, 40);
        munmap(to, 40 * PAGE);
    }
    count("rest", start, 0, PAGES);
    munmap(start, PAGES * PAGE);
}

int main(void) {
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    signal(SIGSEGV, on_fault), signal(SIGBUS, on_fault);
    limits();
    guards();
    refused_guards();
    populates();
    children();
    several();
    holes();
    long_reads();
    drops();
    growth();
    growth_by_moves();
    locked_growth();
    locks();
    return 0;
}
