/* Moves pages away one after the other, and lets them come back to their old addresses, while children and locks keep the service
 * busy: nothing else may have been mapped in the hole meanwhile. Then it unmaps large parts, and maps them again where they were. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANY 3000l
#define PAGE 4096l
#define PART (1l << 20)

int main(void) {
    alarm(60);
    long taken = 0, wrong = 0;
    /* Pages of data and guards alternate: the service's lists of mappings are long. */
    char *data = mmap(NULL, 2 * MANY * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (long index = 0; index < MANY; index++) {
        mprotect(data + (2 * index + 1) * PAGE, PAGE, PROT_NONE);
        *(long *)(data + 2 * index * PAGE) = index + 1;
    }
    char *parts = mmap(NULL, 16 * PART, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(parts, 1, 16 * PART);
    char *other = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int round = 0; round < 40; round++) {
        char *part = parts + (round * 3 % 16) * PART;
        munmap(part, PART);
        char *page = data + 2 * (round * 70 % MANY) * PAGE;
        mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, other);
        usleep(round % 8 == 0 ? 150000 : 3000);
        if (round % 8 == 4 && fork() == 0) _exit(0);
        while (round % 8 == 4 && wait(NULL) > 0) {}
        taken += mmap(part, PART, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != part;
        wrong += mremap(other, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page) != page;
        for (long at = 0; at < PART; at += PAGE) wrong += part[at] != 0;
        memset(part, 1, PART);
    }
    for (long index = 0; index < MANY; index++) wrong += *(long *)(data + 2 * index * PAGE) != index + 1;
    for (long at = 0; at < 16 * PART; at += PAGE) wrong += parts[at] != 1;
    printf("taken %ld, wrong %ld\n", taken, wrong);
    return 0;
}
