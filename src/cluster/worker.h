// A worker: joins the head that its token names, takes part in the rings that it is offered, and
// waits for the next head when one ends.
//
// Threads: worker_run drives everything from the caller's thread and returns when it is told to
// stop or the head will not have it; links, the door and the duty have threads of their own.
#pragma once

#include "base/err.h"
#include "cluster/token.h"
#include "kernels/kernels.h"
#include "plan/layer_set.h"
#include "weights/weights.h"

#include <stdbool.h>

struct worker_options {
    const char *folder; // identity_folder
    const char *name;   // for people; NULL: the machine's
    const struct token *token;
    const char *model_path;         // opened when a head offers something
    const struct layer_set *layers; // that the file has; NULL: all of them
    const char *host;               // to listen on; NULL: all interfaces
    uint16_t port;                  // 0: any
    int n_threads;                  // 0: pool_default_threads()
    enum pin pin;
    enum isa isa; // ISA_COUNT: isa_detect()
    struct weights_options weights;
    // What happens, one line for people each time; on the caller's thread.
    void (*say)(void *ctx, const char *line);
    // Asked several times a second: true ends worker_run.
    bool (*stop)(void *ctx);
    void *ctx;
};

// 0 when stopped; an error when this worker cannot listen or the head refuses it for good.
int worker_run(const struct worker_options *o, struct err *e);
