/* Numbers pages, says where they are, and ends with a core dump: dumped HOW. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SIZE (32ul << 20)

static void *fail(void *how) {
    if (!strcmp(how, "abort")) abort();
    if (!strcmp(how, "store")) *(volatile int *)8 = 1;
    raise(SIGQUIT);
    return NULL;
}

int main(int argc, char **argv) {
    char *data = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t at = 0; at < SIZE; at += 4096) *(size_t *)(data + at) = at / 4096 + 1;
    printf("%p\n", data);
    fflush(stdout);
    pthread_t thread;
    if (!strcmp(argv[1], "thread")) pthread_create(&thread, NULL, fail, "store"), pthread_join(thread, NULL);
    fail(argv[1]);
}
