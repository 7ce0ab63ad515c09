// Operations that work on each row by itself. All of them split by rows, so that chains of them are
// one group; op_glu, whose rows are long, splits by blocks of columns, and op_copy has rows of its
// own.
#include "backend/cpu/cpu.h"
#include "base/check.h"
#include "kernels/lanes.h"

#include <string.h>

// Row `id` of a matrix in lane form, a block at a time.
static void decode_lanes(const struct format_kernels *f, float *out, const uint8_t *w,
                         const struct weight *of, size_t id)
{
    const struct wtype_info *info = wtype_info(of->type);
    const uint8_t *lanes = w + id / LANE_ROWS * LANE_ROWS * of->row_bytes;
    for (int i = 0; i < of->n_in; i += info->width, lanes += LANE_ROWS * info->bytes) {
        uint8_t block[LANE_MAX_BLOCK];
        lanes_take(of->type, block, lanes, (int)(id % LANE_ROWS));
        f->decode(out + i, block, info->width);
    }
}

static void run_embed(struct list *l, struct op *op, struct range r, int thread)
{
    const struct format_kernels *f = &l->backend->kernels->format[op->w.type];
    const uint8_t *w = weight_at(l, op);
    (void)thread;
    for (int t = r.lo; t < r.hi; t++) {
        float *out = row_of(op->out, t, op->w.n_in);
        size_t id = (size_t)op->ids[t];
        if (weight_layout(l, op) == LAYOUT_LANES)
            decode_lanes(f, out, w, &op->w, id);
        else
            f->decode(out, w + id * op->w.row_bytes, (size_t)op->w.n_in);
    }
}

// The same where the matrix is not there: its rows are asked for one by one.
static void run_embed_rows(struct list *l, struct op *op, struct range r, int thread)
{
    const struct format_kernels *f = &l->backend->kernels->format[op->w.type];
    (void)r, (void)thread;
    for (int t = 0; t < op->n; t++) {
        if (!l->weights.row(l->weights.ctx, &op->w, op->ids[t], l->row, &l->failure)) {
            atomic_store(&l->failed, true);
            return;
        }
        f->decode(row_of(op->out, t, op->w.n_in), l->row, (size_t)op->w.n_in);
    }
}

void op_embed(struct list *l, struct buf *out, const struct weight *w, const int32_t *ids, int n)
{
    CHECK(kernels_can(w->type));
    bool rows = l->weights.row;
    CHECK(!rows || w->n_in <= l->limits.max_width);
    struct op *op = list_next(l, rows ? run_embed_rows : run_embed, rows ? SPLIT_FIRST : SPLIT_ROWS,
                              n, w->n_in);
    op->out = out;
    op->ids = ids;
    op->w = *w;
    if (!rows)
        op_uses(l, op, w);
    op_writes(op, out, w->n_in);
    list_commit(l, op);
}

static void run_rms_norm(struct list *l, struct op *op, struct range r, int thread)
{
    const float *w = (const float *)weight_at(l, op);
    (void)thread;
    for (int t = r.lo; t < r.hi; t++)
        l->backend->kernels->rms_norm(row_of(op->out, t, op->width), row_of(op->a, t, op->width), w,
                                      (size_t)op->width, op->number);
}

void op_rms_norm(struct list *l, struct buf *out, struct buf *x, const struct weight *w, int n,
                 float eps)
{
    CHECK(w->type == WT_F32 && w->n_out == 1);
    struct op *op = list_next(l, run_rms_norm, SPLIT_ROWS, n, w->n_in);
    op->out = out;
    op->a = x;
    op->number = eps;
    op_uses(l, op, w);
    op_reads(op, x, w->n_in);
    op_writes(op, out, w->n_in);
    list_commit(l, op);
}

static void run_rms_norm_heads(struct list *l, struct op *op, struct range r, int thread)
{
    const float *w = (const float *)weight_at(l, op);
    (void)thread;
    for (int t = r.lo; t < r.hi; t++)
        for (int h = 0; h < op->n_heads; h++) {
            float *x = row_of(op->a, t, op->width) + (size_t)h * (size_t)op->head_dim;
            l->backend->kernels->rms_norm(x, x, w, (size_t)op->head_dim, op->number);
        }
}

void op_rms_norm_heads(struct list *l, struct buf *x, const struct weight *w, int n, int n_heads,
                       float eps)
{
    CHECK(w->type == WT_F32 && w->n_out == 1);
    struct op *op = list_next(l, run_rms_norm_heads, SPLIT_ROWS, n, n_heads * w->n_in);
    op->a = x;
    op->n_heads = n_heads;
    op->head_dim = w->n_in;
    op->number = eps;
    op_uses(l, op, w);
    op_writes(op, x, op->width);
    list_commit(l, op);
}

static void run_add_bias(struct list *l, struct op *op, struct range r, int thread)
{
    const float *bias = (const float *)weight_at(l, op);
    (void)thread;
    for (int t = r.lo; t < r.hi; t++) {
        float *x = row_of(op->a, t, op->width);
        l->backend->kernels->add(x, x, bias, (size_t)op->width);
    }
}

void op_add_bias(struct list *l, struct buf *x, const struct weight *bias, int n)
{
    CHECK(bias->type == WT_F32 && bias->n_out == 1);
    struct op *op = list_next(l, run_add_bias, SPLIT_ROWS, n, bias->n_in);
    op->a = x;
    op_uses(l, op, bias);
    op_writes(op, x, bias->n_in);
    list_commit(l, op);
}

