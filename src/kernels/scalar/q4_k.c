// Q4_K and Q5_K: eight sub-blocks of 32 weights, each with a scale and a minimum of six bits.
// Unpacked they differ in the width of a weight only.
#include "kernels/scalar/scalar.h"

// A block of either format with everything unpacked.
struct unpacked {
    float d, dmin;
    uint8_t sc[8], m[8], q[256];
};

static void unpack_nibbles(uint8_t q[256], const uint8_t qs[128])
{
    for (int i = 0; i < 128; i++) {
        int at = i / 32 * 64 + i % 32;
        q[at] = qs[i] & 15;
        q[at + 32] = qs[i] >> 4;
    }
}

static void unpack_q4_k(struct unpacked *u, const struct block_q4_k *b)
{
    u->d = half_to_float(b->d);
    u->dmin = half_to_float(b->dmin);
    k_scales(u->sc, u->m, b->scales);
    unpack_nibbles(u->q, b->qs);
}

static void unpack_q5_k(struct unpacked *u, const struct block_q5_k *b)
{
    u->d = half_to_float(b->d);
    u->dmin = half_to_float(b->dmin);
    k_scales(u->sc, u->m, b->scales);
    unpack_nibbles(u->q, b->qs);
    for (int i = 0; i < 256; i++)
        u->q[i] |= (uint8_t)((b->qh[i % 32] >> i / 32 & 1) << 4);
}

static void decode(float out[256], const struct unpacked *u)
{
    for (int i = 0; i < 256; i++)
        out[i] = u->d * (float)u->sc[i / 32] * (float)u->q[i] - u->dmin * (float)u->m[i / 32];
}

// One block of the sum.
static float add_block(float acc, const struct unpacked *u, const struct act_q8k *a)
{
    int isum = 0, imin = 0;
    for (int j = 0; j < 8; j++) {
        int s = 0;
        for (int k = j * 32; k < j * 32 + 32; k++)
            s += u->q[k] * a->q[k];
        isum += u->sc[j] * s;
        imin += u->m[j] * (a->sums[2 * j] + a->sums[2 * j + 1]);
    }
    acc = fmaf(u->d * a->d, (float)isum, acc);
    return fmaf(-(u->dmin * a->d), (float)imin, acc);
}

void scalar_decode_q4_k(float *out, const void *blocks, size_t n)
{
    const struct block_q4_k *b = blocks;
    for (size_t i = 0; i < n; i += 256) {
        struct unpacked u;
        unpack_q4_k(&u, b++);
        decode(out + i, &u);
    }
}

void scalar_decode_q5_k(float *out, const void *blocks, size_t n)
{
    const struct block_q5_k *b = blocks;
    for (size_t i = 0; i < n; i += 256) {
        struct unpacked u;
        unpack_q5_k(&u, b++);
        decode(out + i, &u);
    }
}

static float dot_q4_k(float acc, const uint8_t *w, const uint8_t *x, size_t n)
{
    const struct block_q4_k *b = (const void *)w;
    const struct act_q8k *a = (const void *)x;
    for (size_t i = 0; i < n / 256; i++) {
        struct unpacked u;
        unpack_q4_k(&u, b + i);
        acc = add_block(acc, &u, a + i);
    }
    return acc;
}

static float dot_q5_k(float acc, const uint8_t *w, const uint8_t *x, size_t n)
{
    const struct block_q5_k *b = (const void *)w;
    const struct act_q8k *a = (const void *)x;
    for (size_t i = 0; i < n / 256; i++) {
        struct unpacked u;
        unpack_q5_k(&u, b + i);
        acc = add_block(acc, &u, a + i);
    }
    return acc;
}

SCALAR_MATMUL_LANES(q4_k, WT_Q4_K, dot_q4_k)

SCALAR_MATMUL_LANES(q5_k, WT_Q5_K, dot_q5_k)
