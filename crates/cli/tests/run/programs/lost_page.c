/* Fills 8 MiB, and names a page in FILE that can come home no more. Those who touch it get SIGBUS; all else is as it was.
   With a second argument the page is there, and nothing can leave without another that comes back. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 2048ul
#define LOST 201ul
static unsigned char *data;
static __thread sigjmp_buf back;

static void jump(int signal) { siglongjmp(back, 1); }

static unsigned char of(size_t page) { return page * 31 % 251 + 1; }

/* Whether a touch raises the signal. */
static int is_lost(size_t page) {
    if (sigsetjmp(back, 1)) return 1;
    return *(volatile unsigned char *)(data + page * 4096) == 255;
}

static void *touch(void *page) { return (void *)(long)is_lost((size_t)page); }

static long wrong(void) {
    long count = 0;
    for (size_t page = 0; page < PAGES; page++)
        for (size_t at = page == LOST ? 4096 : 0; at < 4096; at += 512) count += data[page * 4096 + at] != of(page);
    return count;
}

int main(int argc, char **argv) {
    int file = open(argv[1], O_RDWR);
    volatile uint64_t *named = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    data = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct sigaction action = {.sa_handler = jump};
    sigaction(SIGBUS, &action, NULL);
    for (size_t page = 0; page < PAGES; page++)
        for (size_t at = 0; at < 4096; at += 512) data[page * 4096 + at] = of(page);
    unsigned char there = 1;
    if (argc > 2) {
        long sum = 0;
        usleep(100000);
        (void)*(volatile unsigned char *)(data + LOST * 4096);
        *named = (uint64_t)(data + LOST * 4096);
        for (int round = 0; round < 20 || (round < 5000 && there & 1); round++) {
            sum += wrong();
            mincore(data + LOST * 4096, 4096, &there);
        }
        printf("wrong %ld, lost %d\n", sum, is_lost(LOST));
        return 0;
    }
    for (int look = 0; look < 1000 && mincore(data + LOST * 4096, 4096, &there) == 0 && there & 1; look++) usleep(1000);
    *named = (uint64_t)(data + LOST * 4096);
    long neighbours = 0;
    /* In order, so that pages come home together. */
    for (size_t page = LOST - 60; page < LOST; page++) neighbours += is_lost(page);
    pthread_t threads[2];
    void *lost[2];
    for (int thread = 0; thread < 2; thread++) pthread_create(&threads[thread], NULL, touch, (void *)LOST);
    for (int thread = 0; thread < 2; thread++) pthread_join(threads[thread], &lost[thread]);
    printf("away %d, lost to threads %d %d\n", !(there & 1), lost[0] != 0, lost[1] != 0);
    printf("wrong beside it %ld\n", wrong());
    printf("lost again %d, neighbours %ld\n", is_lost(LOST), neighbours);
    *named = 0;
    /* What is dropped begins anew. */
    madvise(data + LOST * 4096, 4096, MADV_DONTNEED);
    printf("dropped %d %d, wrong %ld\n", is_lost(LOST), data[LOST * 4096], wrong());
    return 0;
}
