// Architectures: what tensors a layer has and how it transforms the hidden state.
//
// archs.c lists them. An architecture is a file: its name, its tensors, and one function that
// records a layer; block_attention.c and block_ffn.c are the parts that they share. To add one,
// write arch_NAME.c and put it in the list.
#pragma once

#include "backend/backend.h"
#include "model/hparams.h"

enum { LAYER_MAX_TENSORS = 16 };

// Absent tensors have n_in = 0.
struct layer {
    struct weight attn_norm;            // (n_embd)
    struct weight wq, wk, wv;           // (n_heads * head_dim | n_kv_heads * head_dim, n_embd)
    struct weight bq, bk, bv;           // their biases
    struct weight wo, bo;               // (n_embd, n_heads * head_dim) and its bias
    struct weight ffn_norm;             // (n_embd)
    struct weight gate, up, down;       // (n_ff, n_embd) twice, (n_embd, n_ff)
    uint32_t pieces[LAYER_MAX_TENSORS]; // ascending
    int n_pieces;
};

// A pass through a window while it is being recorded. All buffers hold a row for each token.
struct forward {
    struct list *list;
    const struct hparams *h;
    const struct rows *rows;
    const float *freqs;      // (n_rot / 2)
    struct kv_layer kv;      // of the layer being recorded
    struct buf *x;           // (n_embd) the hidden state, changed in place
    struct buf *norm, *back; // (n_embd) what a block reads, what it adds to x
    struct buf *q, *heads;   // (n_heads, head_dim)
    struct buf *k, *v;       // (n_kv_heads, head_dim)
    struct buf *gate, *up;   // (n_ff)
};

struct arch {
    const char *name; // general.architecture
    enum rope_layout rope_layout;
    bool needs_attn_bias; // q, k and v biases are part of it; else they are used when present
    bool reads_window;    // attention.sliding_window, where a file has it, is for every layer
    void (*record_layer)(struct forward *f, const struct layer *y);
};

extern const struct arch arch_llama, arch_qwen2;

const struct arch *arch_find(const char *name); // NULL: not supported
const char *arch_names(void);                   // "llama, qwen2"

// x += attention(norm(x))
void block_attention(struct forward *f, const struct layer *y);
// x += down(silu(gate(norm(x))) * up(norm(x)))
void block_ffn(struct forward *f, const struct layer *y);
