// Products that somebody watches: before each the list shows its inputs, row by row, to the
// backend's observer. Without one nothing is recorded.
#include "backend/cpu/cpu.h"

static void run_observe(struct list *l, struct op *op, struct range units, int thread)
{
    const struct observer *o = &l->backend->observer;
    (void)units, (void)thread;
    for (int t = 0; t < op->n; t++)
        o->see(o->arg, op->w.piece, row_of(op->a, t, op->w.n_in));
}

void observe_matmul(struct list *l, struct buf *x, const struct weight *w, int n)
{
    if (!l->backend->observer.see)
        return;
    struct op *op = list_next(l, run_observe, SPLIT_FIRST, n, w->n_in);
    op->a = x;
    op->w = *w;
    op_reads(op, x, w->n_in);
    list_commit(l, op);
}

static void run_observe_experts(struct list *l, struct op *op, struct range units, int thread)
{
    const struct observer *o = &l->backend->observer;
    const struct expert_share *s = &op->experts;
    const int32_t *ids = (const int32_t *)op->b->memory.base;
    (void)units, (void)thread;
    for (int use = 0; use < op->n * s->n_used; use++)
        o->see(o->arg, op->w.piece + (uint32_t)ids[use],
               row_of(op->a, s->per_expert ? use : use / s->n_used, op->w.n_in));
}

void observe_experts(struct list *l, struct buf *x, const struct weight *first,
                     const struct routing *r, bool per_expert, int n)
{
    if (!l->backend->observer.see)
        return;
    struct op *op = list_next(l, run_observe_experts, SPLIT_FIRST, n, first->n_in);
    op->a = x;
    op->b = r->ids;
    op->w = *first;
    op->experts = (struct expert_share){.n_used = r->n_used, .per_expert = per_expert};
    op_reads(op, x, per_expert ? r->n_used * first->n_in : first->n_in);
    op_reads(op, r->ids, r->n_used);
    list_commit(l, op);
}
