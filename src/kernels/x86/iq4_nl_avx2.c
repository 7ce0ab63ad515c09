// IQ4_NL, IQ4_XS and MXFP4 with AVX2: a byte shuffle looks nibbles up in the table.
//
// The values of IQ4 span 240, too much to be moved up: two products of 240 * 127 do not fit 16
// bits, which makes them wide (see k_avx2.h). Those of MXFP4 are multiplied moved up by 12; four
// pairs, each at most 2 * 24 * 127, fit 16 bits.
#include "kernels/scalar/codebooks.h"
#include "kernels/x86/k_avx2.h"
#include "kernels/x86/small_avx2.h"
#include "kernels/x86/x86.h"

enum { XS_HIGH_AT = 2, XS_LOW_AT = 4, XS_QS_AT = 8 };

AVX2_INLINE __m256i table_of(const int8_t table[16])
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)table));
}

// 16 bytes of each row to eight words of table values.
AVX2_INLINE void look_up(__m256i w[8], const struct avx2_rows *rows, size_t at, __m256i table)
{
    __m256i packed[4];
    avx2_turn16(packed, rows, at);
    AVX2_UNROLL
    for (int g = 0; g < 4; g++) {
        w[g] = _mm256_shuffle_epi8(table, avx2_low_nibbles(packed[g]));
        w[4 + g] = _mm256_shuffle_epi8(table, avx2_high_nibbles(packed[g]));
    }
}

// ---- IQ4_NL ------------------------------------------------------------------------------------

AVX2_INLINE __m256i dot_iq4_nl(const uint8_t *block, __m256i x)
{
    __m256i w = _mm256_shuffle_epi8(table_of(codebook_iq4_nl), avx2_nibbles(block + 2));
    return avx2_pairs(avx2_signed_products(w, x));
}

AVX2_INLINE void words_iq4_nl(__m256i w[8], const struct avx2_rows *rows, size_t at)
{
    look_up(w, rows, at + 2, table_of(codebook_iq4_nl));
}

static const struct small_format iq4_nl = {
    .bytes = 18, .groups = 8, .wide = true, .dot = dot_iq4_nl, .words = words_iq4_nl};

SMALL_MATMULS(iq4_nl)

// ---- MXFP4 -------------------------------------------------------------------------------------

AVX2_INLINE __m256i table_mxfp4(void)
{
    return _mm256_add_epi8(table_of(codebook_mxfp4), avx2_u8(12));
}

AVX2_INLINE __m256i dot_mxfp4(const uint8_t *block, __m256i x)
{
    __m256i w = _mm256_shuffle_epi8(table_mxfp4(), avx2_nibbles(block + 1));
    return avx2_pairs(_mm256_maddubs_epi16(w, x));
}

AVX2_INLINE void words_mxfp4(__m256i w[8], const struct avx2_rows *rows, size_t at)
{
    look_up(w, rows, at + 1, table_mxfp4());
}

// e8m0_half of eight rows: the exponent less one, or below 2 a subnormal.
AVX2_INLINE __m256 d_mxfp4(const struct avx2_rows *rows, size_t at)
{
    __m256i e = avx2_row_bytes(rows, at);
    __m256i one = _mm256_set1_epi32(1);
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, one), 23);
    __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x200000), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(tiny, normal, _mm256_cmpgt_epi32(e, one)));
}

static const struct small_format mxfp4 = {
    .bytes = 17, .offset = 12, .groups = 4, .d = d_mxfp4, .dot = dot_mxfp4, .words = words_mxfp4};

SMALL_MATMULS(mxfp4)

// ---- IQ4_XS ------------------------------------------------------------------------------------

// The scales of one row as eight 16-bit integers.
AVX2_INLINE __m128i row_scales(const uint8_t *block)
{
    __m128i low = _mm_cvtsi32_si128((int)load_u32(block + XS_LOW_AT)), four = _mm_set1_epi8(15);
    low = _mm_unpacklo_epi8(_mm_and_si128(low, four), _mm_and_si128(_mm_srli_epi16(low, 4), four));
    // Multiplied so that the two bits of each scale come out on top.
    const __m128i up = _mm_setr_epi16(1 << 14, 1 << 12, 1 << 10, 1 << 8, 1 << 6, 1 << 4, 1 << 2, 1);
    __m128i high = _mm_set1_epi16((short)load_u16(block + XS_HIGH_AT));
    high = _mm_srli_epi16(_mm_mullo_epi16(high, up), 14);
    __m128i six = _mm_or_si128(_mm_cvtepu8_epi16(low), _mm_slli_epi16(high, 4));
    return _mm_sub_epi16(six, _mm_set1_epi16(32));
}

AVX2_INLINE struct k_dot dot_iq4_xs(const uint8_t *block, const struct act_q8k *x)
{
    __m256i sc = _mm256_broadcastsi128_si256(row_scales(block)), sum = _mm256_setzero_si256();
    __m256i table = table_of(codebook_iq4_nl);
    AVX2_UNROLL
    for (int j = 0; j < 8; j++) {
        __m256i w = _mm256_shuffle_epi8(table, avx2_nibbles(block + XS_QS_AT + 16 * j));
        __m256i products = avx2_signed_products(w, avx2_load(x->q + 32 * j));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(products, k_scale_at(sc, j)));
    }
    return (struct k_dot){sum, _mm_setzero_si128()};
}

AVX2_INLINE void scales_iq4_xs(struct k_scales *s, const struct avx2_rows *rows, size_t at)
{
    __m256i low = avx2_row_words(rows, at + XS_LOW_AT),
            high = avx2_row_shorts(rows, at + XS_HIGH_AT);
    AVX2_UNROLL
    for (int j = 0; j < 8; j++) {
        __m256i four = _mm256_and_si256(_mm256_srli_epi32(low, 4 * j), _mm256_set1_epi32(15));
        __m256i two = _mm256_and_si256(_mm256_srli_epi32(high, 2 * j), _mm256_set1_epi32(3));
        __m256i six = _mm256_or_si256(four, _mm256_slli_epi32(two, 4));
        six = _mm256_or_si256(six, _mm256_slli_epi32(six, 16));
        s->scale[j] = _mm256_sub_epi16(six, _mm256_set1_epi16(32));
    }
    AVX2_UNROLL
    for (int j = 0; j < 4; j++) {
        __m256i both = _mm256_blend_epi16(s->scale[2 * j], s->scale[2 * j + 1], 0xaa);
        s->pair[j] = _mm256_slli_epi16(both, 7);
    }
}

AVX2_INLINE void piece_iq4_xs(__m256i w[K_PIECE], const struct avx2_rows *rows, size_t at,
                              size_t piece)
{
    __m256i table = table_of(codebook_iq4_nl);
    AVX2_UNROLL
    for (size_t i = 0; i < 2; i++)
        look_up(w + 8 * i, rows, at + XS_QS_AT + 32 * piece + 16 * i, table);
}

static const struct k_format iq4_xs = {.bytes = 136,
                                       .sub_words = 8,
                                       .groups = 8,
                                       .wide = true,
                                       .dot = dot_iq4_xs,
                                       .scales = scales_iq4_xs,
                                       .piece = piece_iq4_xs};

K_MATMULS(iq4_xs)
