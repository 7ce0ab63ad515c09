// Hyper-parameters of a model, as one struct of plain numbers filled from a file's metadata.
//
// What every architecture has is read here; what one of them has of its own is read by its file
// (arch.h). A number that a model does not use has the value that changes nothing.
#pragma once

#include "backend/backend.h"
#include "gguf/gguf.h"

#include <stdint.h>

enum { MODEL_MAX_LAYERS = 1024, MODEL_MAX_EXPERTS = 1024, MODEL_MAX_HEADS = 1 << 12 };

// How positions beyond those of the training are reached.
enum rope_scaling {
    ROPE_SCALING_LINEAR, // angles are multiplied by rope_scale, which is 1 for none
    ROPE_SCALING_YARN,   // fast dimensions keep their angles, slow ones are stretched
    ROPE_SCALING_LONG,   // factors for each dimension come with the model, long and short ones
};

struct yarn {
    int original_context;       // positions of the training before stretching
    float beta_fast, beta_slow; // turns over the original context: more are kept, fewer stretched
    bool whole;                 // the bounds are rounded to whole dimensions, as YaRN's authors do
};

struct experts_hparams {
    int n, n_used, n_ff; // n 0: no mixture
    int n_ff_shared;     // of the experts that every token uses, together; 0: none
    int n_dense_layers;  // first layers without a mixture
    int n_groups, n_groups_used;
    enum route_score score;
    bool normalize;
    float scale;
};

// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).
struct latent_hparams {
    int kv_rank;          // 0: ordinary attention
    int q_rank;           // 0: queries are made at once
    int n_plain, n_value; // dimensions of a head that are not rotated; of its value
    bool absorbed; // the cache holds the latent vector itself; else keys and values of every head
};

struct hparams {
    char arch[32];
    char name[128]; // general.name, printable; may be empty
    int n_layers, n_embd, n_heads, n_kv_heads, n_ff, n_vocab;
    int head_dim;       // of keys and values as the cache holds them
    int n_rot;          // dims of a head that RoPE rotates
    int context_length; // trained
    int window;         // positions that a token sees, itself included; 0: all before it
    int window_period;  // 0: the window is for every layer; else the last of so many sees all
    float rms_eps;
    enum rope_layout rope_layout;
    enum rope_scaling rope_scaling;
    float rope_theta;
    float rope_scale;     // angles are multiplied by this; 1: none
    float rope_magnitude; // cosines and sines are
    float local_theta;    // of the layers with a window, which scale nothing; 0: as all others
    struct yarn yarn;
    enum glu glu;
    float embed_scale, residual_scale, logit_scale; // factors of x, of what a block adds, of logits
    float attn_scale, attn_softcap, final_softcap;  // soft caps: 0 is none
    float attn_temperature; // queries grow with their position beyond yarn.original_context
    bool tied_output;       // output.weight absent: the embedding is used
    bool attn_bias;         // q, k, v carry biases
    struct experts_hparams experts;
    struct latent_hparams latent;
};

// Refuses unknown architectures, absent keys and impossible values, each with one sentence naming
// it.
int hparams_read(struct hparams *h, const struct gguf *g, struct err *e);

// Bytes that n_layers need in a page of KV_PAGE_TOKENS positions.
size_t hparams_kv_page_bytes(const struct hparams *h, int n_layers, enum kv_type type);

// Whether layer `layer` sees only h->window positions.
bool hparams_slides(const struct hparams *h, int layer);
