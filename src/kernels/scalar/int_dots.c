// The ceiling of integer products without vector instructions: see int_dots in kernels.h. It is
// what the compiler makes of the plain loop that scalar/ multiplies with.
#include "kernels/scalar/scalar.h"

enum { SUMS = 8 };

uint64_t scalar_int_dots(uint64_t rounds)
{
    uint32_t sum[SUMS] = {0}, w = 3, x = 251;
    for (uint64_t r = 0; r < rounds; r++) {
        __asm__ volatile("" : "+r"(w), "+r"(x)); // not known before the loop: nothing is hoisted
        for (int i = 0; i < SUMS; i++) {
            sum[i] += (uint32_t)((int8_t)w * (int8_t)x);
            __asm__ volatile("" : "+r"(sum[i]));
        }
    }
    return rounds * SUMS * 2;
}
