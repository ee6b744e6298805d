/* Runs a program, to which the kernel refuses a system call: refuse NAME PROGRAM ARGUMENTS... */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALL(name) {#name, SYS_##name}
static const struct { const char *name; int number; } calls[] = {
    CALL(madvise), CALL(userfaultfd), CALL(ioctl), CALL(prctl), CALL(pidfd_open), CALL(memfd_create), CALL(process_vm_readv),
    CALL(membarrier), CALL(mincore), CALL(sigaltstack),
};

static int number_of(const char *name) {
    for (int call = 0; call < sizeof calls / sizeof *calls; call++)
        if (!strcmp(calls[call].name, name)) return calls[call].number;
    _exit(124);
}

int main(int argc, char **argv) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number_of(argv[1]), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 125;
    execvp(argv[2], argv + 2);
    return 126;
}
