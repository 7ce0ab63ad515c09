// Matrix products: activations quantized once per input and format, then rows of weights, of which
// each thread begins with its share. A product's bits do not depend on who computed it.
#include "backend/cpu/cpu.h"
#include "base/check.h"
#include "kernels/lanes.h"

enum {
    STEPS_PER_THREAD = 64, // the last are taken one by one, and threads end a phase so far apart
    STEP_BYTES = 1 << 15,  // at least, weights times tokens: microseconds, where claiming costs 0.1
};

static void quantize_columns(struct list *l, struct op *op, int t, int lo, int hi)
{
    const struct kernels *k = l->backend->kernels;
    uint8_t *row = op->out->memory.base + (size_t)t * act_row_bytes(op->act, (size_t)op->width);
    k->quantize[op->act](row + act_row_bytes(op->act, (size_t)lo), row_of(op->a, t, op->width) + lo,
                         (size_t)(hi - lo));
}

static void run_quantize_rows(struct list *l, struct op *op, struct range r, int thread)
{
    (void)thread;
    for (int t = r.lo; t < r.hi; t++)
        quantize_columns(l, op, t, 0, op->width);
}

static void run_quantize_blocks(struct list *l, struct op *op, struct range r, int thread)
{
    (void)thread;
    struct column_walk walk = column_walk_of(op, r);
    while (column_walk_next(&walk))
        quantize_columns(l, op, walk.row, walk.lo, walk.hi);
}

// Who wrote x in this phase decides how its quantization is split: with the writer.
static enum split split_of_writer(const struct list *l, const struct buf *x)
{
    for (int i = l->n_ops - 1; i >= l->phase_start; i--) {
        const struct op *op = &l->ops[i];
        for (int j = 0; j < op->n_operands; j++)
            if (op->operands[j].buf == x && op->operands[j].written)
                return op->split == SPLIT_ROWS ? SPLIT_ROWS : SPLIT_BLOCKS;
    }
    return SPLIT_BLOCKS;
}

struct buf *list_quantized(struct list *l, struct buf *x, int width, int n, enum act act)
{
    struct quantized *q = &l->quantized[act];
    if (act == ACT_F32)
        return x;
    CHECK(act_row_bytes(act, (size_t)width) * (size_t)n <= q->buf->size);
    if (q->of == x && q->n == n && q->width == width)
        return q->buf;
    enum split split = split_of_writer(l, x);
    struct op *op = list_next(l, split == SPLIT_ROWS ? run_quantize_rows : run_quantize_blocks,
                              split, n, width);
    op->out = q->buf;
    op->a = x;
    op->act = act;
    op_reads(op, x, width);
    op_writes(op, q->buf, OPERAND_ELSEWHERE);
    list_commit(l, op);
    q->of = x;
    q->n = n;
    q->width = width;
    return q->buf;
}

static void run_matmul(struct list *l, struct op *op, struct range r, int thread)
{
    (void)thread;
    const struct format_kernels *f = &l->backend->kernels->format[op->w.type];
    struct matmul_args args = {
        .out = row_of(op->out, 0, op->width) + op->column,
        .out_stride = (size_t)op->width,
        .w = weight_at(l, op),
        .w_stride = op->w.row_bytes,
        .x = op->a->memory.base,
        .x_stride = act_row_bytes(op->act, (size_t)op->w.n_in),
        .n_in = (size_t)op->w.n_in,
        .row_lo = r.lo,
        .row_hi = r.hi,
        .n_tokens = op->n,
    };
    if (weight_layout(l, op) == LAYOUT_LANES)
        f->matmul_lanes(&args);
    else
        f->matmul(&args);
}

// Kernels take two groups at a time where there are so many.
int list_step(const struct list *l, int64_t n_rows, int64_t row_bytes, int n)
{
    int n_threads = l->backend->n_threads;
    int64_t step = n_rows / (n_threads * STEPS_PER_THREAD);
    int64_t least = STEP_BYTES / (row_bytes * n), share = n_rows / n_threads;
    least = least < share ? least : share;
    int rows = share >= 4 * STEP_ROWS ? 2 * STEP_ROWS : STEP_ROWS;
    step = least > step ? least : step;
    return (int)(step / rows * rows + rows);
}

_Static_assert(STEP_ROWS % LANE_ROWS == 0, "claims begin at groups of rows");

// Rows of `out` from `column` on: the product with w, whose slot is open.
static void record_product(struct list *l, struct buf *out, int width, int column, struct buf *in,
                           enum act act, const struct weight *w, int n)
{
    int step = list_step(l, w->n_out, (int64_t)w->row_bytes, n);
    int n_threads = l->backend->n_threads;
    bool shares = n_threads > 1 && w->n_out / step >= SHARED_STEPS * n_threads;
    struct op *op = list_next(l, run_matmul, shares ? SPLIT_SHARES : SPLIT_OWN, n, width);
    op->units = w->n_out;
    op->step = step;
    op->cost = (int64_t)w->row_bytes * n;
    op->out = out;
    op->a = in;
    op->act = act;
    op->column = column;
    op_uses(l, op, w);
    op_reads(op, in, act == ACT_F32 ? w->n_in : OPERAND_ELSEWHERE);
    op_writes(op, out, width);
    list_commit(l, op);
}

void list_leave_part(struct list *l)
{
    uint32_t part = (uint32_t)l->part;
    if (l->part == NO_PART)
        return;
    l->part = NO_PART;
    list_done(l, part, 1);
}

// A matrix that comes in parts. While threads multiply with one, thread 0 waits for the next when
// it is through with its share:
//
//     | wait 0 | product 0, wait 1 | product 1, done 0, wait 2 | product 2, done 1, .. | ..
//
// w may be some rows of the matrix; a part that goes on beyond them stays for the next product.
static void record_parts(struct list *l, struct buf *out, struct buf *in, enum act act,
                         const struct weight *w, const struct piece_part *parts, int n_parts, int n)
{
    int first = (int)(w->offset / w->row_bytes), end = first + w->n_out, i = 0;
    while (i < n_parts && parts[i].row_hi <= first)
        i++;
    for (; i < n_parts && parts[i].row_lo < end; i++) {
        int lo = parts[i].row_lo > first ? parts[i].row_lo : first;
        int hi = parts[i].row_hi < end ? parts[i].row_hi : end;
        struct weight some = *w;
        some.piece = parts[i].piece;
        some.offset = (uint64_t)(lo - parts[i].row_lo) * w->row_bytes;
        some.n_out = hi - lo;
        if (!list_waits_for(l, some.piece))
            list_wait(l, some.piece, 1);
        record_product(l, out, w->n_out, lo - first, in, act, &some, n);
        list_leave_part(l);
        if (hi == parts[i].row_hi)
            l->part = some.piece;
        if (i + 1 < n_parts && parts[i + 1].row_lo < end)
            list_wait(l, parts[i + 1].piece, 1);
    }
}

void op_matmul(struct list *l, struct buf *out, struct buf *x, const struct weight *w, int n)
{
    CHECK(kernels_can(w->type) && w->n_in <= l->limits.max_width);
    const struct piece_part *parts;
    int n_parts = l->weights.parts ? l->weights.parts(l->weights.ctx, w->piece, &parts) : 0;
    if (!n)
        return;
    observe_matmul(l, x, w, n);
    enum act act = l->backend->kernels->format[w->type].act;
    struct buf *in = list_quantized(l, x, w->n_in, n, act);
    if (n_parts)
        record_parts(l, out, in, act, w, parts, n_parts, n);
    else
        record_product(l, out, w->n_out, 0, in, act, w, n);
}
