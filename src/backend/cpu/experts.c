// Products with the experts of a mixture.
//
// When a list runs, thread 0 sorts the uses of experts (row t's j-th choice is use t * n_used + j)
// by expert and asks for the pieces of those that have any; that is a plan. A product's units are
// blocks of rows of one expert's matrix, for all of its uses together, so that a block is read
// once. A kernel wants rows of activations at equal distances: those of one or two uses always are,
// and those of experts that every row uses alike, as heads are; others are gathered first, a tile
// of them at a time, and what comes out is spread again.
//
//     plan     | sort uses, ask for gate and up |
//     products |                                | gate: e0 e0 e3 e3 .. | up |
//     let go   |                                                            | thread 0, on the side
//
// Where few pieces can be held at a time (piece_source.at_once), a product is done in waves of the
// experts in use, and gate and up have waves of their own. A wave takes half of what may be held;
// the rest is for what comes next, which is announced first, so that it is read meanwhile:
//
//     wave 0   | ask gate: e0 e3, announce e4 e7 | multiply |
//     wave 1                                                | let go, ask gate: e4 e7, announce ..
//
// A sum's bits depend on none of it: a kernel's do not depend on how many rows it is given.
#include "backend/cpu/cpu.h"
#include "base/arith.h"
#include "base/check.h"
#include "kernels/lanes.h"

#include <limits.h>
#include <string.h>

enum {
    GATHER_BYTES = 1 << 18, // of a thread, so that a tile stays in its cache
    TILE_USES = 64,
    TILE_ROWS = 256,
    GATHER_ROWS = 64, // of a block at least, where a tile may be gathered for it
};

// ---- memory ------------------------------------------------------------------------------------

static size_t max_uses(const struct list_limits *m)
{
    size_t n;
    return size_mul((size_t)m->max_rows, (size_t)m->max_experts_used, &n) ? n : SIZE_MAX;
}

static size_t ints(size_t n)
{
    size_t bytes;
    return size_mul(n, sizeof(int), &bytes) ? bytes : SIZE_MAX;
}

size_t experts_plan_memory(size_t total, const struct list_limits *m, int n_threads)
{
    size_t n = (size_t)m->max_experts;
    if (!n)
        return total;
    for (int i = 0; i < EXPERT_PLANS; i++) {
        total = arena_plan(total, ints(max_uses(m)));
        total = arena_plan(total, ints(n + 1));
        total = arena_plan(total, ints(n));
        total = arena_plan(total, EXPERT_SETS * n * sizeof(struct slot));
    }
    total = arena_plan(total, (size_t)n_threads * sizeof(struct expert_scratch));
    for (int i = 0; i < n_threads; i++) {
        for (int k = 0; k < 3; k++)
            total = arena_plan(total, n * sizeof(float));
        total = arena_plan(total, n);
        total = arena_plan(total, GATHER_BYTES);
        total = arena_plan(total, TILE_USES * TILE_ROWS * sizeof(float));
    }
    return total;
}

void experts_take_memory(struct list *l)
{
    size_t n = (size_t)l->limits.max_experts;
    if (!n)
        return;
    for (int i = 0; i < EXPERT_PLANS; i++) {
        struct experts *x = &l->experts[i];
        x->uses = arena_take(&l->memory, ints(max_uses(&l->limits)));
        x->begin = arena_take(&l->memory, ints(n + 1));
        x->in_use = arena_take(&l->memory, ints(n));
        x->slots = arena_take(&l->memory, EXPERT_SETS * n * sizeof *x->slots);
    }
    int n_threads = l->backend->n_threads;
    l->expert_scratch = arena_take(&l->memory, (size_t)n_threads * sizeof *l->expert_scratch);
    for (int i = 0; i < n_threads; i++) {
        struct expert_scratch *s = &l->expert_scratch[i];
        s->scores = arena_take(&l->memory, n * sizeof(float));
        s->choice = arena_take(&l->memory, n * sizeof(float));
        s->groups = arena_take(&l->memory, n * sizeof(float));
        s->shut = arena_take(&l->memory, n);
        s->x = arena_take(&l->memory, GATHER_BYTES);
        s->out = arena_take(&l->memory, TILE_USES * TILE_ROWS * sizeof(float));
    }
}

