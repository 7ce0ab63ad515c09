// Attention over one chunk of positions for one query head, and the merging of chunks.
//
// Scores are eight-lane dots; the chunk's maximum and the denominator run in eight lanes as well;
// the values are added in ascending order of position, one fma each. A chunk in which every score
// is minus infinity counts for nothing: its maximum is taken as 0, so that all weights are 0.
#include "kernels/scalar/scalar.h"

#include "base/bytes.h"

static inline float load_f32(const uint8_t *row, int i)
{
    return float_from_bits(load_u32(row + (size_t)i * 4));
}

static inline float load_f16(const uint8_t *row, int i)
{
    return half_to_float(load_u16(row + (size_t)i * 2));
}

static inline float attn_base(float max)
{
    return max == -INFINITY ? 0.0f : max;
}

// Scores to weights, in place: fills max and sum.
static void softmax(struct attn_partial *out, float *scores, int n)
{
    float max[8], sum[8] = {0};
    for (int j = 0; j < 8; j++)
        max[j] = -INFINITY;
    for (int i = 0; i < n; i++)
        max[i % 8] = scores[i] > max[i % 8] ? scores[i] : max[i % 8];
    for (int step = 4; step; step /= 2)
        for (int j = 0; j < step; j++)
            max[j] = max[j + step] > max[j] ? max[j + step] : max[j];
    float base = attn_base(max[0]);
    for (int i = 0; i < n; i++) {
        scores[i] = scalar_exp1(scores[i] - base);
        sum[i % 8] += scores[i];
    }
    out->max = max[0];
    out->sum = lanes_sum(sum);
}

#define ATTEND(type)                                                                          \
    void scalar_attend_##type(struct attn_partial *out, const float *q, const void *k,        \
                              const void *v, size_t stride, int n, int head_dim, float scale, \
                              float *scores)                                                  \
    {                                                                                         \
        for (int i = 0; i < n; i++) {                                                         \
            const uint8_t *row = (const uint8_t *)k + (size_t)i * stride;                     \
            float s[8] = {0};                                                                 \
            for (int d = 0; d < head_dim; d++)                                                \
                s[d % 8] = fmaf(q[d], load_##type(row, d), s[d % 8]);                         \
            scores[i] = lanes_sum(s) * scale;                                                 \
        }                                                                                     \
        softmax(out, scores, n);                                                              \
        memset(out->acc, 0, (size_t)head_dim * sizeof(float));                                \
        for (int i = 0; i < n; i++) {                                                         \
            const uint8_t *row = (const uint8_t *)v + (size_t)i * stride;                     \
            for (int d = 0; d < head_dim; d++)                                                \
                out->acc[d] = fmaf(scores[i], load_##type(row, d), out->acc[d]);              \
        }                                                                                     \
    }

ATTEND(f32)
ATTEND(f16)

void scalar_attn_merge(struct attn_partial *into, const struct attn_partial *p, int head_dim)
{
    float max = p->max > into->max ? p->max : into->max, base = attn_base(max);
    float old = scalar_exp1(into->max - base), new = scalar_exp1(p->max - base);
    into->max = max;
    into->sum = fmaf(p->sum, new, into->sum * old);
    for (int d = 0; d < head_dim; d++)
        into->acc[d] = fmaf(p->acc[d], new, into->acc[d] * old);
}
