// Blocks of IQ3, IQ2 and IQ1, read with AVX2: what the kernels of AVX2 and AVX-512 share.
//
// A block is read in two steps. First its numbers, signs and scales are brought into one form, for
// all formats the same; then points are looked up, 32 weights at a time, and get their signs.
#pragma once

#include "kernels/scalar/codebooks.h"
#include "kernels/x86/avx2.h"

struct grid_block {
    uint16_t point[64]; // of 64 points of four, or 32 of eight
    uint8_t signs[32];  // bit k of signs[i]: weight 8i + k is negative; IQ1: or lowered
    int16_t sc[16];
};

// ---- reading blocks ----------------------------------------------------------------------------

AVX2_INLINE void grid_store(void *p, __m256i v)
{
    _mm256_storeu_si256(p, v);
}

// 16 bytes, widened.
AVX2_INLINE __m256i grid_wide(const uint8_t *p)
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)p));
}

// Seven bits in each byte: sets the eighth so that the number of ones is even.
AVX2_INLINE __m256i grid_even_signs(__m256i v)
{
    // The parity of a nibble, in the top bit.
    const __m256i parity = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
    __m256i low = _mm256_shuffle_epi8(parity, avx2_low_nibbles(v));
    __m256i high = _mm256_shuffle_epi8(parity, avx2_high_nibbles(v));
    return _mm256_or_si256(v, _mm256_xor_si256(low, high));
}

// Words of four times seven sign bits below a scale of four bits, one for each sub-block of 32.
AVX2_INLINE void grid_put_scales_signs(struct grid_block *b, __m256i v)
{
    __m256i s = _mm256_and_si256(v, _mm256_set1_epi32(0x7f));
    s = _mm256_or_si256(s, _mm256_and_si256(_mm256_slli_epi32(v, 1), _mm256_set1_epi32(0x7f00)));
    s = _mm256_or_si256(s, _mm256_and_si256(_mm256_slli_epi32(v, 2), _mm256_set1_epi32(0x7f0000)));
    s = _mm256_or_si256(s,
                        _mm256_and_si256(_mm256_slli_epi32(v, 3), _mm256_set1_epi32(0x7f000000)));
    grid_store(b->signs, grid_even_signs(s));
    // 2 s + 1 in both halves: for the sub-blocks 2j and 2j + 1 of 16.
    __m256i sc = _mm256_srli_epi32(v, 28);
    sc = _mm256_or_si256(_mm256_add_epi32(sc, sc), _mm256_set1_epi32(1));
    grid_store(b->sc, _mm256_or_si256(sc, _mm256_slli_epi32(sc, 16)));
}

// Sixteen scales 2 s + 1 from bytes.
AVX2_INLINE void grid_put_scales(struct grid_block *b, __m128i s)
{
    __m256i sc = _mm256_cvtepu8_epi16(s);
    grid_store(b->sc, _mm256_add_epi16(_mm256_add_epi16(sc, sc), _mm256_set1_epi16(1)));
}

// 16 nibbles of eight bytes, the low one first.
AVX2_INLINE __m128i grid_nibbles16(const uint8_t *p)
{
    __m128i v = _mm_loadl_epi64((const void *)p), four = _mm_set1_epi8(15);
    return _mm_unpacklo_epi8(_mm_and_si128(v, four), _mm_and_si128(_mm_srli_epi16(v, 4), four));
}

AVX2_INLINE void grid_read_iq3_xxs(struct grid_block *to, const uint8_t *block)
{
    const struct block_iq3_xxs *b = (const void *)block;
    AVX2_UNROLL
    for (int i = 0; i < 64; i += 16)
        grid_store(to->point + i, grid_wide(b->qs + i));
    grid_put_scales_signs(to, avx2_load(b->scales_signs));
}