// ---- plans -------------------------------------------------------------------------------------

// Counting sort: uses of the same expert stay in order.
static void sort_uses(struct experts *x, const int32_t *ids, int n_uses, int n_experts)
{
    memset(x->begin, 0, ints((size_t)n_experts + 1));
    for (int u = 0; u < n_uses; u++) {
        CHECK(ids[u] >= 0 && ids[u] < n_experts);
        x->begin[ids[u] + 1]++;
    }
    x->n_in_use = 0;
    for (int e = 0; e < n_experts; e++) {
        if (x->begin[e + 1])
            x->in_use[x->n_in_use++] = e;
        x->begin[e + 1] += x->begin[e];
    }
    for (int u = 0; u < n_uses; u++)
        x->uses[x->begin[ids[u]]++] = u;
    memmove(x->begin + 1, x->begin, ints((size_t)n_experts)); // each had come to its end
    x->begin[0] = 0;
}

static struct slot *slot_of(const struct list *l, const struct experts *x, int set, int expert)
{
    return &x->slots[(size_t)set * (size_t)l->limits.max_experts + (size_t)expert];
}

// The experts of a wave: how many there are, from in_use[first] on.
static int wave_length(const struct experts *x, struct wave w)
{
    int left = x->n_in_use - w.first;
    return left <= 0 ? 0 : left < w.n ? left : w.n;
}

// Tells what will be acquired: the matrices of this wave, and of those after it as many as may be
// on their way besides.
static void announce(const struct list *l, const struct op *op)
{
    const struct experts *x = op->experts.plan;
    int room = op->experts.at_once;
    for (const struct op *ask = op;; ask = &l->ops[ask->experts.next]) {
        const struct expert_share *s = &ask->experts;
        int n = wave_length(x, s->wave);
        for (int set = 0; set < s->n_sets; set++)
            for (int i = 0; i < n; i++) {
                if (!room--)
                    return;
                l->weights.want(l->weights.ctx,
                                s->first[set] + (uint32_t)x->in_use[s->wave.first + i]);
            }
        if (!s->next)
            return;
    }
}

static void run_ask(struct list *l, struct op *op, struct range units, int thread)
{
    (void)units, (void)thread;
    const struct expert_share *s = &op->experts;
    struct experts *x = s->plan;
    sort_uses(x, (const int32_t *)op->a->memory.base, op->n * s->n_used, s->n_experts);
    if (l->weights.want)
        announce(l, op);
    int n = wave_length(x, s->wave);
    for (int set = 0; set < s->n_sets; set++)
        for (int i = 0; i < n; i++) {
            int expert = x->in_use[s->wave.first + i];
            struct slot *slot = slot_of(l, x, set, expert);
            slot->piece = s->first[set] + (uint32_t)expert;
            if (!list_acquire(l, slot))
                return;
        }
}

static void let_go(struct list *l, struct experts *x)
{
    for (int set = 0; set < EXPERT_SETS; set++)
        for (int i = 0; i < x->n_in_use; i++)
            list_return(l, slot_of(l, x, set, x->in_use[i]));
    x->n_in_use = 0;
}

void experts_let_go(struct list *l)
{
    for (int i = 0; i < EXPERT_PLANS; i++)
        let_go(l, &l->experts[i]);
}

static void run_let_go(struct list *l, struct op *op, struct range units, int thread)
{
    (void)units, (void)thread;
    let_go(l, op->experts.plan);
}

void experts_forget(struct list *l)
{
    for (int i = 0; i < EXPERT_PLANS; i++) {
        l->experts[i].ids = NULL;
        l->experts[i].multiplied = false;
    }
    l->choice = NULL;
}

void experts_changed(struct list *l, const struct buf *u)
{
    for (int i = 0; i < EXPERT_PLANS; i++)
        if (l->experts[i].ids == u)
            l->experts[i].ids = NULL;
    if (l->choice == u)
        l->choice = NULL;
}

