// Attention over the pages of the cache.
//
// Each query makes one partial result (max, sum, acc) per chunk of KV_CHUNK absolute positions; the
// chunks of a span of SPAN_CHUNKS are merged ascending, then the spans are, the first of each taken
// as it is. This order is fixed by positions alone, whoever computes what, so neither the number of
// threads nor the cut of a batch changes a bit:
//
//     position   0                512              1024
//     chunks     |0|1|2|3|4|5|6|7||8|9| ...       |
//     spans      \______ 0 ______/\______ 1 ______/
//
// Queries that need the same chunk go over it together: the heads that share its key-value head, of
// up to BLOCK_QUERIES / heads rows. When there are few such groups and a long context, each span of
// a group is a unit of its own, and whoever finishes a group's last span merges them all.
#include "backend/cpu/cpu.h"
#include "base/arith.h"
#include "base/check.h"
#include "kernels/kv_chunk.h"

#include <math.h>
#include <string.h>

enum {
    SPAN_CHUNKS = 8,
    SPAN = SPAN_CHUNKS * KV_CHUNK, // positions
    BLOCK_QUERIES = 48,            // of a block: a multiple of what kernels take at once
    UNITS_PER_THREAD = 4,          // fewer are not shared out evenly
    SPLIT_ROWS_MAX = 8,            // rows whose spans are kept at the longest context
    SPLIT_SPANS_MAX = 512,         // and at most so many partial results of a head
};

// ---- memory ------------------------------------------------------------------------------------

static size_t product(size_t a, size_t b)
{
    size_t n;
    return size_mul(a, b, &n) ? n : SIZE_MAX;
}

static size_t most_queries(const struct list_limits *m)
{
    return (size_t)(m->max_heads > BLOCK_QUERIES ? m->max_heads : BLOCK_QUERIES);
}

// Floats of an accumulator: whole cache lines.
static size_t acc_floats(int head_dim)
{
    return ((size_t)head_dim + 15) / 16 * 16;
}

static size_t query_bytes(int head_dim)
{
    size_t most = 0;
    for (int type = 0; type < KV_TYPE_COUNT; type++) {
        size_t bytes = kv_query_bytes((enum kv_type)type, head_dim);
        most = bytes > most ? bytes : most;
    }
    return most;
}

static int spans_of(int positions)
{
    return positions / SPAN + (positions % SPAN > 0);
}

size_t attend_plan_memory(size_t total, const struct list_limits *m, int n_threads)
{
    size_t n = most_queries(m), acc = product(n, acc_floats(m->max_head_dim) * sizeof(float));
    total = arena_plan(total, (size_t)n_threads * sizeof(struct attend_scratch));
    total = arena_plan(total, (size_t)n_threads * UNITS_PER_THREAD * sizeof(atomic_int));
    for (int t = 0; t < n_threads; t++) {
        total = arena_plan(total, product(n, query_bytes(m->max_head_dim)));
        total = arena_plan(total, n * sizeof(struct attn_span));
        for (int i = 0; i < 3; i++) {
            total = arena_plan(total, n * sizeof(struct attn_partial));
            total = arena_plan(total, acc);
        }
    }
    return total;
}

static struct attn_partial *take_partials(struct list *l, size_t n, float **accs)
{
    size_t stride = acc_floats(l->limits.max_head_dim);
    struct attn_partial *p = arena_take(&l->memory, n * sizeof *p);
    *accs = arena_take(&l->memory, n * stride * sizeof(float));
    for (size_t i = 0; i < n; i++)
        p[i].acc = *accs + i * stride;
    return p;
}

void attend_take_memory(struct list *l)
{
    int n_threads = l->backend->n_threads;
    size_t n = most_queries(&l->limits);
    float *accs;
    l->attend = arena_take(&l->memory, (size_t)n_threads * sizeof *l->attend);
    l->attend_shared.max_groups = n_threads * UNITS_PER_THREAD;
    l->attend_shared.arrived = arena_take(&l->memory, (size_t)l->attend_shared.max_groups *
                                                          sizeof *l->attend_shared.arrived);
    for (int t = 0; t < n_threads; t++) {
        struct attend_scratch *s = &l->attend[t];
        s->queries = arena_take(&l->memory, n * query_bytes(l->limits.max_head_dim));
        s->seen = arena_take(&l->memory, n * sizeof *s->seen);
        s->out = take_partials(l, n, &s->chunk_acc);
        s->span = take_partials(l, n, &accs);
        s->total = take_partials(l, n, &accs);
    }
}

// A partial result of a span as it is kept: a line for max and sum, then the accumulator.
static size_t kept_floats(int head_dim)
{
    return 16 + acc_floats(head_dim);
}

