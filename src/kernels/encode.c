// Round-to-nearest encoders: see encode.h. Each finds the scale from the extremes of a block,
// stores it, and rounds the weights with the scale as it was stored.
#include "kernels/encode.h"

#include "kernels/pack.h"
#include "kernels/scalar/codebooks.h"
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

// The number of the table's value nearest to x.
static uint8_t nearest_in(const int8_t table[16], float x)
{
    uint8_t best = 0;
    for (uint8_t k = 1; k < 16; k++)
        if (fabsf(x - (float)table[k]) < fabsf(x - (float)table[best]))
            best = k;
    return best;
}

// The same of a table that ascends.
static uint8_t nearest_ascending(const int8_t table[16], float x)
{
    int k = 0;
    for (int step = 8; step; step /= 2)
        if (2 * x > (float)(table[k + step - 1] + table[k + step]))
            k += step;
    return (uint8_t)k;
}

static void encode_iq4_nl(void *block, const float *x)
{
    struct block_iq4_nl *b = block;
    uint8_t q[32];
    b->d = half_from_float(extreme(x, 32) / -127.0f); // the lowest value is the largest
    float id = inverse(half_to_float(b->d));
    for (int i = 0; i < 32; i++)
        q[i] = nearest_ascending(codebook_iq4_nl, x[i] * id);
    pack_nibbles(b->qs, q);
}

// The scale brings the largest magnitude into [8, 16), whose upper part becomes 12.
static void encode_mxfp4(void *block, const float *x)
{
    struct block_mxfp4 *b = block;
    uint8_t q[32];
    float top = fabsf(extreme(x, 32));
    int exponent = 128;
    if (top < INFINITY)
        frexpf(top, &exponent);
    b->e = (uint8_t)(top > 0 ? nearest((float)(exponent - 4 + 128), 0, 254) : 0);
    float scale = e8m0_half(b->e);
    for (int i = 0; i < 32; i++)
        q[i] = nearest_in(codebook_mxfp4, x[i] / scale);
    pack_nibbles(b->qs, q);
}

// ---- 256 weights a block -----------------------------------------------------------------------

// What Q4_K and Q5_K share: the two scales, those of the sub-blocks, the weights.
struct k_block {
    uint16_t d, dmin;
    uint8_t sc[8], m[8], q[256];
};

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
    for (int j = 0; j < 8; j++) {
        uint8_t *sc = b->sc, *m = b->m;
        sc[j] = (uint8_t)nearest(scale[j] * inverse(d), 0, 63);
        m[j] = (uint8_t)nearest(minimum[j] * inverse(dmin), 0, 63);
        float id = inverse(d * (float)sc[j]), from = dmin * (float)m[j];
        for (int i = 32 * j; i < 32 * j + 32; i++)
            b->q[i] = (uint8_t)nearest((x[i] + from) * id, 0, levels - 1);
    }
}

static void encode_q4_k(void *block, const float *x)
{
    struct block_q4_k *b = block;
    struct k_block k;
    round_k(&k, x, 16);
    b->d = k.d;
    b->dmin = k.dmin;
    pack_q4_k(b, k.sc, k.m, k.q);
}

static void encode_q5_k(void *block, const float *x)
{
    struct block_q5_k *b = block;
    struct k_block k;
    round_k(&k, x, 32);
    b->d = k.d;
    b->dmin = k.dmin;
    pack_q5_k(b, k.sc, k.m, k.q);
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
    pack_q6_k(b, q);
}

static void encode_q2_k(void *block, const float *x)
{
    struct block_q2_k *b = block;
    float scale[16], minimum[16], max_scale = 0, max_minimum = 0;
    for (int j = 0; j < 16; j++) {
        float min, max;
        extent(x + 16 * j, 16, &min, &max);
        minimum[j] = min < 0 ? -min : 0;
        scale[j] = (max + minimum[j]) / 3.0f;
        max_scale = scale[j] > max_scale ? scale[j] : max_scale;
        max_minimum = minimum[j] > max_minimum ? minimum[j] : max_minimum;
    }
    b->d = half_from_float(max_scale / 15.0f);
    b->dmin = half_from_float(max_minimum / 15.0f);
    float d = half_to_float(b->d), dmin = half_to_float(b->dmin);
    uint8_t sc[16], m[16], q[256];
    for (int j = 0; j < 16; j++) {
        sc[j] = (uint8_t)nearest(scale[j] * inverse(d), 0, 15);
        m[j] = (uint8_t)nearest(minimum[j] * inverse(dmin), 0, 15);
        float id = inverse(d * (float)sc[j]), from = dmin * (float)m[j];
        for (int i = 16 * j; i < 16 * j + 16; i++)
            q[i] = (uint8_t)nearest((x[i] + from) * id, 0, 3);
    }
    pack_q2_k(b, sc, m, q);
}

