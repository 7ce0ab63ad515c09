// A node's layers at work.
//
// Memory: the cache is one buffer of pages, activations are a buffer each with a row per token of
// the largest batch, and one list is recorded anew for each window. A page holds the shard's layers
// in the order of its windows:
//
//     page p   | layer a: a chunk of each head | layer a + 1: .. | ... | layer z: ..|
//                \____ window 0 _______________________________/   \__ window 1 __/
//
// so that what a window owns of a page is one stretch, which a fork copies at once.
//
// Passes overlap (see shard.h): shard_begin does the bookkeeping of a pass at once and notes its
// pages and copies in a slot; each window of the pass then works by the slot.
#include "model/shard.h"

#include "base/arith.h"
#include "base/check.h"
#include "base/guard.h"
#include "model/arch.h"
#include "model/kv.h"
#include "model/model.h"
#include "model/shard_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    LAYER_MAX_OPS = 64, // recorded for one layer, waiting for its pieces included
    OUTPUT_ROWS = 32,   // rows of logits computed at once
};

struct pass_slot {
    uint64_t pass;
    bool begun;
    int n_copies;
    struct kv_copy copies[BATCH_MAX_OPS];
    int32_t *pages; // (max_sessions, session_pages), filled for the sessions of the batch
};

struct shard {
    const struct model *model;
    struct weights *weights;
    struct backend *backend;
    struct shard_options options;
    struct window *windows;
    int *place; // (n_layers) position of a layer in a page, -1: not ours
    int n_own;  // layers

    struct kv_map *map;
    size_t layer_bytes, page_bytes; // of one layer in a page; a page
    struct buf *kv;
    int session_pages;
    int32_t *tables; // of the slots
    struct pass_slot slots[SHARD_MAX_PASSES];

    float *freqs;          // (n_rot / 2)
    int32_t *pos, *ids;    // (max_batch)
    const int32_t **pages; // (max_batch)
    struct rows rows;
    struct list *list;
    struct buf *x, *norm, *back, *q, *k, *v, *heads, *gate, *up, *logits;
};

// ---- sizing ------------------------------------------------------------------------------------

static int check_options(const struct shard_options *o, const struct hparams *h, struct err *e)
{
    if (o->max_batch < 1 || o->max_batch > BATCH_MAX_TOKENS)
        return err_set(e, ERR_USAGE, "a batch of %d tokens is not possible; ask for 1 to %d",
                       o->max_batch, BATCH_MAX_TOKENS);
    for (int i = 0; i < o->n_windows; i++)
        CHECK(o->windows[i].lo >= 0 && o->windows[i].lo <= o->windows[i].hi &&
              o->windows[i].hi <= h->n_layers);
    return 0;
}

static int place_layers(struct shard *s, struct err *e)
{
    const struct shard_options *o = &s->options;
    int n_layers = s->model->h.n_layers;
    s->windows = calloc((size_t)o->n_windows + 1, sizeof *s->windows);
    s->place = calloc((size_t)n_layers, sizeof *s->place);
    if (!s->windows || !s->place)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of layers");
    for (int i = 0; i < n_layers; i++)
        s->place[i] = -1;
    for (int i = 0; i < o->n_windows; i++) {
        s->windows[i] = o->windows[i];
        for (int y = o->windows[i].lo; y < o->windows[i].hi; y++) {
            CHECK(s->place[y] < 0); // windows are disjoint
            s->place[y] = s->n_own++;
        }
    }
    s->options.windows = s->windows;
    return 0;
}

