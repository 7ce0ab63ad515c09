// Operations over vectors of floats: norm, sums, activation, rotation, exp, halves.
#include "kernels/scalar/scalar.h"

void scalar_rms_norm(float *out, const float *x, const float *w, size_t n, float eps)
{
    float s[8] = {0};
    for (size_t i = 0; i < n; i++)
        s[i % 8] = fmaf(x[i], x[i], s[i % 8]);
    float scale = 1.0f / sqrtf(lanes_sum(s) / (float)n + eps);
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * scale * w[i];
}

void scalar_add(float *out, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = a[i] + b[i];
}

void scalar_mul(float *out, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = a[i] * b[i];
}

void scalar_add_scaled(float *out, const float *x, float scale, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = fmaf(x[i], scale, out[i]);
}

void scalar_silu_mul(float *out, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = scalar_silu(gate[i]) * up[i];
}

void scalar_gelu_mul(float *out, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = scalar_gelu(gate[i]) * up[i];
}

void scalar_clamped_mul(float *out, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = scalar_clamped(gate[i], up[i]);
}

void scalar_softcap(float *x, size_t n, float cap)
{
    for (size_t i = 0; i < n; i++)
        x[i] = scalar_capped(x[i], cap);
}

void scalar_rope_pairs(float *x, const float *cos, const float *sin, int n_rot)
{
    for (int i = 0; i < n_rot / 2; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = fmaf(a, cos[i], -(b * sin[i]));
        x[2 * i + 1] = fmaf(b, cos[i], a * sin[i]);
    }
}

void scalar_rope_halves(float *x, const float *cos, const float *sin, int n_rot)
{
    int half = n_rot / 2;
    for (int i = 0; i < half; i++) {
        float a = x[i], b = x[half + i];
        x[i] = fmaf(a, cos[i], -(b * sin[i]));
        x[half + i] = fmaf(b, cos[i], a * sin[i]);
    }
}

void scalar_exp(float *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = scalar_exp1(x[i]);
}

uint16_t half_from_float(float f)
{
    uint32_t bits = float_bits(f), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    if (rest > 0x7f800000) // NaN: quiet, the upper payload kept, as the hardware does
        return (uint16_t)(sign | 0x7e00 | (rest >> 13 & 0x3ff));
    if (rest >= 0x477ff000) // 65520 and above round to infinity
        return (uint16_t)(sign | 0x7c00);
    if (rest < 0x38800000) { // below 2^-14: counted in units of 2^-24, rounded by the addition
        float units = float_from_bits(rest) * 0x1p24f + 0x1p23f;
        return (uint16_t)(sign | (float_bits(units) - float_bits(0x1p23f)));
    }
    uint32_t odd = rest >> 13 & 1;
    return (uint16_t)(sign | (rest - (112u << 23) + 0xfff + odd) >> 13);
}

void scalar_f32_to_f16(uint16_t *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = half_from_float(x[i]);
}

void scalar_f16_to_f32(float *out, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = half_to_float(x[i]);
}
