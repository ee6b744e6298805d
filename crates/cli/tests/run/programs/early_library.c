/* A library whose constructor fills more memory than may be resident. */
#include <stdlib.h>
#include <string.h>

__attribute__((constructor)) static void fill(void) { memset(malloc(12 << 20), 1, 12 << 20); }
