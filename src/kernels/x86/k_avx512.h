// Matmul with AVX-512 for formats with blocks of 256, at three widths that give the same bits.
//
// Up to K_FEW tokens: 16 rows at a time, words unpacked in registers and multiplied at once with
// every token. It reads one stream and is as fast as memory up to three or four tokens.
//
// More: a panel of 32 rows is unpacked once per block, then tiles of 32 rows by up to K_TILE tokens
// run over it: two loads of weights and one broadcast per token feed two products per token.
//
// A sub-block's products end in one 32-bit sum per row, which is multiplied by the sub-block's
// integer scale: no sum across lanes is ever needed, and nothing is rounded before the block's end.
//
// To add a format, describe its block in a k_format:
//   fields      where its words lie; with that raw rows can be turned.
//   sub_words   words of four weights under one scale: 8 or 4.
//   planes      words of weights that one step unpacks from the same packed words: two for nibbles,
//               four for pairs of bits. Step i of stage s, i < sub_words, gives word i of the
//               sub-blocks sub_at(s, 0), sub_at(s, 1), ..; 64 / planes steps make a block.
//   block       for a format without a lane form: makes a block of raw rows into one of K_MAX_BLOCK
//               bytes a row at most, which words and scales read. NULL: avx512_block by the fields.
//   few         what else multiplies up to K_FEW tokens where that is faster, or NULL.
//   words       the unpacking of a step: weights made unsigned, i.e. round some offset.
//   scales      fills k_scales. scale[j] is the scale of sub-block j in each lane (32 bits). With
//               minima, pair[j] holds those of sub-blocks 2j and 2j + 1 (16 bits each) and dmin
//               their scale; without, -offset * scale in their place.
// and pass it to k_matmul as a constant: everything is inlined, nothing of it is left.
#pragma once

#include "kernels/x86/avx512.h"

enum {
    K_MAX_BLOCK = 292,
    K_SUMS = 16,
    K_FEW = 8,
    K_TILE = 6,
    K_TOKENS = 128, // that a panel is used for
};

// Of 16 rows.
struct k_scales {
    __m512i scale[16], pair[8];
    __m512 d, dmin;
};

struct k_panel {
    __m512i w[64][2]; // words in the order of the weights, of rows 0..15 and 16..31
    struct k_scales s[2];
};

struct k_format {
    struct avx512_fields fields;
    int sub_words, planes;
    bool has_min;
    int (*sub_at)(int stage, int plane);
    const uint8_t *(*block)(const struct avx512_source *source, size_t b, uint8_t *turned);
    void (*few)(const struct matmul_args *a);
    void (*words)(__m512i *w, const uint8_t *lanes, int stage, int i);
    void (*scales)(struct k_scales *s, const uint8_t *lanes);
};

AVX512_INLINE const struct act_q8k *k_act(const struct matmul_args *a, int t, size_t block)
{
    return (const struct act_q8k *)((const uint8_t *)a->x + (size_t)t * a->x_stride) + block;
}

// Byte j of every lane as a 32-bit integer.
AVX512_INLINE __m512i k_byte(__m512i v, int j)
{
    return _mm512_and_si512(_mm512_srli_epi32(v, (unsigned)(8 * j)), _mm512_set1_epi32(255));
}

// Bytes j and j + 1 of every lane, j = 0 or 2, as two 16-bit integers.
AVX512_INLINE __m512i k_byte_pair(__m512i v, int j)
{
    __m512i upper = j ? _mm512_srli_epi32(v, 8) : _mm512_slli_epi32(v, 8);
    return avx512_and_or(upper, _mm512_set1_epi32(0xff0000), k_byte(v, j));
}

AVX512_INLINE const uint8_t *k_lanes(const struct k_format *f, const struct avx512_source *source,
                                     size_t b, uint8_t *turned)
{
    return f->block ? f->block(source, b, turned) : avx512_block(source, &f->fields, b, turned);
}

// What the pairs of scales are multiplied with: sums of the activations under each scale.
AVX512_INLINE void k_sums(const struct k_format *f, int16_t sums[16], const struct act_q8k *x)
{
    __m256i v = _mm256_loadu_si256((const void *)x->sums);
    if (f->sub_words == 8) {
        __m128i low = _mm256_castsi256_si128(v), high = _mm256_extracti128_si256(v, 1);
        _mm_storeu_si128((void *)sums, _mm_hadd_epi16(low, high));
    } else {
        _mm256_storeu_si256((void *)sums, v);
    }
}

