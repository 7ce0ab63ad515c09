// Activations to integers with NEON: the bits of scalar/quantize_act.c.
#include "kernels/arm/arm.h"
#include "kernels/arm/neon.h"

// Largest bit pattern without sign of n floats, n a multiple of 16.
NEON_INLINE float magnitude(const float *x, size_t n)
{
    uint32x4_t top[4];
    for (int j = 0; j < 4; j++)
        top[j] = vdupq_n_u32(0);
    for (size_t i = 0; i < n; i += 16)
        NEON_UNROLL
    for (size_t j = 0; j < 4; j++) {
        uint32x4_t bits = vreinterpretq_u32_f32(vld1q_f32(x + i + 4 * j));
        top[j] = vmaxq_u32(top[j], vandq_u32(bits, vdupq_n_u32(0x7fffffff)));
    }
    uint32x4_t two = vmaxq_u32(vmaxq_u32(top[0], top[1]), vmaxq_u32(top[2], top[3]));
    return float_from_bits(vmaxvq_u32(two));
}

NEON_INLINE int16x4_t round4(const float *x, float inverse)
{
    return vqmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inverse)));
}

NEON_INLINE int8x16_t round16(const float *x, float inverse)
{
    int16x8_t low = vcombine_s16(round4(x, inverse), round4(x + 4, inverse));
    int16x8_t high = vcombine_s16(round4(x + 8, inverse), round4(x + 12, inverse));
    return vcombine_s8(vqmovn_s16(low), vqmovn_s16(high));
}

// Writes n bytes of q and sums of each 16, returns d; n a multiple of 16.
NEON_INLINE float quantize_block(int8_t *q, int16_t *sums, const float *x, size_t n)
{
    float max = magnitude(x, n);
    if (!(max >= 0x1p-100f && max < INFINITY)) {
        memset(q, 0, n);
        memset(sums, 0, n / 16 * sizeof *sums);
        return max < INFINITY ? 0 : NAN;
    }
    float inverse = 127.0f / max;
    for (size_t i = 0; i < n; i += 16) {
        int8x16_t sixteen = round16(x + i, inverse);
        vst1q_s8(q + i, sixteen);
        sums[i / 16] = vaddlvq_s8(sixteen);
    }
    return max / 127.0f;
}

void neon_quantize_q8(void *out, const float *x, size_t n)
{
    struct act_q8 *a = out;
    for (size_t i = 0; i < n; i += 32, a++) {
        int16_t sums[2];
        a->d = quantize_block(a->q, sums, x + i, 32);
        a->sum = sums[0] + sums[1];
    }
}

void neon_quantize_q8k(void *out, const float *x, size_t n)
{
    struct act_q8k *a = out;
    for (size_t i = 0; i < n; i += 256, a++)
        a->d = quantize_block(a->q, a->sums, x + i, 256);
}