bool experts_are_done(const struct experts *x, const struct op *op)
{
    return x->multiplied && !(op->experts.plan == x && op->experts.blocks);
}

void experts_record_let_go(struct list *l, struct experts *x, struct op *op)
{
    CHECK(list_next(l, run_let_go, SPLIT_FIRST, 0, 0) == op);
    op->experts.plan = x;
    x->ids = NULL;
    x->multiplied = false;
}

// Experts that a wave takes, of as many as may be in use.
static int wave_size(int at_once, int in_use)
{
    int half = at_once < 2 ? 1 : at_once / 2;
    return half < in_use ? half : in_use;
}

int list_waves(int at_once, int in_use)
{
    int wave = wave_size(at_once, in_use);
    return (in_use + wave - 1) / wave;
}

// Records asking for one more wave of a choice, after all that is held was let go of where little
// can be held.
static struct experts *new_plan(struct list *l, const struct expert_share *s,
                                const struct routing *r, int n)
{
    struct experts *x = s->plan;
    struct op *op = list_next(l, run_ask, SPLIT_FIRST, n, r->n_used);
    struct op *last = l->choice == r->ids ? &l->ops[l->asked] : NULL;
    op->a = r->ids;
    op->experts = *s;
    op_reads(op, r->ids, r->n_used);
    for (int i = 0; i < EXPERT_PLANS; i++)
        if (&l->experts[i] == x || l->weights.at_once)
            op_writes(op, &l->experts[i].mark, OPERAND_ELSEWHERE);
    list_commit(l, op);
    x->ids = l->choice = r->ids;
    x->n = n;
    x->n_used = r->n_used;
    x->n_experts = r->n_experts;
    x->wave = s->wave;
    x->asked = l->asked = l->n_ops - 1;
    if (last && last->n == n && last->experts.n_used == r->n_used &&
        last->experts.n_experts == r->n_experts)
        last->experts.next = l->asked;
    return x;
}

// The plan that holds a wave of the matrices from piece `first` on, and as which of its sets: the
// last one where it is for the same choice and can still ask for more, as gate's can for up.
static struct experts *plan_for(struct list *l, uint32_t first, const struct routing *r,
                                struct wave wave, int at_once, int n, int *set)
{
    for (int i = 0; i < EXPERT_PLANS; i++) {
        struct experts *x = &l->experts[i];
        struct expert_share *s = &l->ops[x->asked].experts;
        if (x->ids != r->ids || x->n != n || x->n_used != r->n_used ||
            x->n_experts != r->n_experts || x->wave.first != wave.first || x->wave.n != wave.n ||
            s->n_sets == EXPERT_SETS || wave.n > at_once / (s->n_sets + 1) ||
            wave.n > s->at_once / (s->n_sets + 1))
            continue;
        *set = s->n_sets++;
        s->first[*set] = first;
        return x;
    }
    struct expert_share s = {.plan = &l->experts[l->next_experts],
                             .wave = wave,
                             .first = {first},
                             .n_sets = 1,
                             .at_once = at_once,
                             .n_used = r->n_used,
                             .n_experts = r->n_experts};
    l->next_experts = (l->next_experts + 1) % EXPERT_PLANS;
    *set = 0;
    return new_plan(l, &s, r, n);
}

// ---- products ----------------------------------------------------------------------------------

// One expert's uses of a product, and rows [lo, hi) of its matrix.
struct expert_job {
    const struct op *op;
    const struct format_kernels *format;
    enum layout layout;
    const uint8_t *w; // row lo
    size_t x_bytes;   // of a row of activations
    int lo, hi;
};

// The row of activations that a use multiplies.
static int row_of_use(const struct op *op, int use)
{
    return op->experts.per_expert ? use : use / op->experts.n_used;
}

// How many of n uses have their operands at equal distances.
static int evenly_spaced(const struct op *op, const int *uses, int n)
{
    int i = n < 2 ? n : 2;
    while (i < n && uses[i] - uses[i - 1] == uses[1] - uses[0] &&
           row_of_use(op, uses[i]) - row_of_use(op, uses[i - 1]) ==
               row_of_use(op, uses[1]) - row_of_use(op, uses[0]))
        i++;
    return i;
}

