// The scalar kernels: the definition of every format's values and sums (see kernels.h), and the
// small pieces of arithmetic that every instruction set shares.
#pragma once

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

// ---- halves ------------------------------------------------------------------------------------

static inline float float_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t float_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

// Exact. A signalling NaN becomes a quiet one, as the hardware's conversion does.
static inline float half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;
    if (rest >= 0x7c00) {
        uint32_t quiet = rest > 0x7c00 ? 0x400000 : 0;
        return float_from_bits(sign | 0x7f800000 | quiet | (rest & 0x3ff) << 13);
    }
    if (rest >= 0x400)
        return float_from_bits(sign | ((rest << 13) + (112u << 23)));
    float tiny = (float)rest * 0x1p-24f; // subnormal, or zero
    return float_from_bits(sign | float_bits(tiny));
}

uint16_t half_from_float(float f); // nearest even

static inline float bfloat_to_float(uint16_t b)
{
    return float_from_bits((uint32_t)b << 16);
}

// 2^(e - 128), exact: the scale of MXFP4, whose table counts halves. The two lowest are subnormal.
static inline float e8m0_half(uint8_t e)
{
    return float_from_bits(e < 2 ? 0x200000u << e : (uint32_t)(e - 1) << 23);
}

// ---- the eight-lane sum ------------------------------------------------------------------------

