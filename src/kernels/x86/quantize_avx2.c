// Activations to integers with AVX2: the bits of scalar/quantize_act.c.
#include "kernels/x86/avx2.h"
#include "kernels/x86/x86.h"

// Largest bit pattern without sign of n floats, n a multiple of 8.
AVX2_INLINE float magnitude(const float *x, size_t n)
{
    __m256i top = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += 8)
        top = _mm256_max_epi32(top,
                               _mm256_and_si256(avx2_load(x + i), _mm256_set1_epi32(0x7fffffff)));
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
    __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    __m128i one = _mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1));
    return float_from_bits((uint32_t)_mm_cvtsi128_si32(one));
}

AVX2_INLINE __m256i round8(const float *x, __m256 inverse)
{
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
}

// 32 floats to bytes.
AVX2_INLINE __m256i round32(const float *x, __m256 inverse)
{
    __m256i low = _mm256_packs_epi32(round8(x, inverse), round8(x + 8, inverse));
    __m256i high = _mm256_packs_epi32(round8(x + 16, inverse), round8(x + 24, inverse));
    // Packing works within 128-bit halves: words 0 1 | 2 3 of each input come out interleaved.
    return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high),
                                       _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

// Writes n bytes of q and returns d; n a multiple of 32.
AVX2_INLINE float quantize_block(int8_t *q, const float *x, size_t n)
{
    float max = magnitude(x, n);
    if (!(max >= 0x1p-100f && max < INFINITY)) {
        memset(q, 0, n);
        return max < INFINITY ? 0 : NAN;
    }
    __m256 inverse = _mm256_set1_ps(127.0f / max);
    for (size_t i = 0; i < n; i += 32)
        _mm256_storeu_si256((void *)(q + i), round32(x + i, inverse));
    return max / 127.0f;
}

// Sums of fours, as eight integers.
AVX2_INLINE __m256i sums_of_four(const int8_t *q)
{
    return avx2_pairs(_mm256_maddubs_epi16(avx2_u8(1), avx2_load(q)));
}

void avx2_quantize_q8(void *out, const float *x, size_t n)
{
    struct act_q8 *a = out;
    for (size_t i = 0; i < n; i += 32, a++) {
        a->d = quantize_block(a->q, x + i, 32);
        __m256i eight = sums_of_four(a->q);
        __m128i four =
            _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
        __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
        a->sum = _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
    }
}

void avx2_quantize_q8k(void *out, const float *x, size_t n)
{
    struct act_q8k *a = out;
    for (size_t i = 0; i < n; i += 256, a++) {
        a->d = quantize_block(a->q, x + i, 256);
        for (int j = 0; j < 16; j += 2) {
            __m256i four = sums_of_four(a->q + 16 * j);
            __m256i eight = _mm256_add_epi32(four, _mm256_shuffle_epi32(four, 0x4e));
            __m256i sixteen = _mm256_add_epi32(eight, _mm256_shuffle_epi32(eight, 0xb1));
            a->sums[j] = (int16_t)_mm256_extract_epi32(sixteen, 0);
            a->sums[j + 1] = (int16_t)_mm256_extract_epi32(sixteen, 4);
        }
    }
}