size_t attend_spans_bytes(const struct list_limits *m)
{
    int rows = m->max_rows < SPLIT_ROWS_MAX ? m->max_rows : SPLIT_ROWS_MAX;
    size_t spans = product((size_t)spans_of(m->max_context), (size_t)rows);
    spans = spans < SPLIT_SPANS_MAX ? spans : SPLIT_SPANS_MAX;
    size_t floats = product(product(spans, (size_t)m->max_heads), kept_floats(m->max_head_dim));
    return product(floats, sizeof(float));
}

int attend_new_spans(struct list *l, struct err *e)
{
    return buf_new(&l->attend_shared.spans, l->backend, attend_spans_bytes(&l->limits),
                   "attention over long contexts", e);
}

void attend_reset(struct list *l)
{
    for (int i = 0; i < l->attend_shared.max_groups; i++)
        atomic_store_explicit(&l->attend_shared.arrived[i], 0, memory_order_relaxed);
}

// ---- a run of rows -----------------------------------------------------------------------------

// Rows of one session, positions ascending, and the heads that share one key-value head. Query
// (t - lo) * heads + h is head `head + h` of row t.
struct run {
    struct list *l;
    const struct op *op;
    struct attend_scratch *s;
    int lo, hi; // rows
    int kv_head, head, heads;
};

// The first position that row t sees.
static int first_seen(const struct op *op, int t)
{
    int after = op->rows->pos[t] + 1 - op->attend.window;
    return op->attend.window && after > 0 ? after : 0;
}

static int run_end(const struct op *op, int lo, int hi)
{
    int t = lo + 1;
    while (t < hi && op->rows->pages[t] == op->rows->pages[lo] &&
           op->rows->pos[t] >= op->rows->pos[t - 1])
        t++;
    return t;
}

static const uint8_t *chunk_at(const struct run *r, int chunk)
{
    const struct kv_layer *kv = &r->op->kv;
    size_t page = (size_t)r->op->rows->pages[r->lo][chunk], head = (size_t)r->kv_head;
    return kv->buf->memory.base + page * kv->page_bytes + kv->offset +
           head * kv_layout(kv->type, kv->head_dim).bytes;
}

static void prepare_queries(const struct run *r)
{
    const struct kv_layer *kv = &r->op->kv;
    const float *q_scale = r->op->rows->q_scale;
    uint8_t *to = r->s->queries;
    for (int t = r->lo; t < r->hi; t++) {
        float scale = q_scale ? r->op->number * q_scale[t] : r->op->number;
        for (int h = 0; h < r->heads; h++, to += kv_query_bytes(kv->type, kv->head_dim))
            kv_query(r->l->backend->kernels, kv->type, to,
                     row_of(r->op->a, t, r->op->width) + (r->head + h) * kv->head_dim, scale,
                     kv->head_dim);
    }
}

// One chunk, for rows [lo, hi), which all see some of it. What a row sees first in a span goes into
// the span's result at once.
static void attend_chunk(const struct run *r, int chunk, int lo, int hi, const uint8_t *ahead)
{
    const struct kernels *k = r->l->backend->kernels;
    const struct kv_layer *kv = &r->op->kv;
    int first = (lo - r->lo) * r->heads, n = (hi - lo) * r->heads, span = chunk / SPAN_CHUNKS;
    int base = chunk * KV_CHUNK, first_open = n; // queries from first_open on begin here
    size_t stride = acc_floats(r->l->limits.max_head_dim);
    struct attn_partial *spans = r->s->span + first;
    for (int i = 0; i < n; i++) {
        int t = lo + i / r->heads, from = first_seen(r->op, t) - base;
        int to = r->op->rows->pos[t] + 1 - base;
        bool begins = chunk == span * SPAN_CHUNKS || from >= 0;
        if (begins && first_open == n)
            first_open = i;
        r->s->seen[i] = (struct attn_span){(uint8_t)(from > 0 ? from : 0),
                                           (uint8_t)(to < KV_CHUNK ? to : KV_CHUNK)};
        r->s->out[i].acc = begins ? spans[i].acc : r->s->chunk_acc + (size_t)i * stride;
    }
    size_t q_stride = kv_query_bytes(kv->type, kv->head_dim);
    k->attend[kv->type](&(struct attend_args){.out = r->s->out,
                                              .seen = r->s->seen,
                                              .q = r->s->queries + (size_t)first * q_stride,
                                              .q_stride = q_stride,
                                              .chunk = chunk_at(r, chunk),
                                              .ahead = ahead,
                                              .n_rows = n,
                                              .head_dim = kv->head_dim,
                                              .softcap = r->op->attend.softcap});
    for (int i = 0; i < n; i++)
        if (i >= first_open)
            spans[i] = r->s->out[i];
        else
            k->attn_merge(&spans[i], &r->s->out[i], kv->head_dim);
}