static inline float lanes_sum(const float s[8])
{
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

// ---- our own expf ------------------------------------------------------------------------------

// exp(x) = 2^n * e^r, n = x / ln 2 rounded to the nearest, |r| <= ln 2 / 2; e^r by a polynomial
// whose relative error is 3e-9 before rounding (minimax, fitted in double precision). ln 2 is split
// in two so that n * EXP_LN2_HIGH is exact.
#define EXP_LOG2E    0x1.715476p+0f
#define EXP_LN2_HIGH 0x1.62e400p-1f
#define EXP_LN2_LOW  0x1.7f7d1cp-20f
#define EXP_ROUND    0x1.8p23f // adding and subtracting it rounds to the nearest integer
#define EXP_MIN      (-105.0f) // below: 0
#define EXP_MAX      89.0f     // above: infinity
#define EXP_C2       0x1.fffffcp-2f
#define EXP_C3       0x1.555492p-3f
#define EXP_C4       0x1.5558f2p-5f
#define EXP_C5       0x1.123a20p-7f
#define EXP_C6       0x1.6a23cep-10f

static inline float scalar_exp1(float x)
{
    float c = x < EXP_MAX ? x : EXP_MAX; // a NaN becomes EXP_MAX here and comes back below
    c = c > EXP_MIN ? c : EXP_MIN;
    float n = fmaf(c, EXP_LOG2E, EXP_ROUND) - EXP_ROUND;
    float r = fmaf(n, -EXP_LN2_LOW, fmaf(n, -EXP_LN2_HIGH, c));
    float p = fmaf(EXP_C6, r, EXP_C5);
    p = fmaf(p, r, EXP_C4);
    p = fmaf(p, r, EXP_C3);
    p = fmaf(p, r, EXP_C2);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    // 2^n in two factors, both normal: results below the smallest normal float round once.
    int32_t whole = (int32_t)n, half = whole >> 1;
    float y = p * float_from_bits((uint32_t)(half + 127) << 23) *
              float_from_bits((uint32_t)(whole - half + 127) << 23);
    return x == x ? y : x;
}

static inline float scalar_silu(float x)
{
    return x / (1.0f + scalar_exp1(-x));
}

static inline float scalar_gelu(float x)
{
    float z = x * fmaf(x * x, GELU_CUBE, GELU_LINEAR);
    return x / (1.0f + scalar_exp1(-z));
}

// A NaN stays one.
static inline float scalar_clamped(float gate, float up)
{
    float g = gate > CLAMPED_LIMIT ? CLAMPED_LIMIT : gate;
    float u = up > CLAMPED_LIMIT ? CLAMPED_LIMIT : up;
    u = u < -CLAMPED_LIMIT ? -CLAMPED_LIMIT : u;
    return g / (1.0f + scalar_exp1(g * -CLAMPED_SLOPE)) * (u + 1.0f);
}

// cap * tanh(x / cap), tanh(y) = (1 - t) / (1 + t) with t = exp(-2 |y|) and the sign of y.
static inline float scalar_capped(float x, float cap)
{
    float t = scalar_exp1(fabsf(x / cap) * -2.0f);
    return copysignf((1.0f - t) / (1.0f + t) * cap, x);
}

// ---- matmul ------------------------------------------------------------------------------------

// acc and n weights times n activations, summed as the format says (see kernels.h).
typedef float scalar_dot(float acc, const uint8_t *w, const uint8_t *x, size_t n);

// out[t][r] = dot(row r, token t) for the whole range.
void scalar_matmul(const struct matmul_args *a, scalar_dot *dot);
void scalar_matmul_lanes(const struct matmul_args *a, uint32_t type, scalar_dot *dot);

#define SCALAR_MATMUL(name, dot)                           \
    void scalar_matmul_##name(const struct matmul_args *a) \
    {                                                      \
        scalar_matmul(a, dot);                             \
    }

// For a format that has a lane form.
#define SCALAR_MATMUL_LANES(name, type, dot)                     \
    SCALAR_MATMUL(name, dot)                                     \
    void scalar_matmul_lanes_##name(const struct matmul_args *a) \
    {                                                            \
        scalar_matmul_lanes(a, type, dot);                       \
    }

// Sub-block scales and minima of Q4_K and Q5_K: 6 bits each, packed in 12 bytes (see blocks.h).
static inline void k_scales(uint8_t sc[8], uint8_t m[8], const uint8_t s[12])
{
    for (int j = 0; j < 4; j++) {
        sc[j] = s[j] & 63;
        m[j] = s[4 + j] & 63;
        sc[4 + j] = (uint8_t)((s[8 + j] & 15) | (s[j] >> 6) << 4);
        m[4 + j] = (uint8_t)((s[8 + j] >> 4) | (s[4 + j] >> 6) << 4);
    }
}

// ---- what the table is filled with -------------------------------------------------------------

#define SCALAR_FORMAT(name)                                              \
    void scalar_decode_##name(float *out, const void *blocks, size_t n); \
    void scalar_matmul_##name(const struct matmul_args *a);              \
    void scalar_matmul_lanes_##name(const struct matmul_args *a);

SCALAR_FORMAT(f32)
SCALAR_FORMAT(f16)
SCALAR_FORMAT(bf16)
SCALAR_FORMAT(q4_0)
SCALAR_FORMAT(q4_1)
SCALAR_FORMAT(q5_0)
SCALAR_FORMAT(q5_1)
SCALAR_FORMAT(q8_0)
SCALAR_FORMAT(iq4_nl)
SCALAR_FORMAT(mxfp4)
SCALAR_FORMAT(q2_k)
SCALAR_FORMAT(q3_k)
SCALAR_FORMAT(q4_k)
SCALAR_FORMAT(q5_k)
SCALAR_FORMAT(q6_k)
SCALAR_FORMAT(iq4_xs)
SCALAR_FORMAT(tq2_0)
SCALAR_FORMAT(tq1_0)
SCALAR_FORMAT(iq3_xxs)
SCALAR_FORMAT(iq3_s)
SCALAR_FORMAT(iq2_xxs)
SCALAR_FORMAT(iq2_xs)
SCALAR_FORMAT(iq2_s)
SCALAR_FORMAT(iq1_s)
SCALAR_FORMAT(iq1_m)

#undef SCALAR_FORMAT

void scalar_quantize_f32(void *out, const float *x, size_t n);
void scalar_quantize_q8(void *out, const float *x, size_t n);
void scalar_quantize_q8k(void *out, const float *x, size_t n);

void scalar_rms_norm(float *out, const float *x, const float *w, size_t n, float eps);
void scalar_add(float *out, const float *a, const float *b, size_t n);
void scalar_mul(float *out, const float *a, const float *b, size_t n);
void scalar_add_scaled(float *out, const float *x, float scale, size_t n);
void scalar_silu_mul(float *out, const float *gate, const float *up, size_t n);
void scalar_gelu_mul(float *out, const float *gate, const float *up, size_t n);
void scalar_clamped_mul(float *out, const float *gate, const float *up, size_t n);
void scalar_softcap(float *x, size_t n, float cap);
void scalar_rope_pairs(float *x, const float *cos, const float *sin, int n_rot);
void scalar_rope_halves(float *x, const float *cos, const float *sin, int n_rot);
void scalar_exp(float *out, const float *x, size_t n);
void scalar_f32_to_f16(uint16_t *out, const float *x, size_t n);
void scalar_f16_to_f32(float *out, const uint16_t *x, size_t n);

void scalar_attend_f32(const struct attend_args *a);
void scalar_attend_f16(const struct attend_args *a);
void scalar_attend_q8_0(const struct attend_args *a);
void scalar_attn_merge(struct attn_partial *into, const struct attn_partial *p, int head_dim);

uint64_t scalar_int_dots(uint64_t rounds);
