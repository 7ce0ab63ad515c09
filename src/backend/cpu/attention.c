// Rotation, and putting keys and values into the cache.
#include "backend/cpu/cpu.h"
#include "base/check.h"
#include "kernels/kv_chunk.h"

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
        for (int i = 0; i < op->width; i++) {
            angle_cos_sin(op->rows->pos[t], op->rope.freqs[i], &c[i], &s[i]);
            c[i] *= op->rope.scale;
            s[i] *= op->rope.scale;
        }
    }
}

// Layers rotate by the same angles, or by two sets of them in turns: they are computed once per
// recording.
static struct buf *angles_for(struct list *l, const struct rows *rows, const struct rope *rope)
{
    for (int i = 0; i < MAX_ANGLES; i++) {
        const struct angles *a = &l->angles[i];
        if (a->rows == rows && a->rope.freqs == rope->freqs && a->rope.scale == rope->scale &&
            a->rope.n_rot == rope->n_rot)
            return a->buf;
    }
    struct angles *a = &l->angles[l->next_angles];
    l->next_angles = (l->next_angles + 1) % MAX_ANGLES;
    a->rows = rows;
    a->rope = *rope;
    struct op *op = list_next(l, run_angles, SPLIT_ROWS, rows->n, rope->n_rot / 2);
    op->out = a->buf;
    op->rows = rows;
    op->rope = *rope;
    op_writes(op, a->buf, rope->n_rot / 2);
    list_commit(l, op);
    return a->buf;
}

static void run_rope(struct list *l, struct op *op, struct range r, int thread)
{
    (void)thread;
    const struct kernels *k = l->backend->kernels;
    const struct rope *p = &op->rope;
    for (int t = r.lo; t < r.hi; t++) {
        float *c = row_of(op->b, t, p->n_rot / 2), *s = sines_of(l, c);
        float *x = row_of(op->a, t, op->width) + p->at;
        for (int h = 0; h < op->n_heads; h++, x += op->head_dim) {
            if (p->layout == ROPE_PAIRS)
                k->rope_pairs(x, c, s, p->n_rot);
            else
                k->rope_halves(x, c, s, p->n_rot);
        }
    }
}

void op_rope(struct list *l, struct buf *x, const struct rows *rows, const struct rope *rope,
             int n_heads, int head_dim)
{
    CHECK(rope->n_rot % 2 == 0 && rope->at + rope->n_rot <= head_dim);
    CHECK(rope->n_rot <= l->limits.max_head_dim);
    struct buf *angles = angles_for(l, rows, rope);
    struct op *op = list_next(l, run_rope, SPLIT_ROWS, rows->n, n_heads * head_dim);
    op->a = x;
    op->b = angles;
    op->rope = *rope;
    op->n_heads = n_heads;
    op->head_dim = head_dim;
    op_reads(op, angles, rope->n_rot / 2);
    op_writes(op, x, op->width);
    list_commit(l, op);
}

// ---- the cache ---------------------------------------------------------------------------------

enum { STORE_ROWS = KV_PAGE_TOKENS }; // of one head, when there are many

// Row t's position of head `head`.
static void store_head(struct list *l, const struct op *op, int t, int head)
{
    const struct kv_layer *kv = &op->kv;
    size_t chunk = kv_layout(kv->type, kv->head_dim).bytes;
    int32_t pos = op->rows->pos[t], page = op->rows->pages[t][pos / KV_PAGE_TOKENS];
    uint8_t *at = kv->buf->memory.base + (size_t)page * kv->page_bytes + kv->offset;
    kv_put(l->backend->kernels, kv->type, at + (size_t)head * chunk, pos % KV_PAGE_TOKENS,
           row_of(op->a, t, op->width) + head * kv->head_dim,
           row_of(op->b, t, op->width) + head * kv->head_dim, kv->head_dim);
}

static void run_kv_store(struct list *l, struct op *op, struct range r, int thread)
{
    (void)thread;
    for (int t = r.lo; t < r.hi; t++)
        for (int head = 0; head < op->kv.n_kv_heads; head++)
            store_head(l, op, t, head);
}

// A unit is STORE_ROWS rows of one head: in a page's keys neighbours are positions, and two threads
// that write neighbours take each other's cache lines away.
static void run_kv_store_heads(struct list *l, struct op *op, struct range r, int thread)
{
    (void)thread;
    for (int i = r.lo; i < r.hi; i++) {
        int t = i / op->kv.n_kv_heads * STORE_ROWS;
        for (int end = t + STORE_ROWS; t < op->n && t < end; t++)
            store_head(l, op, t, i % op->kv.n_kv_heads);
    }
}

void op_kv_store(struct list *l, const struct kv_layer *kv, struct buf *k, struct buf *v,
                 const struct rows *rows)
{
    bool many = rows->n >= STORE_ROWS / 4;
    struct op *op =
        list_next(l, many ? run_kv_store_heads : run_kv_store, many ? SPLIT_OWN : SPLIT_ROWS,
                  rows->n, kv->n_kv_heads * kv->head_dim);
    CHECK(kv->head_dim <= KV_MAX_HEAD_DIM);
    if (many) {
        op->units = (rows->n + STORE_ROWS - 1) / STORE_ROWS * kv->n_kv_heads;
        op->step = 1;
    }
    op->a = k;
    op->b = v;
    op->kv = *kv;
    op->rows = rows;
    op_reads(op, k, op->width);
    op_reads(op, v, op->width);
    op_writes(op, kv->buf, OPERAND_ELSEWHERE);
    list_commit(l, op);
}
