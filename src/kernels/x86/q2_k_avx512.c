// Q2_K, Q3_K and TQ2_0 with AVX-512: a word of packed pairs of bits gives a word each of four
// sub-blocks. Q3_K's weights are multiplied as 0..7 and TQ2_0's as 0..2; 4 times scale times sum of
// activations, or their sum, is taken off.
#include "kernels/x86/k_avx512.h"
#include "kernels/x86/x86.h"

enum { Q2_SCALES_AT = 0, Q2_QS_AT = 16, Q2_D_AT = 80 };
enum { Q3_HMASK_AT = 0, Q3_QS_AT = 32, Q3_SCALES_AT = 96, Q3_D_AT = 108 };
enum { TQ2_D_AT = 64 };

AVX512_INLINE __m512i two_bits(__m512i v, int k)
{
    return _mm512_and_si512(_mm512_srli_epi16(v, (unsigned)(2 * k)), avx512_u8(3));
}

// A stage is half the length of a quarter: of half block stage / 2, four words of every quarter.
AVX512_INLINE int sub_at(int stage, int plane)
{
    return stage / 2 * 8 + 2 * plane + stage % 2;
}

AVX512_INLINE void words_q2_k(__m512i *w, const uint8_t *lanes, int stage, int i)
{
    __m512i packed = avx512_word(lanes, Q2_QS_AT, 4 * stage + i);
    AVX512_UNROLL
    for (int k = 0; k < 4; k++)
        w[k] = two_bits(packed, k);
}

AVX512_INLINE void scales_q2_k(struct k_scales *s, const uint8_t *lanes)
{
    AVX512_UNROLL
    for (int j = 0; j < 4; j++) {
        __m512i both = avx512_word(lanes, Q2_SCALES_AT, j);
        __m512i sc = avx512_low_nibbles(both), m = avx512_high_nibbles(both);
        AVX512_UNROLL
        for (int i = 0; i < 4; i++)
            s->scale[4 * j + i] = k_byte(sc, i);
        AVX512_UNROLL
        for (int i = 0; i < 2; i++)
            s->pair[2 * j + i] = k_byte_pair(m, 2 * i);
    }
    s->d = avx512_halves(lanes, Q2_D_AT);
    s->dmin = avx512_halves(lanes, Q2_D_AT + 2);
}

// The third bits of half h's quarters are bits 4h..4h+3 of the words of hmask.
AVX512_INLINE void words_q3_k(__m512i *w, const uint8_t *lanes, int stage, int i)
{
    const __m512i third = avx512_u8(4);
    __m512i packed = avx512_word(lanes, Q3_QS_AT, 4 * stage + i);
    __m512i high = avx512_word(lanes, Q3_HMASK_AT, stage % 2 * 4 + i);
    high = _mm512_srl_epi32(high, _mm_cvtsi32_si128(stage / 2 * 4));
    w[0] = avx512_and_or(_mm512_slli_epi16(high, 2), third, two_bits(packed, 0));
    w[1] = avx512_and_or(_mm512_slli_epi16(high, 1), third, two_bits(packed, 1));
    w[2] = avx512_and_or(high, third, two_bits(packed, 2));
    w[3] = avx512_and_or(_mm512_srli_epi16(high, 1), third, two_bits(packed, 3));
}

AVX512_INLINE void scales_q3_k(struct k_scales *s, const uint8_t *lanes)
{
    const __m512i top = avx512_u8(0x30);
    __m512i a = avx512_word(lanes, Q3_SCALES_AT, 0), b = avx512_word(lanes, Q3_SCALES_AT, 1);
    __m512i c = avx512_word(lanes, Q3_SCALES_AT, 2);
    __m512i six[4] = {
        avx512_and_or(_mm512_slli_epi16(c, 4), top, avx512_low_nibbles(a)),
        avx512_and_or(_mm512_slli_epi16(c, 2), top, avx512_low_nibbles(b)),
        avx512_and_or(c, top, avx512_high_nibbles(a)),
        avx512_and_or(_mm512_srli_epi16(c, 2), top, avx512_high_nibbles(b)),
    };
    AVX512_UNROLL
    for (int j = 0; j < 4; j++) {
        AVX512_UNROLL
        for (int i = 0; i < 4; i++)
            s->scale[4 * j + i] = _mm512_sub_epi32(k_byte(six[j], i), _mm512_set1_epi32(32));
        AVX512_UNROLL
        for (int i = 0; i < 2; i++) // -4 * (six - 32)
            s->pair[2 * j + i] = _mm512_slli_epi16(
                _mm512_sub_epi16(_mm512_set1_epi16(32), k_byte_pair(six[j], 2 * i)), 2);
    }
    s->d = avx512_halves(lanes, Q3_D_AT);
    s->dmin = _mm512_setzero_ps();
}

// ---- TQ2_0: a quarter is a sub-block, and there is one scale -----------------------------------

AVX512_INLINE int sub_at_tq2_0(int stage, int plane)
{
    return 4 * stage + plane;
}

AVX512_INLINE void words_tq2_0(__m512i *w, const uint8_t *lanes, int stage, int i)
{
    __m512i packed = avx512_word(lanes, 0, 8 * stage + i);
    AVX512_UNROLL
    for (int k = 0; k < 4; k++)
        w[k] = two_bits(packed, k);
}

AVX512_INLINE void scales_tq2_0(struct k_scales *s, const uint8_t *lanes)
{
    for (int j = 0; j < 8; j++)
        s->scale[j] = _mm512_set1_epi32(1);
    for (int j = 0; j < 4; j++)
        s->pair[j] = _mm512_set1_epi16(-1);
    s->d = avx512_halves(lanes, TQ2_D_AT);
    s->dmin = _mm512_setzero_ps();
}

static const struct k_format q2_k = {.fields = {84, 0, 20, 2},
                                     .sub_words = 4,
                                     .planes = 4,
                                     .has_min = true,
                                     .sub_at = sub_at,
                                     .words = words_q2_k,
                                     .scales = scales_q2_k};

static const struct k_format q3_k = {.fields = {110, 0, 27, 2},
                                     .sub_words = 4,
                                     .planes = 4,
                                     .sub_at = sub_at,
                                     .words = words_q3_k,
                                     .scales = scales_q3_k};

static const struct k_format tq2_0 = {.fields = {66, 0, 16, 2},
                                      .sub_words = 8,
                                      .planes = 4,
                                      .sub_at = sub_at_tq2_0,
                                      .words = words_tq2_0,
                                      .scales = scales_tq2_0};

AVX512_MATMUL(q2_k, k_matmul)
AVX512_MATMUL(q3_k, k_matmul)
AVX512_MATMUL(tq2_0, k_matmul)
