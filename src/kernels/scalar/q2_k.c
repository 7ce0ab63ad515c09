// Q2_K and Q3_K: sixteen sub-blocks of 16 weights of two bits with scales and minima of four bits,
// or of three bits, round 4, with scales of six bits.
#include "kernels/scalar/k_weights.h"

// The two bits of weight i, which TQ2_0 keeps in the same place.
static int two_bits(const uint8_t qs[64], int i)
{
    return qs[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
}

static void unpack_q2_k(struct k_weights *w, const struct block_q2_k *b)
{
    w->d = half_to_float(b->d);
    w->dmin = half_to_float(b->dmin);
    for (int j = 0; j < 16; j++) {
        w->sc[j] = b->scales[j] & 15;
        w->m[j] = b->scales[j] >> 4;
    }
    for (int i = 0; i < 256; i++)
        w->q[i] = (int8_t)two_bits(b->qs, i);
}

static void unpack_q3_k(struct k_weights *w, const struct block_q3_k *b)
{
    w->d = half_to_float(b->d);
    for (int j = 0; j < 16; j++) {
        int low = b->scales[j % 8] >> j / 8 * 4 & 15;
        int high = b->scales[8 + j % 4] >> j / 4 * 2 & 3;
        w->sc[j] = (int8_t)((low | high << 4) - 32);
    }
    for (int i = 0; i < 256; i++)
        w->q[i] = (int8_t)((two_bits(b->qs, i) | (b->hmask[i % 32] >> i / 32 & 1) << 2) - 4);
}

static void unpack_tq2_0(struct k_weights *w, const struct block_tq2_0 *b)
{
    w->d = half_to_float(b->d);
    memset(w->sc, 1, sizeof w->sc);
    for (int i = 0; i < 256; i++)
        w->q[i] = (int8_t)(two_bits(b->qs, i) - 1);
}

K_WEIGHTS_FORMAT(q2_k, unpack_q2_k, true)
SCALAR_MATMUL_LANES(q2_k, WT_Q2_K, dot_q2_k)
K_WEIGHTS_FORMAT(q3_k, unpack_q3_k, false)
SCALAR_MATMUL_LANES(q3_k, WT_Q3_K, dot_q3_k)
K_WEIGHTS_FORMAT(tq2_0, unpack_tq2_0, false)
SCALAR_MATMUL_LANES(tq2_0, WT_TQ2_0, dot_tq2_0)
