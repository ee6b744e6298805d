/* Every advice there is, and calls on holes: their answers, and what touches find afterwards. */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096ul
#define PAGES 1536ul
static sigjmp_buf out;
static char *start;

static void on_fault(int number) { siglongjmp(out, number); }

static void fill(void) {
    start = mmap(start, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (start ? MAP_FIXED : 0), -1, 0);
    for (size_t page = 0; page < PAGES; page++) *(size_t *)(start + page * PAGE) = page + 1;
}

/* Runs of pages that hold their number, zero, something else, or raise a signal. */
static void show(void) {
    volatile int last = -1;
    volatile size_t from = 0;
    for (volatile size_t page = 0; page <= PAGES; page++) {
        volatile int kind = 4;
        if (page < PAGES) {
            if (sigsetjmp(out, 1)) kind = 3;
            else {
                size_t word = *(volatile size_t *)(start + page * PAGE);
                kind = word == page + 1 ? 0 : word == 0 ? 1 : 2;
            }
        }
        if (kind != last && last >= 0) printf(" %zu-%zu %c", from, page, "rzof"[last]), from = page;
        last = kind;
    }
    puts("");
}

#define TRY(call) errno = 0, answer = (call), printf("%s: %d %s;", #call, answer, answer ? strerror(errno) : ""), show(), fill()

int main(void) {
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    signal(SIGSEGV, on_fault), signal(SIGBUS, on_fault);
    int answer;
    fill();
    for (int advice = -1; advice < 104; advice++) {
        if (advice == 28) advice = 97;
        if (advice == 100 || advice == 101 || advice == MADV_FREE) continue;
        printf("advice %d ", advice);
        TRY(madvise(start + 100 * PAGE, 50 * PAGE, advice));
        TRY(madvise(start + 100 * PAGE + 9, PAGE, advice));
        TRY(madvise(start + 100 * PAGE, PAGE + 9, advice));
        TRY(madvise(start + 100 * PAGE, 0, advice));
        TRY(madvise(start + 100 * PAGE, -PAGE, advice));
        munmap(start + 120 * PAGE, 4 * PAGE);
        TRY(madvise(start + 100 * PAGE, 50 * PAGE, advice));
        TRY(syscall(SYS_madvise, start + 1500 * PAGE, 20 * PAGE, advice));
    }
    unsigned char there[64];
    for (int hole = 0; hole < 2; hole++) {
#define HOLE if (hole) munmap(start + 1010 * PAGE, 5 * PAGE)
        HOLE; TRY(mprotect(start + 1000 * PAGE, 30 * PAGE, PROT_READ));
        HOLE; TRY(mincore(start + 1000 * PAGE, 30 * PAGE, there));
        HOLE; TRY(msync(start + 1000 * PAGE, 30 * PAGE, MS_SYNC));
        HOLE; TRY(mlock(start + 1000 * PAGE, 30 * PAGE));
        HOLE; TRY(munlock(start + 1000 * PAGE, 30 * PAGE));
        HOLE; TRY(munmap(start + 1000 * PAGE, 30 * PAGE));
        HOLE; TRY(mprotect(start + 1000 * PAGE + 1, PAGE, PROT_READ));
        HOLE; TRY(munmap(start + 1000 * PAGE + 1, PAGE));
    }
    return 0;
}
