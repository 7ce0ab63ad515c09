// Matmul with AVX-512 for formats with blocks of 32, at the widths of k_avx512.h: up to SMALL_FEW
// tokens from registers, more over an unpacked panel of 32 rows. Both give the exact integer dot of
// a block and then the same fma, so they agree bit for bit with each other and with scalar/.
//
// A block is eight words of four weights. After eight products per token and 16 rows there is one
// conversion, one product of scales and one fma, which is why the panel holds several blocks: tiles
// keep their sums in registers across them.
//
// To add a format, describe its block in a small_format:
//   fields   where its words lie; with that raw rows can be turned.
//   offset   taken off every weight, so that what is multiplied is unsigned.
//   min_at   byte at which the minimum's half float lies, or 0: there is none.
//   words    the unpacking of a block to eight words, in the order of the weights.
//   scale    the block's scale.
// and pass it to small_matmul as a constant: everything is inlined, nothing of it is left.
#pragma once

#include "kernels/x86/avx512.h"

enum { SMALL_FEW = 8, SMALL_TILE = 6, SMALL_BLOCKS = 8, SMALL_TOKENS = 128 };

struct small_panel {
    __m512i w[SMALL_BLOCKS][8][2]; // of rows 0..15 and 16..31
    __m512 d[SMALL_BLOCKS][2], m[SMALL_BLOCKS][2];
};

struct small_format {
    struct avx512_fields fields;
    int offset, min_at;
    void (*words)(__m512i w[8], const uint8_t *lanes);
    __m512 (*scale)(const uint8_t *lanes);
};

AVX512_INLINE const struct act_q8 *small_act(const struct matmul_args *a, int t, size_t block)
{
    return (const struct act_q8 *)((const uint8_t *)a->x + (size_t)t * a->x_stride) + block;
}

// What a block's integer sum begins with: the offset taken off all weights.
AVX512_INLINE __m512i small_start(const struct small_format *f, const struct act_q8 *x)
{
    return f->offset ? _mm512_set1_epi32(-f->offset * x->sum) : _mm512_setzero_si512();
}

AVX512_INLINE __m512 small_min(const struct small_format *f, const uint8_t *lanes)
{
    return f->min_at ? avx512_halves(lanes, f->min_at) : _mm512_setzero_ps();
}

// acc + the block's sum, for 16 rows.
AVX512_INLINE __m512 small_add(const struct small_format *f, __m512 acc, __m512i isum, __m512 d,
                               __m512 m, const struct act_q8 *x)
{
    __m512 dx = _mm512_set1_ps(x->d);
    acc = _mm512_fmadd_ps(_mm512_mul_ps(d, dx), _mm512_cvtepi32_ps(isum), acc);
    if (f->min_at)
        acc = _mm512_fmadd_ps(_mm512_mul_ps(m, dx), _mm512_set1_ps((float)x->sum), acc);
    return acc;
}

// ---- a few tokens ------------------------------------------------------------------------------

AVX512_INLINE void small_few(const struct matmul_args *a, const struct small_format *f,
                             bool in_lanes, int n)
{
    int lines = avx512_lines(&f->fields, 32, 1, n);
    for (int r = a->row_lo; r < a->row_hi; r += LANE_ROWS) {
        struct avx512_source source = avx512_source_at(a, in_lanes, r);
        __m512 acc[SMALL_FEW];
        AVX512_UNROLL
        for (int t = 0; t < n; t++)
            acc[t] = _mm512_setzero_ps();
        for (size_t b = 0; b < a->n_in / 32; b++) {
            uint8_t turned[LANE_ROWS * 64];
            const uint8_t *lanes = avx512_block(&source, &f->fields, b, turned);
            avx512_ahead(avx512_next(&source, lanes), 0, lines);
            __m512i w[8], isum[SMALL_FEW];
            f->words(w, lanes);
            __m512 d = f->scale(lanes), m = small_min(f, lanes);
            AVX512_UNROLL
            for (int t = 0; t < n; t++)
                isum[t] = small_start(f, small_act(a, t, b));
            AVX512_UNROLL
            for (int g = 0; g < 8; g++)
                AVX512_UNROLL
            for (int t = 0; t < n; t++)
                isum[t] =
                    avx512_dot4(isum[t], w[g], avx512_broadcast4(small_act(a, t, b)->q + 4 * g));
            AVX512_UNROLL
            for (int t = 0; t < n; t++)
                acc[t] = small_add(f, acc[t], isum[t], d, m, small_act(a, t, b));
        }
        AVX512_UNROLL
        for (int t = 0; t < n; t++)
            avx512_store_rows(a, t, r, acc[t]);
    }
}

