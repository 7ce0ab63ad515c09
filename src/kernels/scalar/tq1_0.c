// TQ1_0: 256 ternary weights, five to a byte, with one scale.
#include "kernels/scalar/k_weights.h"

// Digit n of a byte (see blocks.h), less one. The product with 3^n is taken modulo 256.
static int8_t trit(uint8_t byte, int n)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    return (int8_t)((uint8_t)(byte * power[n]) * 3 / 256 - 1);
}

static void unpack_tq1_0(struct k_weights *w, const struct block_tq1_0 *b)
{
    w->d = half_to_float(b->d);
    memset(w->sc, 1, sizeof w->sc);
    for (int i = 0; i < 160; i++)
        w->q[i] = trit(b->qs[i % 32], i / 32);
    for (int i = 0; i < 80; i++)
        w->q[160 + i] = trit(b->qs[32 + i % 16], i / 16);
    for (int i = 0; i < 16; i++)
        w->q[240 + i] = trit(b->qh[i % 4], i / 4);
}

K_WEIGHTS_FORMAT(tq1_0, unpack_tq1_0, false)
SCALAR_MATMUL(tq1_0, dot_tq1_0)
