// Small pieces that the AVX2 kernels share. Only files whose name ends in _avx2 include this.
#pragma once

#include "kernels/kernels.h"

#include "base/bytes.h"
#include "kernels/lanes.h"
#include "kernels/scalar/scalar.h"

#include <immintrin.h>

#define AVX2_INLINE static inline __attribute__((always_inline))

// Accumulators live in arrays of registers, which needs the loops over them unrolled.
#if defined(__clang__)
#define AVX2_UNROLL _Pragma("clang loop unroll(full)")
#else
#define AVX2_UNROLL _Pragma("GCC unroll 16")
#endif

AVX2_INLINE __m256i avx2_load(const void *p)
{
    return _mm256_loadu_si256(p);
}

AVX2_INLINE __m256i avx2_u8(uint8_t v)
{
    return _mm256_set1_epi8((char)v);
}

// Four bytes at p in every lane.
AVX2_INLINE __m256i avx2_broadcast4(const void *p)
{
    return _mm256_set1_epi32((int)load_u32(p));
}

AVX2_INLINE __m256i avx2_high_nibbles(__m256i v)
{
    return _mm256_and_si256(_mm256_srli_epi16(v, 4), avx2_u8(15));
}

AVX2_INLINE __m256i avx2_low_nibbles(__m256i v)
{
    return _mm256_and_si256(v, avx2_u8(15));
}

// 16 bytes to 32 nibbles: the low ones, then the high ones.
AVX2_INLINE __m256i avx2_nibbles(const void *p)
{
    __m128i v = _mm_loadu_si128(p);
    return avx2_low_nibbles(_mm256_set_m128i(_mm_srli_epi16(v, 4), v));
}

// Pairs of 16-bit sums, added to 32 bits.
AVX2_INLINE __m256i avx2_pairs(__m256i v)
{
    return _mm256_madd_epi16(v, _mm256_set1_epi16(1));
}

// Pairs of products of signed bytes: magnitudes of the weights with activations that carry their
// signs. |w| <= 128 and |x| <= 127, so a pair is at most 32512.
AVX2_INLINE __m256i avx2_signed_products(__m256i w, __m256i x)
{
    return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
}

// Signed bytes moved up by 128: the upper four bits. The lower ones are those of v.
AVX2_INLINE __m256i avx2_moved_high(__m256i v)
{
    return _mm256_xor_si256(avx2_high_nibbles(v), avx2_u8(8));
}

// sum + v, here and now: left alone, gcc gathers a chain of additions at its end and spills the
// terms until then, which costs a third of the speed.
AVX2_INLINE __m256i avx2_add16(__m256i sum, __m256i v)
{
    sum = _mm256_add_epi16(sum, v);
    __asm__("" : "+x"(sum));
    return sum;
}

// Lane i: the sum of the lanes of v[i].
AVX2_INLINE __m256i avx2_sums(const __m256i v[8])
{
    __m256i two[4], four[2];
    AVX2_UNROLL
    for (int i = 0; i < 4; i++)
        two[i] = _mm256_add_epi32(_mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]),
                                  _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
    AVX2_UNROLL
    for (int i = 0; i < 2; i++)
        four[i] = _mm256_add_epi32(_mm256_unpacklo_epi64(two[2 * i], two[2 * i + 1]),
                                   _mm256_unpackhi_epi64(two[2 * i], two[2 * i + 1]));
    return _mm256_add_epi32(_mm256_permute2x128_si256(four[0], four[1], 0x20),
                            _mm256_permute2x128_si256(four[0], four[1], 0x31));
}

// The fixed tree of the eight-lane sum.
AVX2_INLINE float avx2_lanes_sum(__m256 s)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// Lanes below n are all ones, n in [0, 8].
AVX2_INLINE __m256i avx2_mask(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// The exp of scalar.h, eight times.
AVX2_INLINE __m256 avx2_exp(__m256 x)
{
    const __m256 round = _mm256_set1_ps(EXP_ROUND), one = _mm256_set1_ps(1);
    __m256 c = _mm256_min_ps(x, _mm256_set1_ps(EXP_MAX));
    c = _mm256_max_ps(c, _mm256_set1_ps(EXP_MIN));
    __m256 n = _mm256_sub_ps(_mm256_fmadd_ps(c, _mm256_set1_ps(EXP_LOG2E), round), round);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-EXP_LN2_HIGH), c);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-EXP_LN2_LOW), r);
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(EXP_C6), r, _mm256_set1_ps(EXP_C5));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C2));
    p = _mm256_fmadd_ps(p, r, one);
    p = _mm256_fmadd_ps(p, r, one);
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    __m256i bias = _mm256_set1_epi32(127), rest = _mm256_sub_epi32(whole, half);
    __m256i two_half = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    __m256i two_rest = _mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23);
    __m256 y = _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(two_half)),
                             _mm256_castsi256_ps(two_rest));
    return _mm256_blendv_ps(x, y, _mm256_cmp_ps(x, x, _CMP_ORD_Q));
}

