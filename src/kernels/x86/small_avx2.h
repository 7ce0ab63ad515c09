// Matmul for formats with blocks of 32: the plan and the words of k_avx2.h. Here a block ends in
// one exact 32-bit sum per row and one fma (two with minima). A panel holds up to eight blocks, so
// that a tile's tokens are walked along.
#pragma once

#include "kernels/x86/avx2.h"

enum {
    SMALL_TOKENS = 64, // tokens a panel is used for before it is unpacked again
    SMALL_BLOCKS = 8,  // of a panel
};

struct small_panel {
    __m256i w[2][8 * SMALL_BLOCKS];
    __m256i high[2][8 * SMALL_BLOCKS]; // wide: the upper four bits, w being the lower ones
    __m256 d[2][SMALL_BLOCKS], m[2][SMALL_BLOCKS];
};

// What a format tells the loops; constant at compile time, so that nothing of it is left.
struct small_format {
    size_t bytes; // of a block
    int offset;   // taken off every weight; not for wide ones
    int groups;   // words whose products may be added in 16 bits; wide: of the panel's halves
    bool has_min; // at block + 2
    bool wide;    // words are signed bytes
    // The blocks' scales; NULL: half floats at the beginning of a block.
    __m256 (*d)(const struct avx2_rows *rows, size_t at);
    __m256i (*dot)(const uint8_t *block, __m256i x);
    void (*words)(__m256i w[8], const struct avx2_rows *rows, size_t at);
};

AVX2_INLINE const struct act_q8 *small_act(const struct matmul_args *a, int t, size_t block)
{
    return (const struct act_q8 *)((const uint8_t *)a->x + (size_t)t * a->x_stride) + block;
}

AVX2_INLINE __m256 small_d(const struct small_format *f, const struct avx2_rows *rows, size_t at)
{
    return f->d ? f->d(rows, at) : avx2_row_halves(rows, at);
}

AVX2_INLINE __m256 small_m(const struct small_format *f, const struct avx2_rows *rows, size_t at)
{
    return f->has_min ? avx2_row_halves(rows, at + 2) : _mm256_setzero_ps();
}

// acc + the block's sum, for eight rows, of weights moved up by `offset`.
AVX2_INLINE __m256 small_add(const struct small_format *f, int offset, __m256 acc, __m256i isum,
                             __m256 d, __m256 m, const struct act_q8 *x)
{
    __m256 dx = _mm256_set1_ps(x->d);
    if (offset)
        isum = _mm256_sub_epi32(isum, _mm256_set1_epi32(offset * x->sum));
    acc = _mm256_fmadd_ps(_mm256_mul_ps(d, dx), _mm256_cvtepi32_ps(isum), acc);
    if (f->has_min)
        acc = _mm256_fmadd_ps(_mm256_mul_ps(m, dx), _mm256_set1_ps((float)x->sum), acc);
    return acc;
}

AVX2_INLINE void small_one_token(const struct matmul_args *a, const struct small_format *f)
{
    for (int r = a->row_lo; r < a->row_hi; r += 8) {
        struct avx2_rows rows = avx2_rows_at(a, r, false);
        size_t ahead = r + 16 <= a->row_hi ? 8 * a->w_stride : 0;
        __m256 acc = _mm256_setzero_ps();
        for (size_t b = 0; b < a->n_in / 32; b++) {
            const struct act_q8 *x = small_act(a, 0, b);
            size_t at = b * f->bytes;
            avx2_rows_ahead(&rows, at, f->bytes, ahead);
            __m256i q = avx2_load(x->q), s[8];
            AVX2_UNROLL
            for (int i = 0; i < 8; i++)
                s[i] = f->dot(rows.row[i] + at, q);
            acc = small_add(f, f->offset, acc, avx2_sums(s), small_d(f, &rows, at),
                            small_m(f, &rows, at), x);
        }
        avx2_store_rows(a, 0, r, rows.n, acc);
    }
}

// The products of one block's words, `n_w` times, with `n` tokens, as 32-bit sums. ends: what
// closing sums are multiplied with.
AVX2_INLINE void small_products(const struct small_format *f, const __m256i *const w[2],
                                const __m256i ends[2], int n_w, const struct act_q8 *const x[4],
                                int n, __m256i isum[4][2])
{
    AVX2_UNROLL
    for (int first = 0; first < 8; first += f->groups) {
        __m256i s[4][2];
        AVX2_UNROLL
        for (int g = first; g < first + f->groups; g++)
            AVX2_UNROLL
        for (int i = 0; i < n; i++) {
            __m256i q = avx2_broadcast4(x[i]->q + 4 * g);
            AVX2_UNROLL
            for (int v = 0; v < n_w; v++) {
                __m256i product = _mm256_maddubs_epi16(w[v][g], q);
                s[i][v] = g == first ? product : avx2_add16(s[i][v], product);
            }
        }
        AVX2_UNROLL
        for (int i = 0; i < n; i++)
            AVX2_UNROLL
        for (int v = 0; v < n_w; v++) {
            __m256i pairs = _mm256_madd_epi16(s[i][v], ends[v]);
            isum[i][v] = first ? _mm256_add_epi32(isum[i][v], pairs) : pairs;
        }
    }
}

