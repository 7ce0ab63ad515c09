// The inside of struct weights, for weights.c and settle.c.
#pragma once

#include "base/arena.h"
#include "weights/direct.h"
#include "weights/layouts.h"
#include "weights/mapping.h"
#include "weights/prefetch.h"
#include "weights/sidecar.h"
#include "weights/tour.h"
#include "weights/turn.h"
#include "weights/weights.h"

#include <pthread.h>

struct weights {
    const struct gguf *g;
    struct weights_options options;
    struct weights_others others;
    struct mapping *mapping;
    struct prefetch *prefetch; // NULL: the system reads mapped files as it does
    struct sidecar *sidecar;   // NULL: none
    struct piece {
        const uint8_t *lanes; // NULL: rows of the mapping
        struct arena memory;  // of lanes that were turned
        int holders;          // of that memory
        bool needed;
        enum weights_place place;
    } * pieces;       // (gguf_n_pieces)
    uint32_t *needed; // (n_needed) in the order of need
    struct layout_item *items;
    size_t n_needed, n_settled;
    struct weights_report report;
    pthread_mutex_t lock;                       // of lanes that were turned, and what follows
    uint64_t lanes_bytes, lanes_planned, limit; // of their memory: now, at first, at most
    const struct kernels *kernels;              // of the backend that settled
    struct tour tour;
    bool learning;
    struct direct *direct; // NULL: mapped
};

// The rows of a piece and room for its lanes; n_rows 0: it is no matrix.
struct turn_matrix weights_matrix(const struct weights *w, uint32_t piece);
