// Lists: recording with its phases, and the one parallel region that runs them.
//
// Pieces of weights: list_wait takes a slot for each piece and thread 0 fills it with the piece's
// address, in a phase before those that use the piece. When a piece cannot be had, all threads
// leave at the end of that phase, or earlier: what they claimed is done, and the others need them
// no more.
#include "backend/cpu/cpu.h"
#include "base/arith.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/guard.h"

#include <stdlib.h>
#include <string.h>

// ---- lifetime ----------------------------------------------------------------------------------

static size_t floats(size_t a, size_t b)
{
    size_t n;
    return size_mul(a, b, &n) && size_mul(n, sizeof(float), &n) ? n : SIZE_MAX;
}

// A row of the widest format there is: floats.
static size_t row_most(const struct list_limits *m)
{
    return floats(1, (size_t)m->max_width);
}

static size_t plan_memory(const struct list_limits *m, int n_threads)
{
    size_t total = arena_plan(0, (size_t)m->max_ops * sizeof(struct op));
    total = arena_plan(total, (size_t)m->max_pieces * sizeof(struct slot));
    total = arena_plan(total, shares_size(n_threads, m->max_ops));
    total = attend_plan_memory(total, m, n_threads);
    total = experts_plan_memory(total, m, n_threads);
    return arena_plan(total, row_most(m));
}

// Whole blocks of the widest format, whatever the widest row is.
static size_t quantized_bytes(const struct list_limits *m, enum act act)
{
    size_t width = ((size_t)m->max_width + 255) / 256 * 256, size;
    return size_mul(act_row_bytes(act, width), (size_t)m->max_rows, &size) ? size : SIZE_MAX;
}

static size_t angles_bytes(const struct list_limits *m)
{
    return floats((size_t)m->max_rows, (size_t)m->max_head_dim);
}

size_t list_bytes(const struct list_limits *limits, int n_threads)
{
    size_t total = plan_memory(limits, n_threads);
    for (int act = ACT_Q8; act < ACT_COUNT; act++)
        total = arena_plan(total, quantized_bytes(limits, (enum act)act));
    for (int i = 0; i < MAX_ANGLES; i++)
        total = arena_plan(total, angles_bytes(limits));
    return arena_plan(total, attend_spans_bytes(limits));
}

static void take_memory(struct list *l)
{
    const struct list_limits *m = &l->limits;
    l->ops = arena_take(&l->memory, (size_t)m->max_ops * sizeof(struct op));
    l->slots = arena_take(&l->memory, (size_t)m->max_pieces * sizeof(struct slot));
    shares_init(&l->shares, arena_take(&l->memory, shares_size(l->backend->n_threads, m->max_ops)),
                l->backend->n_threads, m->max_ops);
    attend_take_memory(l);
    experts_take_memory(l);
    l->row = arena_take(&l->memory, row_most(m));
}

int list_new(struct list **out, struct backend *b, const struct list_limits *limits,
             const struct piece_source *weights, struct err *e)
{
    struct list *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(e, ERR_NO_MEMORY, "no memory for a list of operations");
    l->backend = b;
    l->limits = *limits;
    l->weights = *weights;
    if (b->observer.see)
        l->limits.max_ops *= 2; // each product may have one before it
    int rc = 0;
    if (arena_init(&l->memory, plan_memory(&l->limits, b->n_threads))) {
        rc = err_set(e, ERR_NO_MEMORY, "no memory for a list of %d operations", limits->max_ops);
        goto out;
    }
    take_memory(l);
    for (int act = ACT_Q8; !rc && act < ACT_COUNT; act++)
        rc = buf_new(&l->quantized[act].buf, b, quantized_bytes(limits, (enum act)act),
                     "activations", e);
    for (int i = 0; i < MAX_ANGLES && !rc; i++)
        rc = buf_new(&l->angles[i].buf, b, angles_bytes(limits), "angles", e);
    if (!rc)
        rc = attend_new_spans(l, e);
out:
    if (rc) {
        list_free(l);
        return rc;
    }
    list_reset(l);
    *out = l;
    return 0;
}

void list_free(struct list *l)
{
    if (!l)
        return;
    for (int act = 0; act < ACT_COUNT; act++)
        buf_free(l->quantized[act].buf);
    for (int i = 0; i < MAX_ANGLES; i++)
        buf_free(l->angles[i].buf);
    buf_free(l->attend_shared.spans);
    arena_fini(&l->memory);
    free(l);
}

