// Small pieces that the AVX-512 kernels share, and where their words of weights come from. Only
// files whose name ends in _avx512 include this.
//
// The integer kernels work on lane blocks (kernels/lanes.h): lane i of every vector belongs to row
// i, a word is the four weights (or packed bytes) of each of 16 rows at one place. Weights in lane
// form lie in memory like that; of raw rows one block of 16 rows is turned at a time, in the first
// level cache, and from there on both are the same.
#pragma once

#include "kernels/kernels.h"

#include "base/bytes.h"
#include "kernels/lanes.h"
#include "kernels/scalar/scalar.h"

#include <immintrin.h>

#define AVX512_INLINE static inline __attribute__((always_inline))
// For what is done once in a block: its constants shall not take registers from the products.
#define AVX512_CALLED static __attribute__((noinline))

// Accumulators live in arrays of registers, which needs the loops over them unrolled.
#if defined(__clang__)
#define AVX512_UNROLL _Pragma("clang loop unroll(full)")
#else
#define AVX512_UNROLL _Pragma("GCC unroll 16")
#endif

// How many bytes before their use weights in lane form are asked for.
enum { AVX512_AHEAD = 8192 };

AVX512_INLINE __m512i avx512_u8(uint8_t v)
{
    return _mm512_set1_epi8((char)v);
}

// Four bytes at p in every lane.
AVX512_INLINE __m512i avx512_broadcast4(const void *p)
{
    return _mm512_set1_epi32((int)load_u32(p));
}

AVX512_INLINE __m512i avx512_low_nibbles(__m512i v)
{
    return _mm512_and_si512(v, avx512_u8(15));
}

AVX512_INLINE __m512i avx512_high_nibbles(__m512i v)
{
    return _mm512_and_si512(_mm512_srli_epi16(v, 4), avx512_u8(15));
}

// The two kernels of a format, from its description of the same name and `matmul`. Both layouts are
// one piece of code, but turning raw rows for one token only is not worth it.
#define AVX512_MATMUL(name, matmul)                                                              \
    static                                                                                       \
        __attribute__((noinline)) void name##_matmul(const struct matmul_args *a, bool in_lanes) \
    {                                                                                            \
        matmul(a, &name, in_lanes);                                                              \
    }                                                                                            \
    void avx512_matmul_##name(const struct matmul_args *a)                                       \
    {                                                                                            \
        if (a->n_tokens == 1)                                                                    \
            avx2_matmul_##name(a);                                                               \
        else                                                                                     \
            name##_matmul(a, false);                                                             \
    }                                                                                            \
    void avx512_matmul_lanes_##name(const struct matmul_args *a)                                 \
    {                                                                                            \
        name##_matmul(a, true);                                                                  \
    }

// (a & mask) | b, one instruction.
AVX512_INLINE __m512i avx512_and_or(__m512i a, __m512i mask, __m512i b)
{
    return _mm512_ternarylogic_epi32(a, mask, b, 0xea);
}

// sum + the dot product of four unsigned weights and four signed activations in each lane.
AVX512_INLINE __m512i avx512_dot4(__m512i sum, __m512i w, __m512i x)
{
    return _mm512_dpbusd_epi32(sum, w, x);
}

// The same, here and now: left alone, gcc loads activations early and spills them.
AVX512_INLINE __m512i avx512_dot4_now(__m512i sum, __m512i w, __m512i x)
{
    sum = _mm512_dpbusd_epi32(sum, w, x);
    __asm__("" : "+v"(sum));
    return sum;
}

// ---- lane blocks -------------------------------------------------------------------------------

// Word `i` of a field of words that is at byte `at` of the format's block.
AVX512_INLINE __m512i avx512_word(const uint8_t *lanes, int at, int i)
{
    return _mm512_loadu_si512(lanes + LANE_ROWS * at + 64 * i);
}

// The half floats at byte `at` of the format's block.
AVX512_INLINE __m512 avx512_halves(const uint8_t *lanes, int at)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(lanes + LANE_ROWS * at)));
}

// The scale of a block that begins with it.
AVX512_INLINE __m512 avx512_first_half(const uint8_t *lanes)
{
    return avx512_halves(lanes, 0);
}

// What a format's block is made of: `words` elements of four bytes from words_at on, elements of
// `rest` bytes (1 or 2) before and after them.
struct avx512_fields {
    int bytes, words_at, words, rest;
};

// The rows that a source gives, 16 at a time.
struct avx512_source {
    bool in_lanes;
    const uint8_t *lanes;          // the group's first lane block
    const uint8_t *row[LANE_ROWS]; // or raw rows
    size_t ahead;                  // bytes from these raw rows to those that are wanted next, or 0
};

// The rows [r, r + 16); past the end the last row again, whose results are not stored.
AVX512_INLINE struct avx512_source avx512_source_at(const struct matmul_args *a, bool in_lanes,
                                                    int r)
{
    struct avx512_source s = {.in_lanes = in_lanes};
    s.lanes = (const uint8_t *)a->w + (size_t)r * a->w_stride;
    if (in_lanes)
        return s;
    int n = a->row_hi - r < LANE_ROWS ? a->row_hi - r : LANE_ROWS;
    for (int i = 0; i < LANE_ROWS; i++)
        s.row[i] = s.lanes + (size_t)(i < n ? i : n - 1) * a->w_stride;
    s.ahead = r + 2 * LANE_ROWS <= a->row_hi ? LANE_ROWS * a->w_stride : 0;
    return s;
}

