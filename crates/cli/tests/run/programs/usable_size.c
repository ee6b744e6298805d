/* Asks how large blocks are, with whichever allocator there is, and uses all of them. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    size_t total = 0, wrong = 0;
    static char *blocks[400];
    for (int block = 0; block < 400; block++) {
        blocks[block] = block % 3 ? malloc(block * 300) : memalign(4096, block * 300 + 1);
        size_t len = malloc_usable_size(blocks[block]);
        memset(blocks[block], block, len);
        total += len;
    }
    for (int block = 0; block < 400; block++) {
        size_t len = malloc_usable_size(blocks[block]);
        for (size_t at = 0; at < len; at++) wrong += blocks[block][at] != (char)block;
        blocks[block] = realloc(blocks[block], len * 2);
        free(blocks[block]);
    }
    printf("%zu bytes, %zu wrong\n", total, wrong);
    return wrong != 0;
}
