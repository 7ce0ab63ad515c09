// Q5_0 and Q5_1 with AVX-512.
#include "kernels/x86/small_avx512.h"
#include "kernels/x86/x86.h"

// Bits 4g..4g+3 of every lane as the fifth bits of its four bytes.
AVX512_INLINE __m512i fifth_bits(__m512i qh, int g)
{
    const __m512i byte = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
    __m512i from = _mm512_or_si512(byte, avx512_u8((uint8_t)(g / 2)));
    __m512i bit = _mm512_set1_epi32(g % 2 ? (int)0x80402010 : 0x08040201);
    __mmask64 set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(qh, from), bit);
    return _mm512_maskz_mov_epi8(set, avx512_u8(16));
}

// `at`: where qh is; the nibbles follow it.
AVX512_INLINE void words(__m512i w[8], const uint8_t *lanes, int at)
{
    __m512i qh = avx512_word(lanes, at, 0);
    AVX512_UNROLL
    for (int g = 0; g < 4; g++) {
        __m512i packed = avx512_word(lanes, at, 1 + g);
        w[g] = _mm512_or_si512(avx512_low_nibbles(packed), fifth_bits(qh, g));
        w[4 + g] = _mm512_or_si512(avx512_high_nibbles(packed), fifth_bits(qh, 4 + g));
    }
}

AVX512_INLINE void words_q5_0(__m512i w[8], const uint8_t *lanes)
{
    words(w, lanes, 2);
}

AVX512_INLINE void words_q5_1(__m512i w[8], const uint8_t *lanes)
{
    words(w, lanes, 4);
}

static const struct small_format q5_0 = {
    .fields = {22, 2, 5, 2}, .offset = 16, .words = words_q5_0, .scale = avx512_first_half};

static const struct small_format q5_1 = {
    .fields = {24, 4, 5, 2}, .min_at = 2, .words = words_q5_1, .scale = avx512_first_half};

AVX512_MATMUL(q5_0, small_matmul)
AVX512_MATMUL(q5_1, small_matmul)
