/* Two tables, of which one is walked again and again: call_sites.rs looks for the functions that made and walked it. */
#include <stdio.h>
#include <stdlib.h>

#define BYTES ((size_t)24 << 20)
#define PAGE 4096

__attribute__((noinline)) static unsigned char *make_index(void) {
    unsigned char *index = malloc(BYTES);
    return index;
}

__attribute__((noinline)) static unsigned char *make_log(void) {
    unsigned char *log = malloc(BYTES);
    return log;
}

__attribute__((noinline)) static unsigned walk_index(unsigned char *index) {
    unsigned sum = 0;
    for (size_t at = 0; at < BYTES; at += PAGE) sum += index[at]++;
    return sum;
}

int main(void) {
    unsigned char *log = make_log(), *index = make_index();
    unsigned sum = 0;
    for (size_t at = 0; at < BYTES; at += PAGE) log[at] = 1;
    for (int round = 0; round < 6; round++) sum += walk_index(index);
    printf("%u\n", sum);
    free(index);
    free(log);
    return 0;
}