// All chunks of a span that the run sees: fills span results of the rows [lo, hi) that see some.
// `more`: the next span follows.
static struct range attend_span(const struct run *r, int span, bool more)
{
    const int32_t *pos = r->op->rows->pos;
    int begin = span * SPAN_CHUNKS, end = begin + SPAN_CHUNKS;
    int seen = first_seen(r->op, r->lo) / KV_CHUNK, last = pos[r->hi - 1] / KV_CHUNK;
    struct range rows = {r->lo, r->hi};
    begin = seen > begin ? seen : begin;
    end = last + 1 < end ? last + 1 : end;
    while (rows.lo < rows.hi && pos[rows.lo] < span * SPAN)
        rows.lo++;
    while (rows.lo < rows.hi && first_seen(r->op, rows.hi - 1) >= (span + 1) * SPAN)
        rows.hi--;
    for (int chunk = begin; chunk < end; chunk++) {
        int lo = rows.lo, hi = rows.hi;
        int next = chunk < end - 1 || (more && chunk < last) ? chunk + 1 : chunk;
        while (lo < hi && pos[lo] < chunk * KV_CHUNK)
            lo++;
        while (lo < hi && first_seen(r->op, hi - 1) >= (chunk + 1) * KV_CHUNK)
            hi--;
        if (lo < hi)
            attend_chunk(r, chunk, lo, hi, chunk_at(r, next));
    }
    return rows;
}

// What is left of 1 / sum when a sink takes its part: a partial result of its own, merged last,
// whose values are zeros.
static float with_sink(const struct run *r, const struct attn_partial *p, float sink)
{
    float max = p->max > sink ? p->max : sink, base = max == -INFINITY ? 0 : max;
    float part[2] = {p->max - base, sink - base};
    r->l->backend->kernels->exp(part, part, 2);
    return part[0] / (p->sum * part[0] + part[1]);
}

// The result of one query: the weighted mean.
static void finish(const struct run *r, int t, int h, const struct attn_partial *p)
{
    int head_dim = r->op->kv.head_dim;
    float *out = row_of(r->op->out, t, r->op->width) + (r->head + h) * head_dim;
    float inverse = 1 / p->sum;
    if (r->op->use)
        inverse =
            with_sink(r, p, ((const float *)(const void *)weight_at(r->l, r->op))[r->head + h]);
    for (int i = 0; i < head_dim; i++)
        out[i] = p->acc[i] * inverse;
}

static void copy_partial(struct attn_partial *to, const struct attn_partial *from, int head_dim)
{
    to->max = from->max;
    to->sum = from->sum;
    memcpy(to->acc, from->acc, (size_t)head_dim * sizeof(float));
}

// All spans of the run.
static void attend_run(const struct run *r)
{
    const struct attend_plan *p = &r->op->attend;
    const struct kernels *k = r->l->backend->kernels;
    int head_dim = r->op->kv.head_dim;
    for (int span = p->first_span; span < p->first_span + p->n_spans; span++) {
        struct range rows = attend_span(r, span, true);
        for (int t = rows.lo; t < rows.hi; t++)
            for (int h = 0, i = (t - r->lo) * r->heads; h < r->heads; h++, i++) {
                if (first_seen(r->op, t) / SPAN == span)
                    copy_partial(&r->s->total[i], &r->s->span[i], head_dim);
                else
                    k->attn_merge(&r->s->total[i], &r->s->span[i], head_dim);
                if (r->op->rows->pos[t] / SPAN == span)
                    finish(r, t, h, &r->s->total[i]);
            }
    }
}

// ---- split by spans ----------------------------------------------------------------------------

static float *kept(const struct run *r, int t, int h, int span)
{
    const struct op *op = r->op;
    int place = (t * op->n_heads + r->head + h) * op->attend.n_spans + span - op->attend.first_span;
    return (float *)r->l->attend_shared.spans->memory.base +
           (size_t)place * kept_floats(op->kv.head_dim);
}

static void keep_span(const struct run *r, int span, bool more)
{
    struct range rows = attend_span(r, span, more);
    for (int t = rows.lo; t < rows.hi; t++)
        for (int h = 0, i = (t - r->lo) * r->heads; h < r->heads; h++, i++) {
            float *to = kept(r, t, h, span);
            to[0] = r->s->span[i].max;
            to[1] = r->s->span[i].sum;
            memcpy(to + 16, r->s->span[i].acc, (size_t)r->op->kv.head_dim * sizeof(float));
        }
}

