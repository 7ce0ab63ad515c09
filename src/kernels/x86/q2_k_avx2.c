// Q2_K and Q3_K with AVX2. A sub-block is four words; the products of all four fit 16 bits at three
// bits a weight (4 * 2 * 7 * 127). Q3_K's weights are multiplied as 0..7, and 4 times scale times
// sum of activations is taken off.
#include "kernels/x86/k_avx2.h"
#include "kernels/x86/x86.h"

enum { Q2_SCALES_AT = 0, Q2_QS_AT = 16, Q2_D_AT = 80 };
enum { Q3_HMASK_AT = 0, Q3_QS_AT = 32, Q3_SCALES_AT = 96, Q3_D_AT = 108 };

// Bits 2k+1..2k of every byte.
AVX2_INLINE __m256i two_bits(__m256i v, int k)
{
    return _mm256_and_si256(_mm256_srli_epi16(v, 2 * k), avx2_u8(3));
}

// Moves bit j of every byte to bit 2 and clears the others.
AVX2_INLINE __m256i third_bit(__m256i v, int j)
{
    v = j < 2 ? _mm256_slli_epi16(v, 2 - j) : _mm256_srli_epi16(v, j - 2);
    return _mm256_and_si256(v, avx2_u8(4));
}

// The products of a block with its sixteen scales. hmask: NULL for Q2_K.
AVX2_INLINE __m256i dot(const uint8_t *qs, const uint8_t *hmask, __m128i scales,
                        const struct act_q8k *x)
{
    __m256i sc = k_even_odd(scales), sum = _mm256_setzero_si256();
    __m256i high = hmask ? avx2_load(hmask) : sum;
    AVX2_UNROLL
    for (int j = 0; j < 8; j++) {
        __m256i q = two_bits(avx2_load(qs + j / 4 * 32), j % 4);
        if (hmask)
            q = _mm256_or_si256(q, third_bit(high, j));
        __m256i products = _mm256_maddubs_epi16(q, avx2_load(x->q + 32 * j));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(products, k_scale_at(sc, j)));
    }
    return sum;
}

AVX2_INLINE struct k_dot dot_q2_k(const uint8_t *block, const struct act_q8k *x)
{
    __m128i both = _mm_loadu_si128((const void *)(block + Q2_SCALES_AT)), four = _mm_set1_epi8(15);
    __m256i m = _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(both, 4), four));
    __m256i imin = _mm256_madd_epi16(m, avx2_load(x->sums));
    return (struct k_dot){
        dot(block + Q2_QS_AT, NULL, _mm_and_si128(both, four), x),
        _mm_add_epi32(_mm256_castsi256_si128(imin), _mm256_extracti128_si256(imin, 1))};
}

// The scales of one row less 32, from their three words.
AVX2_INLINE __m128i row_scales(const uint8_t *scales)
{
    uint32_t a = load_u32(scales), b = load_u32(scales + 4), c = load_u32(scales + 8);
    const uint32_t low = 0x0f0f0f0f, high = 0x30303030;
    __m128i sc =
        _mm_setr_epi32((int)((a & low) | (c << 4 & high)), (int)((b & low) | (c << 2 & high)),
                       (int)((a >> 4 & low) | (c & high)), (int)((b >> 4 & low) | (c >> 2 & high)));
    return _mm_sub_epi8(sc, _mm_set1_epi8(32));
}

AVX2_INLINE struct k_dot dot_q3_k(const uint8_t *block, const struct act_q8k *x)
{
    __m128i sc = row_scales(block + Q3_SCALES_AT);
    __m256i offset = _mm256_madd_epi16(_mm256_cvtepi8_epi16(sc), avx2_load(x->sums));
    __m256i sum = dot(block + Q3_QS_AT, block + Q3_HMASK_AT, sc, x);
    return (struct k_dot){_mm256_sub_epi32(sum, _mm256_slli_epi32(offset, 2)), _mm_setzero_si128()};
}

