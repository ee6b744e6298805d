/* System calls on memory that is away, and on memory that was never touched: what each returns, and what it moved. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define SIZE (1ul << 20)
static char *other, *used, *unused;

/* Touches more than there is room for: everything else leaves. Then `unused` is new memory, with nothing in it. */
static void leave(void) {
    for (int round = 0; round < 2; round++)
        for (size_t at = 0; at < 10 * SIZE; at += 4096) other[at]++;
    if (unused) munmap(unused, SIZE);
    unused = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = 0;
}

static uint32_t sum(const char *bytes, size_t len) {
    uint32_t sum = 1;
    for (size_t at = 0; at < len; at++) sum = sum * 31 + (unsigned char)bytes[at];
    return sum;
}

/* Makes a call with `b` in memory that is away, then in memory that was never touched; prints its answer and what is there. */
#define TRY(name, prepare, call, len)                                                                     \
    for (int which = 0; which < 2; which++) {                                                             \
        leave();                                                                                          \
        char *b = which ? unused : used;                                                                  \
        if (!which) memset(b, 0, SIZE);                                                                   \
        prepare;                                                                                          \
        if (!which) { char *keep = unused; unused = NULL; leave(); munmap(unused, SIZE); unused = keep; } \
        long answer = (long)(call);                                                                       \
        printf("%s %d: %ld %s %08x\n", name, which, answer, answer < 0 ? strerror(errno) : "",            \
               sum(b, (len) < 0 ? (answer > 0 ? answer : 0) : (len)));                                    \
    }

int main(int argc, char **argv) {
    volatile size_t small = 64, page = 4096, large = SIZE;
    setvbuf(stdout, malloc(1 << 16), _IOFBF, 1 << 16);
    other = mmap(NULL, 10 * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    used = malloc(2 * SIZE);
    int file = memfd_create("bytes", 0), to = memfd_create("copy", 0), zero = open("/dev/zero", O_RDONLY);
    for (uint32_t word = 0; word < SIZE / 4; word++) {
        uint32_t mixed = word * 2654435761u;
        if (write(file, &mixed, 4) != 4) return 2;
    }
    int pair[2], stream[2], pipes[2];
    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), socketpair(AF_UNIX, SOCK_STREAM, 0, stream), pipe(pipes);

    /* Bytes in and out, checked variants of the C library among them. */
    TRY("read", lseek(file, 0, 0), read(file, b, large), -1)
    TRY("pread", , pread(file, b, page, 100), -1)
    TRY("read zeros", , read(zero, b, large), -1)
    struct iovec parts[3];
#define PARTS parts[0] = (struct iovec){b, 10000}, parts[1] = (struct iovec){b + 500000, 1}, parts[2] = (struct iovec){b + 20000, 400000}
    TRY("readv", (PARTS, lseek(file, 0, 0)), readv(file, parts, 3), SIZE)
    TRY("preadv", PARTS, preadv(file, parts, 3, 77), SIZE)
    TRY("preadv2", PARTS, preadv2(file, parts, 3, 77, 0), SIZE)
    TRY("write", , pwrite(to, b, large, 0), 0)
    TRY("writev", (PARTS, lseek(to, 0, 0)), writev(to, parts, 3), 0)
    TRY("pwritev", PARTS, pwritev(to, parts, 3, 5), 0)
    TRY("raw read", lseek(file, 0, 0), syscall(SYS_read, file, b, large), -1)
    TRY("copy_file_range", *(uint64_t *)b = 8, copy_file_range(file, (off64_t *)b, to, (off64_t *)(b + 9000), page, 0), 16)
    TRY("sendfile", *(uint64_t *)b = 8, sendfile(to, file, (off_t *)b, small), 8)
    TRY("read pipe", write(pipes[1], "some", 4), read(pipes[0], b, large), -1)
    TRY("getrandom", , getrandom(b, large, 0), 0)
    TRY("getentropy", , getentropy(b, 256), 0)
    TRY("getdents64", , getdents64(open("/proc/self/task", O_RDONLY | O_DIRECTORY), b, large) > 0, 0)

    /* Streams of the C library. */
    FILE *text = fmemopen(NULL, 1 << 16, "w+");
    for (int line = 0; line < 3000; line++) fprintf(text, "line %d\n", line);
    TRY("fread", rewind(text), fread(b, 1, page * 2 + 5, text), -1)
    TRY("fgets", rewind(text), fgets(b, page, text) != NULL, 16)
    FILE *copy = fdopen(dup(to), "w+");
    TRY("fwrite", rewind(copy), fwrite(b, 1, large, copy) + fflush(copy), 0)
    TRY("fprintf", (memset(b, 'x', 70000), b[70000] = 0, rewind(copy)), fprintf(copy, "%s\n", b) + fflush(copy), 0)
    FILE *lines = fdopen(dup(file), "r");
    TRY("getline", (rewind(lines), *(char **)b = NULL, *(size_t *)(b + 8) = 0), getline((char **)b, (size_t *)(b + 8), lines), 0)

    /* Sockets: a datagram that was read into memory that is not there would be lost. */
    TRY("recv", send(pair[0], "datagram", 8, 0), recv(pair[1], b, small, 0), -1)
    TRY("recvfrom", send(pair[0], "datagram", 8, 0), recvfrom(pair[1], b, large, 0, (void *)(b + 5000), (void *)(b + 9000)), 8)
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = 3};
    TRY("recvmsg", (PARTS, send(pair[0], "datagram", 8, 0)), recvmsg(pair[1], &header, 0), SIZE)
