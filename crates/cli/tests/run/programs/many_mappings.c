/* 20,000 mappings, more than may be resident: they are locked all at once, and moved one by one. A minute is far too long. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define MANY 10000l
#define PAGE 4096l
static char *data;

/* Pages of data and guards alternate. */
static long wrong(void) {
    long count = 0;
    for (long index = 0; index < MANY; index++) count += *(long *)(data + 2 * index * PAGE) != index + 1;
    return count;
}

int main(void) {
    alarm(60);
    data = mmap(NULL, 2 * MANY * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (long index = 0; index < MANY; index++) {
        mprotect(data + (2 * index + 1) * PAGE, PAGE, PROT_NONE);
        *(long *)(data + 2 * index * PAGE) = index + 1;
    }
    usleep(200000);
    printf("wrong %ld\n", wrong());
    int locked = mlockall(MCL_CURRENT);
    printf("locked %d %d, wrong %ld\n", locked, locked ? errno : 0, wrong());
    munlockall();
    char *other = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long moved = 0;
    for (long index = 0; index < MANY; index += 4) {
        char *there = mremap(data + 2 * index * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, other);
        moved += there == other && *(long *)there == index + 1;
        mremap(there, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, data + 2 * index * PAGE);
    }
    printf("moved %ld, wrong %ld\n", moved, wrong());
    return 0;
}
