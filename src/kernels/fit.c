// Encoders that search: see fit.h. The searches are in fit_blocks.h.
#include "kernels/fit.h"

#include "base/check.h"
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

// What weight i counts where its column's importance is known: more also where it is large itself.
// Importance alone would be right if the inputs of a row had nothing to do with each other; since
// they do, the error of a large weight that many inputs share weighs more (measured by what the
// answers of models lose).
static float share_of(float x, float importance, float mean_square)
{
    return importance * sqrtf(mean_square + x * x);
}

// A block to be fitted. Weights count relative to each other: they are scaled so that sums neither
// overflow nor vanish. Where nothing counts, everything counts alike.
static void take_block(struct source *s, const float *x, const float *importance, int n)
{
    float *w = (float *)s->w, top = 0, most = 0, mean_square = 0;
    memcpy(s->x, x, (size_t)n * sizeof *x);
    for (int i = 0; i < n && importance; i++) {
        most = importance[i] > most ? importance[i] : most;
        mean_square += x[i] * x[i] / (float)n;
    }
    for (int i = 0; i < n && most > 0; i++) {
        w[i] = share_of(x[i], importance[i] / most, mean_square);
        top = w[i] > top ? w[i] : top;
    }
    for (int i = 0; i < n; i++)
        w[i] = top > 0 ? fmaxf(w[i] / top, FIT_LEAST) : 1;
}

static float error_of(const struct source *s, const vec *decoded, int n)
{
    vec sum = vec_all(0);
    for (int i = 0; i < n / VEC; i++) {
        vec d = s->x[i] - decoded[i];
        sum += s->w[i] * d * d;
    }
    return vec_sum(sum);
}

// A search can miss what plain rounding happens to hit: the better of both.
static void fit_or_round(uint32_t type, fit_block *fit, void *out, const struct source *s)
{
    const struct wtype_info *info = wtype_info(type);
    const struct format_kernels *f = &kernels_for(ISA_SCALAR)->format[type];
    uint8_t rounded[sizeof(struct block_q6_k)];
    vec a[BLOCK_K / VEC], b[BLOCK_K / VEC];
    CHECK(info->bytes <= sizeof rounded);
    fit(out, s);
    kernels_encode(type, rounded, (const float *)s->x, info->width);
    f->decode((float *)a, out, info->width);
    f->decode((float *)b, rounded, info->width);
    if (error_of(s, b, info->width) < error_of(s, a, info->width))
        memcpy(out, rounded, info->bytes);
}

bool kernels_fit(enum isa isa, uint32_t type, void *out, const float *x, const float *importance,
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
        take_block(&s, x + i, importance ? importance + i : NULL, info->width);
        fit_or_round(type, fit, block, &s);
    }
    return true;
}
