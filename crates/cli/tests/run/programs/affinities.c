/* Touches pages in no order, of which most are away, and asks for its affinity meanwhile, in every way; so do its children. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 6000ul
#define TOUCHES 60000

static uint64_t *memory, state = 1;
static cpu_set_t own;
static unsigned other[5];
extern char **environ;

static void touch(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    memory[(state >> 33) % PAGES * 512]++;
}

/* Tells whether a thread has another affinity than the program's. The kernel says nothing of processors that do not exist. */
static int differs(int bare) {
    cpu_set_t now;
    CPU_ZERO(&now);
    long said = bare ? syscall(SYS_sched_getaffinity, 0, sizeof now, &now) : sched_getaffinity(0, sizeof now, &now);
    return said < 0 || !CPU_EQUAL(&now, &own);
}

static int child_differs(pid_t child) {
    int status = 1;
    return child < 0 || waitpid(child, &status, 0) != child || status != 0;
}

static int vfork_differs(char *program) {
    pid_t child = vfork();
    if (child == 0) {
        execl(program, program, "child", (char *)0);
        _exit(9);
    }
    return child_differs(child);
}

static int spawned_differs(char *program) {
    pid_t child;
    char *words[] = {program, "child", 0};
    return posix_spawn(&child, program, 0, 0, words, environ) != 0 || child_differs(child);
}

int main(int count, char **words) {
    sched_getaffinity(0, sizeof own, &own);
    if (count > 1) return differs(0) || CPU_COUNT(&own) != atoi(getenv("PROCESSORS"));
    char processors[16];
    snprintf(processors, sizeof processors, "%d", CPU_COUNT(&own));
    setenv("PROCESSORS", processors, 1);
    memory = malloc(PAGES * 4096);
    memset(memory, 0, PAGES * 4096);
    for (unsigned at = 0; at < TOUCHES; at++) {
        touch();
        other[0] += differs(0);
        touch();
        other[1] += differs(1);
        if (at % 2000 == 1000) other[2] += vfork_differs(words[0]);
        touch();
        if (at % 2000 == 1200) other[3] += spawned_differs(words[0]);
        touch();
        if (at % 2000 == 1400) {
            pid_t child = fork();
            if (child == 0) _exit(differs(1));
            other[4] += child_differs(child);
        }
        touch();
    }
    uint64_t sum = 0;
    for (size_t page = 0; page < PAGES; page++) sum += memory[page * 512];
    printf("other affinities: %u by the C library, %u bare, %u vfork, %u spawned, %u forked; sum %lu\n", other[0], other[1],
           other[2], other[3], other[4], (unsigned long)sum);
    /* What it sets stays. */
    cpu_set_t one;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &own)) continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof one, &one);
        own = one;
        unsigned wrong = 0;
        for (unsigned at = 0; at < 5000; at++) {
            touch();
            wrong += differs(at % 2);
        }
        printf("set: %u\n", wrong);
        break;
    }
}
