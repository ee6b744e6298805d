/* Runs a program, for which the kernel has no memory where copies or moves of pages are to go to the address that FILE holds:
   fail_copies FILE PROGRAM ARGUMENTS... */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Older headers lack it. Its argument begins like that of a copy. */
#ifndef UFFDIO_MOVE
#define UFFDIO_MOVE _IOWR(UFFDIO, 0x05, struct uffdio_copy)
#endif

/* Every copy and every move is told to the descriptor that this returns. */
static int watch_copies(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)UFFDIO_COPY, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)UFFDIO_MOVE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return -1;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

static struct msghdr with_descriptor(char *room, struct iovec *byte) {
    struct msghdr message = {.msg_iov = byte, .msg_iovlen = 1, .msg_control = room, .msg_controllen = CMSG_SPACE(sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof(int));
    return message;
}

/* Answers one copy or move: no memory if it covers the address, and else what the kernel says. */
static void answer(int listener, const volatile uint64_t *address) {
    struct seccomp_notif asked = {0};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked)) return;
    struct seccomp_notif_resp said = {.id = asked.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    struct uffdio_copy copy = {0};
    struct iovec here = {&copy, sizeof copy}, there = {(void *)asked.data.args[2], sizeof copy};
    process_vm_readv(asked.pid, &here, 1, &there, 1, 0);
    if (copy.dst <= *address && *address < copy.dst + copy.len) {
        copy.copy = -ENOMEM;
        process_vm_writev(asked.pid, &here, 1, &there, 1, 0);
        said.flags = 0, said.error = -ENOMEM;
    }
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &said);
}

int main(int argc, char **argv) {
    int file = open(argv[1], O_RDONLY), pair[2], status, listener;
    const uint64_t *address = mmap(0, 4096, PROT_READ, MAP_SHARED, file, 0);
    if (address == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return 125;
    char room[CMSG_SPACE(sizeof(int))] = {0}, text = 0;
    struct iovec byte = {&text, 1};
    struct msghdr message = with_descriptor(room, &byte);
    pid_t child = fork();
    if (!child) {
        if ((listener = watch_copies()) < 0) _exit(3);
        *(int *)CMSG_DATA(CMSG_FIRSTHDR(&message)) = listener;
        if (sendmsg(pair[1], &message, 0) != 1) _exit(125);
        close(listener), close(pair[0]), close(pair[1]), close(file);
        execvp(argv[2], argv + 2);
        _exit(126);
    }
    close(pair[1]);
    if (recvmsg(pair[0], &message, 0) == 1) {
        listener = *(int *)CMSG_DATA(CMSG_FIRSTHDR(&message));
        struct pollfd ready = {listener, POLLIN};
        /* It hangs up when the last process with this filter has ended. */
        while (poll(&ready, 1, -1) >= 0 && !(ready.revents & POLLHUP))
            if (ready.revents & POLLIN) answer(listener, address);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