// Merges what was kept of one query; each span's memory is only read here once all are done.
static void merge_kept(const struct run *r, int t, int h)
{
    int first = first_seen(r->op, t) / SPAN, last = r->op->rows->pos[t] / SPAN;
    float *at = kept(r, t, h, first);
    struct attn_partial total = {at[0], at[1], at + 16};
    for (int span = first + 1; span <= last; span++) {
        at = kept(r, t, h, span);
        r->l->backend->kernels->attn_merge(&total, &(struct attn_partial){at[0], at[1], at + 16},
                                           r->op->kv.head_dim);
    }
    finish(r, t, h, &total);
}

// ---- units -------------------------------------------------------------------------------------

static void attend_unit(struct list *l, const struct op *op, int unit, bool more, int thread)
{
    const struct attend_plan *p = &op->attend;
    int per_group = p->split ? p->n_spans : 1, group = unit / per_group;
    int span = p->first_span + unit % per_group;
    int block = p->n_blocks - 1 - group / op->kv.n_kv_heads; // the longest first
    int lo = block * p->block_rows, hi = lo + p->block_rows < op->n ? lo + p->block_rows : op->n;
    int heads = op->n_heads / op->kv.n_kv_heads, kv_head = group % op->kv.n_kv_heads;
    struct run r = {.l = l,
                    .op = op,
                    .s = &l->attend[thread],
                    .kv_head = kv_head,
                    .head = kv_head * heads,
                    .heads = heads};
    for (r.lo = lo; r.lo < hi; r.lo = r.hi) {
        r.hi = run_end(op, r.lo, hi);
        prepare_queries(&r);
        if (p->split)
            keep_span(&r, span, more);
        else
            attend_run(&r);
    }
    atomic_int *arrived = &l->attend_shared.arrived[group];
    if (!p->split || atomic_fetch_add_explicit(arrived, 1, memory_order_acq_rel) < p->n_spans - 1)
        return;
    atomic_store_explicit(arrived, 0, memory_order_relaxed);
    for (int t = lo; t < hi; t++)
        for (int h = 0; h < heads; h++)
            merge_kept(&r, t, h);
}

static void run_attend(struct list *l, struct op *op, struct range units, int thread)
{
    for (int i = units.lo; i < units.hi; i++)
        attend_unit(l, op, i, i + 1 < units.hi, thread);
}

static void share_out(struct list *l, struct op *op)
{
    struct attend_plan *p = &op->attend;
    int n_kv = op->kv.n_kv_heads, wanted = l->attend_shared.max_groups, first = INT32_MAX, last = 0;
    for (int t = 0; t < op->n; t++) {
        first = first_seen(op, t) < first ? first_seen(op, t) : first;
        last = op->rows->pos[t] > last ? op->rows->pos[t] : last;
    }
    p->first_span = first / SPAN;
    p->n_spans = last / SPAN + 1 - p->first_span;
    p->block_rows = BLOCK_QUERIES / (op->n_heads / n_kv);
    p->block_rows = p->block_rows > 1 ? p->block_rows : 1;
    p->n_blocks = (op->n + p->block_rows - 1) / p->block_rows;
    size_t results = product((size_t)op->n * (size_t)op->n_heads, (size_t)p->n_spans);
    bool fits = product(results, kept_floats(op->kv.head_dim) * sizeof(float)) <=
                buf_size(l->attend_shared.spans);
    p->split = p->n_spans > 1 && p->n_blocks * n_kv <= wanted && fits;
    while (!p->split && p->n_blocks * n_kv < wanted && p->block_rows > 1) {
        p->block_rows = (p->block_rows + 1) / 2;
        p->n_blocks = (op->n + p->block_rows - 1) / p->block_rows;
    }
    op->units = p->n_blocks * n_kv * (p->split ? p->n_spans : 1);
    op->step = p->split ? op->units / (2 * wanted) : 1;
    op->step = op->step > 1 ? op->step : 1;
}

void op_attend(struct list *l, struct buf *out, struct buf *q, const struct kv_layer *kv,
               const struct rows *rows, int n_heads, const struct attend_how *how)
{
    CHECK(n_heads % kv->n_kv_heads == 0 && how->window >= 0);
    CHECK(n_heads <= l->limits.max_heads && kv->head_dim <= l->limits.max_head_dim);
    struct op *op = list_next(l, run_attend, SPLIT_OWN, rows->n, n_heads * kv->head_dim);
    op->out = out;
    op->a = q;
    op->kv = *kv;
    op->rows = rows;
    op->n_heads = n_heads;
    op->number = how->scale;
    op->attend.window = how->window;
    op->attend.softcap = how->softcap;
    if (how->sinks)
        op_uses(l, op, how->sinks);
    share_out(l, op);
    op_reads(op, q, op->width);
    op_reads(op, kv->buf, OPERAND_ELSEWHERE);
    op_writes(op, out, op->width);
    if (op->attend.split)
        op_writes(op, l->attend_shared.spans, OPERAND_ELSEWHERE);
    list_commit(l, op);
}
