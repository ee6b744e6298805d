/* A thread that is begun by the C library's own pthread_create, past all that is loaded before it, as jemalloc does: it reads from a
   pipe into memory that is away. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE 65536l
#define PIECES 384l
static char *data;
static int ends[2];

/* Each answer is as it is anywhere: an interrupted read is tried again. */
static ssize_t read_all(char *to, ssize_t len) {
    for (ssize_t done = 0; done < len;) {
        ssize_t got = read(ends[0], to + done, len - done);
        if (got <= 0 && errno != EINTR) return got < 0 ? -errno : done;
        done += got > 0 ? got : 0;
    }
    return len;
}

static void *take(void *unused) {
    long failed = 0;
    for (long piece = 0; piece < PIECES; piece++) failed += read_all(data + piece * PIECE, PIECE) != PIECE;
    return (void *)failed;
}

int main(void) {
    void *library = dlopen("libc.so.6", RTLD_NOW);
    int (*begin)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(library, "pthread_create");
    sigset_t all, before;
    pthread_t thread;
    if (!begin || pipe(ends)) return 2;
    data = mmap(NULL, PIECE * PIECES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    begin(&thread, NULL, take, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (long at = 0; at < PIECE * PIECES; at += 512) data[at] = 1;
    usleep(300000);
    static char piece[PIECE];
    for (long number = 0; number < PIECES; number++) {
        memset(piece, number % 250 + 1, PIECE);
        for (long done = 0; done < PIECE;) done += write(ends[1], piece + done, PIECE - done);
    }
    void *failed;
    pthread_join(thread, &failed);
    long wrong = 0;
    for (long at = 0; at < PIECE * PIECES; at += 512) wrong += (unsigned char)data[at] != at / PIECE % 250 + 1;
    printf("failed %ld, wrong %ld\n", (long)failed, wrong);
    return 0;
}
