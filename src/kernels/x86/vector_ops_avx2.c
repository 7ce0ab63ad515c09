// Operations over vectors of floats with AVX2: the bits of scalar/vector_ops.c.
#include "kernels/x86/avx2.h"
#include "kernels/x86/x86.h"

void avx2_rms_norm(float *out, const float *x, const float *w, size_t n, float eps)
{
    __m256 s = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i);
        s = _mm256_fmadd_ps(v, v, s);
    }
    if (i < n) {
        __m256 v = avx2_load_part(x + i, (int)(n - i));
        s = avx2_part(_mm256_fmadd_ps(v, v, s), s, (int)(n - i));
    }
    float scale = 1.0f / sqrtf(avx2_lanes_sum(s) / (float)n + eps);
    __m256 scales = _mm256_set1_ps(scale);
    for (i = 0; i + 8 <= n; i += 8) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), scales);
        _mm256_storeu_ps(out + i, _mm256_mul_ps(v, _mm256_loadu_ps(w + i)));
    }
    for (; i < n; i++)
        out[i] = x[i] * scale * w[i];
}

void avx2_add(float *out, const float *a, const float *b, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
    for (; i < n; i++)
        out[i] = a[i] + b[i];
}

void avx2_add_scaled(float *out, const float *x, float scale, size_t n)
{
    __m256 s = _mm256_set1_ps(scale);
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i,
                         _mm256_fmadd_ps(_mm256_loadu_ps(x + i), s, _mm256_loadu_ps(out + i)));
    for (; i < n; i++)
        out[i] = fmaf(x[i], scale, out[i]);
}

void avx2_mul(float *out, const float *a, const float *b, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_mul_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
    for (; i < n; i++)
        out[i] = a[i] * b[i];
}

void avx2_silu_mul(float *out, const float *gate, const float *up, size_t n)
{
    const __m256 one = _mm256_set1_ps(1), sign = _mm256_set1_ps(-0.0f);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 g = _mm256_loadu_ps(gate + i);
        __m256 e = avx2_exp(_mm256_xor_ps(g, sign));
        __m256 silu = _mm256_div_ps(g, _mm256_add_ps(one, e));
        _mm256_storeu_ps(out + i, _mm256_mul_ps(silu, _mm256_loadu_ps(up + i)));
    }
    for (; i < n; i++)
        out[i] = scalar_silu(gate[i]) * up[i];
}

void avx2_gelu_mul(float *out, const float *gate, const float *up, size_t n)
{
    const __m256 one = _mm256_set1_ps(1), sign = _mm256_set1_ps(-0.0f);
    const __m256 cube = _mm256_set1_ps(GELU_CUBE), linear = _mm256_set1_ps(GELU_LINEAR);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 g = _mm256_loadu_ps(gate + i);
        __m256 z = _mm256_mul_ps(g, _mm256_fmadd_ps(_mm256_mul_ps(g, g), cube, linear));
        __m256 e = avx2_exp(_mm256_xor_ps(z, sign));
        __m256 gelu = _mm256_div_ps(g, _mm256_add_ps(one, e));
        _mm256_storeu_ps(out + i, _mm256_mul_ps(gelu, _mm256_loadu_ps(up + i)));
    }
    scalar_gelu_mul(out + i, gate + i, up + i, n - i);
}

void avx2_clamped_mul(float *out, const float *gate, const float *up, size_t n)
{
    const __m256 one = _mm256_set1_ps(1), slope = _mm256_set1_ps(-CLAMPED_SLOPE);
    const __m256 top = _mm256_set1_ps(CLAMPED_LIMIT), bottom = _mm256_set1_ps(-CLAMPED_LIMIT);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 g = _mm256_min_ps(top, _mm256_loadu_ps(gate + i)); // the second, where it is a NaN
        __m256 u = _mm256_min_ps(top, _mm256_loadu_ps(up + i));
        u = _mm256_max_ps(bottom, u);
        __m256 e = avx2_exp(_mm256_mul_ps(g, slope));
        __m256 gated = _mm256_div_ps(g, _mm256_add_ps(one, e));
        _mm256_storeu_ps(out + i, _mm256_mul_ps(gated, _mm256_add_ps(u, one)));
    }
    scalar_clamped_mul(out + i, gate + i, up + i, n - i);
}

void avx2_softcap(float *x, size_t n, float cap)
{
    const __m256 one = _mm256_set1_ps(1), sign = _mm256_set1_ps(-0.0f), caps = _mm256_set1_ps(cap);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i);
        __m256 y = _mm256_andnot_ps(sign, _mm256_div_ps(v, caps));
        __m256 t = avx2_exp(_mm256_mul_ps(y, _mm256_set1_ps(-2)));
        __m256 tanh = _mm256_div_ps(_mm256_sub_ps(one, t), _mm256_add_ps(one, t));
        __m256 size = _mm256_andnot_ps(sign, _mm256_mul_ps(tanh, caps));
        _mm256_storeu_ps(x + i, _mm256_or_ps(size, _mm256_and_ps(sign, v)));
    }
    scalar_softcap(x + i, n - i, cap);
}

void avx2_rope_pairs(float *x, const float *cos, const float *sin, int n_rot)
{
    const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    int i = 0;
    for (; 2 * i + 8 <= n_rot; i += 4) {
        __m256 c = _mm256_castps128_ps256(_mm_loadu_ps(cos + i));
        __m256 s = _mm256_castps128_ps256(_mm_loadu_ps(sin + i));
        c = _mm256_permutevar8x32_ps(c, twice);
        s = _mm256_permutevar8x32_ps(s, twice);
        __m256 v = _mm256_loadu_ps(x + 2 * i), other = _mm256_permute_ps(v, 0xb1);
        _mm256_storeu_ps(x + 2 * i, _mm256_fmaddsub_ps(v, c, _mm256_mul_ps(other, s)));
    }
    scalar_rope_pairs(x + 2 * i, cos + i, sin + i, n_rot - 2 * i);
}

void avx2_rope_halves(float *x, const float *cos, const float *sin, int n_rot)
{
    int half = n_rot / 2, i = 0;
    for (; i + 8 <= half; i += 8) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + half + i);
        __m256 c = _mm256_loadu_ps(cos + i), s = _mm256_loadu_ps(sin + i);
        _mm256_storeu_ps(x + i, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
        _mm256_storeu_ps(x + half + i, _mm256_fmadd_ps(b, c, _mm256_mul_ps(a, s)));
    }
    for (; i < half; i++) {
        float a = x[i], b = x[half + i];
        x[i] = fmaf(a, cos[i], -(b * sin[i]));
        x[half + i] = fmaf(b, cos[i], a * sin[i]);
    }
}

void avx2_exp_vector(float *out, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, avx2_exp(_mm256_loadu_ps(x + i)));
    for (; i < n; i++)
        out[i] = scalar_exp1(x[i]);
}

void avx2_f32_to_f16(uint16_t *out, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((void *)(out + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    scalar_f32_to_f16(out + i, x + i, n - i);
}

void avx2_f16_to_f32(float *out, const uint16_t *x, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(x + i))));
    scalar_f16_to_f32(out + i, x + i, n - i);
}
