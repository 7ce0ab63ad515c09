// Q8_0 with AVX-512. Weights are multiplied as 0..255; 128 times the sum of activations is taken
// off.
#include "kernels/x86/small_avx512.h"
#include "kernels/x86/x86.h"

AVX512_INLINE void words(__m512i w[8], const uint8_t *lanes)
{
    AVX512_UNROLL
    for (int g = 0; g < 8; g++)
        w[g] = _mm512_xor_si512(avx512_word(lanes, 2, g), avx512_u8(0x80));
}

static const struct small_format q8_0 = {
    .fields = {34, 2, 8, 2}, .offset = 128, .words = words, .scale = avx512_first_half};

AVX512_MATMUL(q8_0, small_matmul)
