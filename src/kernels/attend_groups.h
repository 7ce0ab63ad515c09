// What vector kernels of attention share: queries go over a chunk in groups, and positions that
// only some of a group see are taken one query at a time, so that nothing that is not seen is ever
// added.
//
// Scores and values are the same product,
//
//     out (rows, lanes) += a (rows, k) * b (k, lanes)
//
// once with dimensions as k and positions as lanes, once the other way round. Each instruction set
// brings a function for this product and one that turns scores into weights.
#pragma once

#include "kernels/kv_chunk.h"

#include <string.h>

enum { ATTEND_ROWS = 6 }; // queries of a group, at most

struct attend_product {
    float *out[ATTEND_ROWS];     // row r's sums, which are added to
    const float *a[ATTEND_ROWS]; // row r's factors, by k
    const uint8_t *b;            // line k at b + k * b_stride
    size_t b_stride;             // bytes
    const uint8_t *ahead;        // asked for at line k: ahead + k * ahead_stride, and from there on
    size_t ahead_stride;         // as much as is loaded
    int k_lo, k_hi, n_lanes;
};

struct attend_group {
    _Alignas(64) float w[ATTEND_ROWS][KV_CHUNK]; // scores, then weights; zeros at first
    struct attn_partial *out;
    const struct attn_span *seen;
    const uint8_t *q;
    int n_rows, n_words; // words of 16 positions, so that all that is seen is in them
    int all_lo, all_hi;  // positions that every query of the group sees
};

static inline void attend_group_begin(struct attend_group *g, const struct attend_args *a, int row,
                                      int n_rows)
{
    int lo = 0, hi = KV_CHUNK, end = 0;
    memset(g->w, 0, sizeof *g->w * (size_t)n_rows);
    g->out = a->out + row;
    g->seen = a->seen + row;
    g->q = (const uint8_t *)a->q + (size_t)row * a->q_stride;
    g->n_rows = n_rows;
    for (int r = 0; r < n_rows; r++) {
        struct attn_span seen = g->seen[r];
        lo = seen.lo > lo ? seen.lo : lo;
        hi = seen.hi < hi ? seen.hi : hi;
        end = seen.hi > end ? seen.hi : end;
        memset(g->out[r].acc, 0, (size_t)a->head_dim * sizeof(float));
    }
    g->n_words = (end + 15) / 16;
    g->all_lo = lo < hi ? lo : KV_CHUNK;
    g->all_hi = lo < hi ? hi : KV_CHUNK;
}

static inline void attend_one_row(const struct attend_product *p,
                                  void (*run)(const struct attend_product *, int n_rows), int row,
                                  int lo, int hi)
{
    if (lo >= hi)
        return;
    struct attend_product one = *p;
    one.out[0] = p->out[row];
    one.a[0] = p->a[row];
    one.k_lo = lo;
    one.k_hi = hi;
    run(&one, 1);
}

// What is asked for goes to the second level of the cache, which has room for more requests on the
// way than the first: on a Zen 4 core 16 GB/s from memory instead of 11.
//
// Floats and halves: lines of b ask for as many lines from `ahead` on, only the first group does.
static inline void attend_ask(struct attend_product *p, const uint8_t *ahead, int row)
{
    p->ahead = row ? p->b : ahead;
    p->ahead_stride = p->b_stride;
}

// Q8_0: scores cost little and values much, so values ask for all of the next chunk, a cache line
// for each position and block, and scores for what that leaves out of their own.
enum { ATTEND_ASKED = KV_CHUNK * 64 }; // by a block

static inline void attend_ask_block(struct attend_product *p, const struct attend_args *a,
                                    int block, int row)
{
    p->ahead = row ? p->b : a->ahead + (size_t)block * ATTEND_ASKED;
    p->ahead_stride = row ? p->b_stride : 64;
}

// Caps the scores, if they shall be.
static inline void attend_cap(struct attend_group *g, const struct attend_args *a,
                              void (*softcap)(float *x, size_t n, float cap))
{
    for (int r = 0; a->softcap > 0 && r < g->n_rows; r++)
        softcap(g->w[r], 16 * (size_t)g->n_words, a->softcap);
}

// Adds the values of the positions that each query sees, ascending.
static inline void attend_values(const struct attend_group *g, struct attend_product *p,
                                 void (*run)(const struct attend_product *, int n_rows))
{
    for (int r = 0; r < g->n_rows; r++)
        attend_one_row(p, run, r, g->seen[r].lo,
                       g->seen[r].hi < g->all_lo ? g->seen[r].hi : g->all_lo);
    p->k_lo = g->all_lo;
    p->k_hi = g->all_hi;
    if (p->k_lo < p->k_hi)
        run(p, g->n_rows);
    for (int r = 0; r < g->n_rows; r++)
        attend_one_row(p, run, r, g->seen[r].lo > g->all_hi ? g->seen[r].lo : g->all_hi,
                       g->seen[r].hi);
}

// All queries, in groups of nearly the same size.
static inline void attend_groups(const struct attend_args *a,
                                 void (*attend)(const struct attend_args *, int row, int n_rows))
{
    int n_groups = (a->n_rows + ATTEND_ROWS - 1) / ATTEND_ROWS;
    for (int i = 0; i < n_groups; i++) {
        int row = i * a->n_rows / n_groups, end = (i + 1) * a->n_rows / n_groups;
        attend(a, row, end - row);
    }
}