static void call(const struct expert_job *j, struct matmul_args *args, int from, int rows)
{
    args->w = j->w + (size_t)from * j->op->w.row_bytes;
    args->w_stride = j->op->w.row_bytes;
    args->n_in = (size_t)j->op->w.n_in;
    args->row_hi = rows;
    if (j->layout == LAYOUT_LANES)
        j->format->matmul_lanes(args);
    else
        j->format->matmul(args);
}

static const uint8_t *x_of_use(const struct expert_job *j, int use)
{
    return j->op->a->memory.base + (size_t)row_of_use(j->op, use) * j->x_bytes;
}

static void multiply_in_place(const struct expert_job *j, const int *uses, int n)
{
    int width = j->op->w.n_out, next = n > 1 ? uses[1] : uses[0];
    struct matmul_args args = {
        .out = row_of(j->op->out, uses[0], width) + j->lo,
        .out_stride = (size_t)(next - uses[0]) * (size_t)width,
        .x = x_of_use(j, uses[0]),
        .x_stride = (size_t)(x_of_use(j, next) - x_of_use(j, uses[0])),
        .n_tokens = n,
    };
    call(j, &args, 0, j->hi - j->lo);
}

static void multiply_gathered(const struct expert_job *j, const struct expert_scratch *s,
                              const int *uses, int n)
{
    for (int i = 0; i < n; i++)
        memcpy(s->x + (size_t)i * j->x_bytes, x_of_use(j, uses[i]), j->x_bytes);
    for (int lo = j->lo, rows; lo < j->hi; lo += rows) {
        rows = j->hi - lo < TILE_ROWS ? j->hi - lo : TILE_ROWS;
        struct matmul_args args = {
            .out = s->out,
            .out_stride = TILE_ROWS,
            .x = s->x,
            .x_stride = j->x_bytes,
            .n_tokens = n,
        };
        call(j, &args, lo - j->lo, rows);
        for (int i = 0; i < n; i++)
            memcpy(row_of(j->op->out, uses[i], j->op->w.n_out) + lo, s->out + i * TILE_ROWS,
                   (size_t)rows * sizeof(float));
    }
}

// Rows [lo, hi) of the matrix of an expert in use.
static void multiply(struct list *l, const struct op *op, int expert, struct range r, int thread)
{
    const struct expert_share *s = &op->experts;
    const struct slot *slot = slot_of(l, s->plan, s->set, expert);
    struct expert_job j = {
        .op = op,
        .format = &l->backend->kernels->format[op->w.type],
        .layout = slot->layout,
        .w = slot->address + op->w.offset + (size_t)r.lo * op->w.row_bytes,
        .x_bytes = act_row_bytes(op->act, (size_t)op->w.n_in),
        .lo = r.lo,
        .hi = r.hi,
    };
    const int *uses = s->plan->uses + s->plan->begin[expert];
    int left = s->plan->begin[expert + 1] - s->plan->begin[expert];
    int tile = (int)(GATHER_BYTES / j.x_bytes < TILE_USES ? GATHER_BYTES / j.x_bytes : TILE_USES);
    for (int n; left; uses += n, left -= n) {
        n = evenly_spaced(op, uses, left);
        if (n == left || n >= tile) {
            multiply_in_place(&j, uses, n);
        } else {
            n = left < tile ? left : tile;
            multiply_gathered(&j, &l->expert_scratch[thread], uses, n);
        }
    }
}

static void run_expert_matmul(struct list *l, struct op *op, struct range r, int thread)
{
    const struct expert_share *s = &op->experts;
    int n = wave_length(s->plan, s->wave);
    while (r.lo < r.hi && r.lo / s->blocks < n) {
        int i = s->wave.first + r.lo / s->blocks, block = r.lo % s->blocks;
        int end = block + r.hi - r.lo < s->blocks ? block + r.hi - r.lo : s->blocks;
        int hi = end * s->block_rows < op->w.n_out ? end * s->block_rows : op->w.n_out;
        multiply(l, op, s->plan->in_use[i], (struct range){block * s->block_rows, hi}, thread);
        r.lo += end - block;
    }
}

