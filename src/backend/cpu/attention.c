// Rotation, the cache, and attention over it.
//
// Attention makes one partial (max, sum, acc) per chunk of KV_PAGE_TOKENS absolute positions and
// merges the chunks ascending, whoever computes them: a page is a chunk, so keys and values of a
// chunk are contiguous. Heads that share a key-value head go over a page together while it is in
// the cache of their core.
#include "backend/cpu/cpu.h"
#include "base/check.h"

#include <string.h>

// ---- rotation ----------------------------------------------------------------------------------

static float *sines_of(const struct list *l, float *cosines)
{
    return cosines + (size_t)l->limits.max_rows * (size_t)(l->limits.max_head_dim / 2);
}

static void run_angles(struct list *l, struct op *op, struct range r, int thread)
{
    (void)thread;
    for (int t = r.lo; t < r.hi; t++) {
        float *c = row_of(op->out, t, op->width), *s = sines_of(l, c);
        for (int i = 0; i < op->width; i++)
            angle_cos_sin(op->rows->pos[t], op->freqs[i], &c[i], &s[i]);
    }
}

// All layers rotate by the same angles: they are computed once per recording.
static void need_angles(struct list *l, const struct rows *rows, const float *freqs, int n_rot)
{
    if (l->angles_rows == rows && l->angles_freqs == freqs && l->angles_n_rot == n_rot)
        return;
    struct op *op = list_next(l, run_angles, SPLIT_ROWS, rows->n, n_rot / 2);
    op->out = l->angles;
    op->rows = rows;
    op->freqs = freqs;
    op_writes(op, l->angles, n_rot / 2);
    list_commit(l, op);
    l->angles_rows = rows;
    l->angles_freqs = freqs;
    l->angles_n_rot = n_rot;
}

static void run_rope(struct list *l, struct op *op, struct range r, int thread)
{
    (void)thread;
    const struct kernels *k = l->backend->kernels;
    for (int t = r.lo; t < r.hi; t++) {
        float *c = row_of(l->angles, t, op->n_rot / 2), *s = sines_of(l, c);
        float *x = row_of(op->a, t, op->width);
        for (int h = 0; h < op->n_heads; h++, x += op->head_dim) {
            if (op->layout == ROPE_PAIRS)
                k->rope_pairs(x, c, s, op->n_rot);
            else
                k->rope_halves(x, c, s, op->n_rot);
        }
    }
}

void op_rope(struct list *l, struct buf *x, const struct rows *rows, const float *freqs,
             int n_heads, int head_dim, int n_rot, enum rope_layout layout)
{
    CHECK(n_rot % 2 == 0 && n_rot <= head_dim && head_dim <= l->limits.max_head_dim);
    need_angles(l, rows, freqs, n_rot);
    struct op *op = list_next(l, run_rope, SPLIT_ROWS, rows->n, n_heads * head_dim);
    op->a = x;
    op->n_heads = n_heads;
    op->head_dim = head_dim;
    op->n_rot = n_rot;
    op->layout = layout;
    op_reads(op, l->angles, n_rot / 2);
    op_writes(op, x, op->width);
    list_commit(l, op);
}

// ---- the cache ---------------------------------------------------------------------------------

static size_t kv_head_bytes(const struct kv_layer *kv)
{
    return (size_t)kv->page_tokens * (size_t)kv->head_dim * kv_type_bytes(kv->type);
}

static uint8_t *kv_page(const struct kv_layer *kv, const struct rows *rows, int t, int page)
{
    return kv->buf->memory.base + (size_t)rows->pages[t][page] * kv->page_bytes;
}

static void store_heads(const struct kernels *k, const struct kv_layer *kv, uint8_t *at,
                        const float *x)
{
    size_t head_bytes = kv_head_bytes(kv), head_dim = (size_t)kv->head_dim;
    for (int h = 0; h < kv->n_kv_heads; h++, at += head_bytes, x += head_dim) {
        if (kv->type == KV_F16)
            k->f32_to_f16((uint16_t *)at, x, head_dim);
        else
            memcpy(at, x, head_dim * sizeof(float));
    }
}

