// F32, F16 and BF16: one weight a block, activations as floats, the eight-lane sum.
#include "kernels/scalar/scalar.h"

#include "base/bytes.h"

static inline float weight_f32(const uint8_t *w, size_t i)
{
    return float_from_bits(load_u32(w + i * 4));
}

static inline float weight_f16(const uint8_t *w, size_t i)
{
    return half_to_float(load_u16(w + i * 2));
}

static inline float weight_bf16(const uint8_t *w, size_t i)
{
    return bfloat_to_float(load_u16(w + i * 2));
}

#define FLOAT_FORMAT(name)                                                           \
    void scalar_decode_##name(float *out, const void *blocks, size_t n)              \
    {                                                                                \
        for (size_t i = 0; i < n; i++)                                               \
            out[i] = weight_##name(blocks, i);                                       \
    }                                                                                \
    static float dot_##name(float acc, const uint8_t *w, const uint8_t *x, size_t n) \
    {                                                                                \
        float s[8] = {0};                                                            \
        (void)acc; /* a row is summed as a whole */                                  \
        for (size_t i = 0; i < n; i++)                                               \
            s[i % 8] = fmaf(weight_##name(w, i), weight_f32(x, i), s[i % 8]);        \
        return lanes_sum(s);                                                         \
    }                                                                                \
    SCALAR_MATMUL(name, dot_##name)

FLOAT_FORMAT(f32)
FLOAT_FORMAT(f16)
FLOAT_FORMAT(bf16)
