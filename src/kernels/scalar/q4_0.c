// Q4_0 and Q4_1: 32 nibbles and a scale; symmetric round 8, or with a minimum.
#include "kernels/scalar/scalar.h"

static void unpack(int8_t q[32], const uint8_t qs[16])
{
    for (int i = 0; i < 16; i++) {
        q[i] = qs[i] & 15;
        q[16 + i] = (int8_t)(qs[i] >> 4);
    }
}

void scalar_decode_q4_0(float *out, const void *blocks, size_t n)
{
    const struct block_q4_0 *b = blocks;
    for (size_t i = 0; i < n; i += 32, b++) {
        int8_t q[32];
        unpack(q, b->qs);
        for (int k = 0; k < 32; k++)
            out[i + (size_t)k] = half_to_float(b->d) * (float)(q[k] - 8);
    }
}

void scalar_decode_q4_1(float *out, const void *blocks, size_t n)
{
    const struct block_q4_1 *b = blocks;
    for (size_t i = 0; i < n; i += 32, b++) {
        int8_t q[32];
        unpack(q, b->qs);
        for (int k = 0; k < 32; k++)
            out[i + (size_t)k] = half_to_float(b->d) * (float)q[k] + half_to_float(b->m);
    }
}

static float dot_q4_0(float acc, const uint8_t *w, const uint8_t *x, size_t n)
{
    const struct block_q4_0 *b = (const void *)w;
    const struct act_q8 *a = (const void *)x;
    for (size_t i = 0; i < n / 32; i++) {
        int8_t q[32];
        unpack(q, b[i].qs);
        int isum = 0;
        for (int k = 0; k < 32; k++)
            isum += (q[k] - 8) * a[i].q[k];
        acc = fmaf(half_to_float(b[i].d) * a[i].d, (float)isum, acc);
    }
    return acc;
}

static float dot_q4_1(float acc, const uint8_t *w, const uint8_t *x, size_t n)
{
    const struct block_q4_1 *b = (const void *)w;
    const struct act_q8 *a = (const void *)x;
    for (size_t i = 0; i < n / 32; i++) {
        int8_t q[32];
        unpack(q, b[i].qs);
        int isum = 0;
        for (int k = 0; k < 32; k++)
            isum += q[k] * a[i].q[k];
        acc = fmaf(half_to_float(b[i].d) * a[i].d, (float)isum, acc);
        acc = fmaf(half_to_float(b[i].m) * a[i].d, (float)a[i].sum, acc);
    }
    return acc;
}

SCALAR_MATMUL_LANES(q4_0, WT_Q4_0, dot_q4_0)

SCALAR_MATMUL_LANES(q4_1, WT_Q4_1, dot_q4_1)
