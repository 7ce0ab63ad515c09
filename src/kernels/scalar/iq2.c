// IQ2_XXS, IQ2_XS and IQ2_S: points of eight weights with signs, four or two points to a sub-block.
#include "kernels/scalar/codebooks.h"
#include "kernels/scalar/k_weights.h"

static void put_point(int8_t q[8], uint64_t point, uint8_t signs)
{
    for (int k = 0; k < 8; k++) {
        int8_t v = (int8_t)(point >> 8 * k & 255);
        q[k] = (int8_t)(signs >> k & 1 ? -v : v);
    }
}

static void unpack_iq2_xxs(struct k_weights *w, const struct block_iq2_xxs *b)
{
    w->d = half_to_float(b->d) * 0.125f;
    for (int j = 0; j < 8; j++) {
        uint32_t both = b->sub[j].scale_signs;
        w->sc[2 * j] = w->sc[2 * j + 1] = (int8_t)(2 * (both >> 28) + 1);
        for (int l = 0; l < 4; l++)
            put_point(w->q + 32 * j + 8 * l, codebook_iq2_xxs[b->sub[j].points[l]],
                      codebook_signs(both >> 7 * l & 127));
    }
}

static void unpack_nibble_scales(int8_t sc[16], const uint8_t scales[8])
{
    for (int j = 0; j < 16; j++)
        sc[j] = (int8_t)(2 * (scales[j / 2] >> j % 2 * 4 & 15) + 1);
}

static void unpack_iq2_xs(struct k_weights *w, const struct block_iq2_xs *b)
{
    w->d = half_to_float(b->d) * 0.125f;
    unpack_nibble_scales(w->sc, b->scales);
    for (int l = 0; l < 32; l++)
        put_point(w->q + 8 * l, codebook_iq2_xs[b->qs[l] & 511], codebook_signs(b->qs[l] >> 9));
}

static void unpack_iq2_s(struct k_weights *w, const struct block_iq2_s *b)
{
    w->d = half_to_float(b->d) * 0.125f;
    unpack_nibble_scales(w->sc, b->scales);
    for (int l = 0; l < 32; l++) {
        int high = b->qh[l / 4] >> l % 4 * 2 & 3;
        put_point(w->q + 8 * l, codebook_iq2_s[b->qs[l] | high << 8], b->signs[l]);
    }
}

K_WEIGHTS_FORMAT(iq2_xxs, unpack_iq2_xxs, false)
SCALAR_MATMUL(iq2_xxs, dot_iq2_xxs)
K_WEIGHTS_FORMAT(iq2_xs, unpack_iq2_xs, false)
SCALAR_MATMUL(iq2_xs, dot_iq2_xs)
K_WEIGHTS_FORMAT(iq2_s, unpack_iq2_s, false)
SCALAR_MATMUL(iq2_s, dot_iq2_s)
