// Q4_0 and Q4_1 with AVX2. Eight pairs of products, each at most 2 * 15 * 127, fit 16 bits.
#include "kernels/x86/small_avx2.h"
#include "kernels/x86/x86.h"

AVX2_INLINE __m256i dot_q4_0(const uint8_t *block, __m256i x)
{
    return avx2_pairs(_mm256_maddubs_epi16(avx2_nibbles(block + 2), x));
}

AVX2_INLINE __m256i dot_q4_1(const uint8_t *block, __m256i x)
{
    return avx2_pairs(_mm256_maddubs_epi16(avx2_nibbles(block + 4), x));
}

AVX2_INLINE void nibbles(__m256i w[8], const struct avx2_rows *rows, size_t at)
{
    __m256i packed[4];
    avx2_turn16(packed, rows, at);
    AVX2_UNROLL
    for (int g = 0; g < 4; g++) {
        w[g] = avx2_low_nibbles(packed[g]);
        w[4 + g] = avx2_high_nibbles(packed[g]);
    }
}

AVX2_INLINE void words_q4_0(__m256i w[8], const struct avx2_rows *rows, size_t at)
{
    nibbles(w, rows, at + 2);
}

AVX2_INLINE void words_q4_1(__m256i w[8], const struct avx2_rows *rows, size_t at)
{
    nibbles(w, rows, at + 4);
}

static const struct small_format q4_0 = {
    .bytes = 18, .offset = 8, .groups = 8, .dot = dot_q4_0, .words = words_q4_0};

static const struct small_format q4_1 = {
    .bytes = 20, .groups = 8, .has_min = true, .dot = dot_q4_1, .words = words_q4_1};

SMALL_MATMULS(q4_0)
SMALL_MATMULS(q4_1)
