// Opening a model: its hyper-parameters, and each tensor found by name and checked for its type and
// shape, so that nothing which runs later has to look again.
#include "model/model.h"

#include "base/check.h"
#include "model/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum presence { REQUIRED, OPTIONAL };

struct finder {
    struct model *m;
    const char *path;
    int layer; // -1: none
    struct err *e;
    int rc; // the first error
};

static uint32_t piece_of(const struct gguf *g, const struct gguf_tensor *t)
{
    return gguf_tensor_piece(g, t);
}

static const struct gguf_tensor *find(struct finder *f, const char *name, enum presence presence)
{
    char full[64];
    if (f->rc)
        return NULL;
    if (f->layer >= 0)
        snprintf(full, sizeof full, "blk.%d.%s", f->layer, name);
    else
        snprintf(full, sizeof full, "%s", name);
    const struct gguf_tensor *t = gguf_find_tensor(f->m->g, full);
    if (!t && presence == REQUIRED)
        f->rc = err_set(f->e, ERR_FAILED,
                        "%s: the tensor %s is missing; the file is incomplete or no %s model",
                        f->path, full, f->m->h.arch);
    return t;
}

// Checks the shape (n_out rows of n_in; n_out 1: a vector) and fills `out`.
static void describe(struct finder *f, struct weight *out, const struct gguf_tensor *t, int n_in,
                     int n_out)
{
    const uint64_t *d = t->dims;
    size_t row_bytes;
    if (d[0] != (uint64_t)n_in || d[1] != (uint64_t)n_out || d[2] != 1 || d[3] != 1) {
        f->rc = err_set(f->e, ERR_FAILED,
                        "%s: the tensor %s has the shape %llu x %llu x %llu x %llu where %d x %d "
                        "is needed; the file is damaged",
                        f->path, t->name.text, (unsigned long long)d[0], (unsigned long long)d[1],
                        (unsigned long long)d[2], (unsigned long long)d[3], n_in, n_out);
        return;
    }
    bool whole = wtype_row_bytes(t->type, (uint64_t)n_in, &row_bytes);
    CHECK(whole && t->size / row_bytes == (uint64_t)n_out); // gguf/ checked it
    *out = (struct weight){
        .type = t->type,
        .piece = piece_of(f->m->g, t),
        .row_bytes = row_bytes,
        .n_in = n_in,
        .n_out = n_out,
    };
}

static void matrix(struct finder *f, struct weight *out, const char *name, int n_in, int n_out)
{
    const struct gguf_tensor *t = find(f, name, REQUIRED);
    if (!t)
        return;
    if (!kernels_can(t->type)) {
        f->rc = err_set(f->e, ERR_FAILED,
                        "%s: the tensor %s is of type %s, which cannot be multiplied yet; use a "
                        "file in Q4_K_M, Q8_0 or another supported type",
                        f->path, t->name.text, wtype_info(t->type)->name);
        return;
    }
    describe(f, out, t, n_in, n_out);
}