AVX2_INLINE void grid_read_iq3_s(struct grid_block *to, const uint8_t *block)
{
    const struct block_iq3_s *b = (const void *)block;
    const __m256i bit = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096,
                                          8192, 16384, -32768);
    AVX2_UNROLL
    for (int i = 0; i < 64; i += 16) {
        __m256i qh = _mm256_set1_epi16((short)load_u16(b->qh + i / 8));
        qh = _mm256_cmpeq_epi16(_mm256_and_si256(qh, bit), bit);
        qh = _mm256_and_si256(qh, _mm256_set1_epi16(256));
        grid_store(to->point + i, _mm256_or_si256(grid_wide(b->qs + i), qh));
    }
    grid_store(to->signs, avx2_load(b->signs));
    // Eight nibbles, each for two sub-blocks of 16.
    __m128i four = _mm_set1_epi8(15), s = _mm_cvtsi32_si128((int)load_u32(b->scales));
    s = _mm_unpacklo_epi8(_mm_and_si128(s, four), _mm_and_si128(_mm_srli_epi16(s, 4), four));
    grid_put_scales(to, _mm_unpacklo_epi8(s, s));
}

AVX2_INLINE void grid_read_iq2_xxs(struct grid_block *to, const uint8_t *block)
{
    // Eight times points:4 scale_signs:4, taken apart.
    __m256 first = _mm256_castsi256_ps(avx2_load(block + 2));
    __m256 second = _mm256_castsi256_ps(avx2_load(block + 34));
    __m256i points = _mm256_castps_si256(_mm256_shuffle_ps(first, second, 0x88));
    __m256i scale_signs = _mm256_castps_si256(_mm256_shuffle_ps(first, second, 0xdd));
    points = _mm256_permute4x64_epi64(points, 0xd8);
    grid_store(to->point, _mm256_cvtepu8_epi16(_mm256_castsi256_si128(points)));
    grid_store(to->point + 16, _mm256_cvtepu8_epi16(_mm256_extracti128_si256(points, 1)));
    grid_put_scales_signs(to, _mm256_permute4x64_epi64(scale_signs, 0xd8));
}

AVX2_INLINE void grid_read_iq2_xs(struct grid_block *to, const uint8_t *block)
{
    const struct block_iq2_xs *b = (const void *)block;
    const __m256i nine = _mm256_set1_epi16(511);
    __m256i first = avx2_load(block + 2), second = avx2_load(block + 34);
    grid_store(to->point, _mm256_and_si256(first, nine));
    grid_store(to->point + 16, _mm256_and_si256(second, nine));
    __m256i signs = _mm256_packus_epi16(_mm256_srli_epi16(first, 9), _mm256_srli_epi16(second, 9));
    grid_store(to->signs, grid_even_signs(_mm256_permute4x64_epi64(signs, 0xd8)));
    grid_put_scales(to, grid_nibbles16(b->scales));
}

AVX2_INLINE void grid_read_iq2_s(struct grid_block *to, const uint8_t *block)
{
    const struct block_iq2_s *b = (const void *)block;
    // A byte of qh in four lanes, each of which moves its two bits to 9 and 8.
    const __m256i four_times =
        _mm256_setr_epi8(0, -1, 0, -1, 0, -1, 0, -1, 1, -1, 1, -1, 1, -1, 1, -1, 2, -1, 2, -1, 2,
                         -1, 2, -1, 3, -1, 3, -1, 3, -1, 3, -1);
    const __m256i up = _mm256_set1_epi64x(0x0004001000400100);
    AVX2_UNROLL
    for (int i = 0; i < 32; i += 16) {
        __m256i qh = _mm256_shuffle_epi8(avx2_broadcast4(b->qh + i / 4), four_times);
        qh = _mm256_and_si256(_mm256_mullo_epi16(qh, up), _mm256_set1_epi16(0x300));
        grid_store(to->point + i, _mm256_or_si256(grid_wide(b->qs + i), qh));
    }
    grid_store(to->signs, avx2_load(b->signs));
    grid_put_scales(to, grid_nibbles16(b->scales));
}