// The first n < 8 floats at p, zeros above.
AVX2_INLINE __m256 avx2_load_part(const float *p, int n)
{
    return _mm256_maskload_ps(p, avx2_mask(n));
}

// `v` in the lanes below n, `other` above.
AVX2_INLINE __m256 avx2_part(__m256 v, __m256 other, int n)
{
    return _mm256_blendv_ps(other, v, _mm256_castsi256_ps(avx2_mask(n)));
}

// ---- eight rows at once ------------------------------------------------------------------------

// Rows [r, r + 8) of a matmul, in either layout. `in_lanes` is a constant wherever these pieces are
// inlined, so that nothing is left of the choice. Offsets `at` are those of a raw row in both: what
// lies at `at` of the rows lies at LANE_ROWS * at of their group.
struct avx2_rows {
    bool in_lanes;
    const uint8_t *row[8]; // raw: past the end the last row again, whose result is not stored
    const uint8_t *group;  // lanes: the group of 16 rows,
    size_t half;           // and which eight of them
    int n;                 // rows there are
};

AVX2_INLINE struct avx2_rows avx2_rows_at(const struct matmul_args *a, int r, bool in_lanes)
{
    struct avx2_rows rows = {.in_lanes = in_lanes};
    rows.n = a->row_hi - r < 8 ? a->row_hi - r : 8;
    if (in_lanes) {
        rows.half = (size_t)(r % LANE_ROWS / 8);
        rows.group = (const uint8_t *)a->w + (size_t)(r - r % LANE_ROWS) * a->w_stride;
        return rows;
    }
    for (int i = 0; i < 8; i++)
        rows.row[i] =
            (const uint8_t *)a->w + (size_t)(r + (i < rows.n ? i : rows.n - 1)) * a->w_stride;
    return rows;
}

// A copy whose layout the compiler knows: taken where `rows` is one of an array.
AVX2_INLINE struct avx2_rows avx2_rows_of(const struct avx2_rows *rows, bool in_lanes)
{
    struct avx2_rows copy = *rows;
    copy.in_lanes = in_lanes;
    return copy;
}

enum { AVX2_LANES_AHEAD = 1 << 14 }; // bytes: a microsecond of reading

// Asks for what follows the `bytes` from `at` on of the eight rows: of raw rows the same bytes of
// the rows `distance` behind, since a row is too short for the hardware to find the pattern of
// eight streams by itself; of lanes, one stream, what comes a little later.
AVX2_INLINE void avx2_rows_ahead(const struct avx2_rows *rows, size_t at, size_t bytes,
                                 size_t distance)
{
    if (rows->in_lanes) {
        const uint8_t *eight = rows->group + LANE_ROWS * at + 8 * bytes * rows->half;
        for (size_t line = 0; line < 8 * bytes; line += 64)
            _mm_prefetch((const void *)(eight + AVX2_LANES_AHEAD + line), _MM_HINT_T1);
        return;
    }
    AVX2_UNROLL
    for (int i = 0; i < 8; i++)
        for (size_t line = 0; line < bytes; line += 64)
            _mm_prefetch((const void *)(rows->row[i] + distance + at + line), _MM_HINT_T1);
}

AVX2_INLINE void avx2_store_rows(const struct matmul_args *a, int t, int r, int n, __m256 v)
{
    float *out = a->out + (size_t)t * a->out_stride + r;
    if (n == 8)
        _mm256_storeu_ps(out, v);
    else
        _mm256_maskstore_ps(out, avx2_mask(n), v);
}

