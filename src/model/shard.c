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
#include "base/check.h"
#include "base/guard.h"
#include "model/rope.h"
#include "model/shard_inside.h"

#include <stdlib.h>
#include <string.h>

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

// Waiting for a layer's pieces, in as few stretches as they lie in; but for those that operations
// ask for themselves.
static void wait_pieces(const struct shard *s, const struct layer *y,
                        void (*what)(struct list *, uint32_t, uint32_t))
{
    struct list *l = s->list;
    uint32_t first = 0, n = 0;
    for (int i = 0; i <= y->n_pieces; i++) {
        const struct layer_pieces *p = i < y->n_pieces ? &y->pieces[i] : NULL;
        if (p && (p->on_demand || !weights_whole(s->weights, p->first)))
            continue;
        if (n && (!p || p->first != first + n)) {
            what(l, first, n);
            n = 0;
        }
        if (p && !n)
            first = p->first;
        n += p ? 1 : 0;
    }
}

static void copy_forked(struct shard *s, const struct pass_slot *slot, struct window w)
{
    size_t layer = s->layer_bytes, at = (size_t)s->place[w.lo] * layer;
    for (int i = 0; i < slot->n_copies; i++)
        buf_copy(s->kv, (size_t)slot->copies[i].to * s->page_bytes + at,
                 (size_t)slot->copies[i].from * s->page_bytes + at, (size_t)(w.hi - w.lo) * layer);
}

static float query_scale(const struct hparams *h, uint32_t pos)
{
    uint32_t turns = pos / (uint32_t)h->yarn.original_context;
    return turns ? (float)(1 + (double)h->attn_temperature * rope_ln(1 + (double)turns)) : 1;
}

static void set_rows(struct shard *s, const struct pass_slot *slot, const struct batch *b)
{
    for (int i = 0; i < b->n_tokens; i++) {
        const struct batch_token *t = &b->tokens[i];
        s->pos[i] = (int32_t)t->pos;
        s->pages[i] = slot->pages + (size_t)t->session * (size_t)s->session_pages;
        s->q_scale[i] = query_scale(&s->model->h, t->pos);
    }
    s->rows = (struct rows){.n = b->n_tokens, .pos = s->pos, .pages = s->pages};
    if (s->model->h.attn_temperature > 0)
        s->rows.q_scale = s->q_scale;
}

static struct rope rope_of(const struct shard *s, bool local)
{
    const struct hparams *h = &s->model->h;
    bool own = local && h->local_theta > 0;
    return (struct rope){
        .freqs = own ? s->freqs + h->n_rot / 2 : s->freqs,
        .scale = own ? 1 : h->rope_magnitude,
        .n_rot = h->n_rot,
        .layout = h->rope_layout,
    };
}

void shard_record_window(struct shard *s, struct window w)
{
    struct forward f = {
        .list = s->list,
        .h = &s->model->h,
        .rows = &s->rows,
        .rope = rope_of(s, false),
        .local_rope = rope_of(s, true),
        .b = s->b,
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
        wait_pieces(s, y, list_wait);
        layer_record(&f, y);
        wait_pieces(s, y, list_done);
    }
}

// Which of the shard's windows it is, -1: none.
static int find_window(const struct shard *s, struct window w)
{
    for (int i = 0; i < s->options.n_windows; i++)
        if (s->windows[i].lo == w.lo && s->windows[i].hi == w.hi)
            return i;
    return -1;
}

static int count_wanted(const struct batch *b, enum want want)
{
    int n = 0;
    for (int i = 0; i < b->n_tokens; i++)
        n += b->tokens[i].want == (uint32_t)want;
    return n;
}

// What comes behind: the other chunks of a prompt through this window, whose last one wants logits
// as a rule; then the next window. Where each chunk wants logits, the output comes in between.
static void visit_window(struct shard *s, const struct batch *b, int stop)
{
    bool wanted = count_wanted(b, WANT_LOGITS);
    int next = shard_stop_after(s, stop, wanted || b->behind);
    weights_visit(s->weights, stop, next, b->behind && !(wanted && next == s->options.n_windows));
}

