// Q4_0 and Q4_1 with AVX-512.
#include "kernels/x86/small_avx512.h"
#include "kernels/x86/x86.h"

AVX512_INLINE void nibbles(__m512i w[8], const uint8_t *lanes, int at)
{
    AVX512_UNROLL
    for (int g = 0; g < 4; g++) {
        __m512i packed = avx512_word(lanes, at, g);
        w[g] = avx512_low_nibbles(packed);
        w[4 + g] = avx512_high_nibbles(packed);
    }
}

AVX512_INLINE void words_q4_0(__m512i w[8], const uint8_t *lanes)
{
    nibbles(w, lanes, 2);
}

AVX512_INLINE void words_q4_1(__m512i w[8], const uint8_t *lanes)
{
    nibbles(w, lanes, 4);
}

static const struct small_format q4_0 = {
    .fields = {18, 2, 4, 2}, .offset = 8, .words = words_q4_0, .scale = avx512_first_half};

static const struct small_format q4_1 = {
    .fields = {20, 4, 4, 2}, .min_at = 2, .words = words_q4_1, .scale = avx512_first_half};

AVX512_MATMUL(q4_0, small_matmul)
AVX512_MATMUL(q4_1, small_matmul)
