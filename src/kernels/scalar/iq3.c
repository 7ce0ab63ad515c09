// IQ3_XXS and IQ3_S: points of four weights with signs, eight points to a sub-block.
#include "kernels/scalar/codebooks.h"
#include "kernels/scalar/k_weights.h"

// Two points of four with eight signs.
static void put_points(int8_t q[8], uint32_t first, uint32_t second, uint8_t signs)
{
    uint64_t point = first | (uint64_t)second << 32;
    for (int k = 0; k < 8; k++) {
        int8_t v = (int8_t)(point >> 8 * k & 255);
        q[k] = (int8_t)(signs >> k & 1 ? -v : v);
    }
}

static void unpack_iq3_xxs(struct k_weights *w, const struct block_iq3_xxs *b)
{
    w->d = half_to_float(b->d) * 0.25f;
    for (int j = 0; j < 8; j++) {
        uint32_t both = b->scales_signs[j];
        w->sc[2 * j] = w->sc[2 * j + 1] = (int8_t)(2 * (both >> 28) + 1);
        for (int l = 0; l < 4; l++) {
            const uint8_t *number = b->qs + 8 * j + 2 * l;
            put_points(w->q + 32 * j + 8 * l, codebook_iq3_xxs[number[0]],
                       codebook_iq3_xxs[number[1]], codebook_signs(both >> 7 * l & 127));
        }
    }
}

static void unpack_iq3_s(struct k_weights *w, const struct block_iq3_s *b)
{
    w->d = half_to_float(b->d);
    for (int j = 0; j < 8; j++) {
        w->sc[2 * j] = w->sc[2 * j + 1] = (int8_t)(2 * (b->scales[j / 2] >> j % 2 * 4 & 15) + 1);
        for (int l = 0; l < 4; l++) {
            const uint8_t *low = b->qs + 8 * j + 2 * l;
            int high = b->qh[j] >> 2 * l;
            put_points(w->q + 32 * j + 8 * l, codebook_iq3_s[low[0] | (high & 1) << 8],
                       codebook_iq3_s[low[1] | (high & 2) << 7], b->signs[4 * j + l]);
        }
    }
}

K_WEIGHTS_FORMAT(iq3_xxs, unpack_iq3_xxs, false)
SCALAR_MATMUL(iq3_xxs, dot_iq3_xxs)
K_WEIGHTS_FORMAT(iq3_s, unpack_iq3_s, false)
SCALAR_MATMUL(iq3_s, dot_iq3_s)
