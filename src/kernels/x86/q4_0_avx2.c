// Q4_0 and Q4_1 with AVX2. Eight pairs of products, each at most 2 * 15 * 127, fit 16 bits.
#include "kernels/x86/small_avx2.h"
#include "kernels/x86/x86.h"

AVX2_INLINE __m256i dot_q4_0(const uint8_t *block, __m256i x)
{
    return avx2_pairs(_mm256_maddubs_epi16(avx2_nibbles(block + 2), x));
}

AVX2_INLINE __m256i dot_q4_1(const uint8_t *block, __m256i x)
{
    return avx2_pairs(_mm256_maddubs_epi16(avx2_nibbles(block + 4), x));
}

AVX2_INLINE void unpack_nibbles(struct small_panel *p, int v, const struct avx2_rows *rows,
                                size_t at)
{
    __m256i packed[4];
    avx2_turn16(packed, rows, at);
    AVX2_UNROLL
    for (int g = 0; g < 4; g++) {
        p->w[v][g] = avx2_low_nibbles(packed[g]);
        p->w[v][4 + g] = avx2_high_nibbles(packed[g]);
    }
}

AVX2_INLINE void unpack_q4_0(struct small_panel *p, int v, const struct avx2_rows *rows, size_t at)
{
    unpack_nibbles(p, v, rows, at + 2);
}

AVX2_INLINE void unpack_q4_1(struct small_panel *p, int v, const struct avx2_rows *rows, size_t at)
{
    unpack_nibbles(p, v, rows, at + 4);
}

void avx2_matmul_q4_0(const struct matmul_args *a)
{
    static const struct small_format f = {
        .bytes = 18, .offset = 8, .groups = 8, .dot = dot_q4_0, .unpack = unpack_q4_0};
    small_matmul(a, &f);
}

void avx2_matmul_q4_1(const struct matmul_args *a)
{
    static const struct small_format f = {
        .bytes = 20, .groups = 8, .has_min = true, .dot = dot_q4_1, .unpack = unpack_q4_1};
    small_matmul(a, &f);
}
