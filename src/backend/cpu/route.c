// Choosing the experts of a mixture, and what is done with their rows beside products.
//
// The arithmetic of a choice is plain: exponentials are the kernels', sums go in ascending order,
// so that every machine of a ring would choose alike.
#include "backend/cpu/cpu.h"
#include "base/check.h"

#include <math.h>
#include <string.h>

enum { FEW_SCORES = 512 }; // microseconds of thread 0, which also has to know the choice first

// ---- choosing ----------------------------------------------------------------------------------

static void softmax(const struct kernels *k, float *x, int n)
{
    float max = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    for (int i = 0; i < n; i++)
        x[i] -= max;
    k->exp(x, x, (size_t)n);
    for (int i = 0; i < n; i++)
        sum += x[i];
    for (int i = 0; i < n; i++)
        x[i] /= sum;
}

static void sigmoid(const struct kernels *k, float *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = -x[i];
    k->exp(x, x, (size_t)n);
    for (int i = 0; i < n; i++)
        x[i] = 1.0f / (1.0f + x[i]);
}

// The first of the greatest that are not shut; one of them is open, and none is NaN.
static int best_of(const float *x, const uint8_t *shut, int n)
{
    int best = -1;
    for (int i = 0; i < n; i++)
        if (!shut[i] && (best < 0 || x[i] > x[best]))
            best = i;
    return best;
}

// Shuts all experts but those of the best groups.
static void shut_groups(const struct route_how *how, struct expert_scratch *s, int n)
{
    int size = n / how->n_groups;
    for (int g = 0; g < how->n_groups; g++) {
        const float *x = s->choice + g * size;
        float best = -INFINITY, second = -INFINITY;
        for (int i = 0; i < size; i++) {
            second = x[i] > best ? best : x[i] > second ? x[i] : second;
            best = x[i] > best ? x[i] : best;
        }
        s->groups[g] = how->bias && size > 1 ? best + second : best;
    }
    // The flags of groups lie where those of the experts will be.
    memset(s->shut, 0, (size_t)how->n_groups);
    for (int i = 0; i < how->n_groups_used; i++) {
        int g = best_of(s->groups, s->shut, how->n_groups);
        s->shut[g] = 1;
    }
    for (int g = how->n_groups; g--;)
        memset(s->shut + g * size, !s->shut[g], (size_t)size);
}

static void route_row(const struct list *l, const struct op *op, int t, struct expert_scratch *s)
{
    const struct kernels *k = l->backend->kernels;
    const struct route_how *how = &op->route;
    const float *bias = how->bias ? (const float *)weight_at(l, op) : NULL;
    int n = op->width, n_used = op->experts.n_used;
    int32_t *ids = (int32_t *)op->out->memory.base + (size_t)t * (size_t)n_used;
    float *weights = row_of(op->b, t, n_used), sum = 0;
    memcpy(s->scores, row_of(op->a, t, n), (size_t)n * sizeof(float));
    if (how->score == ROUTE_SOFTMAX)
        softmax(k, s->scores, n);
    else if (how->score == ROUTE_SIGMOID)
        sigmoid(k, s->scores, n);
    for (int i = 0; i < n; i++) {
        float c = bias ? s->scores[i] + bias[i] : s->scores[i];
        s->choice[i] = isnan(c) ? -INFINITY : c;
    }
    memset(s->shut, 0, (size_t)n);
    if (how->n_groups > 1)
        shut_groups(how, s, n);
    for (int j = 0; j < n_used; j++) {
        ids[j] = best_of(s->choice, s->shut, n);
        weights[j] = s->scores[ids[j]];
        s->shut[ids[j]] = 1;
    }
    if (how->score == ROUTE_SOFTMAX_CHOSEN)
        softmax(k, weights, n_used);
    for (int j = 0; j < n_used; j++)
        sum += weights[j];
    for (int j = 0; j < n_used; j++)
        weights[j] = (how->normalize && sum != 0 ? weights[j] / sum : weights[j]) * how->scale;
}

static void run_route(struct list *l, struct op *op, struct range r, int thread)
{
    for (int t = r.lo; t < r.hi; t++)
        route_row(l, op, t, &l->expert_scratch[thread]);
}

// Thread 0's one unit.
static void run_route_all(struct list *l, struct op *op, struct range r, int thread)
{
    (void)r;
    run_route(l, op, (struct range){0, op->n}, thread);
}

