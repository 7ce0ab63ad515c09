// A stage: one node's share of every pass. The head of a ring, its workers and a ring of one all
// run this; they differ only in where the hidden state comes from and where it goes.
#pragma once

#include "model/shard.h"
#include "plan/windows.h"
#include "weights/governor.h"
#include "weights/weights.h"

struct stage {
    struct weights *weights;
    struct governor *governor; // of the weights' memory; NULL: they take none of their own
    struct backend *backend;
    struct shard *shard;
    const struct window_table *table;
    int node; // index in the table; the head is the last
};

struct stage_options {
    int n_threads; // 0: pool_default_threads()
    enum pin pin;
    enum isa isa; // ISA_COUNT: isa_detect()
    struct observer observer;
    enum kv_type kv_type;
    int kv_pages, max_sessions, max_context, max_batch;
    int max_outputs; // as in shard_options, and the next
    uint64_t reserved;
    struct weights_options weights;
};

// Loads the windows of `node`; the last node of the table gets the embedding and the output too.
// The model and the table outlive the stage.
int stage_open(struct stage *s, const struct model *m, const struct window_table *table, int node,
               const struct stage_options *o, struct err *e);
void stage_close(struct stage *s); // also after stage_open failed, or of a zeroed one

// The node's window of round `round`, round 0 including shard_begin. hidden (n_tokens, n_embd) is
// changed in place. A batch without tokens goes through all the same: its operations may copy
// pages.
int stage_run(struct stage *s, const struct batch *b, int round, float *hidden, struct err *e);
