// The double-precision forward pass: see reference.h.
//
//   x = embed(id); for each layer: x += attention(n(x)); x += feed_forward(n(x));
//   logits = wout n(x)
//
// What is read from the file and meant by it is in reference_load.c; the parts are in
// reference_rope.c, reference_attention.c and reference_ffn.c.
#include "reference.h"
#include "reference_net.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>

double *reference_numbers(size_t n)
{
    double *p = calloc(n ? n : 1, sizeof *p);
    assert_non_null(p);
    return p;
}

void reference_multiply(double *out, const struct matrix *m, int mat, const double *x)
{
    const float *w = m->w + (size_t)mat * (size_t)m->n_out * (size_t)m->n_in;
    assert_non_null(m->w);
    for (int r = 0; r < m->n_out; r++) {
        double sum = 0;
        for (int i = 0; i < m->n_in; i++)
            sum += (double)w[(size_t)r * (size_t)m->n_in + (size_t)i] * x[i];
        out[r] = sum;
    }
}

void reference_add_bias(double *x, const struct matrix *b, int row)
{
    for (int i = 0; b->w && i < b->n_in; i++)
        x[i] += (double)b->w[(size_t)row * (size_t)b->n_in + (size_t)i];
}

void reference_norm(double *out, const double *x, const struct matrix *w, double eps)
{
    double sum = 0;
    assert_non_null(w->w);
    for (int i = 0; i < w->n_in; i++)
        sum += x[i] * x[i];
    double scale = 1 / sqrt(sum / w->n_in + eps);
    for (int i = 0; i < w->n_in; i++)
        out[i] = x[i] * scale * (double)w->w[i];
}

struct scratch {
    double *n, *q, *heads, *back, *k, *v; // k, v: (n, n_kv_heads * dim)
};

// heads = what each head sees at row pos, after k and v of the row are in place.
static void attend(const struct net *t, const struct layer *l, const struct scratch *s, int pos)
{
    const struct attention *a = &t->attention;
    size_t keys = (size_t)(a->n_kv_heads * a->key_dim);
    size_t values = (size_t)(a->n_kv_heads * a->value_dim);
    double *k = s->k + (size_t)pos * keys, *v = s->v + (size_t)pos * values;
    if (t->latent)
        reference_qkv_latent(t, l, s->n, pos, s->q, k, v);
    else
        reference_qkv(t, l, s->n, pos, s->q, k, v);
    for (int h = 0; h < a->n_heads; h++) {
        int group = h / (a->n_heads / a->n_kv_heads);
        double sink = l->sinks.w ? (double)l->sinks.w[h] : -INFINITY;
        reference_attend(a, s->heads + (size_t)(h * a->value_dim), s->q + (size_t)(h * a->key_dim),
                         s->k + (size_t)(group * a->key_dim), keys,
                         s->v + (size_t)(group * a->value_dim), values, pos, l->window, sink);
    }
}

// x += scale * back, through a norm where the layer has one after its parts.
static void add_back(const struct net *t, double *x, double *back, const struct matrix *post)
{
    if (post->w)
        reference_norm(back, back, post, t->eps);
    for (int i = 0; i < t->n_embd; i++)
        x[i] += t->residual_scale * back[i];
}

static void run_layer(struct net *t, const struct layer *l, double *x, int n,
                      const struct scratch *s)
{
    for (int pos = 0; pos < n; pos++, x += t->n_embd) {
        reference_norm(s->n, x, &l->attn_norm, t->eps);
        attend(t, l, s, pos);
        reference_multiply(s->back, &l->o, 0, s->heads);
        reference_add_bias(s->back, &l->bo, 0);
        add_back(t, x, s->back, &l->post_attn_norm);
        reference_norm(s->n, x, &l->ffn_norm, t->eps);
        reference_feed_forward(t, l, s->n, s->back);
        add_back(t, x, s->back, &l->post_ffn_norm);
    }
}

static void finish(const struct net *t, const double *x, double *n, double *logits)
{
    reference_norm(n, x, &t->norm, t->eps);
    reference_multiply(logits, t->out.w ? &t->out : &t->embed, 0, n);
    for (int i = 0; i < t->n_vocab; i++) {
        logits[i] /= t->logit_divisor;
        if (t->final_softcap > 0)
            logits[i] = t->final_softcap * tanh(logits[i] / t->final_softcap);
    }
}

double *reference_logits_in(const char *path, const int32_t *ids, int n, int n_context,
                            struct reference_facts *facts)
{
    struct net t;
    reference_open(&t, path, n_context);
    const struct attention *a = &t.attention;
    size_t rows = (size_t)n, e = (size_t)t.n_embd, vocab = (size_t)t.n_vocab;
    struct scratch s = {
        .n = reference_numbers(e),
        .q = reference_numbers((size_t)(a->n_heads * a->key_dim)),
        .heads = reference_numbers((size_t)(a->n_heads * a->value_dim)),
        .back = reference_numbers(e),
        .k = reference_numbers(rows * (size_t)(a->n_kv_heads * a->key_dim)),
        .v = reference_numbers(rows * (size_t)(a->n_kv_heads * a->value_dim)),
    };
    double *x = reference_numbers(rows * e), *logits = reference_numbers(rows * vocab);
    for (size_t pos = 0; pos < rows; pos++)
        for (size_t i = 0; i < e; i++)
            x[pos * e + i] = t.embed_scale * (double)t.embed.w[(size_t)ids[pos] * e + i];
    for (int l = 0; l < t.n_layers; l++)
        run_layer(&t, &t.layers[l], x, n, &s);
    for (size_t pos = 0; pos < rows; pos++)
        finish(&t, x + pos * e, s.n, logits + pos * vocab);
    double *all[] = {s.n, s.q, s.heads, s.back, s.k, s.v, x};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    *facts = (struct reference_facts){.n_vocab = t.n_vocab, .routing_gap = t.choice.gap};
    reference_close(&t);
    return logits;
}

double *reference_logits(const char *path, const int32_t *ids, int n, int *n_vocab)
{
    struct reference_facts facts;
    double *logits = reference_logits_in(path, ids, n, 0, &facts);
    *n_vocab = facts.n_vocab;
    return logits;
}

static double log_sum(const double *a, const float *b, int n)
{
    double max = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++)
        max = fmax(max, a ? a[i] : (double)b[i]);
    for (int i = 0; i < n; i++)
        sum += exp((a ? a[i] : (double)b[i]) - max);
    return max + log(sum);
}

double reference_mean_kl(const double *a, const float *b, int n, int n_vocab)
{
    double total = 0;
    for (int row = 0; row < n; row++, a += n_vocab, b += n_vocab) {
        double za = log_sum(a, NULL, n_vocab), zb = log_sum(NULL, b, n_vocab);
        for (int i = 0; i < n_vocab; i++)
            total += exp(a[i] - za) * ((a[i] - za) - ((double)b[i] - zb));
    }
    return total / n;
}

double reference_max_diff(const double *a, const float *b, size_t n)
{
    double max = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs(a[i] - (double)b[i]);
        max = d > max || isnan(d) ? d : max; // a NaN stays
    }
    return max;
}