// 16 bytes of each row from `at` on, turned: lane i of the four words at `out` belongs to row i.
AVX512_INLINE void avx512_turn16(uint8_t *out, const uint8_t *const row[LANE_ROWS], size_t at)
{
    __m512i v[4];
    AVX512_UNROLL
    for (int i = 0; i < 4; i++) {
        __m128i first = _mm_loadu_si128((const void *)(row[i] + at));
        v[i] = _mm512_castsi128_si512(first);
        v[i] = _mm512_inserti32x4(v[i], _mm_loadu_si128((const void *)(row[i + 4] + at)), 1);
        v[i] = _mm512_inserti32x4(v[i], _mm_loadu_si128((const void *)(row[i + 8] + at)), 2);
        v[i] = _mm512_inserti32x4(v[i], _mm_loadu_si128((const void *)(row[i + 12] + at)), 3);
    }
    __m512i low01 = _mm512_unpacklo_epi32(v[0], v[1]), high01 = _mm512_unpackhi_epi32(v[0], v[1]);
    __m512i low23 = _mm512_unpacklo_epi32(v[2], v[3]), high23 = _mm512_unpackhi_epi32(v[2], v[3]);
    _mm512_storeu_si512(out, _mm512_unpacklo_epi64(low01, low23));
    _mm512_storeu_si512(out + 64, _mm512_unpackhi_epi64(low01, low23));
    _mm512_storeu_si512(out + 128, _mm512_unpacklo_epi64(high01, high23));
    _mm512_storeu_si512(out + 192, _mm512_unpackhi_epi64(high01, high23));
}

// A block of 16 raw rows, at byte `at` of each, as a lane block; asks for later ones.
void avx512_turn(uint8_t *out, const struct avx512_source *s, const struct avx512_fields *f,
                 size_t at);

// Block `b` of the source's rows as a lane block. `turned`: room for one, which raw rows need.
AVX512_INLINE const uint8_t *avx512_block(const struct avx512_source *s,
                                          const struct avx512_fields *f, size_t b, uint8_t *turned)
{
    size_t at = b * (size_t)f->bytes;
    if (s->in_lanes)
        return s->lanes + LANE_ROWS * at;
    avx512_turn(turned, s, f, at);
    return turned;
}

// Lines of 64 bytes to ask for in a block of `width` weights, of which `streams` places are read at
// once, while it is multiplied with `n` tokens. None where one stream is read with so little to do
// beside it that the hardware is faster alone: one token of Q4_K by a seventh, of Q8_0 by a
// quarter. With four tokens asking makes Q4_K twice as fast, with two streams Q6_K three times.
AVX512_INLINE int avx512_lines(const struct avx512_fields *f, int width, int streams, int n)
{
    bool plain = streams == 1 && n * width < 2 * f->bytes;
    return plain ? 0 : (LANE_ROWS * f->bytes + 63) / 64;
}

// Where avx512_ahead begins while `lanes` is worked on: raw rows, which are asked for in turning,
// have nothing to ask for and point at what they have.
AVX512_INLINE uintptr_t avx512_next(const struct avx512_source *s, const uint8_t *lanes)
{
    return (uintptr_t)lanes + (s->in_lanes ? (uintptr_t)AVX512_AHEAD : 0);
}

// Asks for the lines [lo, hi) after `next`, into the second level cache, which takes more requests
// at once than the first; nothing need be there.
AVX512_INLINE void avx512_ahead(uintptr_t next, int lo, int hi)
{
    AVX512_UNROLL
    for (int line = lo; line < hi; line++)
        _mm_prefetch((const void *)(next + 64 * (uintptr_t)line), _MM_HINT_T1);
}

// What is left to ask for of the next weights in lane form of two groups, while a panel is used.
struct avx512_asking {
    uintptr_t at[2];
    size_t left; // bytes
};

// The `bytes` at byte `at` of both groups.
AVX512_INLINE struct avx512_asking avx512_asking_for(const struct avx512_source sources[2],
                                                     size_t at, size_t bytes)
{
    struct avx512_asking asking = {.left = sources[0].in_lanes ? bytes : 0};
    for (int v = 0; v < 2; v++)
        asking.at[v] = (uintptr_t)sources[v].lanes + at;
    return asking;
}

// A few lines at a time: more at once would stall until memory took them.
AVX512_INLINE void avx512_ask(struct avx512_asking *asking)
{
    enum { LINES = 3 };
    if (!asking->left)
        return;
    for (int v = 0; v < 2; v++) {
        for (int i = 0; i < LINES; i++)
            _mm_prefetch((const void *)(asking->at[v] + 64 * (uintptr_t)i), _MM_HINT_T0);
        asking->at[v] += 64 * LINES;
    }
    asking->left -= asking->left < 64 * LINES ? asking->left : 64 * LINES;
}

// Results of the rows [r, r + 16), as far as there are rows.
AVX512_INLINE void avx512_store_rows(const struct matmul_args *a, int t, int r, __m512 v)
{
    float *out = a->out + (size_t)t * a->out_stride + (size_t)r;
    int n = a->row_hi - r;
    _mm512_mask_storeu_ps(out, n < LANE_ROWS ? (__mmask16)((1u << n) - 1) : 0xffff, v);
}