// The 16-bit integers at `at` of the rows.
AVX2_INLINE __m128i avx2_row_packed_shorts(const struct avx2_rows *rows, size_t at)
{
    if (rows->in_lanes)
        return _mm_loadu_si128((const void *)(rows->group + LANE_ROWS * at + 16 * rows->half));
    __m128i h = _mm_setzero_si128();
    h = _mm_insert_epi16(h, load_u16(rows->row[0] + at), 0);
    h = _mm_insert_epi16(h, load_u16(rows->row[1] + at), 1);
    h = _mm_insert_epi16(h, load_u16(rows->row[2] + at), 2);
    h = _mm_insert_epi16(h, load_u16(rows->row[3] + at), 3);
    h = _mm_insert_epi16(h, load_u16(rows->row[4] + at), 4);
    h = _mm_insert_epi16(h, load_u16(rows->row[5] + at), 5);
    h = _mm_insert_epi16(h, load_u16(rows->row[6] + at), 6);
    return _mm_insert_epi16(h, load_u16(rows->row[7] + at), 7);
}

// Lane i: the half float, the 16-bit integer or the byte at `at` of row i.
AVX2_INLINE __m256 avx2_row_halves(const struct avx2_rows *rows, size_t at)
{
    return _mm256_cvtph_ps(avx2_row_packed_shorts(rows, at));
}

AVX2_INLINE __m256i avx2_row_shorts(const struct avx2_rows *rows, size_t at)
{
    return _mm256_cvtepu16_epi32(avx2_row_packed_shorts(rows, at));
}

AVX2_INLINE __m256i avx2_row_bytes(const struct avx2_rows *rows, size_t at)
{
    if (rows->in_lanes)
        return _mm256_cvtepu8_epi32(
            _mm_loadl_epi64((const void *)(rows->group + LANE_ROWS * at + 8 * rows->half)));
    return _mm256_setr_epi32(rows->row[0][at], rows->row[1][at], rows->row[2][at], rows->row[3][at],
                             rows->row[4][at], rows->row[5][at], rows->row[6][at],
                             rows->row[7][at]);
}

// Lane i: the four bytes at `at` of row i.
AVX2_INLINE __m256i avx2_row_words(const struct avx2_rows *rows, size_t at)
{
    if (rows->in_lanes)
        return avx2_load(rows->group + LANE_ROWS * at + 32 * rows->half);
    return _mm256_setr_epi32((int)load_u32(rows->row[0] + at), (int)load_u32(rows->row[1] + at),
                             (int)load_u32(rows->row[2] + at), (int)load_u32(rows->row[3] + at),
                             (int)load_u32(rows->row[4] + at), (int)load_u32(rows->row[5] + at),
                             (int)load_u32(rows->row[6] + at), (int)load_u32(rows->row[7] + at));
}

// 16 bytes of each row from `at` on, turned if they are not yet: lane i of out[g] holds bytes
// 4g..4g+3 of row i.
AVX2_INLINE void avx2_turn16(__m256i out[4], const struct avx2_rows *rows, size_t at)
{
    if (rows->in_lanes) {
        AVX2_UNROLL
        for (int g = 0; g < 4; g++)
            out[g] = avx2_row_words(rows, at + 4 * (size_t)g);
        return;
    }
    __m256i v[4];
    AVX2_UNROLL
    for (int i = 0; i < 4; i++)
        v[i] = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadu_si128((const void *)(rows->row[i] + at))),
            _mm_loadu_si128((const void *)(rows->row[i + 4] + at)), 1);
    __m256i low01 = _mm256_unpacklo_epi32(v[0], v[1]), high01 = _mm256_unpackhi_epi32(v[0], v[1]);
    __m256i low23 = _mm256_unpacklo_epi32(v[2], v[3]), high23 = _mm256_unpackhi_epi32(v[2], v[3]);
    out[0] = _mm256_unpacklo_epi64(low01, low23);
    out[1] = _mm256_unpackhi_epi64(low01, low23);
    out[2] = _mm256_unpacklo_epi64(high01, high23);
    out[3] = _mm256_unpackhi_epi64(high01, high23);
}

// avx2_matmul_NAME and avx2_matmul_lanes_NAME of the format `name`. few: the widths with paths of
// their own, in each layout; many: all widths, with the layout as a variable.
#define AVX2_MATMULS(name, few, many)                                                             \
    static __attribute__((noinline)) void many_##name(const struct matmul_args *a, bool in_lanes) \
    {                                                                                             \
        many(a, &name, in_lanes);                                                                 \
    }                                                                                             \
    void avx2_matmul_##name(const struct matmul_args *a)                                          \
    {                                                                                             \
        if (!few(a, &name, false))                                                                \
            many_##name(a, false);                                                                \
    }                                                                                             \
    void avx2_matmul_lanes_##name(const struct matmul_args *a)                                    \
    {                                                                                             \
        if (!few(a, &name, true))                                                                 \
            many_##name(a, true);                                                                 \
    }