static void run_add(struct list *l, struct op *op, struct range r, int thread)
{
    (void)thread;
    size_t n = (size_t)(r.hi - r.lo) * (size_t)op->width;
    if (n)
        l->backend->kernels->add(row_of(op->out, r.lo, op->width), row_of(op->a, r.lo, op->width),
                                 row_of(op->b, r.lo, op->width), n);
}

void op_add(struct list *l, struct buf *out, struct buf *a, struct buf *b, int width, int n)
{
    struct op *op = list_next(l, run_add, SPLIT_ROWS, n, width);
    op->out = out;
    op->a = a;
    op->b = b;
    op_reads(op, a, width);
    op_reads(op, b, width);
    op_writes(op, out, width);
    list_commit(l, op);
}

static void run_scale(struct list *l, struct op *op, struct range r, int thread)
{
    (void)l, (void)thread;
    for (int t = r.lo; t < r.hi; t++) {
        float *x = row_of(op->a, t, op->width);
        for (int i = 0; i < op->width; i++)
            x[i] *= op->number;
    }
}

void op_scale(struct list *l, struct buf *x, float factor, int width, int n)
{
    struct op *op = list_next(l, run_scale, SPLIT_ROWS, n, width);
    op->a = x;
    op->number = factor;
    op_writes(op, x, width);
    list_commit(l, op);
}

static void run_softcap(struct list *l, struct op *op, struct range r, int thread)
{
    (void)thread;
    struct column_walk walk = column_walk_of(op, r);
    while (column_walk_next(&walk))
        l->backend->kernels->softcap(row_of(op->a, walk.row, op->width) + walk.lo,
                                     (size_t)(walk.hi - walk.lo), op->number);
}

void op_softcap(struct list *l, struct buf *x, float cap, int width, int n)
{
    struct op *op = list_next(l, run_softcap, SPLIT_BLOCKS, n, width);
    op->a = x;
    op->number = cap;
    op_writes(op, x, width);
    list_commit(l, op);
}

static void run_glu(struct list *l, struct op *op, struct range r, int thread)
{
    (void)thread;
    struct column_walk walk = column_walk_of(op, r);
    while (column_walk_next(&walk))
        l->backend->kernels->glu[op->glu](row_of(op->out, walk.row, op->width) + walk.lo,
                                          row_of(op->a, walk.row, op->width) + walk.lo,
                                          row_of(op->b, walk.row, op->width) + walk.lo,
                                          (size_t)(walk.hi - walk.lo));
}

void op_glu(struct list *l, struct buf *out, struct buf *gate, struct buf *up, enum glu glu,
            int width, int n)
{
    struct op *op = list_next(l, run_glu, SPLIT_BLOCKS, n, width);
    op->out = out;
    op->a = gate;
    op->b = up;
    op->glu = glu;
    op_reads(op, gate, width);
    op_reads(op, up, width);
    op_writes(op, out, width);
    list_commit(l, op);
}

static float *view_row(const struct view *v, int i)
{
    return (float *)v->buf->memory.base + (size_t)(i / v->repeat) * (size_t)v->stride +
           (size_t)v->at;
}

static void run_copy(struct list *l, struct op *op, struct range r, int thread)
{
    (void)l, (void)thread;
    for (int i = r.lo; i < r.hi; i++)
        memcpy(view_row(&op->to, i), view_row(&op->from, i), (size_t)op->width * sizeof(float));
}

static void check_view(const struct view *v, int width, int n_rows)
{
    size_t last = n_rows ? (size_t)((n_rows - 1) / v->repeat) : 0;
    CHECK(v->repeat > 0 && v->at >= 0 && v->stride >= 0);
    CHECK((last * (size_t)v->stride + (size_t)v->at + (size_t)width) * sizeof(float) <=
          v->buf->size);
}

void op_copy(struct list *l, struct view to, struct view from, int width, int n_rows)
{
    struct op *op = list_next(l, run_copy, SPLIT_OWN, 0, width);
    CHECK(to.buf != from.buf);
    check_view(&to, width, n_rows);
    check_view(&from, width, n_rows);
    op->units = n_rows;
    op->step = n_rows / (4 * l->backend->n_threads) + 1;
    op->to = to;
    op->from = from;
    op_reads(op, from.buf, OPERAND_ELSEWHERE);
    op_writes(op, to.buf, OPERAND_ELSEWHERE);
    list_commit(l, op);
}

static void run_gather(struct list *l, struct op *op, struct range r, int thread)
{
    (void)l, (void)thread;
    for (int t = r.lo; t < r.hi; t++)
        memcpy(row_of(op->out, t, op->width), row_of(op->a, op->ids[t], op->width),
               (size_t)op->width * sizeof(float));
}

void op_gather(struct list *l, struct buf *out, struct buf *x, const int32_t *index, int width,
               int n)
{
    CHECK(out != x);
    struct op *op = list_next(l, run_gather, SPLIT_ROWS, n, width);
    op->out = out;
    op->a = x;
    op->ids = index;
    op_reads(op, x, OPERAND_ELSEWHERE);
    op_writes(op, out, width);
    list_commit(l, op);
}
