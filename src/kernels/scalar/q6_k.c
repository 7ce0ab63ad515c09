// Q6_K: sixteen sub-blocks of 16 weights of six bits, round 32, with scales of eight bits.
#include "kernels/scalar/scalar.h"

static void unpack(int8_t q[256], const struct block_q6_k *b)
{
    for (int h = 0; h < 2; h++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *low = b->ql + 64 * h;
            int high = b->qh[32 * h + l];
            int8_t *to = q + 128 * h + l;
            to[0] = (int8_t)(((low[l] & 15) | (high & 3) << 4) - 32);
            to[32] = (int8_t)(((low[32 + l] & 15) | (high >> 2 & 3) << 4) - 32);
            to[64] = (int8_t)((low[l] >> 4 | (high >> 4 & 3) << 4) - 32);
            to[96] = (int8_t)((low[32 + l] >> 4 | (high >> 6 & 3) << 4) - 32);
        }
}

void scalar_decode_q6_k(float *out, const void *blocks, size_t n)
{
    const struct block_q6_k *b = blocks;
    for (size_t i = 0; i < n; i += 256, b++) {
        int8_t q[256];
        unpack(q, b);
        for (int k = 0; k < 256; k++)
            out[i + (size_t)k] = half_to_float(b->d) * (float)b->scales[k / 16] * (float)q[k];
    }
}

static float dot(float acc, const uint8_t *w, const uint8_t *x, size_t n)
{
    const struct block_q6_k *b = (const void *)w;
    const struct act_q8k *a = (const void *)x;
    for (size_t i = 0; i < n / 256; i++) {
        int8_t q[256];
        unpack(q, b + i);
        int isum = 0;
        for (int j = 0; j < 16; j++) {
            int s = 0;
            for (int k = j * 16; k < j * 16 + 16; k++)
                s += q[k] * a[i].q[k];
            isum += b[i].scales[j] * s;
        }
        acc = fmaf(half_to_float(b[i].d) * a[i].d, (float)isum, acc);
    }
    return acc;
}

SCALAR_MATMUL_LANES(q6_k, WT_Q6_K, dot)
