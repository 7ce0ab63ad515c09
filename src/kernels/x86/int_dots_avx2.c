// The ceiling of int8 products with AVX2: see int_dots in kernels.h. Three instructions for each 32
// products: vpmaddubsw, vpmaddwd, vpaddd. Kernels that may add 16-bit sums before they widen them,
// because their weights are narrow, can come out above it.
#include "kernels/x86/x86.h"

#include <immintrin.h>

static inline __m256i dot(__m256i sum, __m256i w, __m256i x, __m256i ones)
{
    __asm__ volatile("" : "+x"(w)); // not known before the loop: nothing is hoisted
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), ones));
}

uint64_t avx2_int_dots(uint64_t rounds)
{
    __m256i w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(-5), ones = _mm256_set1_epi16(1);
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
    for (uint64_t r = 0; r < rounds; r++) {
        a = dot(a, w, x, ones);
        b = dot(b, w, x, ones);
        c = dot(c, w, x, ones);
        d = dot(d, w, x, ones);
        e = dot(e, w, x, ones);
        f = dot(f, w, x, ones);
        g = dot(g, w, x, ones);
        h = dot(h, w, x, ones);
    }
    __asm__ volatile("" ::"x"(a), "x"(b), "x"(c), "x"(d), "x"(e), "x"(f), "x"(g), "x"(h));
    return rounds * 8 * 32 * 2;
}
