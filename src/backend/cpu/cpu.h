// The inside of the CPU device: what list.c, the operations' files and shares.c share.
//
// A list is an array of operations in the order they were recorded, cut into phases where one
// operation needs another's result, and inside a phase into groups of operations that go over the
// same rows:
//
//     |      phase       |       phase         |
//     | norm quantize    | q      k      v     |  ...
//     | \___ group ____/ | group  group  group |
//
// When a list runs, every thread walks the phases. It claims units (rows, blocks of columns, heads)
// of each group until none is left, and takes a claimed unit through all operations of the group;
// then it waits until all units of the phase are done. It does not wait for other threads as such:
// one that lost its core, and holds no unit, holds nobody up, and when it is back it finds nothing
// left to claim and catches up. Products have so many units that each thread begins with a share of
// its own (shares.h); of anything else the next units are whoever's who asks.
#pragma once

#include "backend/backend.h"
#include "backend/cpu/shares.h"
#include "base/arena.h"
#include "base/pins.h"
#include "base/pool.h"

#include <stdatomic.h>
#include <stdbool.h>

struct backend {
    struct pool *pool;
    struct pins pins; // n = 0: threads go where the system puts them
    int n_threads;
    const struct kernels *kernels;
    bool (*stop)(void);         // asked at every list_wait; NULL: nobody is asked
    _Atomic uint64_t *progress; // counts claims that were worked off; NULL: nobody watches
    struct observer observer;
    _Atomic int64_t *work_ns; // time inside operations; NULL: nobody wants to know
    char description[64];
};

struct buf {
    struct arena memory;
    size_t size;
};

// What a unit of an operation is.
enum split {
    SPLIT_OWN,    // the operation's own affair: it is a group by itself
    SPLIT_SHARES, // likewise, and threads have shares of it
    SPLIT_ROWS,   // a row
    SPLIT_BLOCKS, // SPLIT_BLOCK_WIDTH columns of a row
    SPLIT_FIRST,  // one unit, thread 0's
};
enum { SPLIT_BLOCK_WIDTH = 256 };

struct range {
    int lo, hi;
};

enum { OPERAND_ELSEWHERE = -1 }; // width of an operand whose row t is not at t * width

struct operand {
    struct buf *buf;
    int width; // floats a row, or OPERAND_ELSEWHERE
    bool written;
};

enum piece_use { PIECE_NONE, PIECE_WAIT, PIECE_USE, PIECE_DONE };

enum { OP_MAX_OPERANDS = 4 };
enum { MAX_ANGLES = 2 }; // tables that a recording keeps
enum { NO_PART = -1 };

enum {
    EXPERT_PLANS = 2, // in turns, so that the next one is made while the last is in use
    EXPERT_SETS = 2,  // matrices of each expert that a plan holds: gate and up
};

// A wave of a product with experts: of those in use, `n` from `first` on, at most.
struct wave {
    int first, n;
};

// How a product with experts is shared out: units are blocks of rows of one expert.
struct expert_share {
    struct experts *plan;
    struct wave wave;
    uint32_t first[EXPERT_SETS]; // pieces, when they are asked for
    int set, n_sets;
    int at_once; // pieces that may be held or on their way, when they are asked for
    int next;    // the operation that asks next for matrices of the same choice; 0: none
    int n_used, n_experts;
    int blocks, block_rows; // of an expert
    bool per_expert;
};

// How attention is shared out: units are (block of rows, key-value head, span). Where one span is
// all there is, or units are plenty, a unit takes all spans of its rows.
struct attend_plan {
    int window;
    int block_rows, n_blocks; // rows of the batch in a block
    int first_span, n_spans;  // spans that some row sees
    float softcap;
    bool split; // a unit is one span
};

struct op {
    _Alignas(64) atomic_int next; // first operation of a group: units claimed
    _Alignas(64) atomic_int done; // first operation of a phase: units done
    int group_ops;                // first of a group: its length
    int phase_ops, phase_units;   // first of a phase: its length in operations, and its units
    int units, step;              // units; how many are claimed at once, or at least
    int product;                  // SPLIT_SHARES: which of list.shares
    int64_t cost;                 // SPLIT_SHARES: of a unit, against others
    enum split split;
    enum piece_use use;
    int slot, n_slots; // of list.slots: pieces waited for, used or done with
    void (*run)(struct list *l, struct op *op, struct range units, int thread);

