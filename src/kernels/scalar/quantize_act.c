// Activations to integers: blocks of 32 or 256 signed bytes in [-127, 127] with one float scale.
//
// The largest magnitude is found on the bit patterns, which order like the numbers and put
// infinities and NaNs on top. Rounding is to the nearest, ties to even.
#include "kernels/scalar/scalar.h"

// Writes n bytes of q and returns d.
static float quantize_block(int8_t *q, const float *x, size_t n)
{
    uint32_t top = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = float_bits(x[i]) & 0x7fffffff;
        top = bits > top ? bits : top;
    }
    float max = float_from_bits(top);
    if (!(max >= 0x1p-100f && max < INFINITY)) {
        memset(q, 0, n);
        return max < INFINITY ? 0 : NAN;
    }
    float inverse = 127.0f / max;
    for (size_t i = 0; i < n; i++)
        q[i] = (int8_t)(x[i] * inverse + 0x1.8p23f - 0x1.8p23f);
    return max / 127.0f;
}

void scalar_quantize_f32(void *out, const float *x, size_t n)
{
    memcpy(out, x, n * sizeof *x);
}

void scalar_quantize_q8(void *out, const float *x, size_t n)
{
    struct act_q8 *a = out;
    for (size_t i = 0; i < n; i += 32, a++) {
        a->d = quantize_block(a->q, x + i, 32);
        a->sum = 0;
        for (int k = 0; k < 32; k++)
            a->sum += a->q[k];
    }
}

void scalar_quantize_q8k(void *out, const float *x, size_t n)
{
    struct act_q8k *a = out;
    for (size_t i = 0; i < n; i += 256, a++) {
        a->d = quantize_block(a->q, x + i, 256);
        for (int j = 0; j < 16; j++) {
            int sum = 0;
            for (int k = 0; k < 16; k++)
                sum += a->q[16 * j + k];
            a->sums[j] = (int16_t)sum;
        }
    }
}
