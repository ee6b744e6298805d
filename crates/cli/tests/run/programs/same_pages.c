/* Threads touch the same pages at the same time, of which most are away: each finds what is there, and adds to it. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE 4096ul
#define THREADS 4

static char *start;
static size_t pages, touches;
static atomic_size_t together, wrong;

static void *walk(void *thread) {
    uint64_t state = 1;
    for (size_t touch = 0; touch < touches; touch++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        size_t page = (state >> 33) % pages;
        atomic_size_t *word = (atomic_size_t *)(start + page * PAGE);
        /* All of them go on from here at once. */
        atomic_fetch_add(&together, 1);
        while (atomic_load(&together) < (touch + 1) * THREADS) sched_yield();
        if (*word / (1 << 20) != page + 1) wrong++;
        atomic_fetch_add(word, 1);
    }
    return thread;
}

int main(int count, char **arguments) {
    pages = atol(arguments[1]), touches = atol(arguments[2]);
    start = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t page = 0; page < pages; page++) *(size_t *)(start + page * PAGE) = (page + 1) << 20;
    pthread_t threads[THREADS];
    for (int at = 0; at < THREADS; at++) pthread_create(&threads[at], NULL, walk, NULL);
    for (int at = 0; at < THREADS; at++) pthread_join(threads[at], NULL);
    size_t sum = 0;
    for (size_t page = 0; page < pages; page++) sum += *(size_t *)(start + page * PAGE) % (1 << 20);
    printf("%zu wrong, %zu of %zu\n", (size_t)wrong, sum, touches * THREADS);
    return 0;
}
