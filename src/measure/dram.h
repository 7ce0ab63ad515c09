// How fast this machine reads memory: the ceiling of decoding, which reads every weight for each
// token.
#pragma once

#include "base/err.h"

#include <stddef.h>

struct dram_figures {
    double read_gbps; // 10^9 bytes a second, all threads together, the best of the passes
    size_t buffer_bytes;
    int n_threads, n_passes;
};

// Reads a buffer of `bytes`, each thread a stretch of its own, for about half a second. n_threads
// 0: pool_default_threads(); bytes 0: much larger than the last cache.
int dram_measure(struct dram_figures *out, int n_threads, size_t bytes, struct err *e);
