// The double-precision forward pass of llama and qwen2 models: see reference.h.
//
//   x = embed(id); for each layer: x += wo attend(rope(wq n(x)), rope(wk n(x)), wv n(x));
//   x += wdown (silu(wgate n(x)) * (wup n(x))); logits = wout n(x)
#include "reference.h"
#include "support.h"

#include "gguf/gguf.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct matrix {
    int n_in, n_out;
    float *w; // (n_out, n_in); NULL: absent
};

struct layer {
    struct matrix attn_norm, q, k, v, o, bq, bk, bv, ffn_norm, gate, up, down;
};

struct net {
    struct gguf *g;
    int n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, n_rot, halves, window;
    double eps, theta, scale;
    struct matrix embed, norm, out, factors;
    struct layer *layers;
};

static struct matrix load(struct net *t, const char *name, int layer)
{
    char full[96];
    if (layer >= 0)
        snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    else
        snprintf(full, sizeof full, "%s", name);
    const struct gguf_tensor *x = gguf_find_tensor(t->g, full);
    if (!x)
        return (struct matrix){0};
    struct matrix m = {.n_in = (int)x->dims[0], .n_out = (int)x->dims[1]};
    size_t n = (size_t)m.n_in * (size_t)m.n_out;
    uint8_t *raw = malloc(x->size);
    m.w = malloc(n * sizeof *m.w);
    assert_true(raw && m.w);
    assert_int_equal(pread(gguf_part_fd(t->g, x->part), raw, x->size, (off_t)x->offset), x->size);
    kernels_for(ISA_SCALAR)->format[x->type].decode(m.w, raw, n);
    free(raw);
    return m;
}

static uint64_t number(struct net *t, const char *arch, const char *key, uint64_t otherwise)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", arch, key);
    gguf_get_u64(t->g, name, &otherwise);
    return otherwise;
}

static double real(struct net *t, const char *arch, const char *key, double otherwise)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", arch, key);
    gguf_get_f64(t->g, name, &otherwise);
    return otherwise;
}

static void load_layer(struct net *t, int i)
{
    struct layer *l = &t->layers[i];
    const struct {
        struct matrix *to;
        const char *name;
    } parts[] = {
        {&l->attn_norm, "attn_norm.weight"},
        {&l->q, "attn_q.weight"},
        {&l->k, "attn_k.weight"},
        {&l->v, "attn_v.weight"},
        {&l->o, "attn_output.weight"},
        {&l->bq, "attn_q.bias"},
        {&l->bk, "attn_k.bias"},
        {&l->bv, "attn_v.bias"},
        {&l->ffn_norm, "ffn_norm.weight"},
        {&l->gate, "ffn_gate.weight"},
        {&l->up, "ffn_up.weight"},
        {&l->down, "ffn_down.weight"},
    };
    for (size_t j = 0; j < sizeof parts / sizeof *parts; j++)
        *parts[j].to = load(t, parts[j].name, i);
}

static void net_open(struct net *t, const char *path)
{
    struct err e = {0};
    struct gguf_string arch;
    char a[32];
    *t = (struct net){0};
    assert_ok(gguf_open(&t->g, path, &e), &e);
    assert_true(gguf_get_string(t->g, "general.architecture", &arch) && arch.length < sizeof a);
    memcpy(a, arch.text, arch.length);
    a[arch.length] = 0;
    t->halves = !strcmp(a, "qwen2");
    t->n_layers = (int)number(t, a, "block_count", 0);
    t->n_embd = (int)number(t, a, "embedding_length", 0);
    t->n_heads = (int)number(t, a, "attention.head_count", 0);
    t->n_kv_heads = (int)number(t, a, "attention.head_count_kv", (uint64_t)t->n_heads);
    t->head_dim = (int)number(t, a, "attention.key_length", (uint64_t)(t->n_embd / t->n_heads));
    t->n_ff = (int)number(t, a, "feed_forward_length", 0);
    t->n_rot = (int)number(t, a, "rope.dimension_count", (uint64_t)t->head_dim);
    t->window = t->halves ? 0 : (int)number(t, a, "attention.sliding_window", 0);
    t->eps = real(t, a, "attention.layer_norm_rms_epsilon", 0);
    t->theta = real(t, a, "rope.freq_base", 10000);
    double factor = real(t, a, "rope.scaling.factor", 1);
    t->scale = 1 / factor;
    t->embed = load(t, "token_embd.weight", -1);
    t->norm = load(t, "output_norm.weight", -1);
    t->out = load(t, "output.weight", -1);
    t->factors = load(t, "rope_freqs.weight", -1);
    t->n_vocab = t->embed.n_out;
    t->layers = calloc((size_t)t->n_layers, sizeof *t->layers);
    for (int i = 0; i < t->n_layers; i++)
        load_layer(t, i);
}

static void net_close(struct net *t)
{
    for (int i = 0; i < t->n_layers; i++) {
        struct matrix *m = &t->layers[i].attn_norm;
        for (size_t j = 0; j < sizeof(struct layer) / sizeof *m; j++)
            free(m[j].w);
    }
    free(t->layers);
    free(t->embed.w);
    free(t->norm.w);
    free(t->out.w);
    free(t->factors.w);
    gguf_free(t->g);
}

static void multiply(double *out, const struct matrix *m, const double *x)
{
    for (int r = 0; r < m->n_out; r++) {
        double sum = 0;
        for (int i = 0; i < m->n_in; i++)
            sum += (double)m->w[(size_t)r * (size_t)m->n_in + (size_t)i] * x[i];
        out[r] = sum;
    }
}

static void add_bias(double *x, const struct matrix *b)
{
    for (int i = 0; b->w && i < b->n_in; i++)
        x[i] += (double)b->w[i];
}

