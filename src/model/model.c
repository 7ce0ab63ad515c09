// Opening a model: its hyper-parameters and where each of its tensors lies.
#include "model/model.h"

#include "base/check.h"
#include "model/shard.h"
#include "model/tensors.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ENDS = 3 };

// The pieces of layer `layer`, or of the ends.
static int pieces_of(const struct model *m, int layer, const struct layer_pieces **out,
                     struct layer_pieces ends[MAX_ENDS])
{
    CHECK(layer >= 0 && layer <= m->h.n_layers);
    if (layer < m->h.n_layers) {
        *out = m->layers[layer].pieces;
        return m->layers[layer].n_pieces;
    }
    int n = 0;
    *out = ends;
    if (!model_has_layer(m, layer))
        return 0;
    ends[n++] = (struct layer_pieces){.first = m->embed.piece, .n = 1};
    ends[n++] = (struct layer_pieces){.first = m->norm.piece, .n = 1};
    if (!m->h.tied_output)
        ends[n++] = (struct layer_pieces){.first = m->output.piece, .n = 1};
    return n;
}

// A tensor that nothing uses means a model that would be computed without a part of it.
static void refuse_strangers(struct tensors *t, const struct model *m)
{
    struct layer_pieces ends[MAX_ENDS];
    const struct layer_pieces *pieces;
    size_t n = gguf_n_tensors(m->g);
    bool *used = calloc(gguf_n_pieces(m->g) + 1, sizeof *used);
    if (!used) {
        t->rc = err_set(t->e, ERR_NO_MEMORY, "no memory for the model's table of tensors");
        return;
    }
    for (int layer = 0; layer <= m->h.n_layers; layer++)
        for (int i = pieces_of(m, layer, &pieces, ends); i--;)
            used[pieces[i].first] = true;
    const struct weight *factors[] = {&m->rope_factors, &m->rope_long};
    for (size_t i = 0; i < sizeof factors / sizeof *factors; i++)
        if (factors[i]->n_in)
            used[factors[i]->piece] = true;
    for (size_t i = 0; i < n && !t->rc; i++) {
        const struct gguf_tensor *x = gguf_tensor_at(m->g, i);
        if (!used[gguf_tensor_piece(m->g, x)])
            t->rc = err_set(t->e, ERR_FAILED,
                            "%s: the tensor %s belongs to no %s model that Rondo knows; without it "
                            "the answers would be wrong",
                            t->path, x->name.text, m->h.arch);
    }
    free(used);
}

static void find_ends(struct tensors *t, struct model *m)
{
    const struct hparams *h = &m->h;
    tensors_matrix(t, &m->embed, "token_embd.weight", h->n_embd, h->n_vocab);
    tensors_vector(t, &m->norm, "output_norm.weight", h->n_embd, TENSOR_REQUIRED);
    m->output = m->embed;
    if (!h->tied_output)
        tensors_matrix(t, &m->output, "output.weight", h->n_embd, h->n_vocab);
}

static void find_all(struct tensors *t, struct model *m)
{
    const struct hparams *h = &m->h;
    bool both = h->rope_scaling == ROPE_SCALING_LONG; // a set of factors for short contexts, too
    if (m->slice.ends)
        find_ends(t, m);
    if (both)
        tensors_vector(t, &m->rope_long, "rope_factors_long.weight", h->n_rot / 2, TENSOR_REQUIRED);
    tensors_vector(t, &m->rope_factors, both ? "rope_factors_short.weight" : "rope_freqs.weight",
                   h->n_rot / 2, both ? TENSOR_REQUIRED : TENSOR_OPTIONAL);
    for (t->layer = 0; t->layer < h->n_layers && !t->rc; t->layer++) {
        if (!model_has_layer(m, t->layer))
            continue;
        t->into = &m->layers[t->layer];
        layer_find(t, t->into);
    }
    if (!t->rc)
        refuse_strangers(t, m);
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
    rc = slice_read(&m->slice, g, m->h.n_layers, e);
    if (rc)
        goto fail;
    m->layers = calloc((size_t)m->h.n_layers, sizeof *m->layers);
    if (!m->layers) {
        rc = err_set(e, ERR_NO_MEMORY, "no memory for the model's table of tensors");
        goto fail;
    }
    struct tensors t = {
        .g = g, .h = &m->h, .arch = m->arch, .path = gguf_path(g), .layer = -1, .e = e};
    find_all(&t, m);
    rc = t.rc;
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

static int add_tensor(struct digest_state *all, const struct model *m, uint32_t piece,
                      struct err *e)
{
    struct digest one;
    int rc = gguf_tensor_digest(m->g, gguf_piece_at(m->g, piece).tensor, &one, e);
    if (!rc)
        digest_add(all, one.bytes, sizeof one.bytes);
    return rc;
}

bool model_has_layer(const struct model *m, int layer)
{
    return slice_has(&m->slice, layer, m->h.n_layers);
}

int model_layer_digest(const struct model *m, int layer, struct digest *out, struct err *e)
{
    struct layer_pieces ends[MAX_ENDS];
    const struct layer_pieces *pieces;
    int n = pieces_of(m, layer, &pieces, ends), rc = 0;
    if (layer < m->h.n_layers && !model_has_layer(m, layer)) {
        *out = slice_digest(&m->slice, layer);
        return 0;
    }
    struct digest_state *all = digest_begin();
    for (int i = 0; i < n && !rc; i++)
        rc = add_tensor(all, m, pieces[i].first, e);
    if (!rc && m->rope_factors.n_in) // every layer rotates by them
        rc = add_tensor(all, m, m->rope_factors.piece, e);
    if (!rc && m->rope_long.n_in)
        rc = add_tensor(all, m, m->rope_long.piece, e);
    struct digest d = digest_end(all);
    if (!rc)
        *out = d;
    return rc;
}

struct digest model_digest(const struct model *m)
{
    const struct hparams *h = &m->h;
    const int32_t numbers[] = {h->n_layers, h->n_embd,  h->n_heads, h->n_kv_heads,    h->head_dim,
                               h->n_ff,     h->n_vocab, h->n_rot,   h->context_length};
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
    struct layer_pieces ends[MAX_ENDS];
    const struct layer_pieces *pieces;
    int n = pieces_of(m, layer, &pieces, ends);
    size_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += (size_t)gguf_piece_at(m->g, pieces[i].first).tensor->size;
    return bytes;
}

int model_layer_tensors(const struct model *m, int layer,
                        const struct gguf_tensor *out[MODEL_LAYER_TENSORS])
{
    _Static_assert((int)MODEL_LAYER_TENSORS >= (int)LAYER_MAX_TENSORS &&
                       (int)MODEL_LAYER_TENSORS >= (int)MAX_ENDS,
                   "room for all");
    struct layer_pieces ends[MAX_ENDS];
    const struct layer_pieces *pieces;
    int n = pieces_of(m, layer, &pieces, ends);
    for (int i = 0; i < n; i++)
        out[i] = gguf_piece_at(m->g, pieces[i].first).tensor;
    return n;
}
