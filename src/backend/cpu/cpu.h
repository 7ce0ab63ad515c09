// The inside of the CPU device: what list.c, rows.c, matmul.c and attention.c share.
//
// A list is an array of operations in the order they were recorded. When it runs, every thread of
// the pool walks the whole array and does its share of each operation:
//
//     op 0   op 1 | op 2 | op 3   op 4 | ...        | = barrier
//     norm   quant  q      k (free)                  all threads walk left to right
//
// A barrier stands only where an operation needs another's result. The recorder finds out by
// comparing operands with those of the operations since the last barrier. Two operations that give
// the same part of the same rows to the same thread need none between them (see enum split), which
// is how norm and quantization, or rotation and the write to the cache, run as one.
#pragma once

#include "backend/backend.h"
#include "base/arena.h"
#include "base/pool.h"

#include <stdatomic.h>
#include <stdbool.h>

struct backend {
    struct pool *pool;
    int n_threads;
    const struct kernels *kernels;
    char description[64];
};

struct buf {
    struct arena memory;
    size_t size;
};

// How the threads share an operation.
enum split {
    SPLIT_CLAIM,  // threads claim pieces as they get free: nobody knows who did what
    SPLIT_ROWS,   // thread t does rows [ceil(n t / T), ceil(n (t + 1) / T))
    SPLIT_BLOCKS, // likewise of all blocks of SPLIT_BLOCK_WIDTH columns of all rows
    SPLIT_FIRST,  // thread 0 does all of it
};
enum { SPLIT_BLOCK_WIDTH = 256 };

enum { OPERAND_ELSEWHERE = -1 }; // width of an operand whose row t is not at t * width

struct operand {
    struct buf *buf;
    int width; // floats a row, or OPERAND_ELSEWHERE
    bool written;
};

enum piece_use { PIECE_NONE, PIECE_WAIT, PIECE_USE, PIECE_DONE };

enum { OP_MAX_OPERANDS = 4 };

struct op {
    _Alignas(64) atomic_int next; // SPLIT_CLAIM: first piece of work that is not claimed
    bool barrier;                 // before this operation
    enum split split;
    enum piece_use use;
    int slot, n_slots; // of list.slots: pieces waited for, used or done with
    void (*run)(struct list *l, struct op *op, int thread);

    struct operand operands[OP_MAX_OPERANDS];
    int n_operands;

    int n, width; // rows; of the row that is split
    struct buf *out, *a, *b;
    struct weight w;
    enum act act;
    const int32_t *ids; // op_embed, op_gather
    const struct rows *rows;
    const float *freqs;
    struct kv_layer kv;
    int n_heads, head_dim, n_rot;
    enum rope_layout layout;
    float number; // epsilon, scale
};

// Where one piece lies during a run; written by thread 0, read by the others behind a barrier.
struct slot {
    const uint8_t *address; // NULL: not held
    uint32_t piece;
    bool open; // recorded as waited for and not yet as done with
};

// What a thread needs for attention: accumulators of every head of a group, one chunk's partial and
// its scores.
struct attend_scratch {
    struct attn_partial *heads; // (max_heads)
    struct attn_partial chunk;
    float *scores; // (KV_PAGE_TOKENS)
};

struct list {
    struct backend *backend;
    struct list_limits limits;
    struct piece_source weights;
    struct arena memory;
    struct op *ops;
    int n_ops, phase_start; // phase_start: first operation behind the last barrier
    struct slot *slots;
    int n_slots;
    struct attend_scratch *attend; // (n_threads)

    // Quantized activations, a buffer for each act; valid while `of` holds what was quantized.
    struct quantized {
        struct buf *buf, *of;
        int n, width;
    } quantized[ACT_COUNT];

    // Cosines (max_rows, max_head_dim / 2), then sines, of the rows' angles.
    struct buf *angles;
    const struct rows *angles_rows;
    const float *angles_freqs;
    int angles_n_rot;

    atomic_int failed_phase; // INT_MAX: none
    struct err failure;      // thread 0's
};

// ---- recording ---------------------------------------------------------------------------------
struct op *list_next(struct list *l, void (*run)(struct list *, struct op *, int), enum split split,
                     int n, int width);
// Operands of `n` rows of `width` floats.
void op_reads(struct op *op, struct buf *u, int width);
void op_writes(struct op *op, struct buf *u, int width);
void op_uses(struct list *l, struct op *op, const struct weight *w);
void list_commit(struct list *l, struct op *op);

// ---- running -----------------------------------------------------------------------------------
struct range {
    int lo, hi;
};
struct range op_share(const struct list *l, int n, int thread);
// Walks a thread's blocks of a SPLIT_BLOCKS operation: columns [lo, hi) of row `row` at a time.
struct column_walk {
    int row, lo, hi;
    int at, end, per_row, width;
};
struct column_walk column_walk_of(const struct list *l, const struct op *op, int thread);
bool column_walk_next(struct column_walk *c);
// Claims the next `step` of `total`; false when nothing is left.
bool op_claim(struct op *op, int total, int step, struct range *out);
static inline float *row_of(const struct buf *u, int t, int width)
{
    return (float *)u->memory.base + (size_t)t * (size_t)width;
}
static inline const uint8_t *weight_at(const struct list *l, const struct op *op)
{
    return l->slots[op->slot].address + op->w.offset;
}

// Cosine and sine of pos * freq as floats: the same bits on every machine.
void angle_cos_sin(int32_t pos, float freq, float *c, float *s);