static int new_cache(struct shard *s, struct err *e)
{
    const struct shard_options *o = &s->options;
    const struct hparams *h = &s->model->h;
    size_t table, size;
    s->layer_bytes = hparams_kv_page_bytes(h, 1, o->kv_type);
    if (!size_mul(s->layer_bytes, (size_t)s->n_own, &s->page_bytes) ||
        !size_mul(s->page_bytes, (size_t)o->kv_pages, &size))
        size = SIZE_MAX;
    int rc = buf_new(&s->kv, s->backend, size, "the key-value cache", e);
    if (!rc)
        rc = kv_map_new(&s->map, o->kv_pages, o->max_sessions, o->max_context, e);
    if (rc)
        return rc;
    s->session_pages = (o->max_context + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
    table = (size_t)s->session_pages * (size_t)o->max_sessions;
    s->tables = calloc(SHARD_MAX_PASSES, table * sizeof *s->tables);
    if (!s->tables)
        return err_set(e, ERR_NO_MEMORY,
                       "no memory for %d sessions of %d tokens; use a smaller "
                       "--ctx",
                       o->max_sessions, o->max_context);
    for (int i = 0; i < SHARD_MAX_PASSES; i++)
        s->slots[i].pages = s->tables + (size_t)i * table;
    return 0;
}

static int new_rows(struct shard *s, struct buf **out, int width, const char *name, struct err *e)
{
    size_t n = (size_t)s->options.max_batch * (size_t)width; // both are limited
    return buf_new(out, s->backend, n * sizeof(float), name, e);
}

static int new_buffers(struct shard *s, struct err *e)
{
    const struct hparams *h = &s->model->h;
    int n_q = h->n_heads * h->head_dim, n_kv = h->n_kv_heads * h->head_dim;
    const struct {
        struct buf **out;
        int width;
    } rows[] = {
        {&s->x, h->n_embd}, {&s->norm, h->n_embd}, {&s->back, h->n_embd},
        {&s->q, n_q},       {&s->k, n_kv},         {&s->v, n_kv},
        {&s->heads, n_q},   {&s->gate, h->n_ff},   {&s->up, h->n_ff},
    };
    int rc = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && !rc; i++)
        rc = new_rows(s, rows[i].out, rows[i].width, "activations", e);
    if (!rc && s->options.ends)
        rc = buf_new(&s->logits, s->backend,
                     (size_t)OUTPUT_ROWS * (size_t)h->n_vocab * sizeof(float), "logits", e);
    size_t batch = (size_t)s->options.max_batch;
    s->pos = calloc(batch, sizeof *s->pos);
    s->ids = calloc(batch, sizeof *s->ids);
    s->pages = calloc(batch, sizeof *s->pages);
    if (!rc && (!s->pos || !s->ids || !s->pages))
        rc = err_set(e, ERR_NO_MEMORY, "no memory for a batch of %d tokens", s->options.max_batch);
    return rc;
}

static int new_list(struct shard *s, struct err *e)
{
    const struct hparams *h = &s->model->h;
    int longest = 0, widest = h->n_heads * h->head_dim;
    for (int i = 0; i < s->options.n_windows; i++)
        if (s->windows[i].hi - s->windows[i].lo > longest)
            longest = s->windows[i].hi - s->windows[i].lo;
    widest = h->n_embd > widest ? h->n_embd : widest;
    widest = h->n_ff > widest ? h->n_ff : widest;
    struct list_limits limits = {
        .max_rows = s->options.max_batch,
        .max_ops = (longest + 1) * LAYER_MAX_OPS,
        .max_pieces = (longest + 1) * LAYER_MAX_TENSORS,
        .max_width = widest,
        .max_heads = h->n_heads,
        .max_head_dim = h->head_dim,
        .max_context = s->options.max_context,
    };
    struct piece_source source = weights_source(s->weights);
    return list_new(&s->list, s->backend, &limits, &source, e);
}

// The n-th root of x > 0 by halving: products and comparisons only, so that machines with different
// mathematical libraries rotate by the same bits.
static double nth_root(double x, int n)
{
    double lo = 0, hi = x > 1 ? x : 1;
    for (;;) {
        double middle = lo + (hi - lo) / 2, power = 1;
        if (middle <= lo || middle >= hi)
            return lo;
        for (int i = 0; i < n && power <= x + 1; i++)
            power *= middle;
        if (power < x)
            lo = middle;
        else
            hi = middle;
    }
}

