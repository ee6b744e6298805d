/* Threads wait in system calls, with buffers that were never touched and ones that were, while memory becomes scarce: what they
   get then is the same without Bifolio. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define LEN 50000ul
#define BUFFER (256ul << 10)
#define CALLS 5

struct wait {
    int ends[2], kind, error;
    char *buffer;
    long got;
};

static long call(struct wait *wait) {
    char *at = wait->buffer;
    struct iovec parts[2] = {{at, 1000}, {at + BUFFER / 2, LEN}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    struct pollfd *poll_fd = (struct pollfd *)at;
    switch (wait->kind) {
    case 0: return read(wait->ends[0], at, LEN);
    case 1: return readv(wait->ends[0], parts, 2);
    case 2: return recv(wait->ends[0], at + 100, LEN, 0);
    case 3: return recvmsg(wait->ends[0], &message, 0);
    default:
        *poll_fd = (struct pollfd){.fd = wait->ends[0], .events = POLLIN};
        return poll(poll_fd, 1, -1) * 1000 + poll_fd->revents;
    }
}

static void *run(void *argument) {
    struct wait *wait = argument;
    wait->got = call(wait), wait->error = wait->got < 0 ? errno : 0;
    return NULL;
}

int main(void) {
    static struct wait waits[2 * CALLS];
    static char bytes[2000];
    pthread_t threads[2 * CALLS];
    memset(bytes, 7, sizeof bytes);
    for (int at = 0; at < 2 * CALLS; at++) {
        struct wait *wait = &waits[at];
        wait->kind = at / 2;
        wait->buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at % 2) memset(wait->buffer, 1, BUFFER);
        if (socketpair(AF_UNIX, SOCK_DGRAM, 0, wait->ends) || pthread_create(&threads[at], NULL, run, wait)) return 2;
    }
    usleep(100000);
    char *much = mmap(NULL, 32 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int round = 0; round < 3; round++) memset(much, round + 1, 32 << 20), usleep(50000);
    for (int at = 0; at < 2 * CALLS; at++) {
        struct wait *wait = &waits[at];
        long sent = send(wait->ends[1], bytes, sizeof bytes, 0), sum = 0;
        pthread_join(threads[at], NULL);
        for (unsigned long byte = 0; byte < BUFFER; byte++) sum += wait->buffer[byte];
        printf("%d: sent %ld, got %ld %d, sum %ld\n", wait->kind, sent, wait->got, wait->error, sum);
    }
    return 0;
}