AVX2_INLINE void scales_q2_k(struct k_scales *s, const struct avx2_rows *rows, size_t at)
{
    __m256i both[4];
    avx2_turn16(both, rows, at + Q2_SCALES_AT);
    AVX2_UNROLL
    for (int i = 0; i < 4; i++) {
        k_put_scales(s, i, avx2_low_nibbles(both[i]));
        k_put_pairs(s, i, avx2_high_nibbles(both[i]));
    }
}

AVX2_INLINE void scales_q3_k(struct k_scales *s, const struct avx2_rows *rows, size_t at)
{
    const __m256i top = avx2_u8(0x30);
    __m256i low[2] = {avx2_row_words(rows, at + Q3_SCALES_AT),
                      avx2_row_words(rows, at + Q3_SCALES_AT + 4)};
    __m256i c = avx2_row_words(rows, at + Q3_SCALES_AT + 8);
    __m256i tops[4] = {_mm256_slli_epi16(c, 4), _mm256_slli_epi16(c, 2), c,
                       _mm256_srli_epi16(c, 2)};
    AVX2_UNROLL
    for (int i = 0; i < 4; i++) {
        __m256i four = i < 2 ? avx2_low_nibbles(low[i % 2]) : avx2_high_nibbles(low[i % 2]);
        __m256i six = _mm256_or_si256(four, _mm256_and_si256(tops[i], top));
        k_put_scales(s, i, _mm256_sub_epi8(six, avx2_u8(32)));
        k_put_pairs(s, i, _mm256_sub_epi8(_mm256_slli_epi16(six, 2), avx2_u8(128)));
    }
}

// 16 of the 32 bytes of a half: words of each quarter.
AVX2_INLINE void quarters(__m256i w[K_PIECE], const struct avx2_rows *rows, size_t qs_at,
                          size_t piece)
{
    __m256i packed[4];
    avx2_turn16(packed, rows, qs_at + 16 * piece);
    AVX2_UNROLL
    for (int g = 0; g < 4; g++)
        AVX2_UNROLL
    for (int k = 0; k < 4; k++)
        w[4 * k + g] = two_bits(packed[g], k);
}

AVX2_INLINE void piece_q2_k(__m256i w[K_PIECE], const struct avx2_rows *rows, size_t at,
                            size_t piece)
{
    quarters(w, rows, at + Q2_QS_AT, piece);
}

AVX2_INLINE void piece_q3_k(__m256i w[K_PIECE], const struct avx2_rows *rows, size_t at,
                            size_t piece)
{
    const __m128i down = _mm_cvtsi32_si128((int)(piece / 2 * 4)); // to the bits of this half
    __m256i high[4];
    quarters(w, rows, at + Q3_QS_AT, piece);
    avx2_turn16(high, rows, at + Q3_HMASK_AT + piece % 2 * 16);
    AVX2_UNROLL
    for (int g = 0; g < 4; g++)
        AVX2_UNROLL
    for (int k = 0; k < 4; k++)
        w[4 * k + g] = _mm256_or_si256(w[4 * k + g], third_bit(_mm256_srl_epi16(high[g], down), k));
}

static const struct k_format q2_k = {.bytes = 84,
                                     .d_at = Q2_D_AT,
                                     .sub_words = 4,
                                     .groups = 4,
                                     .has_min = true,
                                     .in_quarters = true,
                                     .dot = dot_q2_k,
                                     .scales = scales_q2_k,
                                     .piece = piece_q2_k};

static const struct k_format q3_k = {.bytes = 110,
                                     .d_at = Q3_D_AT,
                                     .sub_words = 4,
                                     .groups = 4,
                                     .in_quarters = true,
                                     .dot = dot_q3_k,
                                     .scales = scales_q3_k,
                                     .piece = piece_q3_k};

K_MATMULS(q2_k)
K_MATMULS(q3_k)
