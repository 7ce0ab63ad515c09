// How fast this machine reads memory: the ceiling of decoding, which reads every weight for each
// token.
//
// Other users of a machine's memory come and go, so a figure is worth most when it is taken just
// before and just after what it is compared with: open once, read often.
#pragma once

#include "base/err.h"

#include <stddef.h>

struct dram;

// A buffer of `bytes` and threads of its own. n_threads 0: pool_default_threads(); bytes 0: much
// larger than the last cache.
int dram_open(struct dram **out, int n_threads, size_t bytes, struct err *e);
void dram_close(struct dram *d);
int dram_threads(const struct dram *d);
size_t dram_bytes(const struct dram *d);

// Reads the buffer a few times, each thread a stretch of its own: 10^9 bytes a second of the
// fastest time, all threads together. Takes about a tenth of a second.
double dram_read_gbps(struct dram *d);
