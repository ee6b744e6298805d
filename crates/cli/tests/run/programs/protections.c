/* Protects, locks and keeps from children more memory than may be resident; runs out of mappings, and toggles many. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096ul
#define SIZE (24ul << 20)

static char *fresh(void) {
    char *start = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t at = 0; at < SIZE; at += PAGE) *(size_t *)(start + at) = at + 1;
    return start;
}

static size_t wrong(char *start) {
    size_t wrong = 0;
    for (size_t at = 0; at < SIZE; at += PAGE) wrong += *(size_t *)(start + at) != at + 1;
    return wrong;
}

static int mappings(void) {
    static char buffer[1 << 16];
    int count = 0;
    size_t len;
    FILE *maps = fopen("/proc/self/maps", "r");
    while ((len = fread(buffer, 1, sizeof buffer, maps)))
        for (size_t at = 0; at < len; at++) count += buffer[at] == '\n';
    fclose(maps);
    return count;
}

/* What may not be read is not looked at: only what comes back after it is. */
static void protect_all(void) {
    const int rights[] = {PROT_READ, PROT_READ | PROT_WRITE | PROT_EXEC, PROT_NONE, PROT_READ | PROT_WRITE};
    char *start = fresh();
    for (int round = 0; round < 4; round++) {
        printf("mprotect %d: %d", rights[round], mprotect(start, SIZE, rights[round]));
        printf(", %zu wrong\n", rights[round] == PROT_NONE ? 0 : wrong(start));
    }
    munmap(start, SIZE);
    char *untouched = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("untouched: %d\n", mprotect(untouched, SIZE, PROT_READ));
    munmap(untouched, SIZE);
}

static void lock_all(void) {
    char *start = fresh();
    int locked = mlock(start, SIZE);
    printf("mlock %s, %zu wrong\n", locked ? strerror(errno) : "done", wrong(start));
    munlock(start, SIZE);
    printf("DONTFORK %d, %zu wrong\n", madvise(start, SIZE, MADV_DONTFORK), wrong(start));
    printf("DOFORK %d, %zu wrong\n", madvise(start, SIZE, MADV_DOFORK), wrong(start));
    munmap(start, SIZE);
}

/* After each of these, MADV_DONTNEED leaves zeros. */
static void clear(void) {
    for (int how = 0; how < 5; how++) {
        char *start = fresh();
        if (how == 1) mprotect(start, SIZE, PROT_READ), mprotect(start, SIZE, PROT_READ | PROT_WRITE);
        if (how == 2) mlock(start, SIZE), munlock(start, SIZE);
        if (how == 3) madvise(start, SIZE, MADV_DONTFORK), madvise(start, SIZE, MADV_DOFORK);
        if (how == 4) mprotect(start + SIZE / 3 / PAGE * PAGE, SIZE / 3 / PAGE * PAGE, PROT_READ);
        int answer = madvise(start, SIZE, MADV_DONTNEED);
        size_t left = 0;
        for (size_t at = 0; at < SIZE / sizeof(size_t); at++) left += ((size_t *)start)[at] != 0;
        printf("clear %d: %d, %zu words left\n", how, answer, left);
        munmap(start, SIZE);
    }
}

/* A write barrier: pages are closed and opened again one by one, which leaves a few mappings. */
static void toggle(void) {
    char *start = fresh();
    int before = mappings(), failed = 0;
    for (size_t at = 0; at < SIZE; at += 2 * PAGE) {
        failed += mprotect(start + at, PAGE, PROT_READ) != 0;
        failed += mprotect(start + at, PAGE, PROT_READ | PROT_WRITE) != 0;
        *(size_t *)(start + at) = at + 1;
    }
    printf("toggled: %d failed, %zu wrong, merged %d\n", failed, wrong(start), mappings() <= before + 100);
    munmap(start, SIZE);
}

/* With every mapping in use, the kernel refuses one more, and what is away still comes home. */
static void fill(void) {
    char *start = fresh();
    char *holes = mmap(NULL, 70000 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t page = 0;
    while (page < 70000 && !mprotect(holes + page * PAGE, PAGE, PROT_READ)) page += 2;
    int refused = mprotect(start + 2 * PAGE, PAGE, PROT_READ);
    printf("full: %d %s, %zu wrong\n", refused, refused ? strerror(errno) : "", wrong(start));
    munmap(holes, 70000 * PAGE);
    printf("empty: %d, %zu wrong\n", mprotect(start + 2 * PAGE, PAGE, PROT_READ), wrong(start));
}

int main(void) {
    protect_all();
    lock_all();
    clear();
    toggle();
    fill();
    return 0;
}
