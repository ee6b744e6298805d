/* Loads a library first thing, whose constructor fills memory while the loader holds its lock: early LIBRARY. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv) {
    void *library = dlopen(argv[1], RTLD_NOW);
    puts(library ? "loaded" : dlerror());
    return !library;
}
