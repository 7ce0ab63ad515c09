// A stage: one node's share of every pass. The head of a ring, its workers and a ring of one all
// run this; they differ only in where the hidden state comes from and where it goes.
#pragma once

#include "model/shard.h"
#include "plan/windows.h"

struct stage {
    struct shard *shard;
    const struct window_table *table;
    int node; // index in the table; the head is the last
};

// The node's window of round `round`, round 0 including shard_begin. hidden (n_tokens, n_embd) is
// changed in place. A batch without tokens goes through all the same: its operations may copy
// pages.
int stage_run(struct stage *s, const struct batch *b, int round, float *hidden, struct err *e);
