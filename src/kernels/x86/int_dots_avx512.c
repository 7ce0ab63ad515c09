// The ceiling of int8 products with AVX-512 VNNI: see int_dots in kernels.h. One vpdpbusd for each
// 64 products; twelve sums hide that each takes several cycles and two may start in one.
#include "kernels/x86/x86.h"

#include <immintrin.h>

uint64_t avx512_int_dots(uint64_t rounds)
{
    __m512i w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(-5);
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a, e = a, f = a;
    __m512i g = a, h = a, i = a, j = a, k = a, l = a;
    for (uint64_t r = 0; r < rounds; r++) {
        __asm__ volatile("" : "+v"(w), "+v"(x));
        a = _mm512_dpbusd_epi32(a, w, x);
        b = _mm512_dpbusd_epi32(b, w, x);
        c = _mm512_dpbusd_epi32(c, w, x);
        d = _mm512_dpbusd_epi32(d, w, x);
        e = _mm512_dpbusd_epi32(e, w, x);
        f = _mm512_dpbusd_epi32(f, w, x);
        g = _mm512_dpbusd_epi32(g, w, x);
        h = _mm512_dpbusd_epi32(h, w, x);
        i = _mm512_dpbusd_epi32(i, w, x);
        j = _mm512_dpbusd_epi32(j, w, x);
        k = _mm512_dpbusd_epi32(k, w, x);
        l = _mm512_dpbusd_epi32(l, w, x);
        // Twelve sums that are equal could be one: each is its own.
        __asm__ volatile("" : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f));
        __asm__ volatile("" : "+v"(g), "+v"(h), "+v"(i), "+v"(j), "+v"(k), "+v"(l));
    }
    return rounds * 12 * 64 * 2;
}
