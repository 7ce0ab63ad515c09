// What the formats with blocks of 256 have in common: unpacked, a block is two scales, sixteen
// sub-blocks with small integer scales, and 256 bytes.
//
//   w[i] = d * sc[i / 16] * q[i]  -  dmin * m[i / 16]
//
// Fractions that a format defines its weights with go into d, so that all else is integer: IQ3_XXS
// stores a quarter, IQ2 and IQ1 an eighth of d. The sum of a block stays within 32 bits whatever
// the bytes of a file are: |sc| <= 128, |q| <= 128 and activations <= 127 give at most
// 256 * 128 * 128 * 127 < 2^30; the minima at most 16 * 15 * (16 * 127).
#pragma once

#include "kernels/scalar/scalar.h"

struct k_weights {
    float d, dmin; // dmin and m: formats with a minimum only
    int8_t sc[16];
    uint8_t m[16];
    int8_t q[256];
};

static inline void k_weights_decode(float out[256], const struct k_weights *w, bool has_min)
{
    for (int i = 0; i < 256; i++) {
        out[i] = w->d * (float)w->sc[i / 16] * (float)w->q[i];
        if (has_min)
            out[i] -= w->dmin * (float)w->m[i / 16];
    }
}

// One block of the sum.
static inline float k_weights_add(float acc, const struct k_weights *w, const struct act_q8k *x,
                                  bool has_min)
{
    int isum = 0, imin = 0;
    for (int j = 0; j < 16; j++) {
        int s = 0;
        for (int i = 16 * j; i < 16 * j + 16; i++)
            s += w->q[i] * x->q[i];
        isum += w->sc[j] * s;
        if (has_min)
            imin += w->m[j] * x->sums[j];
    }
    acc = fmaf(w->d * x->d, (float)isum, acc);
    return has_min ? fmaf(-(w->dmin * x->d), (float)imin, acc) : acc;
}

// Decoding of a format and its `dot_NAME`, from its `unpack(struct k_weights *, const struct
// block_NAME *)`.
#define K_WEIGHTS_FORMAT(name, unpack, has_min)                                        \
    void scalar_decode_##name(float *out, const void *blocks, size_t n)                \
    {                                                                                  \
        const struct block_##name *b = blocks;                                         \
        for (size_t i = 0; i < n; i += 256) {                                          \
            struct k_weights w;                                                        \
            unpack(&w, b++);                                                           \
            k_weights_decode(out + i, &w, has_min);                                    \
        }                                                                              \
    }                                                                                  \
    static float dot_##name(float acc, const uint8_t *row, const uint8_t *x, size_t n) \
    {                                                                                  \
        const struct block_##name *b = (const void *)row;                              \
        const struct act_q8k *a = (const void *)x;                                     \
        for (size_t i = 0; i < n / 256; i++) {                                         \
            struct k_weights w;                                                        \
            unpack(&w, b + i);                                                         \
            acc = k_weights_add(acc, &w, a + i, has_min);                              \
        }                                                                              \
        return acc;                                                                    \
    }
