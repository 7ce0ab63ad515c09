// Hyper-parameters of a model, as one struct of plain numbers filled from a file's metadata.
#pragma once

#include "backend/backend.h"
#include "gguf/gguf.h"

#include <stdint.h>

enum { MODEL_MAX_LAYERS = 1024 };

struct hparams {
    char arch[32];
    char name[128]; // general.name, printable; may be empty
    int n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab;
    int n_rot;          // dims of a head that RoPE rotates
    int context_length; // trained
    int window;         // positions that a token sees, itself included; 0: all before it
    float rms_eps, rope_theta;
    enum rope_layout rope_layout;
    float rope_scale; // linear scaling: angles are multiplied by this; 1: none
    bool tied_output; // output.weight absent: the embedding is used
    bool attn_bias;   // q, k, v carry biases
};

// Refuses unknown architectures, absent keys and impossible values, each with one sentence naming
// it.
int hparams_read(struct hparams *h, const struct gguf *g, struct err *e);

// Bytes that n_layers need in a page of KV_PAGE_TOKENS positions.
size_t hparams_kv_page_bytes(const struct hparams *h, int n_layers, enum kv_type type);
