// IQ1_S and IQ1_M: points of eight weights in -1, 0, 1, moved by an eighth up or down. Unpacked,
// weights are counted in eighths: 8 * point +- 1, at most 9.
#include "kernels/scalar/codebooks.h"
#include "kernels/scalar/k_weights.h"

static void put_point(int8_t q[8], uint64_t point, bool minus)
{
    for (int k = 0; k < 8; k++)
        q[k] = (int8_t)(8 * (int8_t)(point >> 8 * k & 255) + (minus ? -1 : 1));
}

static void unpack_iq1_s(struct k_weights *w, const struct block_iq1_s *b)
{
    w->d = half_to_float(b->d) * 0.125f;
    for (int j = 0; j < 8; j++) {
        int qh = b->qh[j];
        w->sc[2 * j] = w->sc[2 * j + 1] = (int8_t)(2 * (qh >> 12 & 7) + 1);
        for (int l = 0; l < 4; l++)
            put_point(w->q + 32 * j + 8 * l,
                      codebook_iq1[b->qs[4 * j + l] | (qh >> 3 * l & 7) << 8], qh >> 15);
    }
}

static void unpack_iq1_m(struct k_weights *w, const struct block_iq1_m *b)
{
    uint16_t d = 0;
    for (int i = 0; i < 4; i++)
        d = (uint16_t)(d | (b->scales[i] >> 12) << 4 * i);
    w->d = half_to_float(d) * 0.125f;
    for (int j = 0; j < 16; j++)
        w->sc[j] = (int8_t)(2 * (b->scales[j / 4] >> j % 4 * 3 & 7) + 1);
    for (int l = 0; l < 32; l++) {
        int high = b->qh[l / 2] >> l % 2 * 4 & 15;
        put_point(w->q + 8 * l, codebook_iq1[b->qs[l] | (high & 7) << 8], high >> 3);
    }
}

K_WEIGHTS_FORMAT(iq1_s, unpack_iq1_s, false)
SCALAR_MATMUL(iq1_s, dot_iq1_s)
K_WEIGHTS_FORMAT(iq1_m, unpack_iq1_m, false)
SCALAR_MATMUL(iq1_m, dot_iq1_m)
