// What this machine can do for a model, as the planner wants to know it: by doing what the engine
// does, with its own operations, threads and reads.
//
//     products of each weight type, as rows and in lanes, with 1, 4 and 64 tokens, from memory
//     attention to keys and values; everything else of a layer; beginning a window
//     reading the model's file the way that streamed weights are read
//
// Each try lasts for several slices of a processor, so that a share of one is measured as it is had
// for long; of several tries the median counts. It takes a second or two and nothing is written;
// survey_cached keeps what was found.
#pragma once

#include "backend/backend.h"
#include "plan/profile.h"

struct survey_ask {
    const uint32_t *types; // weight types of the model's matrices
    int n_types;
    int width, n_ff; // floats of a hidden state, and inside the feed-forward network
    int n_heads, n_kv_heads, head_dim;
    enum kv_type kv_type;
    struct backend_options backend;
    int fd;            // of the model's largest file, open for reading; -1: no disk is measured
    uint64_t size;     // its bytes
    int64_t budget_ns; // 0: 0.9 s; a slow machine takes longer
};

// Fills the speed of the processor and the rate of the disk, and says that the machine shares
// nothing; all else stays as it is.
int survey_machine(struct plan_machine *out, const struct survey_ask *a, struct err *e);