// The same of words of signed bytes: no two products fit 16 bits.
AVX2_INLINE void small_signed_products(const __m256i w[8], const struct act_q8 *const x[4], int n,
                                       __m256i isum[4][2])
{
    AVX2_UNROLL
    for (int g = 0; g < 8; g++)
        AVX2_UNROLL
    for (int i = 0; i < n; i++) {
        __m256i q = avx2_broadcast4(x[i]->q + 4 * g);
        __m256i pairs = avx2_pairs(avx2_signed_products(w[g], q));
        isum[i][0] = g ? _mm256_add_epi32(isum[i][0], pairs) : pairs;
    }
}

// All rows against all `n` <= 4 tokens, from the registers a block is unpacked in.
AVX2_INLINE void small_few(const struct matmul_args *a, const struct small_format *f, bool in_lanes,
                           int n)
{
    const __m256i ones[2] = {_mm256_set1_epi16(1), _mm256_set1_epi16(1)};
    for (int r = a->row_lo; r < a->row_hi; r += 16) {
        int halves = r + 8 < a->row_hi ? 2 : 1;
        struct avx2_rows rows[2] = {avx2_rows_at(a, r, in_lanes)};
        if (halves > 1)
            rows[1] = avx2_rows_at(a, r + 8, in_lanes);
        size_t ahead = r + 32 <= a->row_hi ? 16 * a->w_stride : 0;
        __m256 acc[2][4];
        const struct act_q8 *x[4];
        for (int i = 0; i < n; i++)
            acc[0][i] = acc[1][i] = _mm256_setzero_ps();
        for (size_t b = 0; b < a->n_in / 32; b++) {
            AVX2_UNROLL
            for (int i = 0; i < n; i++)
                x[i] = small_act(a, i, b);
            for (int v = 0; v < halves; v++) {
                struct avx2_rows eight = avx2_rows_of(&rows[v], in_lanes);
                size_t at = b * f->bytes;
                __m256i w[8], isum[4][2];
                const __m256i *const words[2] = {w, NULL};
                avx2_rows_ahead(&eight, at, f->bytes, ahead);
                f->words(w, &eight, at);
                __m256 d = small_d(f, &eight, at), m = small_m(f, &eight, at);
                if (f->wide)
                    small_signed_products(w, x, n, isum);
                else
                    small_products(f, words, ones, 1, x, n, isum);
                AVX2_UNROLL
                for (int i = 0; i < n; i++)
                    acc[v][i] = small_add(f, f->offset, acc[v][i], isum[i][0], d, m, x[i]);
            }
        }
        for (int v = 0; v < halves; v++)
            for (int i = 0; i < n; i++)
                avx2_store_rows(a, i, r + 8 * v, rows[v].n, acc[v][i]);
    }
}

// Eight rows' block at `at` to place b of the panel.
AVX2_INLINE void small_unpack(const struct small_format *f, struct small_panel *p, int v, int b,
                              const struct avx2_rows *rows, size_t at)
{
    __m256i words[8];
    f->words(words, rows, at);
    AVX2_UNROLL
    for (int g = 0; g < 8; g++) {
        p->w[v][8 * b + g] = f->wide ? avx2_low_nibbles(words[g]) : words[g];
        if (f->wide)
            p->high[v][8 * b + g] = avx2_moved_high(words[g]);
    }
    p->d[v][b] = small_d(f, rows, at);
    p->m[v][b] = small_m(f, rows, at);
}

// The sums of `blocks` blocks and `n` tokens from t on, added to acc: of both eights of rows, or,
// where a format is wide, of eight v alone.
AVX2_INLINE void small_tile_of(const struct small_format *f, const struct small_panel *p,
                               const struct matmul_args *a, int t, int n, size_t block, int blocks,
                               int v, __m256 (*acc)[2])
{
    int offset = f->wide ? 128 : f->offset;
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i ends[2] = {ones, f->wide ? _mm256_set1_epi16(16) : ones};
    const __m256i *other = f->wide ? p->high[v] : p->w[1];
    const struct act_q8 *x[4];
    AVX2_UNROLL
    for (int i = 0; i < n; i++)
        x[i] = small_act(a, t + i, block);
    for (int b = 0; b < blocks; b++) {
        const __m256i *const words[2] = {p->w[v] + 8 * b, other + 8 * b};
        __m256i isum[4][2];
        small_products(f, words, ends, 2, x, n, isum);
        AVX2_UNROLL
        for (int i = 0; i < n; i++) {
            if (f->wide)
                isum[i][0] = _mm256_add_epi32(isum[i][0], isum[i][1]);
            acc[i][v] = small_add(f, offset, acc[i][v], isum[i][0], p->d[v][b], p->m[v][b], x[i]);
            if (!f->wide)
                acc[i][1] =
                    small_add(f, offset, acc[i][1], isum[i][1], p->d[1][b], p->m[1][b], x[i]);
            x[i]++;
        }
    }
}

