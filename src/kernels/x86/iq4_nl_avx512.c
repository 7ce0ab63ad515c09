// IQ4_NL, MXFP4 and IQ4_XS with AVX-512: a byte shuffle looks nibbles up in the table. The values
// are multiplied moved up by 128 (IQ4) or 12.
#include "kernels/scalar/codebooks.h"
#include "kernels/x86/k_avx512.h"
#include "kernels/x86/small_avx512.h"
#include "kernels/x86/x86.h"

enum { XS_HIGH_AT = 2, XS_LOW_AT = 4, XS_QS_AT = 8 };

AVX512_INLINE __m512i table_of(const int8_t table[16], int offset)
{
    __m512i v = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)table));
    return _mm512_add_epi8(v, avx512_u8((uint8_t)offset));
}

// ---- IQ4_NL and MXFP4 --------------------------------------------------------------------------

AVX512_INLINE void look_up(__m512i w[8], const uint8_t *lanes, int at, __m512i table)
{
    AVX512_UNROLL
    for (int g = 0; g < 4; g++) {
        __m512i packed = avx512_word(lanes, at, g);
        w[g] = _mm512_shuffle_epi8(table, avx512_low_nibbles(packed));
        w[4 + g] = _mm512_shuffle_epi8(table, avx512_high_nibbles(packed));
    }
}

AVX512_INLINE void words_iq4_nl(__m512i w[8], const uint8_t *lanes)
{
    look_up(w, lanes, 2, table_of(codebook_iq4_nl, 128));
}

AVX512_INLINE void words_mxfp4(__m512i w[8], const uint8_t *lanes)
{
    look_up(w, lanes, 1, table_of(codebook_mxfp4, 12));
}

// e8m0_half: the exponent less one, or below 2 a subnormal.
AVX512_INLINE __m512 scale_mxfp4(const uint8_t *lanes)
{
    __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)lanes));
    __m512i one = _mm512_set1_epi32(1);
    __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, one), 23);
    __m512i tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x200000), e);
    return _mm512_castsi512_ps(
        _mm512_mask_blend_epi32(_mm512_cmpgt_epi32_mask(e, one), tiny, normal));
}

static const struct small_format iq4_nl = {
    .fields = {18, 2, 4, 2}, .offset = 128, .words = words_iq4_nl, .scale = avx512_first_half};

static const struct small_format mxfp4 = {
    .fields = {17, 1, 4, 1}, .offset = 12, .words = words_mxfp4, .scale = scale_mxfp4};

AVX512_MATMUL(iq4_nl, small_matmul)
AVX512_MATMUL(mxfp4, small_matmul)

// ---- IQ4_XS ------------------------------------------------------------------------------------

// A stage is two sub-blocks. The first half of each is the low nibbles of four words, the second
// their high ones.
AVX512_INLINE int sub_at(int stage, int plane)
{
    return 2 * stage + plane;
}

AVX512_INLINE void words_iq4_xs(__m512i *w, const uint8_t *lanes, int stage, int i)
{
    __m512i table = table_of(codebook_iq4_nl, 128);
    AVX512_UNROLL
    for (int p = 0; p < 2; p++) {
        __m512i packed = avx512_word(lanes, XS_QS_AT, 4 * sub_at(stage, p) + i % 4);
        w[p] = _mm512_shuffle_epi8(table, i < 4 ? avx512_low_nibbles(packed)
                                                : avx512_high_nibbles(packed));
    }
}

AVX512_INLINE void scales_iq4_xs(struct k_scales *s, const uint8_t *lanes)
{
    __m512i low = avx512_word(lanes, XS_LOW_AT, 0);
    __m512i high =
        _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(lanes + LANE_ROWS * XS_HIGH_AT)));
    AVX512_UNROLL
    for (int j = 0; j < 8; j++) {
        __m512i four =
            _mm512_and_si512(_mm512_srli_epi32(low, (unsigned)(4 * j)), _mm512_set1_epi32(15));
        __m512i two = j < 2 ? _mm512_slli_epi32(high, (unsigned)(4 - 2 * j))
                            : _mm512_srli_epi32(high, (unsigned)(2 * j - 4));
        __m512i six = avx512_and_or(two, _mm512_set1_epi32(0x30), four);
        s->scale[j] = _mm512_sub_epi32(six, _mm512_set1_epi32(32));
    }
    AVX512_UNROLL
    for (int j = 0; j < 4; j++) { // -128 * scale
        __m512i odd = _mm512_slli_epi32(s->scale[2 * j + 1], 16);
        __m512i both = _mm512_mask_blend_epi16(0xaaaaaaaa, s->scale[2 * j], odd);
        s->pair[j] = _mm512_sub_epi16(_mm512_setzero_si512(), _mm512_slli_epi16(both, 7));
    }
    s->d = avx512_halves(lanes, 0);
    s->dmin = _mm512_setzero_ps();
}

static const struct k_format iq4_xs = {.fields = {136, XS_LOW_AT, 33, 2},
                                       .sub_words = 8,
                                       .planes = 2,
                                       .sub_at = sub_at,
                                       .words = words_iq4_xs,
                                       .scales = scales_iq4_xs};

AVX512_MATMUL(iq4_xs, k_matmul)
