// Round-to-nearest encoders: see encode.h. Each finds the scale from the extremes of a block,
// stores it, and rounds the weights with the scale as it was stored.
#include "kernels/encode.h"

#include "kernels/scalar/scalar.h"

// Nearest integer in [low, high]; a NaN becomes low.
static int nearest(float x, int low, int high)
{
    if (!(x > (float)low))
        return low;
    return x < (float)high ? (int)lrintf(x) : high;
}

static float inverse(float x)
{
    return x != 0 ? 1.0f / x : 0;
}

// The element of the largest magnitude, with its sign.
static float extreme(const float *x, int n)
{
    float e = 0;
    for (int i = 0; i < n; i++)
        e = fabsf(x[i]) > fabsf(e) ? x[i] : e;
    return e;
}

static void extent(const float *x, int n, float *min, float *max)
{
    *min = *max = x[0];
    for (int i = 1; i < n; i++) {
        *min = x[i] < *min ? x[i] : *min;
        *max = x[i] > *max ? x[i] : *max;
    }
}

// ---- one weight a block ------------------------------------------------------------------------

static void encode_f32(void *block, const float *x)
{
    memcpy(block, x, sizeof *x);
}

static void encode_f16(void *block, const float *x)
{
    uint16_t h = half_from_float(*x);
    memcpy(block, &h, sizeof h);
}

static void encode_bf16(void *block, const float *x)
{
    uint32_t bits = float_bits(*x);
    uint32_t even = bits + 0x7fff + (bits >> 16 & 1);
    uint16_t b = (uint16_t)(*x == *x ? even >> 16 : (bits >> 16 | 0x40));
    memcpy(block, &b, sizeof b);
}

// ---- 32 weights a block ------------------------------------------------------------------------

static void pack_nibbles(uint8_t qs[16], const uint8_t q[32])
{
    for (int i = 0; i < 16; i++)
        qs[i] = (uint8_t)((q[i] & 15) | (q[16 + i] & 15) << 4);
}

static uint32_t pack_fifth_bits(const uint8_t q[32])
{
    uint32_t qh = 0;
    for (int i = 0; i < 32; i++)
        qh |= (uint32_t)(q[i] >> 4) << i;
    return qh;
}

// q = x / d + half_range, with the extreme mapped to the lowest level, which has no counterpart.
static uint16_t round_symmetric(uint8_t q[32], const float *x, int half_range)
{
    uint16_t d = half_from_float(extreme(x, 32) / (float)-half_range);
    float id = inverse(half_to_float(d));
    for (int i = 0; i < 32; i++)
        q[i] = (uint8_t)(nearest(x[i] * id, -half_range, half_range - 1) + half_range);
    return d;
}

// q = (x - m) / d
static void round_from_minimum(uint8_t q[32], uint16_t *d, uint16_t *m, const float *x, int levels)
{
    float min, max;
    extent(x, 32, &min, &max);
    *d = half_from_float((max - min) / (float)(levels - 1));
    *m = half_from_float(min);
    float id = inverse(half_to_float(*d)), from = half_to_float(*m);
    for (int i = 0; i < 32; i++)
        q[i] = (uint8_t)nearest((x[i] - from) * id, 0, levels - 1);
}

static void encode_q4_0(void *block, const float *x)
{
    struct block_q4_0 *b = block;
    uint8_t q[32];
    b->d = round_symmetric(q, x, 8);
    pack_nibbles(b->qs, q);
}

static void encode_q5_0(void *block, const float *x)
{
    struct block_q5_0 *b = block;
    uint8_t q[32];
    b->d = round_symmetric(q, x, 16);
    b->qh = pack_fifth_bits(q);
    pack_nibbles(b->qs, q);
}

static void encode_q4_1(void *block, const float *x)
{
    struct block_q4_1 *b = block;
    uint8_t q[32];
    uint16_t d, m;
    round_from_minimum(q, &d, &m, x, 16);
    b->d = d;
    b->m = m;
    pack_nibbles(b->qs, q);
}

static void encode_q5_1(void *block, const float *x)
{
    struct block_q5_1 *b = block;
    uint8_t q[32];
    uint16_t d, m;
    round_from_minimum(q, &d, &m, x, 32);
    b->d = d;
    b->m = m;
    b->qh = pack_fifth_bits(q);
    pack_nibbles(b->qs, q);
}

static void encode_q8_0(void *block, const float *x)
{
    struct block_q8_0 *b = block;
    b->d = half_from_float(fabsf(extreme(x, 32)) / 127.0f);
    float id = inverse(half_to_float(b->d));
    for (int i = 0; i < 32; i++)
        b->qs[i] = (int8_t)nearest(x[i] * id, -127, 127);
}

// ---- 256 weights a block -----------------------------------------------------------------------

// What Q4_K and Q5_K share: the two scales, the packed sub-block scales and minima, the weights.
struct k_block {
    uint16_t d, dmin;
    uint8_t scales[12], q[256];
};

