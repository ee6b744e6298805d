/* One thread touches pages here and there, of memory that may be written, may only be read, and is locked. Says how many
   pages are not as they should be. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE = 4096, WORDS = PAGE / sizeof(uint64_t) };
static const size_t PAGES = 24 << 10;
static uint64_t *memory;

static uint64_t random_number(void) {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 33;
}

static void touch(size_t first, size_t pages, int times, int write) {
    for (int i = 0; i < times; i++) {
        uint64_t *page = memory + (first + random_number() % pages) * WORDS;
        if (write) page[0]++;
        else if (page[1] != page[WORDS - 1]) abort();
    }
}

int main(void) {
    memory = mmap(0, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t page = 0; page < PAGES; page++)
        for (int word = 1; word < WORDS; word++) memory[page * WORDS + word] = page * 2654435761u;
    const int times = 20000;
    touch(0, PAGES, times, 1);
    /* Pages of these cannot be moved, only copied. */
    mprotect(memory, PAGES / 4 * PAGE, PROT_READ);
    mlock(memory + PAGES / 4 * WORDS, PAGE * 4);
    touch(0, PAGES, times, 0);
    touch(PAGES / 4, PAGES / 4 * 3, times, 1);
    uint64_t sum = 0, wrong = 0;
    for (size_t page = 0; page < PAGES; page++) {
        sum += memory[page * WORDS];
        for (int word = 1; word < WORDS; word++)
            if (memory[page * WORDS + word] != page * 2654435761u) { wrong++; break; }
    }
    printf("lost %ld, wrong %lu\n", (long)(2 * times - sum), wrong);
    return 0;
}
