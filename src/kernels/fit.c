// Encoders that search: see fit.h. The searches are in fit_blocks.h.
#include "kernels/fit.h"

#include "kernels/encode.h"
#include "kernels/fit_blocks.h"

// What a weight counts at least, against the one of its block that counts most: a column that was
// never in use must not end far away.
#define FIT_LEAST 1e-6f

bool kernels_fit_can(uint32_t type)
{
    return type < WT_COUNT && fit_blocks[type];
}

static fit_block *fit_block_for(uint32_t type, enum isa isa)
{
#ifdef __x86_64__
    if (isa == ISA_AVX2 || isa == ISA_AVX512)
        return fit_block_avx2(type);
#endif
    (void)isa;
    return fit_blocks[type];
}

// A block to be fitted. Weights count relative to each other: they are scaled so that sums neither
// overflow nor vanish. Where nothing counts, everything counts alike.
static void take_block(struct source *s, const float *x, const float *weights, int n)
{
    float *w = (float *)s->w, top = 0;
    memcpy(s->x, x, (size_t)n * sizeof *x);
    for (int i = 0; i < n && weights; i++)
        top = weights[i] > top ? weights[i] : top;
    for (int i = 0; i < n; i++)
        w[i] = top > 0 ? fmaxf(weights[i] / top, FIT_LEAST) : 1;
}

bool kernels_fit(enum isa isa, uint32_t type, void *out, const float *x, const float *weights,
                 size_t n)
{
    if (!kernels_fit_can(type))
        return kernels_encode(type, out, x, n);
    const struct wtype_info *info = wtype_info(type);
    fit_block *fit = fit_block_for(type, isa);
    if (n % info->width)
        return false;
    uint8_t *block = out;
    for (size_t i = 0; i < n; i += info->width, block += info->bytes) {
        struct source s;
        take_block(&s, x + i, weights ? weights + i : NULL, info->width);
        fit(block, &s);
    }
    return true;
}