AVX512_INLINE __m512i k_pairs(const struct k_format *f, const struct k_scales *s,
                              const int16_t sums[16])
{
    int n = f->sub_words == 8 ? 4 : 8;
    __m512i sum = _mm512_setzero_si512();
    AVX512_UNROLL
    for (int j = 0; j < n; j++)
        sum = _mm512_dpwssd_epi32(sum, s->pair[j], avx512_broadcast4(sums + 2 * j));
    return sum;
}

// acc + the block, for 16 rows and one token.
AVX512_INLINE __m512 k_add(const struct k_format *f, __m512 acc, __m512i isum,
                           const struct k_scales *s, const int16_t sums[16], float x_d)
{
    __m512 dx = _mm512_set1_ps(x_d);
    __m512i pairs = k_pairs(f, s, sums);
    if (!f->has_min)
        isum = _mm512_add_epi32(isum, pairs);
    acc = _mm512_fmadd_ps(_mm512_mul_ps(s->d, dx), _mm512_cvtepi32_ps(isum), acc);
    if (f->has_min)
        acc = _mm512_fnmadd_ps(_mm512_mul_ps(s->dmin, dx), _mm512_cvtepi32_ps(pairs), acc);
    return acc;
}

AVX512_INLINE __m512i k_scaled(__m512i isum, __m512i sum, __m512i scale)
{
    return _mm512_add_epi32(isum, _mm512_mullo_epi32(sum, scale));
}

// ---- a few tokens ------------------------------------------------------------------------------

// A stage's products of the planes [lo, hi) with `n` tokens, scaled and added to isum. Asks for
// `lines` of memory from `next` on.
AVX512_INLINE void k_planes(const struct k_format *f, const uint8_t *lanes,
                            const struct k_scales *s, int stage, int lo, int hi,
                            const int8_t *const x[K_FEW], int n, __m512i isum[K_FEW],
                            uintptr_t next, int lines)
{
    __m512i sum[4][K_FEW];
    AVX512_UNROLL
    for (int p = lo; p < hi; p++)
        AVX512_UNROLL
    for (int t = 0; t < n; t++)
        sum[p][t] = _mm512_setzero_si512();
    AVX512_UNROLL
    for (int i = 0; i < f->sub_words; i++) {
        __m512i w[4];
        f->words(w, lanes, stage, i);
        avx512_ahead(next, i * lines / f->sub_words, (i + 1) * lines / f->sub_words);
        AVX512_UNROLL
        for (int p = lo; p < hi; p++) {
            int at = 4 * (f->sub_at(stage, p) * f->sub_words + i);
            AVX512_UNROLL
            for (int t = 0; t < n; t++)
                sum[p][t] = avx512_dot4_now(sum[p][t], w[p], avx512_broadcast4(x[t] + at));
        }
    }
    AVX512_UNROLL
    for (int p = lo; p < hi; p++)
        AVX512_UNROLL
    for (int t = 0; t < n; t++)
        isum[t] = k_scaled(isum[t], sum[p][t], s->scale[f->sub_at(stage, p)]);
}

// A block's products with `n` tokens. Where there would be more sums than registers, words are
// unpacked again for the other planes.
AVX512_INLINE void k_products(const struct k_format *f, const struct avx512_source *source,
                              const uint8_t *lanes, const struct k_scales *s,
                              const int8_t *const x[K_FEW], int n, __m512i isum[K_FEW])
{
    int stages = 64 / f->planes / f->sub_words;
    int lines = (avx512_lines(&f->fields, 256, f->planes / 2, n) + stages - 1) / stages;
    int together = f->planes * n <= K_SUMS ? f->planes : 2 * n <= K_SUMS ? 2 : 1;
    uintptr_t next = avx512_next(source, lanes);
    for (int stage = 0; stage < stages; stage++, next += 64 * (uintptr_t)lines)
        AVX512_UNROLL
    for (int p = 0; p < f->planes; p += together)
        k_planes(f, lanes, s, stage, p, p + together, x, n, isum, next, p ? 0 : lines);
}

AVX512_INLINE void k_few(const struct matmul_args *a, const struct k_format *f, bool in_lanes,
                         int n)
{
    for (int r = a->row_lo; r < a->row_hi; r += LANE_ROWS) {
        struct avx512_source source = avx512_source_at(a, in_lanes, r);
        __m512 acc[K_FEW];
        AVX512_UNROLL
        for (int t = 0; t < n; t++)
            acc[t] = _mm512_setzero_ps();
        for (size_t b = 0; b < a->n_in / 256; b++) {
            uint8_t turned[LANE_ROWS * K_MAX_BLOCK];
            const uint8_t *lanes = k_lanes(f, &source, b, turned);
            struct k_scales s;
            f->scales(&s, lanes);
            const int8_t *x[K_FEW];
            __m512i isum[K_FEW];
            AVX512_UNROLL
            for (int t = 0; t < n; t++) {
                isum[t] = _mm512_setzero_si512();
                x[t] = k_act(a, t, b)->q;
            }
            k_products(f, &source, lanes, &s, x, n, isum);
            AVX512_UNROLL
            for (int t = 0; t < n; t++) {
                int16_t sums[16];
                k_sums(f, sums, k_act(a, t, b));
                acc[t] = k_add(f, acc[t], isum[t], &s, sums, k_act(a, t, b)->d);
            }
        }
        AVX512_UNROLL
        for (int t = 0; t < n; t++)
            avx512_store_rows(a, t, r, acc[t]);
    }
}