int shard_run(struct shard *s, const struct batch *b, struct window w, float *hidden, struct err *e)
{
    int stop = find_window(s, w);
    CHECK(stop >= 0);
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
        buf_write(s->b.x, 0, hidden, bytes);
        shard_record_window(s, w);
        visit_window(s, b, stop);
        rc = list_run(s->list, e);
        if (!rc)
            rc = weights_check(s->weights, e);
        if (!rc)
            buf_read(s->b.x, 0, hidden, bytes);
    }
    guard_leave();
    return rc;
}

// ---- the ends ----------------------------------------------------------------------------------

int shard_embed(struct shard *s, const struct batch *b, float *hidden, struct err *e)
{
    const struct weight *w = &s->model->embed;
    const struct hparams *h = &s->model->h;
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
    op_embed(s->list, s->b.x, w, s->ids, b->n_tokens);
    if (h->embed_scale != 1)
        op_scale(s->list, s->b.x, h->embed_scale, h->n_embd, b->n_tokens);
    int rc = list_run(s->list, e);
    if (!rc)
        rc = weights_check(s->weights, e);
    if (!rc)
        buf_read(s->b.x, 0, hidden, (size_t)b->n_tokens * (size_t)w->n_in * sizeof(float));
    guard_leave();
    return rc;
}

// Rows index[0, n) of x, normed; and their logits when `logits` is wanted.
void shard_record_output(struct shard *s, const int32_t *index, int n, bool logits)
{
    const struct model *m = s->model;
    bool whole = weights_whole(s->weights, m->output.piece);
    list_reset(s->list);
    list_wait(s->list, m->norm.piece, 1);
    op_gather(s->list, s->b.back, s->b.x, index, m->h.n_embd, n);
    op_rms_norm(s->list, s->b.norm, s->b.back, &m->norm, n, m->h.rms_eps);
    if (logits) {
        if (whole)
            list_wait(s->list, m->output.piece, 1);
        op_matmul(s->list, s->logits, s->b.norm, &m->output, n);
        if (m->h.logit_scale != 1)
            op_scale(s->list, s->logits, m->h.logit_scale, m->h.n_vocab, n);
        if (m->h.final_softcap != 0)
            op_softcap(s->list, s->logits, m->h.final_softcap, m->h.n_vocab, n);
        if (whole)
            list_done(s->list, m->output.piece, 1);
    }
    list_done(s->list, m->norm.piece, 1);
}

// next: the stop after these rows.
static int output_rows(struct shard *s, const int32_t *index, int n, bool logits, int next,
                       float *out, struct err *e)
{
    int output = s->options.n_windows;
    shard_record_output(s, index, n, logits);
    if (logits)
        weights_visit(s->weights, output, next, next == output);
    int rc = list_run(s->list, e);
    if (!rc)
        rc = weights_check(s->weights, e);
    size_t width = (size_t)(logits ? s->model->h.n_vocab : s->model->h.n_embd);
    if (!rc)
        buf_read(logits ? s->logits : s->b.norm, 0, out, (size_t)n * width * sizeof(float));
    return rc;
}

// All rows that want `want`, as many at a time as there is room for.
static int output_wanted(struct shard *s, const struct batch *b, enum want want, float *out,
                         struct err *e)
{
    bool logits = want == WANT_LOGITS;
    size_t width = (size_t)(logits ? s->model->h.n_vocab : s->model->h.n_embd);
    int n = 0, rc = 0, left = count_wanted(b, want);
    for (int i = 0; i < b->n_tokens && !rc; i++) {
        if (b->tokens[i].want == (uint32_t)want)
            s->ids[n++] = i;
        if (n && (n == shard_output_rows(&s->options) || i == b->n_tokens - 1)) {
            left -= n;
            int next = left ? s->options.n_windows : shard_stop_after_output(s, b->behind);
            rc = output_rows(s, s->ids, n, logits, next, out, e);
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
    buf_write(s->b.x, 0, hidden, (size_t)b->n_tokens * (size_t)s->model->h.n_embd * sizeof(float));
    int rc = output_wanted(s, b, WANT_LOGITS, logits, e);
    if (!rc)
        rc = output_wanted(s, b, WANT_HIDDEN, states, e);
    guard_leave();
    return rc;
}
