// Memory: see memory.h.
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *memory_checked(void *memory)
{
    if (!memory) {
        fprintf(stderr, "train: out of memory\n");
        exit(1);
    }
    return memory;
}

void *memory_floats(size_t count)
{
    size_t bytes = (count * sizeof(float) + 63) / 64 * 64;
    void *memory = memory_checked(aligned_alloc(64, bytes));
    memset(memory, 0, bytes);
    return memory;
}