    struct operand operands[OP_MAX_OPERANDS];
    int n_operands;

    int n, width; // rows; of the row that is split
    int column;   // of a product with a part of a matrix: where in the row it begins
    struct buf *out, *a, *b;
    struct weight w;
    enum act act;
    const int32_t *ids; // op_embed, op_gather
    const struct rows *rows;
    struct rope rope;
    struct kv_layer kv;
    struct attend_plan attend;
    struct expert_share experts;
    struct route_how route;
    struct view to, from;
    int n_heads, head_dim;
    enum glu glu;
    float number; // epsilon, scale
};

// Where one piece lies during a run; written by thread 0, read by the others in later phases.
struct slot {
    const uint8_t *address; // NULL: not held
    enum layout layout;
    uint32_t piece;
    bool open; // recorded as waited for and not yet as done with
};

// What a thread needs for attention: for each query of a unit the prepared query, and partial
// results of a chunk, a span and all of it.
struct attend_scratch {
    uint8_t *queries;
    struct attn_partial *out, *span, *total;
    struct attn_span *seen;
    float *chunk_acc; // (queries, acc_floats)
};

// What threads share for attention that is split by spans.
struct attend_shared {
    struct buf *spans;   // partial results: (rows, heads, spans)
    atomic_int *arrived; // spans that are done, by block and key-value head; 0 between operations
    int max_groups;      // of `arrived`
};

// Which rows want which experts, and where the matrices of those lie: made and held by thread 0
// when a list runs, for the products between that and list_let_go.
struct experts {
    struct buf mark; // has no memory: operations wait for each other by it

    // While recording.
    struct buf *ids; // whose plan it is; NULL: nobody's, or the ids were written again
    int n, n_used, n_experts;
    struct wave wave;
    int asked;       // the operation that asks for the pieces
    bool multiplied; // by a product of this phase: to be let go of in the next

    // While running. Row t * n_used + j is a use, by the expert ids[t][j].
    int *uses;   // (max_rows * max_experts_used) by expert, ascending
    int *begin;  // (max_experts + 1) where the uses of each begin
    int *in_use; // (n_in_use) experts that have any, ascending
    int n_in_use;
    struct slot *slots; // (EXPERT_SETS, max_experts)
};

// What a thread needs for mixtures: scores of a router's row, and activations gathered from rows
// that lie here and there.
struct expert_scratch {
    float *scores, *choice, *groups; // (max_experts)
    uint8_t *shut;                   // (max_experts) out of the choice
    uint8_t *x;
    float *out;
};

struct list {
    struct backend *backend;
    struct list_limits limits;
    struct piece_source weights;
    struct arena memory;
    struct op *ops;
    int n_ops, phase_start, group_start; // the phase and group that are being recorded
    bool shared;                         // some phase has work for more than one thread
    struct shares shares;
    int n_products; // recorded with SPLIT_SHARES
    struct slot *slots;
    int n_slots;
    // The last part that was multiplied with: done with beside the next product, so that letting go
    // takes no phase of its own. NO_PART: none.
    int64_t part;
    struct attend_scratch *attend; // (n_threads)
    struct attend_shared attend_shared;

    struct experts experts[EXPERT_PLANS];
    int next_experts;
    // The last choice whose experts were asked for, as far as it holds, and the operation that did;
    // 0: none.
    struct buf *choice;
    int asked;
    struct expert_scratch *expert_scratch; // (n_threads)

    // Quantized activations, a buffer for each act; valid while `of` holds what was quantized.
    struct quantized {
        struct buf *buf, *of;
        int n, width;
    } quantized[ACT_COUNT];