void list_reset(struct list *l)
{
    l->n_ops = l->phase_start = l->group_start = l->n_slots = l->n_products = 0;
    l->shared = false;
    l->part = NO_PART;
    for (int act = 0; act < ACT_COUNT; act++)
        l->quantized[act].of = NULL;
    for (int i = 0; i < MAX_ANGLES; i++)
        l->angles[i].rows = NULL;
    experts_forget(l);
}

// ---- recording ---------------------------------------------------------------------------------

struct op *list_next(struct list *l, void (*run)(struct list *, struct op *, struct range, int),
                     enum split split, int n, int width)
{
    CHECK(l->n_ops < l->limits.max_ops);
    CHECK(n >= 0 && n <= l->limits.max_rows);
    struct op *op = &l->ops[l->n_ops];
    memset(op, 0, sizeof *op);
    op->run = run;
    op->split = split;
    op->n = n;
    op->width = width;
    return op;
}

static void add_operand(struct op *op, struct buf *u, int width, bool written)
{
    CHECK(op->n_operands < OP_MAX_OPERANDS);
    op->operands[op->n_operands++] = (struct operand){u, width, written};
}

void op_reads(struct op *op, struct buf *u, int width)
{
    CHECK(width < 0 || floats((size_t)op->n, (size_t)width) <= u->size);
    add_operand(op, u, width, false);
}

void op_writes(struct op *op, struct buf *u, int width)
{
    CHECK(width < 0 || floats((size_t)op->n, (size_t)width) <= u->size);
    add_operand(op, u, width, true);
}

static int find_slot(const struct list *l, uint32_t piece)
{
    for (int i = l->n_slots - 1; i >= 0; i--)
        if (l->slots[i].piece == piece && l->slots[i].open)
            return i;
    return -1;
}

bool list_waits_for(const struct list *l, uint32_t piece)
{
    return find_slot(l, piece) >= 0;
}

void op_uses(struct list *l, struct op *op, const struct weight *w)
{
    op->w = *w;
    op->use = PIECE_USE;
    op->slot = find_slot(l, w->piece);
    op->n_slots = 1;
    CHECK(op->slot >= 0);
}

// Whether `op` can go over the same units as `member` does.
static bool same_units(const struct op *op, const struct op *member)
{
    return op->split == member->split && op->n == member->n &&
           (op->split == SPLIT_ROWS || (op->split == SPLIT_BLOCKS && op->width == member->width));
}

// Whether `later` needs what `earlier` did, or undoes what it needs. Inside a group an operand that
// lies alike for both is no reason: each unit passes through the operations in order. Nor is it for
// thread 0's own: it runs them in order.
static bool must_wait(const struct op *later, const struct op *earlier, bool grouped)
{
    bool ordered = later->split == SPLIT_FIRST && earlier->split == SPLIT_FIRST;
    for (int i = 0; i < later->n_operands && !ordered; i++) {
        const struct operand *x = &later->operands[i];
        for (int j = 0; j < earlier->n_operands; j++) {
            const struct operand *y = &earlier->operands[j];
            bool alike = grouped && x->width == y->width && x->width != OPERAND_ELSEWHERE;
            if (x->buf == y->buf && (x->written || y->written) && !alike)
                return true;
        }
    }
    bool shares_pieces = later->use && earlier->use &&
                         later->slot < earlier->slot + earlier->n_slots &&
                         earlier->slot < later->slot + later->n_slots;
    return shares_pieces && (earlier->use == PIECE_WAIT || later->use == PIECE_DONE);
}

static void start_group(struct list *l, struct op *op)
{
    int per_thread = 4 * l->backend->n_threads, most = 1;
    l->group_start = l->n_ops;
    if (op->split == SPLIT_ROWS) {
        op->units = op->n;
        most = 8; // the row is still in the cache when the next operation of the group wants it
    } else if (op->split == SPLIT_BLOCKS) {
        op->units = op->n * ((op->width + SPLIT_BLOCK_WIDTH - 1) / SPLIT_BLOCK_WIDTH);
        most = 64;
    } else if (op->split == SPLIT_FIRST) {
        op->units = op->step = 1;
    } else if (op->split == SPLIT_SHARES) {
        CHECK((op->units + op->step - 1) / op->step <= SHARES_MAX_STEPS);
        op->product = l->n_products++;
    }
    if (!op->step) {
        op->step = op->units / per_thread < most ? op->units / per_thread : most;
        op->step = op->step < 1 ? 1 : op->step;
    }
    l->ops[l->phase_start].phase_units += op->units;
    l->shared |= l->ops[l->phase_start].phase_units > op->step;
}

