// Architectures: what tensors a layer has and how it transforms the hidden state.
//
// archs.c lists them. An architecture is a file: its name, the keys of its own, and, where its
// layers are not made like everybody's, what tensors they have and how a layer is recorded. The
// parts that they share are the blocks below; docs/MODELS.md tells how to add one.
#pragma once

#include "backend/backend.h"
#include "model/hparams.h"

enum { LAYER_MAX_TENSORS = 32 };

struct keys;    // model/hparams_keys.h
struct tensors; // model/tensors.h

// Pieces [first, first + n) of a tensor. On demand: an operation asks for those it wants itself.
struct layer_pieces {
    uint32_t first;
    int n;
    bool on_demand;
};

// A gated network: down(glu(gate x, up x)).
struct gated {
    struct weight gate, up, down; // (n_ff, n_embd) twice, (n_embd, n_ff)
};

struct mixture {
    struct weight router, router_bias;           // (n_experts, n_embd), (n_experts)
    struct weight choice_bias;                   // (n_experts)
    struct gated experts;                        // the first of n_experts
    struct weight gate_bias, up_bias, down_bias; // (n_experts, n_ff or n_embd)
    struct gated shared;                         // n_ff_shared
    struct weight shared_gate;                   // (1, n_embd)
};

// Latent attention: ranks and dimensions are those of struct latent_hparams.
struct latent {
    struct weight q, q_down, q_norm, q_up; // q, or the three
    struct weight kv_down, kv_norm;        // (kv_rank + n_rot, n_embd), (kv_rank)
    struct weight k_up, v_up; // per head: (kv_rank, n_plain), (n_value, kv_rank); when absorbed
    struct weight kv_up;      // (n_heads * (n_plain + n_value), kv_rank); when not
};

// Absent tensors have n_in = 0.
struct layer {
    bool slides;                  // sees hparams.window positions
    struct weight attn_norm;      // (n_embd)
    struct weight wq, wk, wv;     // (n_heads * head_dim | n_kv_heads * head_dim, n_embd)
    struct weight bq, bk, bv;     // their biases
    struct weight q_norm, k_norm; // (head_dim)
    struct weight sinks;          // (n_heads)
    struct weight wo, bo;         // (n_embd, n_heads * head_dim) and its bias
    struct weight attn_post_norm; // (n_embd), of what attention adds
    struct weight ffn_norm;       // (n_embd)
    struct gated ffn;             // or
    struct mixture mixture;       // when its router is there
    struct weight ffn_post_norm;  // (n_embd), of what the network adds
    struct latent latent;
    struct layer_pieces pieces[LAYER_MAX_TENSORS]; // ascending
    int n_pieces;
};

// Activations: a row for each token of the widths that buffers_plan tells.
struct buffers {
    struct buf *x;           // (n_embd) the hidden state, changed in place
    struct buf *norm, *back; // (n_embd) what a block reads, what it adds to x
    struct buf *q, *heads;   // (n_heads, head_dim)
    struct buf *k, *v;       // (n_kv_heads, head_dim)
    struct buf *gate, *up;   // (n_ff)
    // mixtures
    struct buf *router;                  // (n_experts)
    struct buf *ids, *weights;           // (n_used)
    struct buf *expert_gate, *expert_up; // (n_used, n_ff)
    struct buf *expert_out;              // (n_used, n_embd)
    struct buf *shared, *shared_gate;    // (n_embd), (1)
    // latent attention
    struct buf *q_down, *q_raw;  // (q_rank), (n_heads, n_plain + n_rot)
    struct buf *q_plain;         // (n_heads, n_plain)
    struct buf *q_latent;        // (n_heads, kv_rank); of the values as well
    struct buf *kv_down, *kv_up; // (kv_rank + n_rot), (n_heads, n_plain + n_value)
    struct buf *latent;          // (kv_rank)
    struct buf *k_rot;           // (n_rot)
    struct buf *values;          // (n_heads, n_value)
    struct buf *head_ids;        // (n_heads) 0, 1, 2 ..: every head uses its own matrix
};
enum { N_BUFFERS = sizeof(struct buffers) / sizeof(struct buf *) };

struct buffer_plan {
    struct buf **out;
    int width; // words of 4 bytes in a row
};
// What a model needs of them; returns how many those are.
int buffers_plan(struct buffers *b, const struct hparams *h, struct buffer_plan plan[N_BUFFERS]);

// A pass through a window while it is being recorded.
struct forward {
    struct list *list;
    const struct hparams *h;
    const struct rows *rows;
    struct rope rope, local_rope; // of layers that see everything, of those that slide
    struct kv_layer kv;           // of the layer being recorded
    struct buffers b;
};

struct arch {
    const char *name; // general.architecture
    enum rope_layout rope_layout;
    bool needs_attn_bias; // q, k and v biases are part of it; else they are used when present
    bool head_norms;      // likewise norms of the heads of q and k
    bool sinks;           // likewise sinks of attention
    bool more_biases;     // likewise biases of the output of attention, the router and the experts
    bool reads_window;    // attention.sliding_window, where a file has it
    bool mixture;         // expert_count may be there
    bool gated_shared;    // what the shared experts add goes through a gate
    bool latent;          // latent attention
    bool fused;           // q, k and v are one matrix, and so are gate and up
    bool post_norms;      // what a block adds is normed
    const char *ffn_norm; // name of the norm before the feed-forward network; NULL: ffn_norm.weight
    // Keys of its own; NULL: none.
    void (*read)(struct keys *k, struct hparams *h);
};

extern const struct arch arch_llama, arch_mistral3, arch_qwen2, arch_qwen2moe, arch_qwen3,
    arch_qwen3moe, arch_gemma2, arch_gemma3, arch_phi3, arch_granite, arch_granitemoe, arch_gpt_oss,
    arch_deepseek2;

const struct arch *arch_find(const char *name); // NULL: not supported
enum { ARCH_NAMES_SIZE = 512 };
void arch_names(char *out, size_t size); // "llama, qwen2"

// A layer: x += attention(norm(x)), x += network(norm(x)), with what the architecture and the
// model's numbers say on top: biases, norms of heads or of what is added, a mixture.
void layer_find(struct tensors *t, struct layer *y);
void layer_record(struct forward *f, const struct layer *y);

// norm = rms_norm(x)
void block_norm(struct forward *f, const struct weight *w);
// x += residual_scale * post_norm(back)
void block_add(struct forward *f, const struct weight *post_norm);
void block_bias(struct forward *f, struct buf *x, const struct weight *bias); // where there is one

// Each finds its tensors, and records back = block(norm).
void attention_find(struct tensors *t, struct layer *y);
void attention_record(struct forward *f, const struct layer *y);
void latent_find(struct tensors *t, struct layer *y);
void latent_record(struct forward *f, const struct layer *y);
void mixture_find(struct tensors *t, struct mixture *out);
void mixture_record(struct forward *f, const struct mixture *m);
// suffix: "", or which of several networks of a layer, "_shexp". Records out = gated(norm).
void gated_find(struct tensors *t, struct gated *out, int n_ff, const char *suffix);
void gated_record(struct forward *f, const struct gated *g, int n_ff, struct buf *out);
