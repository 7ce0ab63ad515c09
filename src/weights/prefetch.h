// Reading ahead of the use of mapped weights, as the paper does it: while one piece is computed
// with, the system is asked to read what comes after it. This is for `--residency mmap`; weights
// that are read by ourselves have a reader of their own (disk/reader.h).
//
//     use      | .. | piece in use | asked for: 16 to 32 MiB |  not yet | ..     a circle: after
//     the
//                                  \____ in stretches ______/                    last comes the
//                                  first
//
// Requests are made when less than PREFETCH_LEAST is left of those before, up to PREFETCH_MOST: few
// calls, and never so much that a short memory drops what was read before it is used. A stretch is
// asked for once in a round. After a round in which nothing came from disk, because all of it is
// in memory, the next one asks for nothing: asking takes time too, 20 ms for each GB.
//
// Threads: one at a time. Nothing is allocated after prefetch_new.
#pragma once

#include "base/err.h"
#include "gguf/gguf.h"

#include <stddef.h>
#include <stdint.h>

enum { PREFETCH_LEAST = 16 << 20, PREFETCH_MOST = 32 << 20 }; // bytes ahead

struct prefetch;

// pieces (n): of `g`, in the order of their use in one token, each once; after the last comes the
// first again. What is used by chance only, such as experts, is left out.
int prefetch_new(struct prefetch **out, const struct gguf *g, const uint32_t *pieces, size_t n,
                 struct err *e);
void prefetch_free(struct prefetch *p);

struct prefetch_calls {
    // This stretch of a piece shall be read from now on.
    void (*ask)(void *arg, uint32_t piece, uint64_t from, uint64_t bytes);
    // How much was read from disk so far, in any unit.
    uint64_t (*reads)(void *arg);
    void *arg;
};

// `piece` comes into use. A piece that is not among those of prefetch_new makes no difference.
void prefetch_use(struct prefetch *p, uint32_t piece, const struct prefetch_calls *calls);