    struct angles {
        struct buf *buf;         // cosines (max_rows, max_head_dim / 2), then sines
        const struct rows *rows; // whose; NULL: nobody's yet
        struct rope rope;
    } angles[MAX_ANGLES];
    int next_angles; // to be replaced
    uint8_t *row;    // op_embed: a row of the widest format, as in the file

    atomic_bool failed;
    struct err failure; // thread 0's
};

// ---- recording ---------------------------------------------------------------------------------
struct op *list_next(struct list *l, void (*run)(struct list *, struct op *, struct range, int),
                     enum split split, int n, int width);
// Operands of `n` rows of `width` floats.
void op_reads(struct op *op, struct buf *u, int width);
void op_writes(struct op *op, struct buf *u, int width);
void op_uses(struct list *l, struct op *op, const struct weight *w);
// SPLIT_OWN, SPLIT_SHARES: op->units and op->step are set.
void list_commit(struct list *l, struct op *op);

// Whether the piece was waited for and not done with.
bool list_waits_for(const struct list *l, uint32_t piece);
// Done with the last part of a matrix that was multiplied with, if any.
void list_leave_part(struct list *l);
// x (n, width) as `act` wants it: quantized by an operation before, once for all that read it.
struct buf *list_quantized(struct list *l, struct buf *x, int width, int n, enum act act);
// Rows that are claimed at once of a product of so many rows, each for `n` tokens.
int list_step(const struct list *l, int64_t n_rows, int64_t row_bytes, int n);
enum { STEP_ROWS = 16 };   // a cache line of results, and a group of rows in lane form
enum { SHARED_STEPS = 4 }; // a thread; with fewer, shares are not worth looking after

// Operations that show a product's input to the observer, where there is one.
void observe_matmul(struct list *l, struct buf *x, const struct weight *w, int n);
void observe_experts(struct list *l, struct buf *x, const struct weight *first,
                     const struct routing *r, bool per_expert, int n);

// ---- running -----------------------------------------------------------------------------------
// Walks blocks of a SPLIT_BLOCKS operation: columns [lo, hi) of row `row` at a time.
struct column_walk {
    int row, lo, hi;
    int at, end, per_row, width;
};
struct column_walk column_walk_of(const struct op *op, struct range units);
bool column_walk_next(struct column_walk *c);
static inline float *row_of(const struct buf *u, int t, int width)
{
    return (float *)u->memory.base + (size_t)t * (size_t)width;
}
static inline enum layout weight_layout(const struct list *l, const struct op *op)
{
    return l->slots[op->slot].layout;
}
static inline const uint8_t *weight_at(const struct list *l, const struct op *op)
{
    return l->slots[op->slot].address + op->w.offset;
}

// Asks for the slot's piece. False: it cannot be had, and the run has failed.
bool list_acquire(struct list *l, struct slot *s);
void list_return(struct list *l, struct slot *s); // nothing where it is not held

// Cosine and sine of pos * freq as floats: the same bits on every machine.
void angle_cos_sin(int32_t pos, float freq, float *c, float *s);

// ---- attention ---------------------------------------------------------------------------------
// Memory of a list for attention, to be planned, taken and made ready for a run.
size_t attend_plan_memory(size_t total, const struct list_limits *m, int n_threads);
void attend_take_memory(struct list *l);
size_t attend_spans_bytes(const struct list_limits *m);
int attend_new_spans(struct list *l, struct err *e);
void attend_reset(struct list *l);

// ---- experts -----------------------------------------------------------------------------------
// Memory of a list for mixtures, to be planned, taken and made ready for a run.
size_t experts_plan_memory(size_t total, const struct list_limits *m, int n_threads);
void experts_take_memory(struct list *l);
void experts_forget(struct list *l); // what was recorded
void experts_let_go(struct list *l); // of all matrices that are held
// Before `op` begins a phase: whether the plan's last product is behind it. If so
// experts_record_let_go fills an operation that lets go of the matrices.
bool experts_are_done(const struct experts *x, const struct op *op);
void experts_record_let_go(struct list *l, struct experts *x, struct op *op);
// `u` is written: plans after ids that lay there no longer hold.
void experts_changed(struct list *l, const struct buf *u);
