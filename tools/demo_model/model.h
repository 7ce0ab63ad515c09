// The shape and the weights of a small llama, and its checkpoint file.
#pragma once

#include <stddef.h>

struct shape {
    int dim;
    int layers;
    int heads;
    int kv_heads;
    int ffn;
    int vocab;
    int context;
};

#define ROPE_BASE    10000.0f
#define NORM_EPSILON 1e-5f

// Where each weight starts in the one array that holds them all. Matrices are stored row by row,
// one row per output; qkv and gate_up are several matrices one below the other.
struct layer_at {
    size_t attn_norm;
    size_t qkv;
    size_t out;
    size_t ffn_norm;
    size_t gate_up;
    size_t down;
};

struct model {
    struct shape shape;
    size_t count;     // floats in all
    size_t embedding; // also the output matrix
    size_t final_norm;
    struct layer_at *layer;
    float *weights;
    float *mean; // the optimiser's two running moments
    float *square;
    int step;
};

struct model *model_new(struct shape shape);
void model_free(struct model *model);
int model_save(const struct model *model, const char *path);
struct model *model_load(const char *path);

static inline size_t times(int a, int b)
{
    return (size_t)a * (size_t)b;
}

static inline int head_dim(const struct shape *s)
{
    return s->dim / s->heads;
}

static inline int kv_dim(const struct shape *s)
{
    return head_dim(s) * s->kv_heads;
}

static inline int qkv_dim(const struct shape *s)
{
    return s->dim + 2 * kv_dim(s);
}

// Weights that are not part of a matrix product are not pulled towards zero.
int model_is_norm(const struct model *model, size_t index);