static void pack_k_scales(uint8_t s[12], const uint8_t sc[8], const uint8_t m[8])
{
    for (int j = 0; j < 4; j++) {
        s[j] = (uint8_t)(sc[j] | (sc[4 + j] >> 4) << 6);
        s[4 + j] = (uint8_t)(m[j] | (m[4 + j] >> 4) << 6);
        s[8 + j] = (uint8_t)((sc[4 + j] & 15) | (m[4 + j] & 15) << 4);
    }
}

static void round_k(struct k_block *b, const float *x, int levels)
{
    float scale[8], minimum[8], max_scale = 0, max_minimum = 0;
    for (int j = 0; j < 8; j++) {
        float min, max;
        extent(x + 32 * j, 32, &min, &max);
        minimum[j] = min < 0 ? -min : 0; // subtracted, never negative
        scale[j] = (max + minimum[j]) / (float)(levels - 1);
        max_scale = scale[j] > max_scale ? scale[j] : max_scale;
        max_minimum = minimum[j] > max_minimum ? minimum[j] : max_minimum;
    }
    b->d = half_from_float(max_scale / 63.0f);
    b->dmin = half_from_float(max_minimum / 63.0f);
    float d = half_to_float(b->d), dmin = half_to_float(b->dmin);
    uint8_t sc[8], m[8];
    for (int j = 0; j < 8; j++) {
        sc[j] = (uint8_t)nearest(scale[j] * inverse(d), 0, 63);
        m[j] = (uint8_t)nearest(minimum[j] * inverse(dmin), 0, 63);
        float id = inverse(d * (float)sc[j]), from = dmin * (float)m[j];
        for (int i = 32 * j; i < 32 * j + 32; i++)
            b->q[i] = (uint8_t)nearest((x[i] + from) * id, 0, levels - 1);
    }
    pack_k_scales(b->scales, sc, m);
}

static void pack_k_nibbles(uint8_t qs[128], const uint8_t q[256])
{
    for (int i = 0; i < 128; i++) {
        const uint8_t *from = q + i / 32 * 64 + i % 32;
        qs[i] = (uint8_t)((from[0] & 15) | (from[32] & 15) << 4);
    }
}

static void encode_q4_k(void *block, const float *x)
{
    struct block_q4_k *b = block;
    struct k_block k;
    round_k(&k, x, 16);
    b->d = k.d;
    b->dmin = k.dmin;
    memcpy(b->scales, k.scales, sizeof b->scales);
    pack_k_nibbles(b->qs, k.q);
}

static void encode_q5_k(void *block, const float *x)
{
    struct block_q5_k *b = block;
    struct k_block k;
    round_k(&k, x, 32);
    b->d = k.d;
    b->dmin = k.dmin;
    memcpy(b->scales, k.scales, sizeof b->scales);
    pack_k_nibbles(b->qs, k.q);
    memset(b->qh, 0, sizeof b->qh);
    for (int i = 0; i < 256; i++)
        b->qh[i % 32] |= (uint8_t)((k.q[i] >> 4) << i / 32);
}

static void encode_q6_k(void *block, const float *x)
{
    struct block_q6_k *b = block;
    float scale[16], top = 0;
    for (int j = 0; j < 16; j++) {
        scale[j] = extreme(x + 16 * j, 16) / -32.0f;
        top = fabsf(scale[j]) > top ? fabsf(scale[j]) : top;
    }
    b->d = half_from_float(top / 127.0f);
    float d = half_to_float(b->d);
    uint8_t q[256];
    for (int j = 0; j < 16; j++) {
        b->scales[j] = (int8_t)nearest(scale[j] * inverse(d), -127, 127);
        float id = inverse(d * (float)b->scales[j]);
        for (int i = 16 * j; i < 16 * j + 16; i++)
            q[i] = (uint8_t)(nearest(x[i] * id, -32, 31) + 32);
    }
    for (int h = 0; h < 2; h++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *from = q + 128 * h + l;
            b->ql[64 * h + l] = (uint8_t)((from[0] & 15) | (from[64] & 15) << 4);
            b->ql[64 * h + 32 + l] = (uint8_t)((from[32] & 15) | (from[96] & 15) << 4);
            b->qh[32 * h + l] = (uint8_t)(from[0] >> 4 | (from[32] >> 4) << 2 |
                                          (from[64] >> 4) << 4 | (from[96] >> 4) << 6);
        }
}

static void (*const encoders[WT_COUNT])(void *block, const float *x) = {
    [WT_F32] = encode_f32,   [WT_F16] = encode_f16,   [WT_BF16] = encode_bf16,
    [WT_Q4_0] = encode_q4_0, [WT_Q4_1] = encode_q4_1, [WT_Q5_0] = encode_q5_0,
    [WT_Q5_1] = encode_q5_1, [WT_Q8_0] = encode_q8_0, [WT_Q4_K] = encode_q4_k,
    [WT_Q5_K] = encode_q5_k, [WT_Q6_K] = encode_q6_k,
};

bool kernels_encode(uint32_t type, void *out, const float *x, size_t n)
{
    const struct wtype_info *info = wtype_info(type);
    if (!info || !encoders[type] || n % info->width)
        return false;
    uint8_t *block = out;
    for (size_t i = 0; i < n; i += info->width, block += info->bytes)
        encoders[type](block, x + i);
    return true;
}
