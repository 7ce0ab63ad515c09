// The inside of the reference: a model file's keys and weights, and the parts of a forward pass.
// For reference*.c, and for test_reference.c, which holds the parts against closed forms.
//
// Vectors are doubles, weights are floats as the file decodes to. Everything is one token at a
// time, in the order of the papers' formulas.
#pragma once

#include "gguf/gguf.h"

#include <stdbool.h>

struct matrix {
    int n_in, n_out, n_mats;
    float *w; // (n_mats, n_out, n_in); NULL: absent
};

enum { REFERENCE_MAX_ROT = 512, REFERENCE_MAX_EXPERTS = 1024 };

// RoPE of one kind of layer (Su et al., "RoFormer", 2021): pair i of a head turns by pos * freq[i].
struct rotation {
    int n_rot;   // dims that turn
    bool halves; // pair i is dims i and i + n_rot / 2 (NEOX), else 2i and 2i + 1
    double freq[REFERENCE_MAX_ROT / 2];
    double scale; // of cosines and sines
};

enum scaling { SCALING_NONE, SCALING_LINEAR, SCALING_YARN };

struct scaling_rules {
    enum scaling kind;
    double factor, beta_fast, beta_slow;
    double original_context;
    bool whole; // YaRN's ramp begins and ends at whole dims
};

// How a head attends.
struct attention {
    int key_dim, value_dim, n_heads, n_kv_heads;
    double scale, softcap; // softcap 0: none
};

enum activation { ACTIVATION_SILU, ACTIVATION_GELU, ACTIVATION_CLAMPED };
enum scoring { SCORE_SOFTMAX, SCORE_SOFTMAX_CHOSEN, SCORE_SIGMOID };

struct choice {
    int n, n_used, n_groups, n_groups_used;
    enum scoring scoring;
    bool normalize;
    double scale;
    double gap; // smallest seen so far: see reference.h
};

struct layer {
    struct matrix attn_norm, q, k, v, qkv, o, bq, bk, bv, bo, q_norm, k_norm, sinks, post_attn_norm;
    struct matrix q_a, q_a_norm, q_b, kv_a, kv_a_norm, kv_b, k_b, v_b; // deepseek2
    struct matrix ffn_norm, gate, up, down, post_ffn_norm;
    struct matrix router, router_bias, choice_bias;
    struct matrix gates, ups, downs, gates_bias, ups_bias, downs_bias; // experts
    struct matrix shared_router, shared_gate, shared_up, shared_down;
    const struct rotation *rotation;
    int window; // positions seen, itself included; 0: all
};

struct net {
    struct gguf *g;
    char arch[32];
    int n_layers, n_embd, n_ff, n_vocab, context;
    int latent; // kv_lora_rank; 0: no MLA
    double eps;
    double embed_scale, residual_scale, logit_divisor, final_softcap;
    double temperature; // by position: mistral3
    struct attention attention;
    struct scaling_rules scaling;
    struct rotation global, local; // local: gemma3's layers with a window
    enum activation activation;
    struct choice choice;
    struct matrix embed, norm, out;
    struct layer *layers;
};

void reference_open(struct net *t, const char *path, int n_context);
void reference_close(struct net *t);

// ---- vectors
void reference_multiply(double *out, const struct matrix *m, int mat, const double *x);
void reference_add_bias(double *x, const struct matrix *b, int row); // absent: nothing
void reference_norm(double *out, const double *x, const struct matrix *w, double eps); // w 1 row
double reference_glu(enum activation a, double gate, double up);
double *reference_numbers(size_t n); // zeros, malloc'd

// ---- RoPE
// The turning frequencies and scale for these rules; `factors` (n_rot / 2) divide them, or NULL.
void reference_rotation_init(struct rotation *r, int n_rot, bool halves, double base,
                             const struct scaling_rules *s, const float *factors);
void reference_rotate(const struct rotation *r, double *x, int pos); // x: the first turning dim

// ---- attention
// One query head at `pos` over rows [0, pos] of keys (n, k_stride) and values (n, v_stride);
// `sink`: a logit that only takes part in the sum, -INFINITY: none. out (value_dim).
void reference_attend(const struct attention *a, double *out, const double *q, const double *k,
                      size_t k_stride, const double *v, size_t v_stride, int pos, int window,
                      double sink);
// Queries, keys and values of one normed row, with positions in.
void reference_qkv(const struct net *t, const struct layer *l, const double *x, int pos, double *q,
                   double *k, double *v);
void reference_qkv_latent(const struct net *t, const struct layer *l, const double *x, int pos,
                          double *q, double *k, double *v);

// ---- feed-forward
// Which experts a row's logits (c->n) choose, by descending score, and their weights.
void reference_choose(struct choice *c, const double *logits, const float *bias, int *ids,
                      double *weights);
void reference_feed_forward(struct net *t, const struct layer *l, const double *x, double *out);
