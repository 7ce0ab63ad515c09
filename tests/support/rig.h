// A model file with everything that it takes to run it on this machine: for tests that look at
// logits.
#pragma once

#include "backend/backend.h"
#include "gguf/gguf.h"
#include "model/shard.h"
#include "weights/weights.h"

struct rig {
    struct gguf *g;
    struct model *model;
    struct weights *weights;
    struct backend *backend;
    struct shard *shard;
    const struct hparams *h;
    struct window windows[32];
    int n_windows;
    uint64_t pass;
};

struct rig_options {
    enum isa isa;  // 0: scalar
    int n_threads; // 0: one
    enum kv_type kv_type;
    int chunk;                    // tokens of a pass; 0: BATCH_MAX_TOKENS
    const struct window *windows; // NULL: all layers in one
    int n_windows;
    int max_context; // 0: 512
    struct weights_options weights;
};

// Fails the running test when anything does.
void rig_open(struct rig *r, const char *path, const struct rig_options *o);
// What shard_new says; the rig is to be closed either way.
int rig_open_if(struct rig *r, const char *path, const struct rig_options *o, struct err *why);
void rig_close(struct rig *r);

// Writes the sidecar of a whole model to `lanes`.
void rig_prepack(const char *path, const char *lanes);

// Takes a batch through all windows; logits (of tokens that want them, n_vocab) may be NULL.
void rig_pass(struct rig *r, const struct batch *b, float *logits);
// The same; what goes wrong is the caller's.
int rig_try(struct rig *r, const struct batch *b, float *logits, struct err *e);

// Opens, takes `ids` through as session 0 in chunks, closes: malloc'd logits (n, n_vocab).
float *rig_logits(const char *path, const int32_t *ids, int n, const struct rig_options *o,
                  int *n_vocab);
