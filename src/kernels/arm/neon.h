// Small pieces that the ARM kernels share. Only files whose name ends in _neon or _i8mm include
// this.
#pragma once

#include "kernels/kernels.h"

#include "kernels/scalar/scalar.h"

#include <arm_neon.h>

#define NEON_INLINE static inline __attribute__((always_inline))

// Accumulators live in arrays of registers, which needs the loops over them unrolled.
#if defined(__clang__)
#define NEON_UNROLL _Pragma("clang loop unroll(full)")
#else
#define NEON_UNROLL _Pragma("GCC unroll 16")
#endif

NEON_INLINE float32x4_t neon_load_f32(const void *p)
{
    return vreinterpretq_f32_u8(vld1q_u8(p)); // of any alignment
}

// Four half floats.
NEON_INLINE float32x4_t neon_load_f16(const void *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

// The larger lanes; where one is no number, those of b.
NEON_INLINE float32x4_t neon_max(float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

// The eight-lane sum, of which `low` holds the first four: the fixed tree.
NEON_INLINE float neon_lanes_sum(float32x4_t low, float32x4_t high)
{
    float32x4_t four = vaddq_f32(low, high);
    float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

// The exp of scalar.h, four times.
NEON_INLINE float32x4_t neon_exp(float32x4_t x)
{
    const float32x4_t top = vdupq_n_f32(EXP_MAX), bottom = vdupq_n_f32(EXP_MIN);
    const float32x4_t round = vdupq_n_f32(EXP_ROUND), one = vdupq_n_f32(1);
    float32x4_t c = vbslq_f32(vcltq_f32(x, top), x, top); // a NaN becomes EXP_MAX
    c = neon_max(c, bottom);
    float32x4_t n = vsubq_f32(vfmaq_n_f32(round, c, EXP_LOG2E), round);
    float32x4_t r = vfmaq_n_f32(c, n, -EXP_LN2_HIGH);
    r = vfmaq_n_f32(r, n, -EXP_LN2_LOW);
    float32x4_t p = vfmaq_n_f32(vdupq_n_f32(EXP_C5), r, EXP_C6);
    p = vfmaq_f32(vdupq_n_f32(EXP_C4), p, r);
    p = vfmaq_f32(vdupq_n_f32(EXP_C3), p, r);
    p = vfmaq_f32(vdupq_n_f32(EXP_C2), p, r);
    p = vfmaq_f32(one, p, r);
    p = vfmaq_f32(one, p, r);
    int32x4_t whole = vcvtq_s32_f32(n), half = vshrq_n_s32(whole, 1), bias = vdupq_n_s32(127);
    int32x4_t two_half = vshlq_n_s32(vaddq_s32(half, bias), 23);
    int32x4_t two_rest = vshlq_n_s32(vaddq_s32(vsubq_s32(whole, half), bias), 23);
    float32x4_t y =
        vmulq_f32(vmulq_f32(p, vreinterpretq_f32_s32(two_half)), vreinterpretq_f32_s32(two_rest));
    return vbslq_f32(vceqq_f32(x, x), y, x);
}
