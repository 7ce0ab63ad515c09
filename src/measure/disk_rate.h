// How fast a file comes from the disk, each way that disk/reader.h has: the ceiling of a model that
// is larger than memory, which reads what is not resident for each pass.
//
// What the page cache holds of the file is left alone: to read it would measure memory, and the
// buffered way would drop what others use. Direct reads go past it anyway.
#pragma once

#include "base/err.h"
#include "disk/reader.h"

#include <stdbool.h>

struct disk_way {
    bool measured;
    double gbps;         // 10^9 bytes a second
    double cpu_s_per_gb; // processor time that reading took of this process
    uint64_t bytes;      // read for it
    char how[64];        // "io_uring with registered buffers"; or why it was not measured
};

struct disk_rate {
    struct disk_way ways[READER_KINDS];
    enum reader_kind chosen; // the way that models are read here
};

// Reads a file of `size` bytes, open for reading, again and again where it is small, for `ns` each
// way. 64 MiB of memory.
int disk_rate_measure(struct disk_rate *out, int fd, uint64_t size, int64_t ns, struct err *e);
// The same of the way that models are read here alone.
int disk_rate_of_models(struct disk_way *out, int fd, uint64_t size, int64_t ns, struct err *e);
// Likewise, but with others: all programs of a machine that call this within a few milliseconds
// read at the same time, which begins half a second later as a rule, and different parts of the
// file.
int disk_rate_together(struct disk_way *out, int fd, uint64_t size, int64_t ns, struct err *e);