// What `op` begins. Experts that no product wants any more are let go of first: on the side, by
// thread 0.
static struct op *start_phase(struct list *l, struct op *op)
{
    l->phase_start = l->n_ops;
    for (int i = 0; i < EXPERT_PLANS; i++) {
        if (!experts_are_done(&l->experts[i], op))
            continue;
        CHECK(l->n_ops + 1 < l->limits.max_ops);
        memcpy(op + 1, op, sizeof *op);
        experts_record_let_go(l, &l->experts[i], op++);
        start_group(l, &l->ops[l->n_ops]);
        l->ops[l->group_start].group_ops++;
        l->ops[l->phase_start].phase_ops++;
        l->n_ops++;
    }
    return op;
}

void list_commit(struct list *l, struct op *op)
{
    bool joins = l->n_ops > l->phase_start && same_units(op, &l->ops[l->group_start]);
    bool waits = false;
    for (int i = l->phase_start; i < l->n_ops && !waits; i++)
        waits = must_wait(op, &l->ops[i], joins && i >= l->group_start);
    if (waits)
        op = start_phase(l, op);
    if (waits || !joins)
        start_group(l, op);
    l->ops[l->group_start].group_ops++;
    l->ops[l->phase_start].phase_ops++;
    for (int i = 0; i < op->n_operands; i++) {
        if (!op->operands[i].written)
            continue;
        for (int act = 0; act < ACT_COUNT; act++)
            if (op->operands[i].buf == l->quantized[act].of)
                l->quantized[act].of = NULL;
        experts_changed(l, op->operands[i].buf);
    }
    l->n_ops++;
}

bool list_acquire(struct list *l, struct slot *s)
{
    s->address = l->weights.acquire(l->weights.ctx, s->piece, &s->layout, &l->failure);
    if (s->address)
        return true;
    err_set(&l->failure, ERR_FAILED, "piece %u of the weights cannot be had", (unsigned)s->piece);
    atomic_store(&l->failed, true);
    return false;
}

void list_return(struct list *l, struct slot *s)
{
    if (s->address)
        l->weights.done(l->weights.ctx, s->piece);
    s->address = NULL;
}

static void run_wait(struct list *l, struct op *op, struct range units, int thread)
{
    (void)units, (void)thread;
    if (l->backend->stop && l->backend->stop()) {
        err_set(&l->failure, ERR_FAILED, "interrupted");
        atomic_store(&l->failed, true);
        return;
    }
    for (int i = op->slot; i < op->slot + op->n_slots; i++)
        if (!list_acquire(l, &l->slots[i]))
            return;
}

static void run_done(struct list *l, struct op *op, struct range units, int thread)
{
    (void)units, (void)thread;
    for (int i = op->slot; i < op->slot + op->n_slots; i++)
        list_return(l, &l->slots[i]);
}

void list_wait(struct list *l, uint32_t first, uint32_t n)
{
    CHECK(n > 0 && n <= (uint32_t)(l->limits.max_pieces - l->n_slots));
    struct op *op = list_next(l, run_wait, SPLIT_FIRST, 0, 0);
    op->use = PIECE_WAIT;
    op->slot = l->n_slots;
    op->n_slots = (int)n;
    for (uint32_t i = 0; i < n; i++)
        l->slots[l->n_slots++] = (struct slot){.piece = first + i, .open = true};
    list_commit(l, op);
}

void list_done(struct list *l, uint32_t first, uint32_t n)
{
    struct op *op = list_next(l, run_done, SPLIT_FIRST, 0, 0);
    op->use = PIECE_DONE;
    op->slot = find_slot(l, first);
    op->n_slots = (int)n;
    CHECK(op->slot >= 0 && op->slot + op->n_slots <= l->n_slots);
    for (uint32_t i = 0; i < n; i++) {
        struct slot *s = &l->slots[op->slot + (int)i];
        CHECK(s->piece == first + i && s->open);
        s->open = false;
    }
    list_commit(l, op);
}

// ---- running -----------------------------------------------------------------------------------

struct column_walk column_walk_of(const struct op *op, struct range units)
{
    return (struct column_walk){
        .at = units.lo,
        .end = units.hi,
        .per_row = (op->width + SPLIT_BLOCK_WIDTH - 1) / SPLIT_BLOCK_WIDTH,
        .width = op->width,
    };
}

