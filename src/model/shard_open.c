// Making a node's layers: what they take, where it lies, and in which order weights are used.
#include "base/arith.h"
#include "base/check.h"
#include "model/rope.h"
#include "model/shard_inside.h"
#include "model/shard_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- sizing ------------------------------------------------------------------------------------

static int absent(const struct model *m, const char *what, struct err *e)
{
    return err_set(e, ERR_FAILED,
                   "%s is a slice of the model without its %s; use the whole file here, or a slice "
                   "with what this node is to run",
                   gguf_path(m->g), what);
}

static int check_options(const struct shard_options *o, const struct model *m, struct err *e)
{
    if (o->max_batch < 1 || o->max_batch > BATCH_MAX_TOKENS)
        return err_set(e, ERR_USAGE, "a batch of %d tokens is not possible; ask for 1 to %d",
                       o->max_batch, BATCH_MAX_TOKENS);
    for (int i = 0; i < o->n_windows; i++) {
        CHECK(o->windows[i].lo >= 0 && o->windows[i].lo <= o->windows[i].hi &&
              o->windows[i].hi <= m->h.n_layers);
        for (int y = o->windows[i].lo; y < o->windows[i].hi; y++)
            if (!model_has_layer(m, y)) {
                char what[24];
                snprintf(what, sizeof what, "layer %d", y);
                return absent(m, what, e);
            }
    }
    if (o->ends && !model_has_layer(m, m->h.n_layers))
        return absent(m, "embedding and output", e);
    return 0;
}

