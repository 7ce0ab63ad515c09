// A model's layers on one node: hidden state in, hidden state out, with the KV cache of those
// layers.
//
// `struct model` is the file: hyper-parameters and where each tensor lies; immutable, shared.
// `struct shard` is the part of it that a node owns under a plan: its windows of layers, and on the
// head the embedding and the output matrix. A shard belongs to one thread, the compute driver.
// Nothing is allocated after shard_new.
#pragma once

#include "backend/backend.h"
#include "gguf/gguf.h"
#include "model/batch.h"
#include "model/hparams.h"
#include "weights/weights.h"

struct model;
struct shard;

int model_open(struct model **out, const struct gguf *g, struct err *e);
void model_free(struct model *m);
const struct hparams *model_hparams(const struct model *m);
const struct gguf *model_gguf(const struct model *m);
// Whether the file has layer `layer`; layer = n_layers: embedding, norm and output. A slice (rondo
// slice) has some only.
bool model_has_layer(const struct model *m, int layer);
// Digest of the tensors of layer `layer`, also of one that a slice leaves out; layer = n_layers:
// embedding, norm and output, which must be there.
int model_layer_digest(const struct model *m, int layer, struct digest *out, struct err *e);
// Digest of hyper-parameters and vocabulary.
struct digest model_digest(const struct model *m);
size_t model_layer_bytes(const struct model *m, int layer); // likewise n_layers: the ends
// Tensors of a layer that is there, or of n_layers: embedding, norm, and the output matrix where
// that is another. Returns their number.
enum { MODEL_LAYER_TENSORS = 32 };
int model_layer_tensors(const struct model *m, int layer,
                        const struct gguf_tensor *out[MODEL_LAYER_TENSORS]);

struct window {
    int lo, hi; // layers [lo, hi); lo == hi: empty
};

enum { SHARD_MAX_PASSES = 16 }; // begun and not through all their windows

struct shard_options {
    const struct window *windows; // the node's, any order, disjoint
    int n_windows;
    bool ends; // embedding and output too (the head)
    enum kv_type kv_type;
    int kv_pages; // capacity, in pages of KV_PAGE_TOKENS
    int max_sessions, max_context, max_batch;
    int max_outputs;   // tokens of a batch that may want logits; 0: all
    uint64_t reserved; // bytes of the node's memory that the caller takes for computing
};

// Bytes that computing takes on a node: activations, logits, and what the caller reserves. With
// layers of one window at most.
uint64_t shard_computing(const struct model *m, const struct shard_options *o, int n_threads);

// Names the pieces of these windows, and of the ends, to the weights.
void shard_need(const struct model *m, struct weights *w, const struct window *windows,
                int n_windows, bool ends);

// Sizes everything, allocates it, and settles how its weights lie. Refuses layers that the file
// does not have.
int shard_new(struct shard **out, const struct model *m, struct weights *w, struct backend *b,
              const struct shard_options *o, struct err *e);
void shard_free(struct shard *s);

// Once per pass and node, before its first window: session operations and room in the cache.
// Refuses what does not fit or is out of order (a frame from a confused peer).
//
// Passes may overlap: pass 8 may begin, and change sessions, while pass 7 has rounds to go here.
// Each pass keeps the pages as they were for it, and copies of a fork happen window by window, so
// every window sees the passes as if they had come one after the other. All of a pass's calls carry
// the same batch.pass, and each window must see the passes in their order.
int shard_begin(struct shard *s, const struct batch *b, struct err *e);

// hidden (n_tokens, n_embd), host memory.
int shard_embed(struct shard *s, const struct batch *b, float *hidden, struct err *e);
// Layers of `w`, which must be one of the shard's; hidden is changed in place.
int shard_run(struct shard *s, const struct batch *b, struct window w, float *hidden,
              struct err *e);
// Final norm and output rows for the tokens that want logits, in batch order: logits (n, n_vocab);
// for those that want their hidden state the normed state: states (n, n_embd).
int shard_output(struct shard *s, const struct batch *b, const float *hidden, float *logits,
                 float *states, struct err *e);