// ---- many tokens -------------------------------------------------------------------------------

// Adds a block's sums of 32 rows and the tokens [t, t + n), n > K_FEW, to acc, in tiles of nearly
// the same size; of the format sub_words and has_min count. In a file of its own: it is the same
// for all formats, and gcc spills when constants of other loops take registers away.
void avx512_k_tiles(const struct k_format *f, const struct k_panel *panel,
                    const struct matmul_args *a, int t, int n, size_t block,
                    struct avx512_asking *asking, __m512 (*acc)[2]);

AVX512_INLINE void k_unpack(const struct k_format *f, struct k_panel *panel, int v,
                            const struct avx512_source *source, size_t block)
{
    uint8_t turned[LANE_ROWS * K_MAX_BLOCK];
    const uint8_t *lanes = k_lanes(f, source, block, turned);
    f->scales(&panel->s[v], lanes);
    for (int stage = 0; stage < 64 / f->planes / f->sub_words; stage++)
        AVX512_UNROLL
    for (int i = 0; i < f->sub_words; i++) {
        __m512i w[4];
        f->words(w, lanes, stage, i);
        AVX512_UNROLL
        for (int p = 0; p < f->planes; p++)
            panel->w[f->sub_at(stage, p) * f->sub_words + i][v] = w[p];
    }
}

// 32 rows from r on (the second 16 may be the first again) and the tokens [t, t + n).
AVX512_INLINE void k_block(const struct matmul_args *a, const struct k_format *f, bool in_lanes,
                           int r, int t, int n)
{
    int second = r + LANE_ROWS < a->row_hi ? r + LANE_ROWS : r;
    struct avx512_source sources[2] = {avx512_source_at(a, in_lanes, r),
                                       avx512_source_at(a, in_lanes, second)};
    size_t bytes = LANE_ROWS * (size_t)f->fields.bytes;
    __m512 acc[K_TOKENS][2];
    for (int i = 0; i < n; i++)
        acc[i][0] = acc[i][1] = _mm512_setzero_ps();
    for (size_t b = 0; b < a->n_in / 256; b++) {
        struct k_panel panel;
        for (int v = 0; v < 2; v++)
            k_unpack(f, &panel, v, &sources[v], b);
        struct avx512_asking asking = avx512_asking_for(sources, (b + 1) * bytes, bytes);
        avx512_k_tiles(f, &panel, a, t, n, b, &asking, acc);
    }
    for (int i = 0; i < n; i++)
        for (int v = 0; v < 2; v++)
            avx512_store_rows(a, t + i, v ? second : r, acc[i][v]);
}

#define K_CASE(n)                 \
    case n:                       \
        k_few(a, f, in_lanes, n); \
        break

// The tokens of `a`, at most K_FEW, from registers.
AVX512_INLINE void k_any_few(const struct matmul_args *a, const struct k_format *f, bool in_lanes)
{
    switch (a->n_tokens) {
        K_CASE(1);
        K_CASE(2);
        K_CASE(3);
        K_CASE(4);
        K_CASE(5);
        K_CASE(6);
        K_CASE(7);
        K_CASE(8);
    }
}

AVX512_INLINE void k_matmul(const struct matmul_args *a, const struct k_format *f, bool in_lanes)
{
    for (int t = 0; t < a->n_tokens; t += K_TOKENS) {
        int n = a->n_tokens - t < K_TOKENS ? a->n_tokens - t : K_TOKENS;
        struct matmul_args few = *a;
        few.out += (size_t)t * a->out_stride;
        few.x = (const uint8_t *)a->x + (size_t)t * a->x_stride;
        few.n_tokens = n;
        if (n > K_FEW)
            for (int r = a->row_lo; r < a->row_hi; r += 2 * LANE_ROWS)
                k_block(a, f, in_lanes, r, t, n);
        else if (f->few)
            f->few(&few);
        else
            k_any_few(&few, f, in_lanes);
    }
}
