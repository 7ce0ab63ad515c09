// The pipeline on one machine: a ring of one, without sockets.
//
// Threads: the caller's thread copies batches into slots; one compute thread runs them in order. A
// batch is admitted by a mirror of the cache's bookkeeping that belongs to the caller's thread, so
// the compute thread never meets a batch that does not fit.
#pragma once

#include "engine/pipeline.h"
#include "model/shard.h"

struct local_options {
    int n_threads; // 0: pool_default_threads()
    enum pin pin;
    enum isa isa; // ISA_COUNT: isa_detect()
    enum kv_type kv_type;
    int max_sessions, max_context, max_batch;
    int max_outputs; // tokens of one batch that may want logits, or their hidden state
    int kv_pages;    // 0: enough for max_sessions full contexts
    // Asked by the compute thread before each layer; true: the pass that runs, and every later one,
    // fails there. NULL: they all run to their end.
    bool (*stop)(void);
    struct observer observer; // of products, in the compute thread (backend.h)
    struct weights_options weights;
};

// `m` must outlive the pipeline.
int local_open(struct pipeline **out, const struct model *m, const struct local_options *o,
               struct err *e);
