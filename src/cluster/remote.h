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
    const struct window_table *table; // copied; the head is its last node
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
// Loads the head's own windows, once; until it has returned nobody asks for the residency or the
// description. What goes wrong is final: the pipeline is of no use but to be freed.
int remote_load(struct pipeline *p, const struct model *m, struct err *e);

// Where frames come from and go to. The edges, made with remote_pool and remote_queue, stay valid
// until remote_fail has returned. NULL: a ring of one.
struct frame_pool *remote_pool(struct pipeline *p);
struct frame_queue *remote_queue(struct pipeline *p);
void remote_connect(struct pipeline *p, struct edges *edges, uint32_t epoch);
// The ring is over: every pass that is not complete ends with `why`, and so does every later one.
void remote_fail(struct pipeline *p, const struct err *why);

struct timings *remote_timings(struct pipeline *p);
const char *remote_isa(const struct pipeline *p); // of the head's own kernels
