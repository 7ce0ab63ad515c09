// Q8_0: 32 signed bytes and a scale.
#include "kernels/scalar/scalar.h"

void scalar_decode_q8_0(float *out, const void *blocks, size_t n)
{
    const struct block_q8_0 *b = blocks;
    for (size_t i = 0; i < n; i++)
        out[i] = half_to_float(b[i / 32].d) * (float)b[i / 32].qs[i % 32];
}

static float dot(float acc, const uint8_t *w, const uint8_t *x, size_t n)
{
    const struct block_q8_0 *b = (const void *)w;
    const struct act_q8 *a = (const void *)x;
    for (size_t i = 0; i < n / 32; i++) {
        int isum = 0;
        for (int k = 0; k < 32; k++)
            isum += b[i].qs[k] * a[i].q[k];
        acc = fmaf(half_to_float(b[i].d) * a[i].d, (float)isum, acc);
    }
    return acc;
}

SCALAR_MATMUL_LANES(q8_0, WT_Q8_0, dot)
