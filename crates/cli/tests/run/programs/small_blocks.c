/* Says its number, and takes memory as fast as it can in blocks of 200 KiB, each a mapping that no fault tells of. Keeps large
 * reserves from its children, as virtual machines do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCKS 600
#define SIZE 200000

static char *blocks[BLOCKS];

int main(void) {
    for (int i = 0; i < 8; i++) {
        char *reserve = mmap(NULL, 64 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        madvise(reserve, 64 << 20, MADV_DONTFORK);
        munmap(reserve + (1 << 20), 63 << 20);
        mprotect(reserve, 1 << 20, PROT_READ | PROT_WRITE);
        memset(reserve, 1, 1 << 20);
    }
    char *index = malloc(24 << 20);
    for (size_t at = 0; at < 24ul << 20; at += 4096) {
        index[at] = 9;
        if (at % (1 << 20) == 0) usleep(5000);
    }
    printf("%d\n", getpid());
    fflush(stdout);
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(blocks[i], i % 250 + 1, SIZE);
        index[i * 4096 % (24 << 20)]++;
    }
    long wrong = 0;
    for (int i = 0; i < BLOCKS; i++)
        for (size_t at = 0; at < SIZE; at += 4096) wrong += blocks[i][at] != (char)(i % 250 + 1);
    return wrong != 0;
}
