// A model, opened for computing: file, vocabulary and a pipeline that runs it, here or round a
// ring.
#pragma once

#include "app/head.h"
#include "app/model_path.h"
#include "app/options.h"
#include "engine/pipeline.h"
#include "gguf/gguf.h"
#include "model/shard.h"
#include "text/vocab.h"

struct loaded_wants {
    int max_sessions;
    int max_context;          // 0: --ctx, or what the model was trained for
    bool every_logits;        // of each token of a batch, not only the last one of each session
    int max_outputs;          // tokens of a batch that may want logits; 0: one of each session
    int kv_pages;             // of the cache; 0: enough for max_sessions full contexts
    bool (*stop)(void);       // as in local_options; not round a ring
    struct observer observer; // as in local_options; not round a ring
    bool ring;                // the verb takes the options of a ring (app/head.h)
};

struct loaded {
    char path[MODEL_PATH_BYTES];
    struct gguf *gguf;
    struct vocab *vocab;
    struct model *model;
    struct head *head; // of a ring; NULL: the model runs here alone
    struct pipeline *pipeline;
};

// `model` as on the command line. The verb must take --threads, --isa, --kv and --batch, and --ctx
// unless max_context says it. 0 or an error; then everything is closed again.
int loaded_open(struct loaded *l, const char *model, const struct options *o,
                const struct loaded_wants *w, struct err *e);
// Waits for the workers of a ring, where there is one. What can be refused is refused before:
// nobody shall start workers for a wrong prompt. 0, the exit code of an interrupt while waiting, or
// an error.
int loaded_gather(struct loaded *l, struct err *e);
void loaded_close(struct loaded *l);
