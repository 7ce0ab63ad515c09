// F32, F16 and BF16 with NEON: two registers are the eight lanes of the sum (see kernels.h).
// Weights are widened once for the tokens of a tile; a tile's accumulators stay in registers for a
// whole row.
#include "kernels/arm/arm.h"
#include "kernels/arm/neon.h"

// How a weight is stored: its size, and four of them as floats.
struct float_weights {
    size_t bytes;
    float32x4_t (*load)(const uint8_t *w);
};

NEON_INLINE float32x4_t load_weights_f32(const uint8_t *w)
{
    return neon_load_f32(w);
}

NEON_INLINE float32x4_t load_weights_f16(const uint8_t *w)
{
    return neon_load_f16(w);
}

NEON_INLINE float32x4_t load_weights_bf16(const uint8_t *w)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(w)), 16));
}

// The sum with its last n < 8 products.
NEON_INLINE float finish(const struct float_weights *f, float32x4_t low, float32x4_t high,
                         const uint8_t *w, const float *x, size_t n)
{
    if (!n)
        return neon_lanes_sum(low, high);
    uint8_t rest[32] = {0};
    float s[8], weights[8];
    memcpy(rest, w, n * f->bytes);
    vst1q_f32(weights, f->load(rest));
    vst1q_f32(weights + 4, f->load(rest + 4 * f->bytes));
    vst1q_f32(s, low);
    vst1q_f32(s + 4, high);
    for (size_t i = 0; i < n; i++)
        s[i] = fmaf(weights[i], x[i], s[i]);
    return lanes_sum(s);
}

// n_rows x n_tokens results from (r, t) on.
NEON_INLINE void tile(const struct matmul_args *a, const struct float_weights *f, int r, int n_rows,
                      int t, int n_tokens)
{
    float32x4_t s[8][3][2], sums[8][3][2]; // s in registers, sums in memory
    const uint8_t *w[8];
    const float *x[3];
    NEON_UNROLL
    for (int i = 0; i < n_rows; i++) {
        w[i] = (const uint8_t *)a->w + (size_t)(r + i) * a->w_stride;
        NEON_UNROLL
        for (int j = 0; j < n_tokens; j++)
            s[i][j][0] = s[i][j][1] = vdupq_n_f32(0);
    }
    NEON_UNROLL
    for (int j = 0; j < n_tokens; j++)
        x[j] = (const void *)((const uint8_t *)a->x + (size_t)(t + j) * a->x_stride);
    size_t k = 0;
    for (; k + 8 <= a->n_in; k += 8)
        NEON_UNROLL
    for (size_t half = 0; half < 2; half++) {
        float32x4_t v[3];
        NEON_UNROLL
        for (int j = 0; j < n_tokens; j++)
            v[j] = vld1q_f32(x[j] + k + 4 * half);
        NEON_UNROLL
        for (int i = 0; i < n_rows; i++) {
            float32x4_t weights = f->load(w[i] + (k + 4 * half) * f->bytes);
            NEON_UNROLL
            for (int j = 0; j < n_tokens; j++)
                s[i][j][half] = vfmaq_f32(s[i][j][half], weights, v[j]);
        }
    }
    NEON_UNROLL
    for (int i = 0; i < n_rows; i++)
        NEON_UNROLL
    for (int j = 0; j < n_tokens; j++) {
        sums[i][j][0] = s[i][j][0];
        sums[i][j][1] = s[i][j][1];
    }
    for (int i = 0; i < n_rows; i++)
        for (int j = 0; j < n_tokens; j++)
            a->out[(size_t)(t + j) * a->out_stride + (size_t)(r + i)] =
                finish(f, sums[i][j][0], sums[i][j][1], w[i] + k * f->bytes, x[j] + k, a->n_in - k);
}

NEON_INLINE void matmul(const struct matmul_args *a, const struct float_weights *f)
{
    int r = a->row_lo;
    if (a->n_tokens == 1)
        for (; r + 8 <= a->row_hi; r += 8)
            tile(a, f, r, 8, 0, 1);
    for (; r + 4 <= a->row_hi; r += 4) {
        int t = 0;
        for (; t + 3 <= a->n_tokens; t += 3)
            tile(a, f, r, 4, t, 3);
        for (; t < a->n_tokens; t++)
            tile(a, f, r, 4, t, 1);
    }
    for (; r < a->row_hi; r++)
        for (int t = 0; t < a->n_tokens; t++)
            tile(a, f, r, 1, t, 1);
}

void neon_matmul_f32(const struct matmul_args *a)
{
    static const struct float_weights f = {4, load_weights_f32};
    matmul(a, &f);
}

void neon_matmul_f16(const struct matmul_args *a)
{
    static const struct float_weights f = {2, load_weights_f16};
    matmul(a, &f);
}

void neon_matmul_bf16(const struct matmul_args *a)
{
    static const struct float_weights f = {2, load_weights_bf16};
    matmul(a, &f);
}
