/* Handlers run on stacks that came from malloc and mmap, in several threads; between two signals the program uses other memory.
   Jumps out of handlers leave calls that were waiting for memory. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define BIG (12ul << 20)
static char *big;
static volatile int handled, jumps;
static __thread sigjmp_buf out;

static void on_signal(int number) {
    volatile char here[20000];
    for (int at = 0; at < 20000; at += 512) here[at] = number;
    __sync_fetch_and_add(&handled, 1);
}

static void use_other_memory(int value) {
    for (size_t at = 0; at < BIG; at += 4096) big[at] = value;
}

static void *on_own_stack(void *how) {
    stack_t stack = {.ss_size = 64 << 10}, old;
    stack.ss_sp = how ? malloc(stack.ss_size)
                      : mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sigaltstack(&stack, NULL)) return NULL;
    for (int round = 0; round < 4; round++) {
        use_other_memory(round);
        pthread_kill(pthread_self(), SIGUSR1);
    }
    sigaltstack(NULL, &old);
    int same = old.ss_sp == stack.ss_sp;
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
    return (void *)(long)same;
}

static void on_time(int number) { siglongjmp(out, ++jumps); }

/* Reads into memory that is away, and is thrown out of it again and again. */
static void jump_out_of_calls(void) {
    int file = memfd_create("bytes", 0);
    ftruncate(file, 4 << 20);
    signal(SIGALRM, on_time);
    struct itimerval often = {{0, 300}, {0, 300}}, never = {0};
    if (sigsetjmp(out, 1) < 2000) {
        setitimer(ITIMER_REAL, &often, NULL);
        for (;;) {
            lseek(file, 0, SEEK_SET);
            for (size_t at = 0; at < BIG; at += 1 << 20)
                if (pread(file, big + at, 4 << 10, at % (4 << 20)) != 4 << 10) _exit(9);
        }
    }
    setitimer(ITIMER_REAL, &never, NULL);
    for (size_t at = 0; at < BIG; at += 4096) big[at] = 1;
    printf("%d jumps\n", jumps >= 2000);
}

/* Waits for a program, and is thrown out of that or cancelled. */
static void *wait_for_program(void *unused) { return (void *)(long)system("sleep 20"); }

static void leave_programs(void) {
    for (int round = 0; round < 4; round++) {
        pthread_t thread;
        pthread_create(&thread, NULL, wait_for_program, NULL);
        usleep(20000);
        pthread_cancel(thread);
        void *result;
        pthread_join(thread, &result);
        printf("cancelled %d\n", result == PTHREAD_CANCELED);
    }
    struct itimerval soon = {{0, 0}, {0, 30000}}, often = {{0, 0}, {0, 250}};
    if (!sigsetjmp(out, 1)) {
        setitimer(ITIMER_REAL, &soon, NULL);
        printf("%d\n", system("exec sleep 20"));
    }
    /* Words that are away, so that most jumps leave while these come home. */
    static char *words[40];
    for (int word = 0; word < 39; word++) words[word] = memset(calloc(1, 100001), 'x', 100000);
    words[0] = "true";
    volatile int round = 0;
    sigsetjmp(out, 1);
    while (round++ < 60) {
        use_other_memory(round);
        setitimer(ITIMER_REAL, &often, NULL);
        posix_spawnp(&(pid_t){0}, "true", NULL, NULL, words, words);
    }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    while (wait(NULL) > 0) continue;
}

/* After all of this memory still leaves: more is resident than may be only if nothing does. */
static void tell_resident(long most) {
    char *more = mmap(NULL, 32 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), line[256];
    for (size_t at = 0; at < 32 << 20; at += 4096) more[at] = 1;
    usleep(100000);
    FILE *status = fopen("/proc/self/status", "r");
    long kib = 0;
    while (fgets(line, sizeof line, status)) sscanf(line, "RssAnon: %ld", &kib);
    if (kib > most) printf("%ld KiB are resident\n", kib);
}

int main(int argc, char **argv) {
    big = malloc(BIG);
    use_other_memory(0);
    signal(SIGUSR1, on_signal);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    for (long how = 0; how < 2; how++) {
        void *same = on_own_stack((void *)how);
        pthread_t thread;
        pthread_create(&thread, NULL, on_own_stack, (void *)how);
        void *also;
        pthread_join(thread, &also);
        printf("%p %p %d signals\n", same, also, handled);
    }
    jump_out_of_calls();
    leave_programs();
    if (getenv("MANAGED")) tell_resident(9000);
    return 0;
}
