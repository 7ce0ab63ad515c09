// TQ2_0 and TQ1_0 with AVX2. Weights are multiplied as 0, 1, 2 and the sum of activations is taken
// off. The products of a whole block fit 16 bits: 64 * 2 * 2 * 127 = 32512.
#include "kernels/x86/k_avx2.h"
#include "kernels/x86/x86.h"

enum { TQ2_D_AT = 64, TQ1_SECOND_AT = 32, TQ1_LAST_AT = 48, TQ1_D_AT = 52 };

// The products of a block, in 16 bits, less the sum of its activations.
AVX2_INLINE struct k_dot less_sum(__m256i products, const struct act_q8k *x)
{
    return (struct k_dot){_mm256_sub_epi32(avx2_pairs(products), avx2_pairs(avx2_load(x->sums))),
                          _mm_setzero_si128()};
}

AVX2_INLINE void unit_scales(struct k_scales *s)
{
    for (int j = 0; j < 8; j++)
        s->scale[j] = _mm256_set1_epi16(1);
    for (int j = 0; j < 4; j++)
        s->pair[j] = _mm256_set1_epi16(1);
}

// ---- TQ2_0 -------------------------------------------------------------------------------------

AVX2_INLINE __m256i two_bits(__m256i v, int k)
{
    return _mm256_and_si256(_mm256_srli_epi16(v, 2 * k), avx2_u8(3));
}

AVX2_INLINE struct k_dot dot_tq2_0(const uint8_t *block, const struct act_q8k *x)
{
    __m256i sum = _mm256_setzero_si256();
    AVX2_UNROLL
    for (int j = 0; j < 8; j++) {
        __m256i q = two_bits(avx2_load(block + j / 4 * 32), j % 4);
        sum = avx2_add16(sum, _mm256_maddubs_epi16(q, avx2_load(x->q + 32 * j)));
    }
    return less_sum(sum, x);
}

AVX2_INLINE void unpack_tq2_0(__m256i w[64], struct k_scales *s, const struct avx2_rows *rows,
                              size_t at)
{
    unit_scales(s);
    for (int part = 0; part < 4; part++) {
        __m256i packed[4];
        avx2_turn16(packed, rows, at + (size_t)(16 * part));
        AVX2_UNROLL
        for (int g = 0; g < 4; g++)
            AVX2_UNROLL
        for (int k = 0; k < 4; k++)
            w[part / 2 * 32 + 8 * k + part % 2 * 4 + g] = two_bits(packed[g], k);
    }
}

// ---- TQ1_0 -------------------------------------------------------------------------------------

// The first digit of every byte: 3 * byte / 256.
AVX2_INLINE __m256i first_digit(__m256i v)
{
    __m256i one = _mm256_cmpeq_epi8(_mm256_max_epu8(v, avx2_u8(86)), v);
    __m256i two = _mm256_cmpeq_epi8(_mm256_max_epu8(v, avx2_u8(171)), v);
    return _mm256_abs_epi8(_mm256_add_epi8(one, two));
}

// Brings up the next digit.
AVX2_INLINE __m256i next_digit(__m256i v)
{
    return _mm256_add_epi8(v, _mm256_add_epi8(v, v));
}

AVX2_INLINE struct k_dot dot_tq1_0(const uint8_t *block, const struct act_q8k *x)
{
    __m256i sum = _mm256_setzero_si256(), v = avx2_load(block);
    AVX2_UNROLL
    for (int n = 0; n < 5; n++, v = next_digit(v))
        sum = avx2_add16(sum, _mm256_maddubs_epi16(first_digit(v), avx2_load(x->q + 32 * n)));
    // 16 bytes: digits n and n + 1 in the two halves; the last digit beside the digits of qh, which
    // lie at 240.. as four words, one digit each.
    __m128i second = _mm_loadu_si128((const void *)(block + TQ1_SECOND_AT));
    __m256i last = avx2_broadcast4(block + TQ1_LAST_AT), last3 = next_digit(last);
    __m256i last9 = next_digit(last3), last27 = next_digit(last9);
    __m256i low = _mm256_blend_epi32(last, last3, 0x22),
            high = _mm256_blend_epi32(last9, last27, 0x88);
    last = _mm256_blend_epi32(low, high, 0xcc);
    v = _mm256_broadcastsi128_si256(second);
    v = _mm256_blend_epi32(v, next_digit(v), 0xf0);
    AVX2_UNROLL
    for (int n = 0; n < 6; n += 2, v = next_digit(next_digit(v))) {
        __m256i digits = first_digit(n < 4 ? v : _mm256_blend_epi32(v, last, 0xf0));
        sum = avx2_add16(sum, _mm256_maddubs_epi16(digits, avx2_load(x->q + 160 + 16 * n)));
    }
    return less_sum(sum, x);
}

// Words first, first + step, ...: the digits of packed words.
AVX2_INLINE void put_digits(__m256i *w, __m256i packed, int digits, int step)
{
    AVX2_UNROLL
    for (int n = 0; n < digits; n++, packed = next_digit(packed))
        w[n * step] = first_digit(packed);
}

AVX2_INLINE void unpack_tq1_0(__m256i w[64], struct k_scales *s, const struct avx2_rows *rows,
                              size_t at)
{
    unit_scales(s);
    __m256i packed[12];
    AVX2_UNROLL
    for (int i = 0; i < 3; i++)
        avx2_turn16(packed + 4 * i, rows, at + (size_t)(16 * i));
    for (int g = 0; g < 8; g++)
        put_digits(w + g, packed[g], 5, 8);
    for (int g = 0; g < 4; g++)
        put_digits(w + 40 + g, packed[8 + g], 5, 4);
    put_digits(w + 60, avx2_row_words(rows, at + TQ1_LAST_AT), 4, 1);
}

static const struct k_format tq2_0 = {.bytes = 66,
                                      .d_at = TQ2_D_AT,
                                      .sub_words = 8,
                                      .groups = 8,
                                      .dot = dot_tq2_0,
                                      .unpack = unpack_tq2_0};

static const struct k_format tq1_0 = {.bytes = 54,
                                      .d_at = TQ1_D_AT,
                                      .sub_words = 8,
                                      .groups = 8,
                                      .dot = dot_tq1_0,
                                      .unpack = unpack_tq1_0};

K_MATMULS(tq2_0)
K_MATMUL_ROWS(tq1_0)
