// Attention of the reference (Vaswani et al., 2017; grouped heads: Ainslie et al., 2023), with what
// the families add: norms of each query and key head (Qwen3, Gemma 3), capped scores (Gemma 2),
// windows (Mistral), sinks (gpt-oss), a temperature by position (Ministral 3). And DeepSeek V2's
// latent attention, taken apart into ordinary heads as its paper first defines it (section 2.1).
#include "reference_net.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void reference_attend(const struct attention *a, double *out, const double *q, const double *k,
                      size_t k_stride, const double *v, size_t v_stride, int pos, int window,
                      double sink)
{
    int from = window && pos >= window ? pos - window + 1 : 0;
    double *p = reference_numbers((size_t)pos + 1), max = sink, sum = 0;
    for (int j = from; j <= pos; j++) {
        for (int i = 0; i < a->key_dim; i++)
            p[j] += q[i] * k[(size_t)j * k_stride + (size_t)i];
        p[j] *= a->scale;
        if (a->softcap > 0)
            p[j] = a->softcap * tanh(p[j] / a->softcap);
        max = fmax(max, p[j]);
    }
    sum = exp(sink - max);
    for (int j = from; j <= pos; j++)
        sum += p[j] = exp(p[j] - max);
    for (int i = 0; i < a->value_dim; i++) {
        out[i] = 0;
        for (int j = from; j <= pos; j++)
            out[i] += p[j] / sum * v[(size_t)j * v_stride + (size_t)i];
    }
    free(p);
}

static void project(double *out, const struct matrix *w, const struct matrix *bias, const double *x)
{
    reference_multiply(out, w, 0, x);
    reference_add_bias(out, bias, 0);
}

static void norm_heads(const struct net *t, double *x, const struct matrix *w, int n_heads)
{
    for (int h = 0; w->w && h < n_heads; h++) {
        double *head = x + (size_t)h * (size_t)t->attention.key_dim;
        reference_norm(head, head, w, t->eps);
    }
}

void reference_qkv(const struct net *t, const struct layer *l, const double *x, int pos, double *q,
                   double *k, double *v)
{
    const struct attention *a = &t->attention;
    if (l->qkv.w) { // phi3: rows of queries, then keys, then values
        size_t n_q = (size_t)(a->n_heads * a->key_dim), n_k = (size_t)(a->n_kv_heads * a->key_dim);
        double *all = reference_numbers((size_t)l->qkv.n_out);
        assert_int_equal(l->qkv.n_out, n_q + n_k + (size_t)(a->n_kv_heads * a->value_dim));
        reference_multiply(all, &l->qkv, 0, x);
        memcpy(q, all, n_q * sizeof *q);
        memcpy(k, all + n_q, n_k * sizeof *k);
        memcpy(v, all + n_q + n_k, (size_t)(a->n_kv_heads * a->value_dim) * sizeof *v);
        free(all);
    } else {
        project(q, &l->q, &l->bq, x);
        project(k, &l->k, &l->bk, x);
        project(v, &l->v, &l->bv, x);
    }
    norm_heads(t, q, &l->q_norm, a->n_heads);
    norm_heads(t, k, &l->k_norm, a->n_kv_heads);
    for (int h = 0; h < a->n_heads; h++)
        reference_rotate(l->rotation, q + (size_t)h * (size_t)a->key_dim, pos);
    for (int h = 0; h < a->n_kv_heads; h++)
        reference_rotate(l->rotation, k + (size_t)h * (size_t)a->key_dim, pos);
    double heat = 1 + t->temperature * log(1 + floor(pos / t->scaling.original_context));
    for (int i = 0; i < a->n_heads * a->key_dim; i++)
        q[i] *= heat;
}

// The key and value of head h, without positions, from the latent vector. attn_kv_b has for each
// head its rows of the key and then of the value; attn_k_b is the key's part transposed.
static void from_latent(const struct net *t, const struct layer *l, const double *latent, int h,
                        double *key, double *value)
{
    const struct attention *a = &t->attention;
    int nope = a->key_dim - l->rotation->n_rot, rank = t->latent;
    if (l->kv_b.w) {
        size_t rows = (size_t)(nope + a->value_dim), width = (size_t)rank;
        struct matrix k = {rank, nope, 1, l->kv_b.w + (size_t)h * rows * width};
        struct matrix v = {rank, a->value_dim, 1, k.w + (size_t)nope * width};
        reference_multiply(key, &k, 0, latent);
        reference_multiply(value, &v, 0, latent);
        return;
    }
    const float *k = l->k_b.w + (size_t)h * (size_t)(rank * nope); // (rank, nope)
    for (int i = 0; i < nope; i++) {
        key[i] = 0;
        for (int r = 0; r < rank; r++)
            key[i] += (double)k[r * nope + i] * latent[r];
    }
    reference_multiply(value, &l->v_b, h, latent);
}

void reference_qkv_latent(const struct net *t, const struct layer *l, const double *x, int pos,
                          double *q, double *k, double *v)
{
    const struct attention *a = &t->attention;
    int n_rot = l->rotation->n_rot, nope = a->key_dim - n_rot, rank = t->latent;
    double *low = reference_numbers((size_t)l->q_b.n_in),
           *kv = reference_numbers((size_t)(rank + n_rot));
    if (l->q_a.w) {
        reference_multiply(low, &l->q_a, 0, x);
        reference_norm(low, low, &l->q_a_norm, t->eps);
        reference_multiply(q, &l->q_b, 0, low);
    } else {
        reference_multiply(q, &l->q, 0, x);
    }
    assert_int_equal(l->kv_a.n_out, rank + n_rot);
    reference_multiply(kv, &l->kv_a, 0, x);
    reference_norm(kv, kv, &l->kv_a_norm, t->eps);
    reference_rotate(l->rotation, kv + rank, pos); // one rotated part, which all heads share
    for (int h = 0; h < a->n_heads; h++) {
        double *key = k + (size_t)h * (size_t)a->key_dim;
        reference_rotate(l->rotation, q + (size_t)h * (size_t)a->key_dim + nope, pos);
        from_latent(t, l, kv, h, key, v + (size_t)h * (size_t)a->value_dim);
        memcpy(key + nope, kv + rank, (size_t)n_rot * sizeof *key);
    }
    free(low);
    free(kv);
}
