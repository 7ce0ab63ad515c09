// Q6_K with AVX2. Weights are multiplied as 0..63; 32 times scale times sum of activations is taken
// off afterwards. Two pairs of products, each at most 2 * 63 * 127, fit 16 bits.
#include "kernels/x86/k_avx2.h"
#include "kernels/x86/x86.h"

enum { QH_AT = 128, SCALES_AT = 192, D_AT = 208 };

// The four quarters of a half block (or their turned words) from the nibbles and the upper bits.
AVX2_INLINE void quarters(__m256i q[4], __m256i low0, __m256i low1, __m256i high)
{
    const __m256i top = avx2_u8(0x30);
    q[0] =
        _mm256_or_si256(avx2_low_nibbles(low0), _mm256_and_si256(_mm256_slli_epi16(high, 4), top));
    q[1] =
        _mm256_or_si256(avx2_low_nibbles(low1), _mm256_and_si256(_mm256_slli_epi16(high, 2), top));
    q[2] = _mm256_or_si256(avx2_high_nibbles(low0), _mm256_and_si256(high, top));
    q[3] =
        _mm256_or_si256(avx2_high_nibbles(low1), _mm256_and_si256(_mm256_srli_epi16(high, 2), top));
}

AVX2_INLINE struct k_dot dot(const uint8_t *block, const struct act_q8k *x)
{
    __m128i scales = _mm_loadu_si128((const void *)(block + SCALES_AT));
    __m256i sc = k_even_odd(scales);
    __m256i offset = _mm256_madd_epi16(_mm256_cvtepi8_epi16(scales), avx2_load(x->sums));
    __m256i sum = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(offset, 5));
    AVX2_UNROLL
    for (int h = 0; h < 2; h++) {
        __m256i q[4];
        quarters(q, avx2_load(block + 64 * h), avx2_load(block + 64 * h + 32),
                 avx2_load(block + QH_AT + 32 * h));
        AVX2_UNROLL
        for (int k = 0; k < 4; k++) {
            int j = 4 * h + k;
            __m256i products = _mm256_maddubs_epi16(q[k], avx2_load(x->q + 32 * j));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(products, k_scale_at(sc, j)));
        }
    }
    return (struct k_dot){sum, _mm_setzero_si128()};
}

AVX2_INLINE void scales(struct k_scales *s, const struct avx2_rows *rows, size_t at)
{
    __m256i packed[4];
    avx2_turn16(packed, rows, at + SCALES_AT);
    AVX2_UNROLL
    for (int i = 0; i < 4; i++)
        k_put_scales(s, i, packed[i]);
    AVX2_UNROLL
    for (int j = 0; j < 8; j++)
        s->pair[j] = _mm256_slli_epi16(k_widen(packed[j / 2], j % 2 * 2, j % 2 * 2 + 1), 5);
}

AVX2_INLINE void piece(__m256i w[K_PIECE], const struct avx2_rows *rows, size_t at, size_t piece)
{
    size_t h = piece / 2, from = piece % 2 * 16;
    __m256i low0[4], low1[4], high[4];
    avx2_turn16(low0, rows, at + 64 * h + from);
    avx2_turn16(low1, rows, at + 64 * h + 32 + from);
    avx2_turn16(high, rows, at + QH_AT + 32 * h + from);
    AVX2_UNROLL
    for (int g = 0; g < 4; g++) {
        __m256i q[4];
        quarters(q, low0[g], low1[g], high[g]);
        AVX2_UNROLL
        for (int k = 0; k < 4; k++)
            w[4 * k + g] = q[k];
    }
}

static const struct k_format q6_k = {.bytes = 210,
                                     .d_at = D_AT,
                                     .sub_words = 4,
                                     .groups = 2,
                                     .in_quarters = true,
                                     .dot = dot,
                                     .scales = scales,
                                     .piece = piece};

K_MATMULS(q6_k)
