// Q4_K and Q5_K with AVX-512: a word of packed nibbles gives one word each of two sub-blocks.
#include "kernels/x86/k_avx512.h"
#include "kernels/x86/x86.h"

enum { SCALES_AT = 4, Q4_QS_AT = 16, Q5_QH_AT = 16, Q5_QS_AT = 48 };

// The 6-bit scales and minima.
AVX512_CALLED void scales(struct k_scales *s, const uint8_t *lanes)
{
    const __m512i six = avx512_u8(0x3f), top = avx512_u8(0x30);
    __m512i a = avx512_word(lanes, SCALES_AT, 0), b = avx512_word(lanes, SCALES_AT, 1);
    __m512i c = avx512_word(lanes, SCALES_AT, 2);
    __m512i sc[2] = {
        _mm512_and_si512(a, six),
        avx512_and_or(_mm512_srli_epi32(a, 2), top, avx512_low_nibbles(c)),
    };
    __m512i m[2] = {
        _mm512_and_si512(b, six),
        avx512_and_or(_mm512_srli_epi32(b, 2), top, avx512_high_nibbles(c)),
    };
    AVX512_UNROLL
    for (int j = 0; j < 8; j++)
        s->scale[j] = k_byte(sc[j / 4], j % 4);
    AVX512_UNROLL
    for (int j = 0; j < 4; j++)
        s->pair[j] = k_byte_pair(m[j / 2], j % 2 * 2);
    s->d = avx512_halves(lanes, 0);
    s->dmin = avx512_halves(lanes, 2);
}

AVX512_INLINE int sub_at(int stage, int plane)
{
    return 2 * stage + plane;
}

AVX512_INLINE void words_q4_k(__m512i *w, const uint8_t *lanes, int stage, int i)
{
    __m512i packed = avx512_word(lanes, Q4_QS_AT, 8 * stage + i);
    w[0] = avx512_low_nibbles(packed);
    w[1] = avx512_high_nibbles(packed);
}

// The fifth bits are bits 2 * stage and 2 * stage + 1 of word i of qh.
AVX512_INLINE void words_q5_k(__m512i *w, const uint8_t *lanes, int stage, int i)
{
    const __m512i fifth = avx512_u8(0x10);
    __m512i packed = avx512_word(lanes, Q5_QS_AT, 8 * stage + i);
    __m512i high = _mm512_srl_epi32(avx512_word(lanes, Q5_QH_AT, i), _mm_cvtsi32_si128(2 * stage));
    w[0] = avx512_and_or(_mm512_slli_epi16(high, 4), fifth, avx512_low_nibbles(packed));
    w[1] = avx512_and_or(_mm512_slli_epi16(high, 3), fifth, avx512_high_nibbles(packed));
}

static const struct k_format q4_k = {.fields = {144, SCALES_AT, 35, 2},
                                     .sub_words = 8,
                                     .planes = 2,
                                     .has_min = true,
                                     .sub_at = sub_at,
                                     .words = words_q4_k,
                                     .scales = scales};

static const struct k_format q5_k = {.fields = {176, SCALES_AT, 43, 2},
                                     .sub_words = 8,
                                     .planes = 2,
                                     .has_min = true,
                                     .sub_at = sub_at,
                                     .words = words_q5_k,
                                     .scales = scales};

AVX512_MATMUL(q4_k, k_matmul)
AVX512_MATMUL(q5_k, k_matmul)
