// IQ3, IQ2 and IQ1 with AVX2: formats that choose points of a codebook (grids_avx2.h reads them).
//
// One token takes the weights as they come. For several, those of eight rows are written out as
// bytes and turned into the panel of k_avx2.h, moved up by the largest magnitude:
//
//   format    moved by   pair of products at most    words added in 16 bits
//   IQ3_XXS   62         2 * 124 * 127 = 31496       1
//   IQ3_S     15         2 *  30 * 127 =  7620       4
//   IQ2       43         2 *  86 * 127 = 21844       1
//   IQ1        9         2 *  18 * 127 =  4572       4
#include "kernels/x86/grids_avx2.h"
#include "kernels/x86/k_avx2.h"
#include "kernels/x86/x86.h"

// One row and one token: magnitudes are multiplied, activations get the signs.
AVX2_INLINE struct k_dot grid_dot(struct grid_block *b,
                                  __m256i (*weights)(const struct grid_block *b, int j),
                                  const struct act_q8k *x)
{
    // The scales of the even sub-block of 16 to the low half, of the odd one to the high half.
    const __m256i halves = _mm256_set_m128i(_mm_set1_epi16(0x0302), _mm_set1_epi16(0x0100));
    __m256i sum = _mm256_setzero_si256();
    // Through memory: numbers and scales are loaded faster than taken out of vectors.
    __asm__("" : "+m"(*b));
    AVX2_UNROLL
    for (int j = 0; j < 8; j++) {
        __m256i w = weights(b, j), sc = avx2_broadcast4(b->sc + 2 * j);
        __m256i products = avx2_signed_products(w, avx2_load(x->q + 32 * j));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(products, _mm256_shuffle_epi8(sc, halves)));
    }
    return (struct k_dot){sum, _mm_setzero_si128()};
}

AVX2_INLINE void grid_turn(__m256i w[64], struct k_scales *s, const struct grid_bytes bytes[8],
                           int offset)
{
    struct avx2_rows rows = {.in_lanes = false};
    for (int i = 0; i < 8; i++)
        rows.row[i] = bytes[i].w;
    for (int i = 0; i < 16; i++)
        avx2_turn16(w + 4 * i, &rows, (size_t)(16 * i));
    // A word: the scales of two sub-blocks.
    avx2_turn16(s->pair, &rows, offsetof(struct grid_bytes, sc));
    avx2_turn16(s->pair + 4, &rows, offsetof(struct grid_bytes, sc) + 16);
    for (int j = 0; j < 8; j++) {
        __m256i pair = s->pair[j];
        s->scale[2 * j] = _mm256_blend_epi16(pair, _mm256_slli_epi32(pair, 16), 0xaa);
        s->scale[2 * j + 1] = _mm256_blend_epi16(_mm256_srli_epi32(pair, 16), pair, 0xaa);
        s->pair[j] = _mm256_mullo_epi16(pair, _mm256_set1_epi16((short)offset));
    }
}

// What the formats have of their own, made into what k_avx2.h asks for. A dot product is a
// function: eight copies of it in a loop would not fit where decoded instructions are kept.
#define GRID_FORMAT(name, weights, offset)                                               \
    static __attribute__((noinline)) struct k_dot dot_##name(const uint8_t *block,       \
                                                             const struct act_q8k *x)    \
    {                                                                                    \
        struct grid_block b;                                                             \
        grid_read_##name(&b, block);                                                     \
        return grid_dot(&b, weights, x);                                                 \
    }                                                                                    \
    AVX2_INLINE void unpack_##name(__m256i w[64], struct k_scales *s,                    \
                                   const struct avx2_rows *rows, size_t at)              \
    {                                                                                    \
        struct grid_bytes bytes[8];                                                      \
        for (int i = 0; i < 8; i++)                                                      \
            grid_write(bytes + i, rows->row[i] + at, grid_read_##name, weights, offset); \
        grid_turn(w, s, bytes, offset);                                                  \
    }

GRID_FORMAT(iq3_xxs, grid_weights_iq3_xxs, 62)
GRID_FORMAT(iq3_s, grid_weights_iq3_s, 15)
GRID_FORMAT(iq2_xxs, grid_weights_iq2_xxs, 43)
GRID_FORMAT(iq2_xs, grid_weights_iq2_xs, 43)
GRID_FORMAT(iq2_s, grid_weights_iq2_s, 43)
GRID_FORMAT(iq1_s, grid_weights_iq1, 9)
GRID_FORMAT(iq1_m, grid_weights_iq1, 9)

#define GRID_MATMUL(name, size, scale, words)                      \
    static const struct k_format name = {.bytes = size,            \
                                         .sub_words = 4,           \
                                         .groups = words,          \
                                         .d = scale,               \
                                         .dot = dot_##name,        \
                                         .unpack = unpack_##name}; \
    K_MATMUL_ROWS(name)

GRID_MATMUL(iq3_xxs, 98, grid_quarter_d, 1)
GRID_MATMUL(iq3_s, 110, NULL, 4)
GRID_MATMUL(iq2_xxs, 66, grid_eighth_d, 1)
GRID_MATMUL(iq2_xs, 74, grid_eighth_d, 1)
GRID_MATMUL(iq2_s, 82, grid_eighth_d, 1)
GRID_MATMUL(iq1_s, 50, grid_eighth_d, 4)
GRID_MATMUL(iq1_m, 56, grid_d_iq1_m, 4)