// Angles per position: theta^(-2i / n_rot) (RoFormer, arXiv 2104.09864, section 3.2.2), scaled,
// divided by the model's factors. Rounded to float once, as the frequencies were when models were
// trained.
static int new_freqs(struct shard *s, struct err *e)
{
    const struct hparams *h = &s->model->h;
    const struct weight *w = &s->model->rope_factors;
    int n = h->n_rot / 2, rc = 0;
    s->freqs = calloc((size_t)n, sizeof *s->freqs);
    if (!s->freqs)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of frequencies");
    struct piece_source source = weights_source(s->weights);
    enum layout layout; // a vector of floats has one only
    const uint8_t *factors = w->n_in ? source.acquire(source.ctx, w->piece, &layout, e) : NULL;
    if (w->n_in && !factors)
        return ERR_FAILED;
    double step = nth_root(h->rope_theta, n), turns = h->rope_scale;
    for (int i = 0; i < n && !rc; i++, turns /= step) {
        float factor = 1;
        if (factors)
            memcpy(&factor, factors + (size_t)i * sizeof factor, sizeof factor);
        s->freqs[i] = (float)(turns / (double)factor);
        if (!(factor > 0) || !isfinite(s->freqs[i]))
            rc = err_set(e, ERR_FAILED,
                         "%s: element %d of rope_freqs.weight is %g, which divides no frequency; "
                         "the file is damaged",
                         gguf_path(s->model->g), i, (double)factor);
    }
    if (factors)
        source.done(source.ctx, w->piece);
    return rc;
}

void shard_need(const struct model *m, struct weights *w, const struct window *windows,
                int n_windows, bool ends)
{
    for (int i = 0; i < n_windows; i++)
        for (int y = windows[i].lo; y < windows[i].hi; y++)
            for (int k = 0; k < m->layers[y].n_pieces; k++)
                weights_need(w, m->layers[y].pieces[k], y);
    if (ends) {
        weights_need(w, m->norm.piece, m->h.n_layers);
        weights_need(w, m->output.piece, m->h.n_layers);
    }
}

// Memory that was allocated above and fills up as it is used.
static uint64_t shard_reserved(const struct shard *s)
{
    const struct buf *bufs[] = {s->x,     s->norm, s->back, s->q,      s->k, s->v,
                                s->heads, s->gate, s->up,   s->logits, s->kv};
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        bytes += bufs[i] ? buf_size(bufs[i]) : 0;
    return bytes;
}

