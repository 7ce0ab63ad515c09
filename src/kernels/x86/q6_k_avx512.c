// Q6_K with AVX-512: two words of nibbles and one of upper bits give a word each of four
// sub-blocks. Weights are multiplied as 0..63; 32 times scale times sum of activations is taken
// off.
#include "kernels/x86/k_avx512.h"
#include "kernels/x86/x86.h"

enum { QH_AT = 128, SCALES_AT = 192, D_AT = 208 };

// Byte j of every lane as a 32-bit integer with its sign.
AVX512_INLINE __m512i byte_of(__m512i v, int j)
{
    return _mm512_srai_epi32(_mm512_slli_epi32(v, (unsigned)(24 - 8 * j)), 24);
}

AVX512_CALLED void scales(struct k_scales *s, const uint8_t *lanes)
{
    AVX512_UNROLL
    for (int j = 0; j < 4; j++) {
        __m512i four = avx512_word(lanes, SCALES_AT, j);
        AVX512_UNROLL
        for (int i = 0; i < 4; i++)
            s->scale[4 * j + i] = byte_of(four, i);
    }
    AVX512_UNROLL
    for (int j = 0; j < 8; j++) {
        __m512i odd = _mm512_slli_epi32(s->scale[2 * j + 1], 16);
        __m512i both = _mm512_mask_blend_epi16(0xaaaaaaaa, s->scale[2 * j], odd);
        s->pair[j] = _mm512_sub_epi16(_mm512_setzero_si512(), _mm512_slli_epi16(both, 5));
    }
    s->d = avx512_halves(lanes, D_AT);
    s->dmin = _mm512_setzero_ps();
}

// A stage is half the length of a quarter: of half block stage / 2, four words of every quarter.
AVX512_INLINE int sub_at(int stage, int plane)
{
    return stage / 2 * 8 + 2 * plane + stage % 2;
}

AVX512_INLINE void words(__m512i *w, const uint8_t *lanes, int stage, int i)
{
    const __m512i top = avx512_u8(0x30);
    int at = stage % 2 * 4 + i;
    __m512i low0 = avx512_word(lanes, 0, stage / 2 * 16 + at);
    __m512i low1 = avx512_word(lanes, 0, stage / 2 * 16 + 8 + at);
    __m512i high = avx512_word(lanes, QH_AT, stage / 2 * 8 + at);
    w[0] = avx512_and_or(_mm512_slli_epi16(high, 4), top, avx512_low_nibbles(low0));
    w[1] = avx512_and_or(_mm512_slli_epi16(high, 2), top, avx512_low_nibbles(low1));
    w[2] = avx512_and_or(high, top, avx512_high_nibbles(low0));
    w[3] = avx512_and_or(_mm512_srli_epi16(high, 2), top, avx512_high_nibbles(low1));
}

static const struct k_format q6_k = {.fields = {210, 0, 52, 2},
                                     .sub_words = 4,
                                     .planes = 4,
                                     .sub_at = sub_at,
                                     .words = words,
                                     .scales = scales};

AVX512_MATMUL(q6_k, k_matmul)
