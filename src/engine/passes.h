// The passes of a pipeline: places for PIPELINE_MAX_PASSES batches and their results, handed back
// and forth between the caller's thread and the one that computes.
//
//   submit ──> QUEUED ──> passes_next: RUNNING ──> passes_complete: DONE ──> wait ──> release: FREE
//                         (or _take)
//
// Every pipeline has one of these and differs only in what happens to a pass that is RUNNING. All
// places are taken from one arena at the start. What a place holds belongs to the computing side
// while it is QUEUED or RUNNING and to the caller otherwise. A batch is admitted by a mirror of the
// cache's bookkeeping that belongs to the caller's thread, so the other side never meets one that
// does not fit.
#pragma once

#include "base/arena.h"
#include "engine/pipeline.h"
#include "model/kv.h"

#include <pthread.h>

enum pass_state { PASS_FREE, PASS_QUEUED, PASS_RUNNING, PASS_DONE };

struct pass {
    enum pass_state state; // under lock, as the next three
    int64_t handle;
    bool cancelled, released;
    int rc;
    struct err error;
    struct batch batch; // its arrays are the next two; batch.pass is the handle
    struct batch_token *tokens;
    struct session_op ops[BATCH_MAX_OPS];
    struct pass_result result;
    float *logits; // (max_outputs, n_vocab)
    float *states; // (max_outputs, n_embd)
};

struct passes {
    const struct pipeline_info *info;
    int max_outputs;
    struct kv_map *mirror; // the caller's thread
    struct arena arena;
    pthread_mutex_t lock;
    pthread_cond_t queued, done;
    int64_t next_handle; // under lock, as all below
    bool stopped;
    const struct pass *taken; // by passes_take
    struct err failure;       // of the whole pipeline: nothing is taken any more
    struct pass slots[PIPELINE_MAX_PASSES];
};

// `info` outlives the passes. max_outputs: tokens of a batch that may want logits, or their state.
int passes_init(struct passes *p, const struct pipeline_info *info, int max_outputs, struct err *e);
void passes_fini(struct passes *p); // also after passes_init failed

// ---- The caller's thread: what pipeline.h says.
int64_t passes_submit(struct passes *p, const struct batch *b, struct err *e);
int passes_wait(struct passes *p, int64_t handle, struct pass_result *out, struct err *e);
void passes_release(struct passes *p, int64_t handle);
void passes_cancel(struct passes *p, int64_t handle);
// Waits until no pass is under way: released ones may still be. Every handle is released.
void passes_settle(struct passes *p);

// No session has anything in the cache any more. No pass is under way.
void passes_forget(struct passes *p);

// ---- The computing thread.
// The oldest that is QUEUED, now RUNNING. NULL: none.
struct pass *passes_next(struct passes *p);
// The same for pipelines that take one pass after the other through all layers: nobody else gets
// one until it is complete. Two may ask. The computing thread (handle -1) waits until there is
// something to do that nobody waits for: a pass that others queue behind, or a released one. The
// caller's thread, about to wait for `handle`, computes by itself, which saves the way to another
// thread and back; NULL: that one is done or another thread is at it. NULL also when stopped.
struct pass *passes_take(struct passes *p, int64_t handle);
bool passes_cancelled(struct passes *p, const struct pass *s);
// The pass with this number that is RUNNING, or NULL.
struct pass *passes_find(struct passes *p, uint64_t number);
// DONE, with `why` when rc is not 0. A pass that has failed meanwhile stays as it is.
void passes_complete(struct passes *p, struct pass *s, int64_t compute_ns, int rc,
                     const struct err *why);

// ---- Any thread.
void passes_stop(struct passes *p); // the two above return NULL from now on
// Every pass that is not DONE ends with `why`, and so does every later submit.
void passes_fail(struct passes *p, const struct err *why);