int shard_new(struct shard **out, const struct model *m, struct weights *w, struct backend *b,
              const struct shard_options *o, struct err *e)
{
    int rc = check_options(o, &m->h, e);
    if (rc)
        return rc;
    struct shard *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NO_MEMORY, "no memory for a shard");
    s->model = m;
    s->weights = w;
    s->backend = b;
    s->options = *o;
    if ((rc = place_layers(s, e)) || (rc = new_cache(s, e)) || (rc = new_buffers(s, e)) ||
        (rc = new_list(s, e)) || (rc = new_freqs(s, e))) {
        shard_free(s);
        return rc;
    }
    shard_need(m, w, s->windows, o->n_windows, o->ends);
    if ((rc = weights_settle(w, b, shard_reserved(s), e))) {
        shard_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void shard_free(struct shard *s)
{
    if (!s)
        return;
    struct buf *bufs[] = {s->x,     s->norm, s->back, s->q,      s->k, s->v,
                          s->heads, s->gate, s->up,   s->logits, s->kv};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        buf_free(bufs[i]);
    list_free(s->list);
    kv_map_free(s->map);
    free(s->windows);
    free(s->place);
    free(s->tables);
    free(s->freqs);
    free(s->pos);
    free(s->ids);
    free(s->pages);
    free(s);
}

size_t shard_kv_bytes(const struct shard *s)
{
    return buf_size(s->kv);
}

struct shard_cache shard_cache(const struct shard *s)
{
    return (struct shard_cache){.map = s->map, .pages = s->kv, .page_bytes = s->page_bytes};
}

// ---- a pass ------------------------------------------------------------------------------------

int shard_begin(struct shard *s, const struct batch *b, struct err *e)
{
    if (b->n_tokens > s->options.max_batch)
        return err_set(e, ERR_FAILED, "a batch of %d tokens is larger than the %d agreed on",
                       b->n_tokens, s->options.max_batch);
    guard_enter();
    int rc = kv_admit(s->map, b, e);
    if (!rc) {
        struct pass_slot *slot = &s->slots[b->pass % SHARD_MAX_PASSES];
        slot->pass = b->pass;
        slot->begun = true;
        slot->n_copies = kv_apply(s->map, b, slot->copies);
        bool noted[BATCH_MAX_SESSIONS] = {false};
        for (int i = 0; i < b->n_tokens; i++) {
            uint32_t session = b->tokens[i].session;
            if (noted[session])
                continue;
            noted[session] = true;
            int n = (kv_length(s->map, session) + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
            memcpy(slot->pages + (size_t)session * (size_t)s->session_pages,
                   kv_pages(s->map, session), (size_t)n * sizeof(int32_t));
        }
    }
    guard_leave();
    return rc;
}

static const struct pass_slot *find_pass(const struct shard *s, const struct batch *b,
                                         struct err *e)
{
    const struct pass_slot *slot = &s->slots[b->pass % SHARD_MAX_PASSES];
    if (slot->begun && slot->pass == b->pass)
        return slot;
    err_set(e, ERR_FAILED, "pass %llu has not begun here; the nodes have lost count of each other",
            (unsigned long long)b->pass);
    return NULL;
}

// Waiting for a layer's pieces, in as few stretches as they lie in.
static void wait_pieces(struct list *l, const struct layer *y,
                        void (*what)(struct list *, uint32_t, uint32_t))
{
    for (int i = 0, n; i < y->n_pieces; i += n) {
        for (n = 1; i + n < y->n_pieces && y->pieces[i + n] == y->pieces[i] + (uint32_t)n; n++)
            ;
        what(l, y->pieces[i], (uint32_t)n);
    }
}

static void copy_forked(struct shard *s, const struct pass_slot *slot, struct window w)
{
    size_t layer = s->layer_bytes, at = (size_t)s->place[w.lo] * layer;
    for (int i = 0; i < slot->n_copies; i++)
        buf_copy(s->kv, (size_t)slot->copies[i].to * s->page_bytes + at,
                 (size_t)slot->copies[i].from * s->page_bytes + at, (size_t)(w.hi - w.lo) * layer);
}

static void set_rows(struct shard *s, const struct pass_slot *slot, const struct batch *b)
{
    for (int i = 0; i < b->n_tokens; i++) {
        const struct batch_token *t = &b->tokens[i];
        s->pos[i] = (int32_t)t->pos;
        s->pages[i] = slot->pages + (size_t)t->session * (size_t)s->session_pages;
    }
    s->rows = (struct rows){.n = b->n_tokens, .pos = s->pos, .pages = s->pages};
}

static void record_window(struct shard *s, struct window w)
{
    struct forward f = {
        .list = s->list,
        .h = &s->model->h,
        .rows = &s->rows,
        .freqs = s->freqs,
        .x = s->x,
        .norm = s->norm,
        .back = s->back,
        .q = s->q,
        .heads = s->heads,
        .k = s->k,
        .v = s->v,
        .gate = s->gate,
        .up = s->up,
    };
    list_reset(s->list);
    for (int i = w.lo; i < w.hi; i++) {
        const struct layer *y = &s->model->layers[i];
        f.kv = (struct kv_layer){
            .buf = s->kv,
            .page_bytes = s->page_bytes,
            .offset = (size_t)s->place[i] * s->layer_bytes,
            .n_kv_heads = f.h->n_kv_heads,
            .head_dim = f.h->head_dim,
            .type = s->options.kv_type,
        };
        wait_pieces(s->list, y, list_wait);
        s->model->arch->record_layer(&f, y);
        wait_pieces(s->list, y, list_done);
    }
}

static bool owns(const struct shard *s, struct window w)
{
    for (int i = 0; i < s->options.n_windows; i++)
        if (s->windows[i].lo == w.lo && s->windows[i].hi == w.hi)
            return true;
    return false;
}

int shard_run(struct shard *s, const struct batch *b, struct window w, float *hidden, struct err *e)
{
    CHECK(owns(s, w));
    const struct pass_slot *slot = find_pass(s, b, e);
    if (!slot)
        return ERR_FAILED;
    if (w.lo == w.hi)
        return 0;
    size_t bytes = (size_t)b->n_tokens * (size_t)s->model->h.n_embd * sizeof(float);
    int rc = 0;
    guard_enter();
    copy_forked(s, slot, w);
    if (b->n_tokens) {
        set_rows(s, slot, b);
        buf_write(s->x, 0, hidden, bytes);
        record_window(s, w);
        rc = list_run(s->list, e);
        if (!rc)
            buf_read(s->x, 0, hidden, bytes);
    }
    guard_leave();
    return rc;
}

// ---- the ends ----------------------------------------------------------------------------------

int shard_embed(struct shard *s, const struct batch *b, float *hidden, struct err *e)
{
    const struct weight *w = &s->model->embed;
    CHECK(s->options.ends && b->n_tokens <= s->options.max_batch);
    if (!b->n_tokens)
        return 0;
    for (int i = 0; i < b->n_tokens; i++) {
        s->ids[i] = b->tokens[i].id;
        if (s->ids[i] < 0 || s->ids[i] >= w->n_out)
            return err_set(e, ERR_FAILED, "the model has no token %d; it has %d", s->ids[i],
                           w->n_out);
    }
    guard_enter();
    list_reset(s->list);
    list_wait(s->list, w->piece, 1);
    op_embed(s->list, s->x, w, s->ids, b->n_tokens);
    list_done(s->list, w->piece, 1);
    int rc = list_run(s->list, e);
    if (!rc)
        buf_read(s->x, 0, hidden, (size_t)b->n_tokens * (size_t)w->n_in * sizeof(float));
    guard_leave();
    return rc;
}

// Rows index[0, n) of x, normed; and their logits when `logits` is wanted.
static int output_rows(struct shard *s, const int32_t *index, int n, bool logits, float *out,
                       struct err *e)
{
    const struct model *m = s->model;
    list_reset(s->list);
    list_wait(s->list, m->norm.piece, 1);
    op_gather(s->list, s->back, s->x, index, m->h.n_embd, n);
    op_rms_norm(s->list, s->norm, s->back, &m->norm, n, m->h.rms_eps);
    if (logits) {
        list_wait(s->list, m->output.piece, 1);
        op_matmul(s->list, s->logits, s->norm, &m->output, n);
        list_done(s->list, m->output.piece, 1);
    }
    list_done(s->list, m->norm.piece, 1);
    int rc = list_run(s->list, e);
    size_t width = (size_t)(logits ? m->h.n_vocab : m->h.n_embd);
    if (!rc)
        buf_read(logits ? s->logits : s->norm, 0, out, (size_t)n * width * sizeof(float));
    return rc;
}

// All rows that want `want`, OUTPUT_ROWS at a time.
static int output_wanted(struct shard *s, const struct batch *b, enum want want, float *out,
                         struct err *e)
{
    bool logits = want == WANT_LOGITS;
    size_t width = (size_t)(logits ? s->model->h.n_vocab : s->model->h.n_embd);
    int n = 0, rc = 0;
    for (int i = 0; i < b->n_tokens && !rc; i++) {
        if (b->tokens[i].want == (uint32_t)want)
            s->ids[n++] = i;
        if (n && (n == OUTPUT_ROWS || i == b->n_tokens - 1)) {
            rc = output_rows(s, s->ids, n, logits, out, e);
            out += (size_t)n * width;
            n = 0;
        }
    }
    return rc;
}

int shard_output(struct shard *s, const struct batch *b, const float *hidden, float *logits,
                 float *states, struct err *e)
{
    CHECK(s->options.ends && b->n_tokens <= s->options.max_batch);
    if (!b->n_tokens)
        return 0;
    guard_enter();
    buf_write(s->x, 0, hidden, (size_t)b->n_tokens * (size_t)s->model->h.n_embd * sizeof(float));
    int rc = output_wanted(s, b, WANT_LOGITS, logits, e);
    if (!rc)
        rc = output_wanted(s, b, WANT_HIDDEN, states, e);
    guard_leave();
    return rc;
}
