/* Fills memory slowly up to nearly what may be resident, says its number, and goes on in four threads as fast as it can. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define EACH (48ul << 20)
static char *data;

static void *fill(void *thread) {
    char *mine = data + (long)thread * EACH;
    long wrong = 0;
    for (int round = 1; round < 4; round++)
        for (size_t at = 0; at < EACH; at += 4096) {
            wrong += mine[at] != round - 1 && mine[at] != 9;
            mine[at] = round;
        }
    return (void *)wrong;
}

int main(void) {
    data = mmap(NULL, 4 * EACH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t at = 0; at < 31ul << 20; at += 4096) {
        data[at] = 9;
        if (at % (1 << 20) == 0) usleep(5000);
    }
    printf("%d\n", getpid());
    fflush(stdout);
    pthread_t threads[4];
    for (long thread = 0; thread < 4; thread++) pthread_create(&threads[thread], NULL, fill, (void *)thread);
    long wrong = 0;
    for (int thread = 0; thread < 4; thread++) {
        void *result;
        pthread_join(threads[thread], &result);
        wrong += (long)result;
    }
    return wrong != 0;
}