bool column_walk_next(struct column_walk *c)
{
    if (c->at >= c->end)
        return false;
    int left = c->end - c->at, first = c->at % c->per_row;
    int blocks = c->per_row - first < left ? c->per_row - first : left;
    c->row = c->at / c->per_row;
    c->lo = first * SPLIT_BLOCK_WIDTH;
    c->hi = (first + blocks) * SPLIT_BLOCK_WIDTH < c->width ? (first + blocks) * SPLIT_BLOCK_WIDTH
                                                            : c->width;
    c->at += blocks;
    return true;
}

static bool claim(struct op *op, struct range *out)
{
    int lo = atomic_fetch_add_explicit(&op->next, op->step, memory_order_relaxed);
    if (lo >= op->units)
        return false;
    *out = (struct range){lo, lo + op->step < op->units ? lo + op->step : op->units};
    return true;
}

// Takes units of the group that begins at `op` through its operations; their number.
static int run_units(struct list *l, struct op *op, struct range r, int thread)
{
    int64_t start = l->backend->work_ns ? clock_ns() : 0;
    for (int i = 0; i < op->group_ops; i++)
        op[i].run(l, &op[i], r, thread);
    if (l->backend->work_ns && op->split != SPLIT_FIRST)
        atomic_fetch_add_explicit(l->backend->work_ns, clock_ns() - start, memory_order_relaxed);
    if (l->backend->progress)
        atomic_fetch_add_explicit(l->backend->progress, 1, memory_order_relaxed);
    return r.hi - r.lo;
}

// This thread's units of a group without shares.
static int run_claims(struct list *l, struct op *op, int thread)
{
    int units = 0;
    if (op->split == SPLIT_FIRST && thread)
        return 0;
    for (struct range r; claim(op, &r);)
        units += run_units(l, op, r, thread);
    return units;
}

// This thread's own units of a product, or others' that are left.
static int run_shares(struct list *l, struct op *op, int thread, bool own)
{
    int units = 0, n = (op->units + op->step - 1) / op->step;
    for (struct steps s; own ? shares_own(&l->shares, op->product, n, thread, &s)
                             : shares_steal(&l->shares, op->product, n, &s);) {
        int end = s.hi * op->step;
        struct range r = {s.lo * op->step, end < op->units ? end : op->units};
        units += run_units(l, op, r, thread);
    }
    if (l->shared)
        l->shares.work[thread].done += units * op->cost;
    return units;
}

// This thread's units of a phase. Others' shares come last, when its own of all groups are done.
static int run_phase(struct list *l, struct op *phase, int thread)
{
    struct op *end = phase + phase->phase_ops;
    int units = 0;
    bool shares = false;
    for (struct op *op = phase; op < end; op += op->group_ops) {
        shares |= op->split == SPLIT_SHARES;
        units +=
            op->split == SPLIT_SHARES ? run_shares(l, op, thread, true) : run_claims(l, op, thread);
    }
    for (struct op *op = phase; shares && op < end; op += op->group_ops)
        if (op->split == SPLIT_SHARES)
            units += run_shares(l, op, thread, false);
    return units;
}

static void run_thread(void *arg, int thread)
{
    struct list *l = arg;
    guard_enter();
    for (int i = 0; i < l->n_ops && !atomic_load(&l->failed); i += l->ops[i].phase_ops) {
        struct op *phase = &l->ops[i];
        int units = run_phase(l, phase, thread);
        if (units)
            pool_add(l->backend->pool, &phase->done, units, phase->phase_units);
        pool_await(l->backend->pool, &phase->done, phase->phase_units);
    }
    guard_leave();
}

int list_run(struct list *l, struct err *e)
{
    guard_enter();
    list_leave_part(l);
    atomic_store(&l->failed, false);
    l->failure.code = 0;
    attend_reset(l);
    shares_begin(&l->shares);
    for (int i = 0; i < l->n_ops; i++) {
        atomic_store_explicit(&l->ops[i].next, 0, memory_order_relaxed);
        atomic_store_explicit(&l->ops[i].done, 0, memory_order_relaxed);
    }
    if (l->shared)
        pool_share(l->backend->pool, run_thread, l);
    else
        run_thread(l, 0);
    for (int i = 0; i < l->n_slots; i++)
        list_return(l, &l->slots[i]);
    experts_let_go(l);
    guard_leave();
    return l->failure.code ? err_set(e, l->failure.code, "%s", l->failure.text) : 0;
}
