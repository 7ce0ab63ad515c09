// Q5_0 and Q5_1: 32 weights of five bits and a scale; symmetric round 16, or with a minimum.
#include "kernels/scalar/scalar.h"

static void unpack(int8_t q[32], const uint8_t qs[16], uint32_t qh)
{
    for (int i = 0; i < 16; i++) {
        q[i] = (int8_t)((qs[i] & 15) | (qh >> i & 1) << 4);
        q[16 + i] = (int8_t)(qs[i] >> 4 | (qh >> (16 + i) & 1) << 4);
    }
}

void scalar_decode_q5_0(float *out, const void *blocks, size_t n)
{
    const struct block_q5_0 *b = blocks;
    for (size_t i = 0; i < n; i += 32, b++) {
        int8_t q[32];
        unpack(q, b->qs, b->qh);
        for (int k = 0; k < 32; k++)
            out[i + (size_t)k] = half_to_float(b->d) * (float)(q[k] - 16);
    }
}

void scalar_decode_q5_1(float *out, const void *blocks, size_t n)
{
    const struct block_q5_1 *b = blocks;
    for (size_t i = 0; i < n; i += 32, b++) {
        int8_t q[32];
        unpack(q, b->qs, b->qh);
        for (int k = 0; k < 32; k++)
            out[i + (size_t)k] = half_to_float(b->d) * (float)q[k] + half_to_float(b->m);
    }
}

static float dot_q5_0(float acc, const uint8_t *w, const uint8_t *x, size_t n)
{
    const struct block_q5_0 *b = (const void *)w;
    const struct act_q8 *a = (const void *)x;
    for (size_t i = 0; i < n / 32; i++) {
        int8_t q[32];
        unpack(q, b[i].qs, b[i].qh);
        int isum = 0;
        for (int k = 0; k < 32; k++)
            isum += (q[k] - 16) * a[i].q[k];
        acc = fmaf(half_to_float(b[i].d) * a[i].d, (float)isum, acc);
    }
    return acc;
}

static float dot_q5_1(float acc, const uint8_t *w, const uint8_t *x, size_t n)
{
    const struct block_q5_1 *b = (const void *)w;
    const struct act_q8 *a = (const void *)x;
    for (size_t i = 0; i < n / 32; i++) {
        int8_t q[32];
        unpack(q, b[i].qs, b[i].qh);
        int isum = 0;
        for (int k = 0; k < 32; k++)
            isum += q[k] * a[i].q[k];
        acc = fmaf(half_to_float(b[i].d) * a[i].d, (float)isum, acc);
        acc = fmaf(half_to_float(b[i].m) * a[i].d, (float)a[i].sum, acc);
    }
    return acc;
}

SCALAR_MATMUL_LANES(q5_0, WT_Q5_0, dot_q5_0)

SCALAR_MATMUL_LANES(q5_1, WT_Q5_1, dot_q5_1)