AVX2_INLINE void grid_read_iq1_s(struct grid_block *to, const uint8_t *block)
{
    const struct block_iq1_s *b = (const void *)block;
    // A word of qh in four lanes, each of which moves its three bits to 10..8: the first three up,
    // the last down.
    const __m256i four_times = _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3, 4,
                                                5, 4, 5, 4, 5, 4, 5, 6, 7, 6, 7, 6, 7, 6, 7);
    const __m256i up = _mm256_set1_epi64x(0x0000000400200100);
    AVX2_UNROLL
    for (int i = 0; i < 32; i += 16) {
        __m256i qh = _mm256_set1_epi64x((long long)load_u64(block + 34 + i / 2));
        qh = _mm256_shuffle_epi8(qh, four_times);
        __m256i high =
            _mm256_blend_epi16(_mm256_mullo_epi16(qh, up), _mm256_srli_epi16(qh, 1), 0x88);
        high = _mm256_and_si256(high, _mm256_set1_epi16(0x700));
        grid_store(to->point + i, _mm256_or_si256(grid_wide(b->qs + i), high));
    }
    __m128i qh = _mm_loadu_si128((const void *)(block + 34));
    grid_store(to->signs, _mm256_cvtepi16_epi32(_mm_srai_epi16(qh, 15)));
    __m128i s = _mm_and_si128(_mm_srli_epi16(qh, 12), _mm_set1_epi16(7));
    grid_put_scales(to, _mm_or_si128(s, _mm_slli_epi16(s, 8)));
}

AVX2_INLINE void grid_read_iq1_m(struct grid_block *to, const uint8_t *block)
{
    const struct block_iq1_m *b = (const void *)block;
    __m128i qh = _mm_loadu_si128((const void *)b->qh), four = _mm_set1_epi8(15);
    __m128i low = _mm_and_si128(qh, four), high = _mm_and_si128(_mm_srli_epi16(qh, 4), four);
    __m256i nibbles = _mm256_set_m128i(_mm_unpackhi_epi8(low, high), _mm_unpacklo_epi8(low, high));
    grid_store(to->signs, _mm256_cmpgt_epi8(nibbles, avx2_u8(7)));
    __m256i three = _mm256_and_si256(nibbles, avx2_u8(7));
    __m256i first = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(three));
    __m256i second = _mm256_cvtepu8_epi16(_mm256_extracti128_si256(three, 1));
    grid_store(to->point, _mm256_or_si256(grid_wide(b->qs), _mm256_slli_epi16(first, 8)));
    grid_store(to->point + 16,
               _mm256_or_si256(grid_wide(b->qs + 16), _mm256_slli_epi16(second, 8)));
    // Each word of scales in four lanes, each of which moves its three bits to the top.
    const __m256i four_times = _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3, 4,
                                                5, 4, 5, 4, 5, 4, 5, 6, 7, 6, 7, 6, 7, 6, 7);
    const __m256i up = _mm256_set1_epi64x(0x0010008004002000);
    __m256i s = _mm256_set1_epi64x((long long)load_u64(block + 48));
    s = _mm256_mullo_epi16(_mm256_shuffle_epi8(s, four_times), up);
    s = _mm256_srli_epi16(s, 13);
    grid_store(to->sc, _mm256_add_epi16(_mm256_add_epi16(s, s), _mm256_set1_epi16(1)));
}

// ---- weights -----------------------------------------------------------------------------------

// Byte k: all ones when bit k of the 32 sign bits is set.
AVX2_INLINE __m256i grid_sign_bytes(const uint8_t *signs)
{
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                            2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    __m256i v = _mm256_shuffle_epi8(avx2_broadcast4(signs), spread);
    return _mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit);
}

AVX2_INLINE __m256i grid_with_signs(__m256i v, const uint8_t *signs)
{
    __m256i s = grid_sign_bytes(signs);
    return _mm256_sub_epi8(_mm256_xor_si256(v, s), s);
}

AVX2_INLINE __m256i grid_points_of_four(const struct grid_block *b, const uint32_t *table, int j)
{
    const uint16_t *n = b->point + 8 * j;
    __m256i v =
        _mm256_setr_epi32((int)table[n[0]], (int)table[n[1]], (int)table[n[2]], (int)table[n[3]],
                          (int)table[n[4]], (int)table[n[5]], (int)table[n[6]], (int)table[n[7]]);
    return grid_with_signs(v, b->signs + 4 * j);
}

