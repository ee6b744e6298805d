/* Children of every kind, and what they find of memory that is away in the parent. */
#define _GNU_SOURCE
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE (24ul << 20)
#define PAGE 4096ul
static char *data;

static void fill(char *start, size_t mark) {
    for (size_t at = 0; at < SIZE; at += PAGE) *(size_t *)(start + at) = at + mark;
}

static int wrong(char *start, size_t mark) {
    size_t wrong = 0;
    for (size_t at = 0; at < SIZE; at += PAGE) wrong += *(size_t *)(start + at) != at + mark;
    return wrong > 200 ? 200 : wrong;
}

static void end(const char *what, pid_t child) {
    int status = -1;
    waitpid(child, &status, 0);
    printf("%s: %d, parent %d wrong\n", what, status, wrong(data, 1));
}

/* Frees what it inherited, and makes an array of its own in its place. */
static int rebuild(void) {
    free(data);
    size_t len = SIZE / 3 * 2;
    char *mine = malloc(len);
    memset(mine, 7, len);
    int bad = malloc_usable_size(mine) < len;
    mine = realloc(mine, SIZE);
    for (size_t at = 0; at < len; at++) bad |= mine[at] != 7;
    free(mine);
    FILE *statm = fopen("/proc/self/statm", "r");
    long all, resident, shared;
    fscanf(statm, "%ld %ld %ld", &all, &resident, &shared);
    return bad | (resident - shared > SIZE / PAGE ? 2 : 0);
}

/* A child of a bare system call may die where bytes are missing, but never finds others. */
static int finds_zeros(long child, int raw) {
    if (child == 0) _exit(wrong(data, 1) != 0);
    int status = -1;
    waitpid(child, &status, 0);
    return !(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) && status != 0;
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    data = malloc(SIZE);
    fill(data, 1);
    pid_t child;
    if (!(child = fork())) _exit(wrong(data, 1));
    end("reads", child);
    if (!(child = fork())) fill(data, 9), _exit(wrong(data, 9));
    end("writes", child);
    if (!(child = fork())) _exit(rebuild());
    end("rebuilds", child);
    if (!(child = fork())) {
        /* Its own child, once it has written to half of what there is. */
        for (size_t at = 0; at < SIZE / 2; at += PAGE) *(size_t *)(data + at) = at + 1;
        if (!(child = fork())) _exit(wrong(data, 1));
        int status;
        waitpid(child, &status, 0);
        _exit(status != 0);
    }
    end("has a child", child);
    if (!(child = _Fork())) _exit(wrong(data, 1));
    end("_Fork", child);
    if (!(child = vfork())) _exit(wrong(data, 1));
    end("vfork", child);
    /* Several at a time, while the parent goes on. */
    pid_t many[5];
    for (int each = 0; each < 5; each++) {
        if (!(many[each] = fork())) usleep(1000 * each), _exit(wrong(data, each % 2 + 1));
        fill(data, (each + 1) % 2 + 1);
    }
    fill(data, 1);
    for (int each = 0; each < 5; each++) end("one of several", many[each]);
    printf("clone finds zeros: %d\n", finds_zeros(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), 1));
    struct { unsigned long words[11]; } arguments = {{0, 0, 0, 0, SIGCHLD}};
    printf("clone3 finds zeros: %d\n", finds_zeros(syscall(SYS_clone3, &arguments, 64), 1));
    printf("parent %d wrong\n", wrong(data, 1));
    return 0;
}
