/* Descriptors are closed and replaced in every way, and name spaces are left: memory that is away still comes home. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SIZE (24ul << 20)
#define MOST 4096
static char *data;

static void check(const char *what, int answer) {
    size_t wrong = 0;
    for (size_t at = 0; at < SIZE; at += 4096) wrong += *(size_t *)(data + at) != at + 1;
    printf("%s: %d %s, %zu wrong\n", what, answer, answer < 0 ? strerror(errno) : "", wrong);
}

int main(void) {
    data = malloc(SIZE);
    for (size_t at = 0; at < SIZE; at += 4096) *(size_t *)(data + at) = at + 1;
    printf("first free %d\n", dup(1));
    for (int file = 3; file < MOST; file++) fcntl(file, F_SETFD, FD_CLOEXEC);
    check("fcntl", 0);
    for (int file = 3; file < MOST; file++) close(file);
    check("close", 0);
    for (int file = 3; file < MOST; file++) syscall(SYS_close, file);
    check("bare close", 0);
    check("close_range", close_range(3, ~0u, 0));
    check("bare close_range", syscall(SYS_close_range, 3, ~0u, 0));
    check("unshared close_range", close_range(3, ~0u, CLOSE_RANGE_UNSHARE));
    for (int file = 3; file < 64; file++) dup2(1, file);
    check("dup2", 0);
    check("files", unshare(CLONE_FILES));
    check("user", unshare(CLONE_NEWUSER));
    check("mounts", unshare(CLONE_NEWNS));
    check("processes", unshare(CLONE_NEWPID));
    check("root", chroot("/tmp"));
    return 0;
}