void op_route(struct list *l, const struct routing *r, struct buf *logits,
              const struct route_how *how, int n)
{
    int groups = how->n_groups > 1 ? how->n_groups : 1;
    CHECK(r->n_used > 0 && r->n_used <= l->limits.max_experts_used);
    CHECK(r->n_experts <= l->limits.max_experts && r->n_experts % groups == 0);
    CHECK(groups == 1 || (how->n_groups_used > 0 && how->n_groups_used <= groups));
    CHECK(r->n_used <= r->n_experts / groups * (groups == 1 ? 1 : how->n_groups_used));
    bool few = (int64_t)n * r->n_experts <= FEW_SCORES;
    struct op *op = list_next(l, few ? run_route_all : run_route, few ? SPLIT_FIRST : SPLIT_ROWS, n,
                              r->n_experts);
    op->out = r->ids;
    op->a = logits;
    op->b = r->weights;
    op->route = *how;
    op->experts.n_used = r->n_used;
    if (how->bias) {
        CHECK(how->bias->type == WT_F32 && how->bias->n_in == r->n_experts);
        op_uses(l, op, how->bias);
    }
    op_reads(op, logits, r->n_experts);
    op_writes(op, r->ids, r->n_used);
    op_writes(op, r->weights, r->n_used);
    list_commit(l, op);
}

// ---- rows --------------------------------------------------------------------------------------

static void run_expert_bias(struct list *l, struct op *op, struct range r, int thread)
{
    const float *bias = (const float *)weight_at(l, op);
    const int32_t *ids = (const int32_t *)op->b->memory.base;
    int n_used = op->experts.n_used, width = op->w.n_in;
    struct column_walk walk = column_walk_of(op, r);
    (void)thread;
    while (column_walk_next(&walk))
        for (int at = walk.lo, end; at < walk.hi; at = end) {
            int j = at / width;
            end = (j + 1) * width < walk.hi ? (j + 1) * width : walk.hi;
            int32_t id = ids[(size_t)walk.row * (size_t)n_used + (size_t)j];
            const float *from = bias + (size_t)id * (size_t)width + (at - j * width);
            float *x = row_of(op->a, walk.row, op->width) + at;
            l->backend->kernels->add(x, x, from, (size_t)(end - at));
        }
}

void op_expert_bias(struct list *l, struct buf *x, const struct weight *bias,
                    const struct routing *r, int n)
{
    CHECK(bias->type == WT_F32 && bias->n_out == r->n_experts);
    // By blocks of columns, as op_glu, which often comes next.
    struct op *op = list_next(l, run_expert_bias, SPLIT_BLOCKS, n, r->n_used * bias->n_in);
    op->a = x;
    op->b = r->ids;
    op->experts.n_used = r->n_used;
    op_uses(l, op, bias);
    op_reads(op, r->ids, r->n_used);
    op_writes(op, x, op->width);
    list_commit(l, op);
}

static void run_expert_sum(struct list *l, struct op *op, struct range r, int thread)
{
    int n_used = op->experts.n_used;
    (void)thread;
    for (int t = r.lo; t < r.hi; t++) {
        float *out = row_of(op->out, t, op->width), *weights = row_of(op->b, t, n_used);
        memset(out, 0, (size_t)op->width * sizeof *out);
        for (int j = 0; j < n_used; j++)
            l->backend->kernels->add_scaled(out, row_of(op->a, t * n_used + j, op->width),
                                            weights[j], (size_t)op->width);
    }
}

void op_expert_sum(struct list *l, struct buf *out, struct buf *x, const struct routing *r,
                   int width, int n)
{
    CHECK(out != x);
    struct op *op = list_next(l, run_expert_sum, SPLIT_ROWS, n, width);
    op->out = out;
    op->a = x;
    op->b = r->weights;
    op->experts.n_used = r->n_used;
    op_reads(op, x, r->n_used * width);
    op_reads(op, r->weights, r->n_used);
    op_writes(op, out, width);
    list_commit(l, op);
}

static void run_gate_rows(struct list *l, struct op *op, struct range r, int thread)
{
    (void)thread;
    for (int t = r.lo; t < r.hi; t++) {
        float *x = row_of(op->a, t, op->width), gate = *row_of(op->b, t, 1);
        sigmoid(l->backend->kernels, &gate, 1);
        for (int i = 0; i < op->width; i++)
            x[i] *= gate;
    }
}

void op_gate_rows(struct list *l, struct buf *x, struct buf *s, int width, int n)
{
    struct op *op = list_next(l, run_gate_rows, SPLIT_ROWS, n, width);
    op->a = x;
    op->b = s;
    op_reads(op, s, 1);
    op_writes(op, x, width);
    list_commit(l, op);
}