_Static_assert(STEP_ROWS % LANE_ROWS == 0, "blocks begin at groups of rows");

// How many experts may be in use.
static int most_in_use(int n, const struct routing *r)
{
    int n_uses = n * r->n_used;
    return n_uses < r->n_experts ? n_uses : r->n_experts;
}

// Cuts the matrices of as many experts of a wave as may be in use into blocks, each for `each` rows
// or so. Every row's experts are different ones, so it is known how many that are where there is
// one row, or all are used.
static void share_out(const struct list *l, struct op *op, const struct weight *w, int each)
{
    struct expert_share *s = &op->experts;
    int n_threads = l->backend->n_threads, n_out = w->n_out;
    bool known = op->n == 1 || s->n_used == s->n_experts;
    int rows = list_step(l, (int64_t)n_out * s->wave.n, (int64_t)w->row_bytes, each);
    rows = !known && rows < GATHER_ROWS ? GATHER_ROWS : rows;
    s->blocks = (n_out + rows - 1) / rows;
    rows = (n_out + s->blocks - 1) / s->blocks;
    s->block_rows = (rows + STEP_ROWS - 1) / STEP_ROWS * STEP_ROWS;
    s->blocks = (n_out + s->block_rows - 1) / s->block_rows;
    op->units = s->wave.n * s->blocks;
    op->step = 1;
    op->cost = (int64_t)w->row_bytes * s->block_rows * each;
    bool shares = known && n_threads > 1 && op->units >= SHARED_STEPS * n_threads;
    op->split = shares && op->units <= SHARES_MAX_STEPS ? SPLIT_SHARES : SPLIT_OWN;
}

// The product with one wave of the experts. `in` is x as the kernels want it.
static void record_wave(struct list *l, struct buf *out, struct buf *in, const struct weight *first,
                        const struct routing *r, const struct expert_share *s, int n)
{
    enum act act = l->backend->kernels->format[first->type].act;
    int width = s->per_expert ? r->n_used * first->n_in : first->n_in, set;
    struct experts *plan = plan_for(l, first->piece, r, s->wave, s->at_once, n, &set);
    struct op *op = list_next(l, run_expert_matmul, SPLIT_OWN, n, first->n_out);
    op->experts = *s;
    op->experts.plan = plan;
    op->experts.set = set;
    op->w = *first;
    op->out = out;
    op->a = in;
    op->act = act;
    share_out(l, op, first, n * r->n_used / most_in_use(n, r));
    op_reads(op, &plan->mark, OPERAND_ELSEWHERE);
    op_reads(op, in, act == ACT_F32 ? width : OPERAND_ELSEWHERE);
    op_writes(op, out, r->n_used * first->n_out);
    list_commit(l, op);
    plan->multiplied = true;
}

void op_expert_matmul(struct list *l, struct buf *out, struct buf *x, const struct weight *first,
                      const struct routing *r, bool per_expert, int n)
{
    int width = per_expert ? r->n_used * first->n_in : first->n_in;
    CHECK(kernels_can(first->type) && width <= l->limits.max_width);
    CHECK(r->n_used > 0 && r->n_used <= l->limits.max_experts_used);
    CHECK(r->n_used <= r->n_experts && r->n_experts <= l->limits.max_experts);
    const struct piece_source *source = &l->weights;
    int at_once = source->at_once ? source->at_once(source->ctx, first->piece) : INT_MAX;
    if (!n)
        return;
    observe_experts(l, x, first, r, per_expert, n);
    struct buf *in = list_quantized(l, x, width, n, l->backend->kernels->format[first->type].act);
    struct expert_share s = {.at_once = at_once,
                             .n_used = r->n_used,
                             .n_experts = r->n_experts,
                             .per_expert = per_expert};
    int in_use = most_in_use(n, r), size = wave_size(at_once, in_use);
    for (s.wave.first = 0; s.wave.first < in_use; s.wave.first += size) {
        int left = in_use - s.wave.first;
        s.wave.n = left < size ? left : size;
        record_wave(l, out, in, first, r, &s, n);
    }
}