AVX2_INLINE __m256i grid_bare_points_of_eight(const struct grid_block *b, const uint64_t *table,
                                              int j)
{
    const uint16_t *n = b->point + 4 * j;
    return _mm256_setr_epi64x((long long)table[n[0]], (long long)table[n[1]],
                              (long long)table[n[2]], (long long)table[n[3]]);
}

AVX2_INLINE __m256i grid_points_of_eight(const struct grid_block *b, const uint64_t *table, int j)
{
    return grid_with_signs(grid_bare_points_of_eight(b, table, j), b->signs + 4 * j);
}

// Weights 32j.. of a block: signed bytes, at most 62 (IQ3_XXS), 15 (IQ3_S), 43 (IQ2), 9 (IQ1: in
// eighths).
AVX2_INLINE __m256i grid_weights_iq3_xxs(const struct grid_block *b, int j)
{
    return grid_points_of_four(b, codebook_iq3_xxs, j);
}

AVX2_INLINE __m256i grid_weights_iq3_s(const struct grid_block *b, int j)
{
    return grid_points_of_four(b, codebook_iq3_s, j);
}

AVX2_INLINE __m256i grid_weights_iq2_xxs(const struct grid_block *b, int j)
{
    return grid_points_of_eight(b, codebook_iq2_xxs, j);
}

AVX2_INLINE __m256i grid_weights_iq2_xs(const struct grid_block *b, int j)
{
    return grid_points_of_eight(b, codebook_iq2_xs, j);
}

AVX2_INLINE __m256i grid_weights_iq2_s(const struct grid_block *b, int j)
{
    return grid_points_of_eight(b, codebook_iq2_s, j);
}

// 8 * point + 1 or - 1.
AVX2_INLINE __m256i grid_weights_iq1(const struct grid_block *b, int j)
{
    __m256i v = grid_bare_points_of_eight(b, codebook_iq1, j);
    v = _mm256_and_si256(_mm256_slli_epi16(v, 3), avx2_u8(0xf8));
    return _mm256_add_epi8(v, _mm256_or_si256(grid_sign_bytes(b->signs + 4 * j), avx2_u8(1)));
}

// A block as bytes: the weights, moved up by `offset`, and the scales.
struct grid_bytes {
    uint8_t w[256];
    int16_t sc[16];
};

AVX2_INLINE void grid_write(struct grid_bytes *to, const uint8_t *block,
                            void (*read)(struct grid_block *b, const uint8_t *block),
                            __m256i (*weights)(const struct grid_block *b, int j), int offset)
{
    struct grid_block b;
    read(&b, block);
    // Through memory: numbers are loaded faster than taken out of vectors.
    __asm__("" : "+m"(b));
    for (int j = 0; j < 8; j++)
        grid_store(to->w + 32 * j, _mm256_add_epi8(weights(&b, j), avx2_u8((uint8_t)offset)));
    memcpy(to->sc, b.sc, sizeof b.sc);
}

// The scales d of eight rows, in the unit of the weights.
AVX2_INLINE __m256 grid_quarter_d(const struct avx2_rows *rows, size_t at)
{
    return _mm256_mul_ps(avx2_row_halves(rows, at), _mm256_set1_ps(0.25f));
}

AVX2_INLINE __m256 grid_eighth_d(const struct avx2_rows *rows, size_t at)
{
    return _mm256_mul_ps(avx2_row_halves(rows, at), _mm256_set1_ps(0.125f));
}

// The upper four bits of four words.
AVX2_INLINE __m256 grid_d_iq1_m(const struct avx2_rows *rows, size_t at)
{
    uint16_t h[8];
    for (int i = 0; i < 8; i++) {
        uint64_t v = load_u64(rows->row[i] + at + 48) >> 12 & 0x000f000f000f000f;
        h[i] = (uint16_t)(v | v >> 12 | v >> 24 | v >> 36);
    }
    __m256 d = _mm256_cvtph_ps(_mm_loadu_si128((const void *)h));
    return _mm256_mul_ps(d, _mm256_set1_ps(0.125f));
}