#define HEADERS struct mmsghdr *all = (void *)(b + 600000); PARTS; all[0] = (struct mmsghdr){header}; all[1] = all[0]
    TRY("recvmmsg", HEADERS; send(pair[0], "one", 3, 0); send(pair[0], "three", 5, 0), recvmmsg(pair[1], all, 2, 0, NULL), 3)
    TRY("sendmmsg", HEADERS; all[0].msg_hdr.msg_iovlen = all[1].msg_hdr.msg_iovlen = 1; parts[0].iov_len = 99,
        sendmmsg(pair[0], all, 2, 0) + recv(pair[1], other, 200, 0) + recv(pair[1], other, 200, 0), 0)
    TRY("send", strcpy(b, "bytes"), send(stream[0], b, small, 0), 0)
    TRY("recv stream", , recv(stream[1], b, large, MSG_DONTWAIT), -1)
    TRY("getsockopt", *(int *)(b + 8192) = 4, getsockopt(pair[0], SOL_SOCKET, SO_TYPE, b, (void *)(b + 8192)), 4)
    TRY("setsockopt", *(int *)b = 1, setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, b, 4), 0)
    TRY("getsockname", *(int *)(b + 8192) = 100, getsockname(pair[0], (void *)b, (void *)(b + 8192)), 2)
    TRY("socketpair", , socketpair(AF_UNIX, SOCK_STREAM, 0, (int *)b), 0)

    /* Waiting. */
    struct pollfd *polled;
    TRY("poll", (polled = (void *)b, polled[0] = (struct pollfd){zero, POLLIN}, polled[900] = polled[0]), poll(polled, 901, 0), 8192)
    TRY("ppoll", (polled = (void *)b, *polled = (struct pollfd){zero, POLLIN}), ppoll(polled, 1, (void *)(b + 9000), (void *)(b + 19000)), 8)
    TRY("select", FD_ZERO((fd_set *)b); FD_SET(zero, (fd_set *)b), select(zero + 1, (fd_set *)b, NULL, NULL, (void *)(b + 9000)), 128)
    int watched = epoll_create1(0), event = eventfd(1, 0);
    TRY("epoll_ctl", (epoll_ctl(watched, EPOLL_CTL_DEL, event, NULL), *(struct epoll_event *)b = (struct epoll_event){EPOLLIN, {.u64 = 7}}),
        epoll_ctl(watched, EPOLL_CTL_ADD, event, (void *)b), 0)
    TRY("epoll_wait", , epoll_wait(watched, (void *)b, 5000, 0), 12)
    TRY("eventfd", eventfd_write(event, 5), read(event, b, 8), 8)
    TRY("nanosleep", ((struct timespec *)b)->tv_nsec = 1000, nanosleep((void *)b, (void *)(b + 9000)), 0)
    TRY("timerfd", , timerfd_settime(timerfd_create(CLOCK_MONOTONIC, 0), 0, (void *)b, (void *)(b + 9000)), 0)
    TRY("futex", *(int *)(b + 9000) = 5, syscall(SYS_futex, b + 9000, 0, 6, NULL, NULL, 0), 0)
    TRY("sigtimedwait", , sigtimedwait((void *)b, (void *)(b + 9000), (void *)(b + 19000)), 0)

    /* Names, and records that the kernel writes. */
    TRY("open", strcpy(b, "/dev/null"), open(b, O_RDONLY) >= 0 || !*b, 0)
    TRY("stat", , stat("/", (void *)b) + ((struct stat *)b)->st_mode, 0)
    TRY("stat of a name", strcpy(b + 7000, "/"), stat(b + 7000, (void *)b), 0)
    TRY("statx", , statx(AT_FDCWD, "/", 0, STATX_MODE, (void *)b) + ((struct statx *)b)->stx_mode, 0)
    TRY("statfs", , statfs("/", (void *)b), 0)
    TRY("readlink", , readlink("/proc/self/exe", b, large) == (long)strlen(argv[0]), -1)
    TRY("getcwd", , getcwd(b, large) != NULL, 0)
    TRY("getxattr", , getxattr("/", "user.none", b, large), 0)
    TRY("pipe", , pipe((int *)b) + (((int *)b)[1] > 0), 0)
    TRY("ioctl", *(int *)b = 9, ioctl(stream[1], FIONREAD, b), 4)
    TRY("uname", , uname((void *)b), 100)
    TRY("sysinfo", , sysinfo((void *)b), 0)
    TRY("times", , times((void *)b) > 0, 0)
    TRY("getrusage", , getrusage(RUSAGE_SELF, (void *)b), 0)
    TRY("getrlimit", , getrlimit(RLIMIT_CORE, (void *)b), 16)
    TRY("getgroups", , getgroups(1 << 12, (void *)b) >= 0, 0)
    TRY("clock_gettime", , syscall(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, b), 0)
    TRY("sched_getaffinity", , sched_getaffinity(0, 128, (void *)b), 128)
    TRY("sigpending", , sigpending((void *)b), 8)
    TRY("sigprocmask", , sigprocmask(SIG_BLOCK, (void *)b, (void *)(b + 9000)), 0)
    TRY("sigaction", , sigaction(SIGUSR1, (void *)b, (void *)(b + 9000)), 0)
    TRY("mincore", , mincore(other, 4096, (void *)b), 0)
    TRY("process_vm_readv", (parts[0] = (struct iovec){b, 9000}, parts[1] = (struct iovec){b + 100000, 9000}, b[100001] = 9),
        process_vm_readv(getpid(), parts, 1, parts + 1, 1, 0), 9000)

    /* Children. */
    TRY("wait", if (!fork()) _exit(7), wait((void *)b) > 0, 4)
    char **words;
    pid_t child;
    TRY("posix_spawn", (words = (void *)b, words[0] = b + 9000, words[1] = b + 19000, words[2] = b + 29000, strcpy(words[0], "sh"),
        strcpy(words[1], "-c"), strcpy(words[2], "exit 3")),
        posix_spawnp(&child, words[0], NULL, NULL, words, (char *const[]){NULL}) || (waitpid(child, (int *)(b + 39000), 0), *(int *)(b + 39000)), 0)
    TRY("system", strcpy(b + 9000, "exit 5"), system(b + 9000), 0)
    TRY("popen", strcpy(b + 9000, "echo out"), fread(b, 1, small, popen(b + 9000, "r")), 4)
    return 0;
}
