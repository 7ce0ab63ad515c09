// What a node has in common with others: its machine, the disk that its file is on, processors.
#pragma once

#include "ring/messages.h"

struct whereabouts {
    uint8_t machine[16], disk[16];      // beginnings of digests; zero: not known, nobody's
    uint32_t processors, of_processors; // hundredths, as in wire_have
};

// `path`: of the model file. n_threads 0: pool_default_threads().
void whereabouts_find(struct whereabouts *out, const char *path, int n_threads);
