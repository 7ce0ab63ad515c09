// Operations over vectors of floats with NEON: the bits of scalar/vector_ops.c.
#include "kernels/arm/arm.h"
#include "kernels/arm/neon.h"

void neon_rms_norm(float *out, const float *x, const float *w, size_t n, float eps)
{
    float32x4_t low = vdupq_n_f32(0), high = low;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + i + 4);
        low = vfmaq_f32(low, a, a);
        high = vfmaq_f32(high, b, b);
    }
    float s[8];
    vst1q_f32(s, low);
    vst1q_f32(s + 4, high);
    for (; i < n; i++)
        s[i % 8] = fmaf(x[i], x[i], s[i % 8]);
    float scale = 1.0f / sqrtf(lanes_sum(s) / (float)n + eps);
    for (i = 0; i + 4 <= n; i += 4)
        vst1q_f32(out + i, vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), scale), vld1q_f32(w + i)));
    for (; i < n; i++)
        out[i] = x[i] * scale * w[i];
}

void neon_add(float *out, const float *a, const float *b, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(out + i, vaddq_f32(vld1q_f32(a + i), vld1q_f32(b + i)));
    for (; i < n; i++)
        out[i] = a[i] + b[i];
}

void neon_add_scaled(float *out, const float *x, float scale, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(out + i, vfmaq_n_f32(vld1q_f32(out + i), vld1q_f32(x + i), scale));
    for (; i < n; i++)
        out[i] = fmaf(x[i], scale, out[i]);
}

void neon_mul(float *out, const float *a, const float *b, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(out + i, vmulq_f32(vld1q_f32(a + i), vld1q_f32(b + i)));
    for (; i < n; i++)
        out[i] = a[i] * b[i];
}

void neon_silu_mul(float *out, const float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t g = vld1q_f32(gate + i);
        float32x4_t below = vaddq_f32(vdupq_n_f32(1), neon_exp(vnegq_f32(g)));
        vst1q_f32(out + i, vmulq_f32(vdivq_f32(g, below), vld1q_f32(up + i)));
    }
    for (; i < n; i++)
        out[i] = scalar_silu(gate[i]) * up[i];
}

void neon_gelu_mul(float *out, const float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t g = vld1q_f32(gate + i);
        float32x4_t z = vfmaq_n_f32(vdupq_n_f32(GELU_LINEAR), vmulq_f32(g, g), GELU_CUBE);
        float32x4_t e = neon_exp(vnegq_f32(vmulq_f32(g, z)));
        float32x4_t gelu = vdivq_f32(g, vaddq_f32(vdupq_n_f32(1), e));
        vst1q_f32(out + i, vmulq_f32(gelu, vld1q_f32(up + i)));
    }
    scalar_gelu_mul(out + i, gate + i, up + i, n - i);
}

void neon_clamped_mul(float *out, const float *gate, const float *up, size_t n)
{
    const float32x4_t top = vdupq_n_f32(CLAMPED_LIMIT), bottom = vdupq_n_f32(-CLAMPED_LIMIT);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t g = vld1q_f32(gate + i), u = vld1q_f32(up + i);
        g = vbslq_f32(vcgtq_f32(g, top), top, g);
        u = vbslq_f32(vcgtq_f32(u, top), top, u);
        u = vbslq_f32(vcltq_f32(u, bottom), bottom, u);
        float32x4_t e = neon_exp(vmulq_n_f32(g, -CLAMPED_SLOPE));
        float32x4_t gated = vdivq_f32(g, vaddq_f32(vdupq_n_f32(1), e));
        vst1q_f32(out + i, vmulq_f32(gated, vaddq_f32(u, vdupq_n_f32(1))));
    }
    scalar_clamped_mul(out + i, gate + i, up + i, n - i);
}

void neon_softcap(float *x, size_t n, float cap)
{
    const uint32x4_t sign = vdupq_n_u32(0x80000000);
    const float32x4_t one = vdupq_n_f32(1);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t v = vld1q_f32(x + i), y = vabsq_f32(vdivq_f32(v, vdupq_n_f32(cap)));
        float32x4_t t = neon_exp(vmulq_n_f32(y, -2));
        float32x4_t tanh = vdivq_f32(vsubq_f32(one, t), vaddq_f32(one, t));
        vst1q_f32(x + i, vbslq_f32(sign, v, vmulq_n_f32(tanh, cap)));
    }
    scalar_softcap(x + i, n - i, cap);
}

// Turns the pairs (a, b) by four angles.
NEON_INLINE void rotate(float32x4_t *a, float32x4_t *b, const float *cos, const float *sin)
{
    float32x4_t c = vld1q_f32(cos), s = vld1q_f32(sin), was = *a;
    *a = vfmaq_f32(vnegq_f32(vmulq_f32(*b, s)), was, c);
    *b = vfmaq_f32(vmulq_f32(was, s), *b, c);
}

void neon_rope_pairs(float *x, const float *cos, const float *sin, int n_rot)
{
    int i = 0;
    for (; 2 * i + 8 <= n_rot; i += 4) {
        float32x4x2_t v = vld2q_f32(x + 2 * i);
        rotate(&v.val[0], &v.val[1], cos + i, sin + i);
        vst2q_f32(x + 2 * i, v);
    }
    scalar_rope_pairs(x + 2 * i, cos + i, sin + i, n_rot - 2 * i);
}

void neon_rope_halves(float *x, const float *cos, const float *sin, int n_rot)
{
    int half = n_rot / 2, i = 0;
    for (; i + 4 <= half; i += 4) {
        float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + half + i);
        rotate(&a, &b, cos + i, sin + i);
        vst1q_f32(x + i, a);
        vst1q_f32(x + half + i, b);
    }
    for (; i < half; i++) {
        float a = x[i], b = x[half + i];
        x[i] = fmaf(a, cos[i], -(b * sin[i]));
        x[half + i] = fmaf(b, cos[i], a * sin[i]);
    }
}

void neon_exp_vector(float *out, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(out + i, neon_exp(vld1q_f32(x + i)));
    for (; i < n; i++)
        out[i] = scalar_exp1(x[i]);
}

void neon_f32_to_f16(uint16_t *out, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1_u16(out + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i))));
    scalar_f32_to_f16(out + i, x + i, n - i);
}

void neon_f16_to_f32(float *out, const uint16_t *x, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(out + i, neon_load_f16(x + i));
    scalar_f16_to_f32(out + i, x + i, n - i);
}
