// Q8_0 with AVX2: the plainest of the wide formats (see k_avx2.h).
#include "kernels/x86/small_avx2.h"
#include "kernels/x86/x86.h"

AVX2_INLINE __m256i dot(const uint8_t *block, __m256i x)
{
    return avx2_pairs(avx2_signed_products(avx2_load(block + 2), x));
}

AVX2_INLINE void words(__m256i w[8], const struct avx2_rows *rows, size_t at)
{
    avx2_turn16(w, rows, at + 2);
    avx2_turn16(w + 4, rows, at + 18);
}

static const struct small_format q8_0 = {
    .bytes = 34, .groups = 8, .wide = true, .dot = dot, .words = words};

SMALL_MATMULS(q8_0)
