// Q4_K and Q5_K with AVX2. A sub-block is eight words; the products of all eight fit 16 bits at
// four bits a weight (8 * 2 * 15 * 127), those of four at five.
#include "kernels/x86/k_avx2.h"
#include "kernels/x86/x86.h"

// The 6-bit scales and minima of one row: sc as eight 16-bit integers in the low half, m in the
// high half.
AVX2_INLINE __m256i row_scales(const uint8_t *scales)
{
    uint32_t a = load_u32(scales), b = load_u32(scales + 4), c = load_u32(scales + 8);
    uint32_t sc_high = (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030);
    uint32_t m_high = (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030);
    uint64_t sc = (a & 0x3f3f3f3f) | (uint64_t)sc_high << 32;
    uint64_t m = (b & 0x3f3f3f3f) | (uint64_t)m_high << 32;
    return _mm256_cvtepu8_epi16(_mm_set_epi64x((long long)m, (long long)sc));
}

// Moves bit j of every byte to bit 4 and clears the others.
AVX2_INLINE __m256i fifth_bit(__m256i v, int j)
{
    v = _mm256_and_si256(v, avx2_u8((uint8_t)(1 << j)));
    return j < 4 ? _mm256_slli_epi16(v, 4 - j) : _mm256_srli_epi16(v, j - 4);
}

// sum + scale j times the products of 32 weights.
AVX2_INLINE __m256i add_scaled(__m256i sum, __m256i w, const int8_t *x, __m256i sc, int j)
{
    __m256i scale = _mm256_shuffle_epi8(sc, _mm256_set1_epi16((short)(0x0100 + j * 0x0202)));
    __m256i products = _mm256_maddubs_epi16(w, avx2_load(x + 32 * j));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(products, scale));
}

// qh: NULL for Q4_K, else the 32 bytes with the fifth bits.
AVX2_INLINE struct k_dot dot(const uint8_t *scales, const uint8_t *qh, const uint8_t *qs,
                             const struct act_q8k *x)
{
    __m256i both = row_scales(scales), sc = _mm256_permute2x128_si256(both, both, 0);
    __m256i sum = _mm256_setzero_si256();
    __m256i high = qh ? avx2_load(qh) : sum;
    AVX2_UNROLL
    for (int j = 0; j < 8; j += 2) {
        __m256i packed = avx2_load(qs + 16 * j);
        __m256i even = avx2_low_nibbles(packed), odd = avx2_high_nibbles(packed);
        if (qh) {
            even = _mm256_or_si256(even, fifth_bit(high, j));
            odd = _mm256_or_si256(odd, fifth_bit(high, j + 1));
        }
        sum = add_scaled(sum, even, x->q, sc, j);
        sum = add_scaled(sum, odd, x->q, sc, j + 1);
    }
    __m128i m = _mm256_extracti128_si256(both, 1);
    return (struct k_dot){sum, _mm_madd_epi16(m, k_sums32(x))};
}

AVX2_INLINE struct k_dot dot_q4_k(const uint8_t *block, const struct act_q8k *x)
{
    return dot(block + 4, NULL, block + 16, x);
}

AVX2_INLINE struct k_dot dot_q5_k(const uint8_t *block, const struct act_q8k *x)
{
    return dot(block + 4, block + 16, block + 48, x);
}

AVX2_INLINE void scales(struct k_scales *s, const struct avx2_rows *rows, size_t at)
{
    const __m256i six = avx2_u8(0x3f), four = avx2_u8(0x0f), top = avx2_u8(0x30);
    __m256i a = avx2_row_words(rows, at + 4), b = avx2_row_words(rows, at + 8);
    __m256i c = avx2_row_words(rows, at + 12);
    __m256i sc[2] = {
        _mm256_and_si256(a, six),
        _mm256_or_si256(_mm256_and_si256(c, four), _mm256_and_si256(_mm256_srli_epi32(a, 2), top))};
    __m256i m[2] = {
        _mm256_and_si256(b, six),
        _mm256_or_si256(avx2_high_nibbles(c), _mm256_and_si256(_mm256_srli_epi32(b, 2), top))};
    // Within each lane of 32 bits: byte j to both halves; bytes 2j and 2j + 1 to one half each.
    const __m256i word = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404,
                                           0x08080808, 0x0c0c0c0c);
    const __m256i clear = _mm256_set1_epi16((short)0x8000); // a set top bit gives a zero byte
    AVX2_UNROLL
    for (int j = 0; j < 8; j++) {
        __m256i from = _mm256_add_epi8(word, avx2_u8((uint8_t)(j % 4)));
        s->scale[j] = _mm256_shuffle_epi8(sc[j / 4], _mm256_or_si256(from, clear));
    }
    AVX2_UNROLL
    for (int j = 0; j < 4; j++) {
        __m256i from = _mm256_add_epi8(word, _mm256_set1_epi32(0x00010000 + j % 2 * 0x02020202));
        s->pair[j] = _mm256_shuffle_epi8(m[j / 2], _mm256_or_si256(from, clear));
    }
}

AVX2_INLINE void piece_q4_k(__m256i w[K_PIECE], const struct avx2_rows *rows, size_t at,
                            size_t piece)
{
    size_t qs_at = at + 16 + 32 * piece;
    __m256i packed[8];
    avx2_turn16(packed, rows, qs_at);
    avx2_turn16(packed + 4, rows, qs_at + 16);
    AVX2_UNROLL
    for (int g = 0; g < 8; g++) {
        w[g] = avx2_low_nibbles(packed[g]);
        w[8 + g] = avx2_high_nibbles(packed[g]);
    }
}

AVX2_INLINE void piece_q5_k(__m256i w[K_PIECE], const struct avx2_rows *rows, size_t at,
                            size_t piece)
{
    const __m256i top = avx2_u8(16);
    const __m128i down = _mm_cvtsi32_si128((int)(2 * piece));
    __m256i high[8];
    avx2_turn16(high, rows, at + 16);
    avx2_turn16(high + 4, rows, at + 32);
    piece_q4_k(w, rows, at + 32, piece);
    AVX2_UNROLL
    for (int g = 0; g < 8; g++) {
        __m256i two = _mm256_srl_epi16(high[g], down); // bits 1 and 0
        w[g] = _mm256_or_si256(w[g], _mm256_and_si256(_mm256_slli_epi16(two, 4), top));
        w[8 + g] = _mm256_or_si256(w[8 + g], _mm256_and_si256(_mm256_slli_epi16(two, 3), top));
    }
}

static const struct k_format q4_k = {.bytes = 144,
                                     .sub_words = 8,
                                     .groups = 8,
                                     .has_min = true,
                                     .dot = dot_q4_k,
                                     .scales = scales,
                                     .piece = piece_q4_k};

static const struct k_format q5_k = {.bytes = 176,
                                     .sub_words = 8,
                                     .groups = 4,
                                     .has_min = true,
                                     .dot = dot_q5_k,
                                     .scales = scales,
                                     .piece = piece_q5_k};

K_MATMULS(q4_k)
K_MATMULS(q5_k)
