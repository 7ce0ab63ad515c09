// The pipeline of a head: a pass goes round the ring as one frame, k times.
//
//            submit -> embed -> [frame] --edge--> worker 0 -> ... --edge--> queue
//                        ^                                                    |
//   round r + 1:         +---- the same frame <---- own window of round r <---+
//   last round:                                     own window, output -> complete
//
// Up to PIPELINE_MAX_PASSES passes are under way; links keep their order, so passes come back and
// complete in the order of submission. A ring of one hands its frames to itself.
//
// Threads: those of every pipeline (passes.h) and one compute thread here, which owns the stage.
// The node's driving thread connects the pipeline to its edges and disconnects it.
#pragma once

#include "cluster/edges.h"
#include "cluster/timings.h"
#include "engine/local.h"
#include "plan/windows.h"

struct remote_options {
    struct local_options engine;
    const struct window_table *table; // copied; the head is its last node. NULL: remote_shape tells
    enum wire_activation activation;
    // A frame came that cannot be: the ring is not to be trusted any more. On the compute thread;
    // all passes have failed already. May be NULL.
    void (*broken)(void *ctx, const struct err *why);
    void *ctx;
};

// Passes are accepted and wait until the head's own windows are loaded and remote_connect was
// called, in any order.
int remote_open(struct pipeline **out, const struct model *m, const struct remote_options *o,
                struct err *e);
// Another ring, or the first one: the table, the tables of times, how much of a prompt goes
// together (0: max_batch). The pipeline is not connected and no pass is under way; before
// remote_load.
int remote_shape(struct pipeline *p, const struct window_table *table, int chunk, struct err *e);
// Bytes for the head's streamed weights and for all that it takes; 0: as it finds right.
struct remote_share {
    uint64_t slots, memory;
};
// Loads the head's own windows, instead of those that it had: then every session's cache is gone
// (pipeline_info.generation). On the thread that submits, and no pass is under way; nobody asks for
// the description meanwhile. What goes wrong is final: the pipeline is of no use but to be freed.
int remote_load(struct pipeline *p, const struct model *m, const struct remote_share *share,
                struct err *e);

// Where frames come from and go to. The edges, made with remote_pool and remote_queue, stay valid
// until remote_fail has returned. NULL: a ring of one.
struct frame_pool *remote_pool(struct pipeline *p);
struct frame_queue *remote_queue(struct pipeline *p);
void remote_connect(struct pipeline *p, struct edges *edges, uint32_t epoch);
// Another ring follows: passes wait for it, from when the last one of the old ring was complete.
void remote_disconnect(struct pipeline *p);
// The ring is over: every pass that is not complete ends with `why`, and so does every later one.
void remote_fail(struct pipeline *p, const struct err *why);

// Waits until no pass is under way; every handle is released. On the thread that submits.
void remote_settle(struct pipeline *p);

// NULL before remote_shape, which makes another one.
struct timings *remote_timings(struct pipeline *p);
// Position of the last pass of one token that was sent; any thread.
int remote_position(struct pipeline *p);
const char *remote_isa(const struct pipeline *p); // of the head's own kernels
