/* Asks the kernel to swap pages out, and touches pages here and there. Says how many are not as they should be. */
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

enum { PAGE = 4096, WORDS = PAGE / sizeof(uint64_t), RANGE = 128, TOUCHES = 200 };
static const size_t PAGES = 8 << 10;

static size_t below(size_t most) {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % most;
}

int main(void) {
    uint64_t *memory = mmap(0, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t page = 0; page < PAGES; page++)
        for (int word = 1; word < WORDS; word++) memory[page * WORDS + word] = page * 2654435761u;
    const int rounds = 300;
    for (int round = 0; round < rounds; round++) {
        madvise(memory + below(PAGES - RANGE) * WORDS, RANGE * PAGE, MADV_PAGEOUT);
        for (int touch = 0; touch < TOUCHES; touch++) memory[below(PAGES) * WORDS]++;
    }
    uint64_t sum = 0, wrong = 0;
    for (size_t page = 0; page < PAGES; page++) {
        sum += memory[page * WORDS];
        for (int word = 1; word < WORDS; word++)
            if (memory[page * WORDS + word] != page * 2654435761u) { wrong++; break; }
    }
    printf("lost %ld, wrong %lu\n", (long)(rounds * TOUCHES - sum), wrong);
    return 0;
}