AVX2_INLINE void small_tile(const struct small_format *f, const struct small_panel *p,
                            const struct matmul_args *a, int t, int n, size_t block, int blocks,
                            __m256 (*acc)[2])
{
    if (!f->wide) {
        small_tile_of(f, p, a, t, n, block, blocks, 0, acc);
        return;
    }
    for (int v = 0; v < 2; v++)
        small_tile_of(f, p, a, t, n, block, blocks, v, acc);
}

// 16 rows from r on (the second eight may be the first again) and the tokens [t, t + n).
AVX2_INLINE void small_block(const struct matmul_args *a, const struct small_format *f,
                             bool in_lanes, int r, int t, int n)
{
    int second = r + 8 < a->row_hi ? r + 8 : r;
    struct avx2_rows rows[2] = {avx2_rows_at(a, r, in_lanes), avx2_rows_at(a, second, in_lanes)};
    size_t ahead = r + 32 <= a->row_hi ? 16 * a->w_stride : 0, n_blocks = a->n_in / 32;
    __m256 acc[SMALL_TOKENS][2];
    for (int i = 0; i < n; i++)
        acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    for (size_t b = 0; b < n_blocks; b += SMALL_BLOCKS) {
        struct small_panel p;
        int blocks = n_blocks - b < SMALL_BLOCKS ? (int)(n_blocks - b) : SMALL_BLOCKS;
        for (int v = 0; v < 2; v++)
            if (in_lanes) {
                struct avx2_rows eight = avx2_rows_of(&rows[v], true);
                for (int j = 0; j < blocks; j++)
                    small_unpack(f, &p, v, j, &eight, (b + (size_t)j) * f->bytes);
                avx2_rows_ahead(&eight, b * f->bytes, (size_t)blocks * f->bytes, ahead);
            } else {
                struct avx2_rows eight = avx2_rows_of(&rows[v], false);
                for (int j = 0; j < blocks; j++)
                    small_unpack(f, &p, v, j, &eight, (b + (size_t)j) * f->bytes);
                avx2_rows_ahead(&eight, b * f->bytes, (size_t)blocks * f->bytes, ahead);
            }
        int i = 0;
        for (; i + 4 <= n; i += 4)
            small_tile(f, &p, a, t + i, 4, b, blocks, acc + i);
        if (n - i == 3)
            small_tile(f, &p, a, t + i, 3, b, blocks, acc + i);
        else if (n - i == 2)
            small_tile(f, &p, a, t + i, 2, b, blocks, acc + i);
        else if (n - i == 1)
            small_tile(f, &p, a, t + i, 1, b, blocks, acc + i);
    }
    for (int i = 0; i < n; i++) {
        avx2_store_rows(a, t + i, r, rows[0].n, acc[i][0]);
        if (second != r)
            avx2_store_rows(a, t + i, second, rows[1].n, acc[i][1]);
    }
}

// Any number of tokens. Here the layout is no constant: the tiles are there once.
AVX2_INLINE void small_many(const struct matmul_args *a, const struct small_format *f,
                            bool in_lanes)
{
    for (int t = 0; t < a->n_tokens; t += SMALL_TOKENS) {
        int n = a->n_tokens - t < SMALL_TOKENS ? a->n_tokens - t : SMALL_TOKENS;
        for (int r = a->row_lo; r < a->row_hi; r += 16)
            small_block(a, f, in_lanes, r, t, n);
    }
}

// The few tokens there is a path of their own for; false where there is none.
AVX2_INLINE bool small_matmul_few(const struct matmul_args *a, const struct small_format *f,
                                  bool in_lanes)
{
    switch (a->n_tokens) {
    case 1:
        if (in_lanes)
            small_few(a, f, true, 1);
        else
            small_one_token(a, f);
        return true;
    case 2:
        small_few(a, f, in_lanes, 2);
        return true;
    case 3:
        small_few(a, f, in_lanes, 3);
        return true;
    case 4:
        small_few(a, f, in_lanes, 4);
        return true;
    default:
        return false;
    }
}

#define SMALL_MATMULS(name) AVX2_MATMULS(name, small_matmul_few, small_many)
