// The inside of struct shard, for shard_open.c, which makes it, and shard.c, which runs it.
#pragma once

#include "model/arch.h"
#include "model/kv.h"
#include "model/model.h"
#include "model/shard.h"

enum {
    LAYER_MAX_OPS = 64, // recorded for one layer, waiting for its pieces included
    PART_OPS = 3,       // of a part of a matrix: waiting, multiplying, letting go
    WAVE_OPS = 3,       // of some experts of a product: the same
    OUTPUT_ROWS = 32,   // rows of logits computed at once
};

struct pass_slot {
    uint64_t pass;
    bool begun;
    int n_copies;
    struct kv_copy copies[BATCH_MAX_OPS];
    int32_t *pages; // (max_sessions, session_pages), filled for the sessions of the batch
};

struct shard {
    const struct model *model;
    struct weights *weights;
    struct backend *backend;
    struct shard_options options;
    struct window *windows;
    int *place; // (n_layers) position of a layer in a page, -1: not ours
    int n_own;  // layers

    struct kv_map *map;
    size_t layer_bytes, page_bytes; // of one layer in a page; a page
    struct buf *kv;
    int session_pages;
    int32_t *tables; // of the slots
    struct pass_slot slots[SHARD_MAX_PASSES];

    float *freqs;          // (2, n_rot / 2): of the layers that see everything, and of the others
    int32_t *pos, *ids;    // (max_batch)
    float *q_scale;        // (max_batch)
    const int32_t **pages; // (max_batch)
    struct rows rows;
    struct list *list;
    struct buffers b;
    struct buffer_plan plan[N_BUFFERS]; // of those of them that the model needs
    int n_buffers;
    struct buf *logits;
};

// Stops of the tour (weights.h) are the windows as they were given, then the output. The stop after
// window i; when nobody wants logits the output is passed by.
int shard_stop_after(const struct shard *s, int i, bool output);
int shard_stop_after_output(const struct shard *s, bool behind);
// Rows of logits computed at once.
int shard_output_rows(const struct shard_options *o);

// What a window does, and the output for rows index[0, n) of x: recorded, not run.
void shard_record_window(struct shard *s, struct window w);
void shard_record_output(struct shard *s, const int32_t *index, int n, bool logits);