// ---- many tokens -------------------------------------------------------------------------------

// Adds the sums of the panel's `blocks` blocks, 32 rows and the tokens [t, t + n), n > SMALL_FEW,
// to acc; of the format offset and min_at count. In a file of its own as avx512_k_tiles is.
void avx512_small_tiles(const struct small_format *f, const struct small_panel *panel,
                        const struct matmul_args *a, int t, int n, size_t first, int blocks,
                        struct avx512_asking *asking, __m512 (*acc)[2]);

AVX512_INLINE void small_unpack(const struct small_format *f, struct small_panel *panel, int v,
                                const struct avx512_source *source, size_t first, int blocks)
{
    for (int b = 0; b < blocks; b++) {
        uint8_t turned[LANE_ROWS * 64];
        const uint8_t *lanes = avx512_block(source, &f->fields, first + (size_t)b, turned);
        __m512i w[8];
        f->words(w, lanes);
        AVX512_UNROLL
        for (int g = 0; g < 8; g++)
            panel->w[b][g][v] = w[g];
        panel->d[b][v] = f->scale(lanes);
        panel->m[b][v] = small_min(f, lanes);
    }
}

// 32 rows from r on (the second 16 may be the first again) and the tokens [t, t + n).
AVX512_INLINE void small_block(const struct matmul_args *a, const struct small_format *f,
                               bool in_lanes, int r, int t, int n)
{
    int second = r + LANE_ROWS < a->row_hi ? r + LANE_ROWS : r;
    struct avx512_source sources[2] = {avx512_source_at(a, in_lanes, r),
                                       avx512_source_at(a, in_lanes, second)};
    __m512 acc[SMALL_TOKENS][2];
    for (int i = 0; i < n; i++)
        acc[i][0] = acc[i][1] = _mm512_setzero_ps();
    size_t n_blocks = a->n_in / 32, bytes = LANE_ROWS * (size_t)f->fields.bytes;
    for (size_t b = 0; b < n_blocks; b += SMALL_BLOCKS) {
        struct small_panel panel;
        int blocks = n_blocks - b < SMALL_BLOCKS ? (int)(n_blocks - b) : SMALL_BLOCKS;
        for (int v = 0; v < 2; v++)
            small_unpack(f, &panel, v, &sources[v], b, blocks);
        struct avx512_asking asking =
            avx512_asking_for(sources, (b + SMALL_BLOCKS) * bytes, SMALL_BLOCKS * bytes);
        avx512_small_tiles(f, &panel, a, t, n, b, blocks, &asking, acc);
    }
    for (int i = 0; i < n; i++)
        for (int v = 0; v < 2; v++)
            avx512_store_rows(a, t + i, v ? second : r, acc[i][v]);
}

#define SMALL_CASE(n)                    \
    case n:                              \
        small_few(&few, f, in_lanes, n); \
        break

AVX512_INLINE void small_matmul(const struct matmul_args *a, const struct small_format *f,
                                bool in_lanes)
{
    for (int t = 0; t < a->n_tokens; t += SMALL_TOKENS) {
        int n = a->n_tokens - t < SMALL_TOKENS ? a->n_tokens - t : SMALL_TOKENS;
        struct matmul_args few = *a;
        few.out += (size_t)t * a->out_stride;
        few.x = (const uint8_t *)a->x + (size_t)t * a->x_stride;
        switch (n) {
            SMALL_CASE(1);
            SMALL_CASE(2);
            SMALL_CASE(3);
            SMALL_CASE(4);
            SMALL_CASE(5);
            SMALL_CASE(6);
            SMALL_CASE(7);
            SMALL_CASE(8);
        default:
            for (int r = a->row_lo; r < a->row_hi; r += 2 * LANE_ROWS)
                small_block(a, f, in_lanes, r, t, n);
        }
    }
}
