// Q5_0 and Q5_1 with AVX2. Four pairs of products, each at most 2 * 31 * 127, fit 16 bits.
#include "kernels/x86/small_avx2.h"
#include "kernels/x86/x86.h"

// Bit i of `bits` as the fifth bit of byte i.
AVX2_INLINE __m256i fifth_bits(uint32_t bits)
{
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                            2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), spread);
    v = _mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit);
    return _mm256_and_si256(v, avx2_u8(16));
}

AVX2_INLINE __m256i dot(const uint8_t *qh, __m256i x)
{
    __m256i w = _mm256_or_si256(avx2_nibbles(qh + 4), fifth_bits(load_u32(qh)));
    return avx2_pairs(_mm256_maddubs_epi16(w, x));
}

AVX2_INLINE __m256i dot_q5_0(const uint8_t *block, __m256i x)
{
    return dot(block + 2, x);
}

AVX2_INLINE __m256i dot_q5_1(const uint8_t *block, __m256i x)
{
    return dot(block + 4, x);
}

AVX2_INLINE void words(__m256i w[8], const struct avx2_rows *rows, size_t qh_at)
{
    const __m256i first = _mm256_set1_epi32(0x08040201), second = _mm256_slli_epi16(first, 4);
    const __m256i lane_bytes = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0,
                                                 0x04040404, 0x08080808, 0x0c0c0c0c);
    __m256i bits = avx2_row_words(rows, qh_at), packed[4];
    avx2_turn16(packed, rows, qh_at + 4);
    AVX2_UNROLL
    for (int g = 0; g < 8; g++) {
        // The byte of `bits` with word g's four bits, in all four bytes; then one bit each.
        __m256i from = _mm256_add_epi8(lane_bytes, avx2_u8((uint8_t)(g / 2)));
        __m256i bit = g % 2 ? second : first;
        __m256i v5 = _mm256_and_si256(_mm256_shuffle_epi8(bits, from), bit);
        v5 = _mm256_and_si256(_mm256_cmpeq_epi8(v5, bit), avx2_u8(16));
        __m256i low = g < 4 ? avx2_low_nibbles(packed[g % 4]) : avx2_high_nibbles(packed[g % 4]);
        w[g] = _mm256_or_si256(low, v5);
    }
}

AVX2_INLINE void words_q5_0(__m256i w[8], const struct avx2_rows *rows, size_t at)
{
    words(w, rows, at + 2);
}

AVX2_INLINE void words_q5_1(__m256i w[8], const struct avx2_rows *rows, size_t at)
{
    words(w, rows, at + 4);
}

static const struct small_format q5_0 = {
    .bytes = 22, .offset = 16, .groups = 4, .dot = dot_q5_0, .words = words_q5_0};

static const struct small_format q5_1 = {
    .bytes = 24, .groups = 4, .has_min = true, .dot = dot_q5_1, .words = words_q5_1};

SMALL_MATMULS(q5_0)
SMALL_MATMULS(q5_1)