// Norms, biases and factors: F32, and read in place as floats.
static void vector(struct finder *f, struct weight *out, const char *name, int n,
                   enum presence presence)
{
    const struct gguf_tensor *t = find(f, name, presence);
    if (!t)
        return;
    if (t->type != WT_F32)
        f->rc = err_set(f->e, ERR_FAILED,
                        "%s: the tensor %s is of type %s where F32 is needed; convert the model "
                        "again",
                        f->path, t->name.text, wtype_info(t->type)->name);
    else if (t->offset % sizeof(float))
        f->rc = err_set(f->e, ERR_FAILED,
                        "%s: the tensor %s does not lie at a multiple of 4 bytes; the file is "
                        "damaged",
                        f->path, t->name.text);
    else
        describe(f, out, t, n, 1);
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void list_pieces(struct layer *y)
{
    const struct weight *all[] = {
        &y->attn_norm, &y->wq, &y->wk,       &y->wv,   &y->bq, &y->bk,   &y->bv,
        &y->wo,        &y->bo, &y->ffn_norm, &y->gate, &y->up, &y->down,
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->n_in)
            y->pieces[y->n_pieces++] = all[i]->piece;
    qsort(y->pieces, (size_t)y->n_pieces, sizeof *y->pieces, ascending);
}

static void find_layer(struct finder *f, struct layer *y)
{
    const struct hparams *h = &f->m->h;
    int n_q = h->n_heads * h->head_dim, n_kv = h->n_kv_heads * h->head_dim;
    enum presence bias = f->m->arch->needs_attn_bias ? REQUIRED : OPTIONAL;
    vector(f, &y->attn_norm, "attn_norm.weight", h->n_embd, REQUIRED);
    matrix(f, &y->wq, "attn_q.weight", h->n_embd, n_q);
    matrix(f, &y->wk, "attn_k.weight", h->n_embd, n_kv);
    matrix(f, &y->wv, "attn_v.weight", h->n_embd, n_kv);
    vector(f, &y->bq, "attn_q.bias", n_q, bias);
    vector(f, &y->bk, "attn_k.bias", n_kv, bias);
    vector(f, &y->bv, "attn_v.bias", n_kv, bias);
    matrix(f, &y->wo, "attn_output.weight", n_q, h->n_embd);
    vector(f, &y->bo, "attn_output.bias", h->n_embd, OPTIONAL);
    vector(f, &y->ffn_norm, "ffn_norm.weight", h->n_embd, REQUIRED);
    matrix(f, &y->gate, "ffn_gate.weight", h->n_embd, h->n_ff);
    matrix(f, &y->up, "ffn_up.weight", h->n_embd, h->n_ff);
    matrix(f, &y->down, "ffn_down.weight", h->n_ff, h->n_embd);
    if (!f->rc)
        list_pieces(y);
}

// The pieces of layer `layer`, or of the ends.
static int pieces_of(const struct model *m, int layer, uint32_t out[LAYER_MAX_TENSORS])
{
    CHECK(layer >= 0 && layer <= m->h.n_layers);
    if (layer < m->h.n_layers) {
        memcpy(out, m->layers[layer].pieces, sizeof m->layers[layer].pieces);
        return m->layers[layer].n_pieces;
    }
    int n = 0;
    out[n++] = m->embed.piece;
    out[n++] = m->norm.piece;
    if (!m->h.tied_output)
        out[n++] = m->output.piece;
    return n;
}

// A tensor that nothing uses means a model that would be computed without a part of it.
static void refuse_strangers(struct finder *f)
{
    const struct model *m = f->m;
    uint32_t pieces[LAYER_MAX_TENSORS];
    size_t n = gguf_n_tensors(m->g);
    bool *used = calloc(gguf_n_pieces(m->g) + 1, sizeof *used);
    if (!used) {
        f->rc = err_set(f->e, ERR_NO_MEMORY, "no memory for the model's table of tensors");
        return;
    }
    for (int layer = 0; layer <= m->h.n_layers; layer++)
        for (int i = pieces_of(m, layer, pieces); i--;)
            used[pieces[i]] = true;
    if (m->rope_factors.n_in)
        used[m->rope_factors.piece] = true;
    for (size_t i = 0; i < n && !f->rc; i++)
        if (!used[gguf_tensor_at(m->g, i)->first_piece])
            f->rc = err_set(f->e, ERR_FAILED,
                            "%s: the tensor %s belongs to no %s model that Rondo knows; without it "
                            "the answers would be wrong",
                            f->path, gguf_tensor_at(m->g, i)->name.text, m->h.arch);
    free(used);
}

int model_open(struct model **out, const struct gguf *g, struct err *e)
{
    struct model *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(e, ERR_NO_MEMORY, "no memory for the model's table of tensors");
    m->g = g;
    int rc = hparams_read(&m->h, g, e);
    if (rc)
        goto fail;
    m->arch = arch_find(m->h.arch);
    m->layers = calloc((size_t)m->h.n_layers, sizeof *m->layers);
    if (!m->layers) {
        rc = err_set(e, ERR_NO_MEMORY, "no memory for the model's table of tensors");
        goto fail;
    }
    struct finder f = {.m = m, .path = gguf_path(g), .layer = -1, .e = e};
    matrix(&f, &m->embed, "token_embd.weight", m->h.n_embd, m->h.n_vocab);
    vector(&f, &m->norm, "output_norm.weight", m->h.n_embd, REQUIRED);
    vector(&f, &m->rope_factors, "rope_freqs.weight", m->h.n_rot / 2, OPTIONAL);
    m->output = m->embed;
    if (!m->h.tied_output)
        matrix(&f, &m->output, "output.weight", m->h.n_embd, m->h.n_vocab);
    for (f.layer = 0; f.layer < m->h.n_layers && !f.rc; f.layer++)
        find_layer(&f, &m->layers[f.layer]);
    if (!f.rc)
        refuse_strangers(&f);
    rc = f.rc;
    if (rc)
        goto fail;
    *out = m;
    return 0;
fail:
    model_free(m);
    return rc;
}

void model_free(struct model *m)
{
    if (!m)
        return;
    free(m->layers);
    free(m);
}

const struct hparams *model_hparams(const struct model *m)
{
    return &m->h;
}

const struct gguf *model_gguf(const struct model *m)
{
    return m->g;
}

int model_layer_digest(const struct model *m, int layer, struct digest *out, struct err *e)
{
    uint32_t pieces[LAYER_MAX_TENSORS + 1];
    int n = pieces_of(m, layer, pieces), rc = 0;
    if (m->rope_factors.n_in) // every layer rotates by them
        pieces[n++] = m->rope_factors.piece;
    struct digest_state *all = digest_begin();
    for (int i = 0; i < n && !rc; i++) {
        struct digest one;
        rc = gguf_tensor_digest(m->g, gguf_piece_at(m->g, pieces[i]).tensor, &one, e);
        if (!rc)
            digest_add(all, one.bytes, sizeof one.bytes);
    }
    struct digest d = digest_end(all);
    if (!rc)
        *out = d;
    return rc;
}

struct digest model_digest(const struct model *m)
{
    const struct hparams *h = &m->h;
    const int32_t numbers[] = {h->n_layers,       h->n_embd,      h->n_heads,  h->n_kv_heads,
                               h->head_dim,       h->n_ff,        h->n_vocab,  h->n_rot,
                               h->context_length, h->tied_output, h->attn_bias};
    const float reals[] = {h->rms_eps, h->rope_theta, h->rope_scale};
    struct digest metadata = gguf_metadata_digest(m->g);
    struct digest_state *s = digest_begin();
    digest_add(s, metadata.bytes, sizeof metadata.bytes);
    digest_add(s, numbers, sizeof numbers);
    digest_add(s, reals, sizeof reals);
    return digest_end(s);
}

size_t model_layer_bytes(const struct model *m, int layer)
{
    uint32_t pieces[LAYER_MAX_TENSORS];
    int n = pieces_of(m, layer, pieces);
    size_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += (size_t)gguf_piece_at(m->g, pieces[i]).size;
    return bytes;
}