// Scales of six bits round 32 for `n` sub-blocks whose extreme weights shall become `lowest`;
// returns d.
static float round_scales(uint16_t *half, uint8_t *sc, const float *x, int n, float lowest)
{
    float scale[16], top = 0;
    for (int j = 0; j < n; j++) {
        scale[j] = extreme(x + 256 / n * j, 256 / n) / lowest;
        top = fabsf(scale[j]) > top ? fabsf(scale[j]) : top;
    }
    *half = half_from_float(top / 31.0f);
    float d = half_to_float(*half);
    for (int j = 0; j < n; j++)
        sc[j] = (uint8_t)(nearest(scale[j] * inverse(d), -31, 31) + 32);
    return d;
}

static void encode_q3_k(void *block, const float *x)
{
    struct block_q3_k *b = block;
    uint8_t sc[16], q[256];
    uint16_t half;
    float d = round_scales(&half, sc, x, 16, -4);
    b->d = half;
    for (int i = 0; i < 256; i++)
        q[i] = (uint8_t)(nearest(x[i] * inverse(d * (float)(sc[i / 16] - 32)), -4, 3) + 4);
    pack_q3_k(b, sc, q);
}

static void encode_iq4_xs(void *block, const float *x)
{
    struct block_iq4_xs *b = block;
    uint8_t sc[8], q[256];
    uint16_t half;
    float d = round_scales(&half, sc, x, 8, -127);
    b->d = half;
    for (int i = 0; i < 256; i++)
        q[i] = nearest_ascending(codebook_iq4_nl, x[i] * inverse(d * (float)(sc[i / 32] - 32)));
    pack_iq4_xs(b, sc, q);
}

static uint16_t round_ternary(uint8_t q[256], const float *x)
{
    uint16_t d = half_from_float(fabsf(extreme(x, 256)));
    float id = inverse(half_to_float(d));
    for (int i = 0; i < 256; i++)
        q[i] = (uint8_t)(nearest(x[i] * id, -1, 1) + 1);
    return d;
}

static void encode_tq2_0(void *block, const float *x)
{
    struct block_tq2_0 *b = block;
    uint8_t q[256];
    b->d = round_ternary(q, x);
    pack_two_bits(b->qs, q);
}

// `digits` trits, `step` apart, as a fraction to base 3, rounded up to 1/256.
static uint8_t pack_trits(const uint8_t *q, int step, int digits)
{
    int v = 0;
    for (int n = 0; n < 5; n++)
        v = v * 3 + (n < digits ? q[n * step] : 0);
    return (uint8_t)((v * 256 + 242) / 243);
}

static void encode_tq1_0(void *block, const float *x)
{
    struct block_tq1_0 *b = block;
    uint8_t q[256];
    b->d = round_ternary(q, x);
    for (int i = 0; i < 32; i++)
        b->qs[i] = pack_trits(q + i, 32, 5);
    for (int i = 0; i < 16; i++)
        b->qs[32 + i] = pack_trits(q + 160 + i, 16, 5);
    for (int i = 0; i < 4; i++)
        b->qh[i] = pack_trits(q + 240 + i, 4, 4);
}

static void (*const encoders[WT_COUNT])(void *block, const float *x) = {
    [WT_F32] = encode_f32,       [WT_F16] = encode_f16,     [WT_BF16] = encode_bf16,
    [WT_Q4_0] = encode_q4_0,     [WT_Q4_1] = encode_q4_1,   [WT_Q5_0] = encode_q5_0,
    [WT_Q5_1] = encode_q5_1,     [WT_Q8_0] = encode_q8_0,   [WT_Q4_K] = encode_q4_k,
    [WT_Q5_K] = encode_q5_k,     [WT_Q6_K] = encode_q6_k,   [WT_IQ4_NL] = encode_iq4_nl,
    [WT_MXFP4] = encode_mxfp4,   [WT_Q2_K] = encode_q2_k,   [WT_Q3_K] = encode_q3_k,
    [WT_IQ4_XS] = encode_iq4_xs, [WT_TQ2_0] = encode_tq2_0, [WT_TQ1_0] = encode_tq1_0,
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
