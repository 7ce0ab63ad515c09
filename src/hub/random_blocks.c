// Random blocks: see random_blocks.h.
//
// Encoders of coarse formats change the deviation of what they round, and a grid's points have one
// of their own. So a few blocks are made first and decoded, to find the factor.
#include "hub/random_blocks.h"

#include "base/check.h"
#include "kernels/encode.h"
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

enum { TRIAL_WEIGHTS = 32 * RANDOM_BLOCKS_WEIGHTS };

float random_weight(struct rng *r)
{
    uint64_t u = rng_u64(r); // a sum of four uniform numbers
    int sum = (int)(u & 0xffff) + (int)(u >> 16 & 0xffff) + (int)(u >> 32 & 0xffff) +
              (int)(u >> 48) - 2 * 0xffff;
    return (float)sum * (1.7320508f / 65536.0f);
}

static uint16_t half_of(float f)
{
    uint16_t h;
    kernels_for(ISA_SCALAR)->f32_to_f16(&h, &f, 1);
    return h;
}

// Gives a block of a grid format the scale d.
static void set_scale(uint32_t type, uint8_t *block, uint16_t d)
{
    if (type == WT_IQ1_M) { // four bits in each word of scales
        struct block_iq1_m b;
        memcpy(&b, block, sizeof b);
        for (int i = 0; i < 4; i++)
            b.scales[i] = (uint16_t)((b.scales[i] & 0x0fff) | (d >> 4 * i & 15) << 12);
        memcpy(block, &b, sizeof b);
    } else {
        memcpy(block, &d, sizeof d); // all others begin with it
    }
}

// `n_weights` of the grid format with scale d, or of another format with the deviation that `scale`
// is.
static void make(uint32_t type, uint8_t *out, size_t n_weights, float scale, struct rng *r)
{
    const struct wtype_info *info = wtype_info(type);
    for (size_t at = 0; at < n_weights; at += RANDOM_BLOCKS_WEIGHTS) {
        float x[RANDOM_BLOCKS_WEIGHTS];
        size_t bytes = RANDOM_BLOCKS_WEIGHTS / info->width * (size_t)info->bytes;
        for (int i = 0; i < RANDOM_BLOCKS_WEIGHTS; i++)
            x[i] = random_weight(r) * scale;
        if (!kernels_encode(type, out, x, RANDOM_BLOCKS_WEIGHTS)) {
            for (size_t i = 0; i < bytes; i++)
                out[i] = (uint8_t)rng_u64(r);
            for (size_t i = 0; i < bytes; i += info->bytes)
                set_scale(type, out + i, half_of(scale));
        }
        out += bytes;
    }
}

// Deviation of what make() makes with scale 1.
static double made_deviation(uint32_t type, struct rng r)
{
    static uint8_t blocks[TRIAL_WEIGHTS * sizeof(float)];
    static float x[TRIAL_WEIGHTS];
    double sum = 0, squares = 0;
    make(type, blocks, TRIAL_WEIGHTS, 1, &r);
    kernels_for(ISA_SCALAR)->format[type].decode(x, blocks, TRIAL_WEIGHTS);
    for (int i = 0; i < TRIAL_WEIGHTS; i++) {
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    sum /= TRIAL_WEIGHTS;
    return sqrt(squares / TRIAL_WEIGHTS - sum * sum);
}

void random_blocks(uint32_t type, uint8_t *out, size_t n_blocks, float deviation, struct rng *r)
{
    size_t n_weights = n_blocks * wtype_info(type)->width;
    CHECK(kernels_can(type) && n_weights % RANDOM_BLOCKS_WEIGHTS == 0);
    make(type, out, n_weights, deviation / (float)made_deviation(type, *r), r);
}
