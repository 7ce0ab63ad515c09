// The pipeline: tokens in, logits out, wherever it runs.
//
// engine/local.c (a ring of one, no sockets) and cluster/remote.c (a ring of processes) implement
// it; engine/session.c cannot tell which it has. Several passes are in flight: submit returns a
// handle at once, passes complete in the order of submission. Session operations travel in band, as
// an empty batch when they come alone.
//
// Threads: submit, wait, release and cancel may be called from any one thread at a time (the
// engine's); the implementation has a compute thread of its own. A pass without company may begin
// no earlier than the wait for it, and be computed by the thread that waits.
#pragma once

#include "base/digest.h"
#include "base/err.h"
#include "model/batch.h"
#include "model/hparams.h"
#include "weights/weights.h"

#include <stdbool.h>
#include <stdint.h>

enum { PIPELINE_MAX_PASSES = 8 };

struct pass_timing {
    int64_t submitted_ns, completed_ns; // clock_ns
    int64_t compute_ns;                 // of the head alone
};

// What a completed pass left. Memory belongs to the pipeline until release.
struct pass_result {
    const float *logits; // (n_logits, n_vocab), tokens that wanted them, in batch order
    int n_logits;
    const float *states; // (n_states, n_embd)
    int n_states;
    struct pass_timing timing;
};

struct pipeline;

struct pipeline_ops {
    // Copies the batch. Blocks while PIPELINE_MAX_PASSES handles are out (complete or not, until
    // their release) and one of them will become free by itself; when none will, the caller would
    // wait for itself, which is a programmer's error. Returns a handle >= 0 or an error; what the
    // cache cannot hold is refused here and changes nothing.
    int64_t (*submit)(struct pipeline *p, const struct batch *b, struct err *e);
    // Blocks until pass `handle` is complete; 0 or the error that ended it.
    int (*wait)(struct pipeline *p, int64_t handle, struct pass_result *out, struct err *e);
    // Every handle, completed, failed or cancelled. Before its completion: nobody wants the result,
    // the pass runs all the same and frees its place when it is done.
    void (*release)(struct pipeline *p, int64_t handle);
    // The result is not wanted; the pass may still run, or leave its tokens' positions without
    // contents. Wait may then fail. The caller truncates its sessions afterwards.
    void (*cancel)(struct pipeline *p, int64_t handle);
    // The cache of a session as bytes, in pages of KV_PAGE_TOKENS positions (model/shard_state.h);
    // all four NULL where it lies on several machines. Every handle is released. `page` is one that
    // the session has.
    size_t (*page_bytes)(struct pipeline *p);
    struct digest (*page_kind)(struct pipeline *p);
    void (*page_read)(struct pipeline *p, uint32_t session, int page, void *out);
    void (*page_write)(struct pipeline *p, uint32_t session, int page, const void *data);
    // Of the weights on this machine; any thread.
    struct weights_status (*residency)(struct pipeline *p);
    void (*free)(struct pipeline *p);
};

struct pipeline_info {
    const struct hparams *hparams;
    int max_sessions, max_context, max_batch;
    // Tokens of a prompt that the plan wants computed together; 0: max_batch. Each node reads
    // s + (n - 1) * (s - h) bytes of a window for n chunks in a row (weights/stream.h says what s
    // and h are): of a whole prompt with one round, of PIPELINE_MAX_PASSES at most with more.
    int chunk;
    int rounds; // of a pass
    int kv_pages;
    uint32_t generation;   // counts how often every session's cache was lost
    char description[224]; // "cpu avx2, 2 threads" / "ring of 3, k = 2"
};

struct pipeline { // first member of every implementation
    const struct pipeline_ops *ops;
    struct pipeline_info info;
};