int shard_output_rows(const struct shard_options *o)
{
    return o->max_outputs && o->max_outputs < OUTPUT_ROWS ? o->max_outputs : OUTPUT_ROWS;
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

static size_t cache_bytes(struct shard *s)
{
    const struct shard_options *o = &s->options;
    size_t size;
    s->layer_bytes = hparams_kv_page_bytes(&s->model->h, 1, o->kv_type);
    return size_mul(s->layer_bytes, (size_t)s->n_own, &s->page_bytes) &&
                   size_mul(s->page_bytes, (size_t)o->kv_pages, &size)
               ? size
               : SIZE_MAX;
}

static int new_cache(struct shard *s, struct err *e)
{
    const struct shard_options *o = &s->options;
    size_t table;
    int rc = buf_new(&s->kv, s->backend, cache_bytes(s), "the key-value cache", e);
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

// Every head has a matrix of its own, as if the router had chosen them all.
static void fill_head_ids(struct shard *s)
{
    int n = s->model->h.n_heads;
    for (int t = 0; s->b.head_ids && t < s->options.max_batch; t++)
        for (int32_t head = 0; head < n; head++)
            buf_write(s->b.head_ids, ((size_t)t * (size_t)n + (size_t)head) * sizeof head, &head,
                      sizeof head);
}

static int new_buffers(struct shard *s, struct err *e)
{
    const struct hparams *h = &s->model->h;
    size_t batch = (size_t)s->options.max_batch; // and widths are limited, too
    int rc = 0;
    for (int i = 0; i < s->n_buffers && !rc; i++)
        rc = buf_new(s->plan[i].out, s->backend, batch * (size_t)s->plan[i].width * sizeof(float),
                     "activations", e);
    if (!rc && s->options.ends)
        rc = buf_new(&s->logits, s->backend,
                     (size_t)shard_output_rows(&s->options) * (size_t)h->n_vocab * sizeof(float),
                     "logits", e);
    if (!rc)
        fill_head_ids(s);
    s->pos = calloc(batch, sizeof *s->pos);
    s->ids = calloc(batch, sizeof *s->ids);
    s->q_scale = calloc(batch, sizeof *s->q_scale);
    s->pages = calloc(batch, sizeof *s->pages);
    if (!rc && (!s->pos || !s->ids || !s->q_scale || !s->pages))
        rc = err_set(e, ERR_NO_MEMORY, "no memory for a batch of %d tokens", s->options.max_batch);
    return rc;
}

// n_parts: of matrices that come in parts, n_waves: of experts beyond one for each product; in one
// window at most.
static struct list_limits list_limits_of(const struct shard *s, int n_parts, int n_waves)
{
    const struct hparams *h = &s->model->h;
    int longest = 0, widest = 0;
    for (int i = 0; i < s->options.n_windows; i++)
        if (s->windows[i].hi - s->windows[i].lo > longest)
            longest = s->windows[i].hi - s->windows[i].lo;
    for (int i = 0; i < s->n_buffers; i++)
        widest = s->plan[i].width > widest ? s->plan[i].width : widest;
    struct list_limits limits = {
        .max_rows = s->options.max_batch,
        .max_ops = (longest + 1) * LAYER_MAX_OPS + n_parts * PART_OPS + n_waves * WAVE_OPS,
        .max_pieces = (longest + 1) * LAYER_MAX_TENSORS + n_parts,
        .max_width = widest,
        .max_heads = h->n_heads,
        .max_head_dim = h->head_dim,
        .max_context = s->options.max_context,
        .max_experts = h->experts.n,
        .max_experts_used = h->experts.n_used,
    };
    if (h->latent.absorbed) { // whose heads are experts that every row uses
        int n = h->n_heads;
        limits.max_experts = limits.max_experts > n ? limits.max_experts : n;
        limits.max_experts_used = limits.max_experts_used > n ? limits.max_experts_used : n;
    }
    return limits;
}

static int new_list(struct shard *s, int n_parts, int n_waves, struct err *e)
{
    struct list_limits limits = list_limits_of(s, n_parts, n_waves);
    struct piece_source source = weights_source(s->weights);
    return list_new(&s->list, s->backend, &limits, &source, e);
}

static uint64_t computing(const struct shard *s, int n_threads)
{
    const struct shard_options *o = &s->options;
    struct list_limits limits = list_limits_of(s, 0, 0);
    size_t batch = (size_t)o->max_batch, words = 0;
    for (int i = 0; i < s->n_buffers; i++)
        words += batch * (size_t)s->plan[i].width;
    if (o->ends)
        words += (size_t)shard_output_rows(o) * (size_t)s->model->h.n_vocab;
    return o->reserved + words * sizeof(float) + list_bytes(&limits, n_threads);
}

uint64_t shard_computing(const struct model *m, const struct shard_options *o, int n_threads)
{
    struct shard s = {.model = m, .options = *o, .windows = (struct window *)o->windows};
    s.n_buffers = buffers_plan(&s.b, &m->h, s.plan);
    return computing(&s, n_threads);
}

// What everything here will take, before any of it is allocated.
static struct weights_others plan_memory(struct shard *s)
{
    return (struct weights_others){.cache = cache_bytes(s),
                                   .computing = computing(s, backend_threads(s->backend))};
}

// Angles per position of the layers that see everything, then of the others.
static int new_angles(struct shard *s, struct err *e)
{
    const struct model *m = s->model;
    const struct hparams *h = &m->h;
    bool beyond = m->rope_long.n_in && s->options.max_context > h->yarn.original_context;
    const struct weight *w = beyond ? &m->rope_long : &m->rope_factors;
    int n = h->n_rot / 2;
    float *factors = NULL;
    s->freqs = calloc(2 * (size_t)n, sizeof *s->freqs);
    if (!s->freqs)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of angles");
    struct piece_source source = weights_source(s->weights);
    enum layout layout; // a vector of floats has one only
    const uint8_t *held = w->n_in ? source.acquire(source.ctx, w->piece, &layout, e) : NULL;
    if (w->n_in && !held)
        return ERR_FAILED;
    if (held && (factors = calloc((size_t)n, sizeof *factors)))
        memcpy(factors, held, (size_t)n * sizeof *factors);
    if (held)
        source.done(source.ctx, w->piece);
    if (held && !factors)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of angles");
    int bad = rope_angles(s->freqs, h, false, factors);
    if (bad < 0)
        bad = rope_angles(s->freqs + n, h, true, factors);
    float factor = factors && bad >= 0 ? factors[bad] : 1;
    free(factors);
    if (bad >= 0)
        return err_set(e, ERR_FAILED,
                       "%s: element %d of %s is %g, which divides no angle; the file is damaged",
                       gguf_path(m->g), bad,
                       w->n_in ? gguf_piece_at(m->g, w->piece).tensor->name.text : "rotation",
                       (double)factor);
    return 0;
}

static void need(struct weights *w, const struct layer_pieces *p, int layer)
{
    for (int i = 0; i < p->n; i++)
        weights_need(w, p->first + (uint32_t)i, layer);
}

void shard_need(const struct model *m, struct weights *w, const struct window *windows,
                int n_windows, bool ends)
{
    for (int i = 0; i < n_windows; i++)
        for (int y = windows[i].lo; y < windows[i].hi; y++)
            for (int k = 0; k < m->layers[y].n_pieces; k++)
                need(w, &m->layers[y].pieces[k], y);
    if (ends) {
        weights_need(w, m->norm.piece, m->h.n_layers);
        weights_need(w, m->output.piece, m->h.n_layers);
    }
}

// ---- the order of use --------------------------------------------------------------------------

static int next_window(const struct shard *s, int from)
{
    while (from < s->options.n_windows && s->windows[from].lo == s->windows[from].hi)
        from++;
    return from;
}

// The stop after window i. When nobody wants logits the output is passed by.
int shard_stop_after(const struct shard *s, int i, bool output)
{
    int next = next_window(s, i + 1), first = next_window(s, 0);
    if (next < s->options.n_windows)
        return next;
    return (s->options.ends && output) || first == s->options.n_windows ? s->options.n_windows
                                                                        : first;
}

// The stop after the output: the first window, or the last one where another chunk is behind.
int shard_stop_after_output(const struct shard *s, bool behind)
{
    int last = s->options.n_windows - 1;
    while (behind && last >= 0 && s->windows[last].lo == s->windows[last].hi)
        last--;
    return behind && last >= 0 ? last : shard_stop_after(s, -1, true);
}

// Records every list once for one token, and lets the weights listen.
static int learn_tour(struct shard *s, struct err *e)
{
    int n_windows = s->options.n_windows, n_stops = n_windows + s->options.ends;
    if (!n_stops)
        return 0;
    int *follows = calloc((size_t)n_stops, sizeof *follows);
    if (!follows)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of layers");
    for (int i = 0; i < n_stops; i++) {
        int next = i < n_windows ? shard_stop_after(s, i, true) : shard_stop_after_output(s, false);
        follows[i] = next < n_stops ? next : i; // all windows are empty
    }
    int rc = weights_tour_begin(s->weights, n_stops, follows, e);
    free(follows);
    if (rc)
        return rc;
    s->pages[0] = s->tables;
    s->rows = (struct rows){.n = 1, .pos = s->pos, .pages = s->pages};
    for (int i = 0; i < n_windows; i++) {
        weights_tour_stop(s->weights);
        if (s->windows[i].lo < s->windows[i].hi)
            shard_record_window(s, s->windows[i]);
    }
    if (s->options.ends) {
        weights_tour_stop(s->weights);
        shard_record_output(s, s->ids, 1, true);
    }
    list_reset(s->list);
    return 0;
}

// Of the largest batch in one window at most, beyond one for each product with experts.
static int most_waves(const struct shard *s)
{
    struct piece_source source = weights_source(s->weights);
    int most = 0;
    for (int i = 0; i < s->options.n_windows && source.at_once; i++) {
        int n = 0;
        for (int layer = s->windows[i].lo; layer < s->windows[i].hi; layer++) {
            const struct layer *y = &s->model->layers[layer];
            for (const struct layer_pieces *p = y->pieces; p < y->pieces + y->n_pieces; p++)
                if (p->on_demand)
                    n += list_waves(source.at_once(source.ctx, p->first), p->n) - 1;
        }
        most = n > most ? n : most;
    }
    return most;
}

// Lists that wait for each part, or for some experts after the others, are longer.
static int lengthen_list(struct shard *s, struct err *e)
{
    int n_parts = weights_most_parts(s->weights), n_waves = most_waves(s);
    if (!n_parts && !n_waves)
        return 0;
    list_free(s->list);
    s->list = NULL;
    return new_list(s, n_parts, n_waves, e);
}

int shard_new(struct shard **out, const struct model *m, struct weights *w, struct backend *b,
              const struct shard_options *o, struct err *e)
{
    int rc = check_options(o, m, e);
    if (rc)
        return rc;
    struct shard *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NO_MEMORY, "no memory for a shard");
    s->model = m;
    s->weights = w;
    s->backend = b;
    s->options = *o;
    if ((rc = place_layers(s, e))) {
        shard_free(s);
        return rc;
    }
    s->n_buffers = buffers_plan(&s->b, &m->h, s->plan);
    struct weights_others others = plan_memory(s);
    if ((rc = weights_room(w, &others, e)) || (rc = new_cache(s, e)) || (rc = new_buffers(s, e)) ||
        (rc = new_list(s, 0, 0, e)) || (rc = new_angles(s, e))) {
        shard_free(s);
        return rc;
    }
    shard_need(m, w, s->windows, o->n_windows, o->ends);
    if ((rc = learn_tour(s, e)) || (rc = weights_settle(w, b, &others, e)) ||
        (rc = lengthen_list(s, e))) {
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
    for (int i = 0; i < s->n_buffers; i++)
        buf_free(*s->plan[i].out);
    buf_free(s->logits);
    buf_free(s->kv);
    list_free(s->list);
    kv_map_free(s->map);
    free(s->windows);
    free(s->place);
    free(s->tables);
    free(s->freqs);
    free(s->pos);
    free(s->ids);
    free(s->q_scale);
    free(s->pages);
    free(s);
}

struct shard_cache shard_cache(const struct shard *s)
{
    return (struct shard_cache){.map = s->map,
                                .pages = s->kv,
                                .page_bytes = s->page_bytes,
                                .type = s->options.kv_type,
                                .angles = s->freqs,
                                .n_angles = 2 * (size_t)(s->model->h.n_rot / 2)};
}