static void norm(double *out, const double *x, const struct matrix *w, double eps)
{
    double sum = 0;
    for (int i = 0; i < w->n_in; i++)
        sum += x[i] * x[i];
    double scale = 1 / sqrt(sum / w->n_in + eps);
    for (int i = 0; i < w->n_in; i++)
        out[i] = x[i] * scale * (double)w->w[i];
}

static void rope(const struct net *t, double *x, int n_heads, int pos)
{
    int half = t->n_rot / 2;
    for (int h = 0; h < n_heads; h++) {
        double *v = x + (size_t)h * (size_t)t->head_dim;
        for (int i = 0; i < half; i++) {
            double freq = pow(t->theta, -2.0 * i / t->n_rot) * t->scale;
            if (t->factors.w)
                freq /= (double)t->factors.w[i];
            double c = cos(pos * freq), s = sin(pos * freq);
            int a = t->halves ? i : 2 * i, b = t->halves ? i + half : 2 * i + 1;
            double va = v[a], vb = v[b];
            v[a] = va * c - vb * s;
            v[b] = va * s + vb * c;
        }
    }
}

// One query head over positions [0, pos], the last `window` of them if there is one; keys and
// values (n, kv_width).
static void attend_head(const struct net *t, double *out, const double *q, const double *k,
                        const double *v, int kv_head, int pos, double *p)
{
    size_t width = (size_t)t->n_kv_heads * (size_t)t->head_dim;
    size_t at = (size_t)kv_head * (size_t)t->head_dim;
    double max = -INFINITY, sum = 0;
    int from = t->window && pos >= t->window ? pos - t->window + 1 : 0;
    for (int j = from; j <= pos; j++) {
        p[j] = 0;
        for (int i = 0; i < t->head_dim; i++)
            p[j] += q[i] * k[(size_t)j * width + at + (size_t)i];
        p[j] /= sqrt(t->head_dim);
        max = fmax(max, p[j]);
    }
    for (int j = from; j <= pos; j++)
        sum += p[j] = exp(p[j] - max);
    for (int i = 0; i < t->head_dim; i++) {
        out[i] = 0;
        for (int j = from; j <= pos; j++)
            out[i] += p[j] / sum * v[(size_t)j * width + at + (size_t)i];
    }
}

struct scratch {
    double *n, *q, *heads, *p, *gate, *up, *back;
};

static void run_layer(const struct net *t, const struct layer *l, double *x, int n,
                      const struct scratch *s, double *k, double *v)
{
    size_t width = (size_t)t->n_kv_heads * (size_t)t->head_dim;
    for (int pos = 0; pos < n; pos++) {
        double *xp = x + (size_t)pos * (size_t)t->n_embd;
        double *kp = k + (size_t)pos * width, *vp = v + (size_t)pos * width;
        norm(s->n, xp, &l->attn_norm, t->eps);
        multiply(s->q, &l->q, s->n);
        multiply(kp, &l->k, s->n);
        multiply(vp, &l->v, s->n);
        add_bias(s->q, &l->bq);
        add_bias(kp, &l->bk);
        add_bias(vp, &l->bv);
        rope(t, s->q, t->n_heads, pos);
        rope(t, kp, t->n_kv_heads, pos);
        for (int h = 0; h < t->n_heads; h++)
            attend_head(t, s->heads + (size_t)h * (size_t)t->head_dim,
                        s->q + (size_t)h * (size_t)t->head_dim, k, v,
                        h / (t->n_heads / t->n_kv_heads), pos, s->p);
        multiply(s->back, &l->o, s->heads);
        for (int i = 0; i < t->n_embd; i++)
            xp[i] += s->back[i];
        norm(s->n, xp, &l->ffn_norm, t->eps);
        multiply(s->gate, &l->gate, s->n);
        multiply(s->up, &l->up, s->n);
        for (int i = 0; i < t->n_ff; i++)
            s->gate[i] = s->gate[i] / (1 + exp(-s->gate[i])) * s->up[i];
        multiply(s->back, &l->down, s->gate);
        for (int i = 0; i < t->n_embd; i++)
            xp[i] += s->back[i];
    }
}

static double *numbers(size_t n)
{
    double *p = calloc(n, sizeof *p);
    assert_non_null(p);
    return p;
}

double *reference_logits(const char *path, const int32_t *ids, int n, int *n_vocab)
{
    struct net t;
    net_open(&t, path);
    size_t width = (size_t)t.n_kv_heads * (size_t)t.head_dim, e = (size_t)t.n_embd;
    size_t q = (size_t)t.n_heads * (size_t)t.head_dim, rows = (size_t)n;
    struct scratch s = {numbers(e),
                        numbers(q),
                        numbers(q),
                        numbers(rows),
                        numbers((size_t)t.n_ff),
                        numbers((size_t)t.n_ff),
                        numbers(e)};
    double *x = numbers(rows * e), *k = numbers(rows * width), *v = numbers(rows * width);
    double *logits = numbers(rows * (size_t)t.n_vocab);
    for (size_t pos = 0; pos < rows; pos++)
        for (size_t i = 0; i < e; i++)
            x[pos * e + i] = (double)t.embed.w[(size_t)ids[pos] * e + i];
    for (int l = 0; l < t.n_layers; l++)
        run_layer(&t, &t.layers[l], x, n, &s, k, v);
    for (size_t pos = 0; pos < rows; pos++) {
        norm(s.n, x + pos * e, &t.norm, t.eps);
        multiply(logits + pos * (size_t)t.n_vocab, t.out.w ? &t.out : &t.embed, s.n);
    }
    double *all[] = {s.n, s.q, s.heads, s.p, s.gate, s.up, s.back, x, k, v};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    *n_vocab = t.n_vocab;
    net_close(&t);
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
