// The ceiling of int8 products with dotprod: see int_dots in kernels.h. One sdot for 16 products.
#include "kernels/arm/arm.h"
#include "kernels/arm/neon.h"

enum { SUMS = 16 }; // four pipes, three cycles each, and some to spare

uint64_t neon_int_dots(uint64_t rounds)
{
    int8x16_t w = vdupq_n_s8(3), x = vdupq_n_s8(-5);
    int32x4_t sum[SUMS];
    NEON_UNROLL
    for (int i = 0; i < SUMS; i++)
        sum[i] = vdupq_n_s32(0);
    for (uint64_t r = 0; r < rounds; r++)
        NEON_UNROLL
    for (int i = 0; i < SUMS; i++) {
        __asm__ volatile("" : "+w"(w)); // not known before the loop: nothing is hoisted
        sum[i] = vdotq_s32(sum[i], w, x);
    }
    NEON_UNROLL
    for (int i = 0; i < SUMS; i++)
        __asm__ volatile("" ::"w"(sum[i]));
    return rounds * SUMS * 16 * 2;
}
