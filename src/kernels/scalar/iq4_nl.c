// IQ4_NL, MXFP4 and IQ4_XS: nibbles that index a table of 16 values; in blocks of 32 with a scale,
// or 256 with scales for each 32.
#include "kernels/scalar/codebooks.h"
#include "kernels/scalar/k_weights.h"

static void unpack(int8_t q[32], const uint8_t qs[16], const int8_t table[16])
{
    for (int i = 0; i < 16; i++) {
        q[i] = table[qs[i] & 15];
        q[16 + i] = table[qs[i] >> 4];
    }
}

static float scale_iq4_nl(const struct block_iq4_nl *b)
{
    return half_to_float(b->d);
}

static float scale_mxfp4(const struct block_mxfp4 *b)
{
    return e8m0_half(b->e);
}

// At most 32 * 127 * 127 in a block.
#define NIBBLE_TABLE_FORMAT(name)                                                    \
    void scalar_decode_##name(float *out, const void *blocks, size_t n)              \
    {                                                                                \
        const struct block_##name *b = blocks;                                       \
        for (size_t i = 0; i < n; i += 32, b++) {                                    \
            int8_t q[32];                                                            \
            unpack(q, b->qs, codebook_##name);                                       \
            for (int k = 0; k < 32; k++)                                             \
                out[i + (size_t)k] = scale_##name(b) * (float)q[k];                  \
        }                                                                            \
    }                                                                                \
    static float dot_##name(float acc, const uint8_t *w, const uint8_t *x, size_t n) \
    {                                                                                \
        const struct block_##name *b = (const void *)w;                              \
        const struct act_q8 *a = (const void *)x;                                    \
        for (size_t i = 0; i < n / 32; i++) {                                        \
            int8_t q[32];                                                            \
            unpack(q, b[i].qs, codebook_##name);                                     \
            int isum = 0;                                                            \
            for (int k = 0; k < 32; k++)                                             \
                isum += q[k] * a[i].q[k];                                            \
            acc = fmaf(scale_##name(b + i) * a[i].d, (float)isum, acc);              \
        }                                                                            \
        return acc;                                                                  \
    }

NIBBLE_TABLE_FORMAT(iq4_nl)
SCALAR_MATMUL_LANES(iq4_nl, WT_IQ4_NL, dot_iq4_nl)
NIBBLE_TABLE_FORMAT(mxfp4)
SCALAR_MATMUL_LANES(mxfp4, WT_MXFP4, dot_mxfp4)

static void unpack_iq4_xs(struct k_weights *w, const struct block_iq4_xs *b)
{
    w->d = half_to_float(b->d);
    for (int j = 0; j < 8; j++) {
        int low = b->scales_l[j / 2] >> j % 2 * 4 & 15, high = b->scales_h >> 2 * j & 3;
        w->sc[2 * j] = w->sc[2 * j + 1] = (int8_t)((low | high << 4) - 32);
        unpack(w->q + 32 * j, b->qs + 16 * j, codebook_iq4_nl);
    }
}

K_WEIGHTS_FORMAT(iq4_xs, unpack_iq4_xs, false)
SCALAR_MATMUL_LANES(iq4_xs, WT_IQ4_XS, dot_iq4_xs)