static void run_kv_store(struct list *l, struct op *op, struct range r, int thread)
{
    (void)thread;
    const struct kv_layer *kv = &op->kv;
    size_t position_bytes = (size_t)kv->head_dim * kv_type_bytes(kv->type);
    for (int t = r.lo; t < r.hi; t++) {
        int32_t pos = op->rows->pos[t];
        uint8_t *page = kv_page(kv, op->rows, t, pos / kv->page_tokens);
        page += (size_t)(pos % kv->page_tokens) * position_bytes;
        store_heads(l->backend->kernels, kv, page + kv->k_offset, row_of(op->a, t, op->width));
        store_heads(l->backend->kernels, kv, page + kv->v_offset, row_of(op->b, t, op->width));
    }
}

void op_kv_store(struct list *l, const struct kv_layer *kv, struct buf *k, struct buf *v,
                 const struct rows *rows)
{
    CHECK(kv->page_tokens == KV_PAGE_TOKENS);
    struct op *op = list_next(l, run_kv_store, SPLIT_ROWS, rows->n, kv->n_kv_heads * kv->head_dim);
    op->a = k;
    op->b = v;
    op->kv = *kv;
    op->rows = rows;
    op_reads(op, k, op->width);
    op_reads(op, v, op->width);
    op_writes(op, kv->buf, OPERAND_ELSEWHERE);
    list_commit(l, op);
}

// ---- attention ---------------------------------------------------------------------------------

// Heads [head, head + n) of row t; they share one key-value head.
static void attend_heads(struct list *l, const struct op *op, struct attend_scratch *s, int t,
                         int head, int n)
{
    const struct kernels *k = l->backend->kernels;
    const struct kv_layer *kv = &op->kv;
    int head_dim = kv->head_dim, held = op->rows->pos[t] + 1;
    size_t kv_head = (size_t)(head / (op->n_heads / kv->n_kv_heads)) * kv_head_bytes(kv);
    size_t stride = (size_t)head_dim * kv_type_bytes(kv->type);
    size_t first = (size_t)head * (size_t)head_dim;
    const float *q = row_of(op->a, t, op->width) + first;
    float *out = row_of(op->out, t, op->width) + first;

    for (int from = 0; from < held; from += KV_PAGE_TOKENS) {
        const uint8_t *page = kv_page(kv, op->rows, t, from / KV_PAGE_TOKENS) + kv_head;
        int n_pos = held - from < KV_PAGE_TOKENS ? held - from : KV_PAGE_TOKENS;
        for (int h = 0; h < n; h++) {
            struct attn_partial *p = from ? &s->chunk : &s->heads[h];
            k->attend[kv->type](p, q + (size_t)h * (size_t)head_dim, page + kv->k_offset,
                                page + kv->v_offset, stride, n_pos, head_dim, op->number,
                                s->scores);
            if (from)
                k->attn_merge(&s->heads[h], p, head_dim);
        }
    }
    for (int h = 0; h < n; h++)
        for (int i = 0; i < head_dim; i++)
            *out++ = s->heads[h].acc[i] / s->heads[h].sum;
}

static void run_attend(struct list *l, struct op *op, struct range units, int thread)
{
    int per_row = op->units / op->n, together = op->n_heads / per_row;
    for (int i = units.lo; i < units.hi; i++)
        attend_heads(l, op, &l->attend[thread], i / per_row, i % per_row * together, together);
}

void op_attend(struct list *l, struct buf *out, struct buf *q, const struct kv_layer *kv,
               const struct rows *rows, int n_heads, float scale)
{
    CHECK(kv->page_tokens == KV_PAGE_TOKENS && n_heads % kv->n_kv_heads == 0);
    CHECK(n_heads <= l->limits.max_heads && kv->head_dim <= l->limits.max_head_dim);
    struct op *op = list_next(l, run_attend, SPLIT_OWN, rows->n, n_heads * kv->head_dim);
    // A group of heads goes together unless that leaves threads without work.
    bool together = rows->n * kv->n_kv_heads >= 2 * l->backend->n_threads;
    op->units = rows->n * (together ? kv->n_kv_heads : n_heads);
    op->step = 1;
    op->out = out;
    op->a = q;
    op->kv = *kv;
    op->rows = rows;
    op->n_heads = n_heads;
    op->number = scale;
    op_reads(op, q, op->width);
    op_reads(op, kv->buf, OPERAND_ELSEWHERE);
    op_writes(op, out, op->width);
    list_commit(l, op);
}
