// How each format with blocks of 256 is unpacked; blocks.h draws the formats. Scales come first,
// then weights, 16k..16k+15 of all rows at a time.
#pragma once

#include "kernels/arm/k_panel.h"

NEON_INLINE uint8x16_t k_shift(uint8x16_t v, int left)
{
    return vshlq_u8(v, vdupq_n_s8((int8_t)left)); // negative: to the right
}

NEON_INLINE uint32x4_t k_every_byte(uint32x4_t v, int right, uint8_t mask)
{
    v = vshlq_u32(v, vdupq_n_s32(-right));
    return vandq_u32(v, vreinterpretq_u32_u8(vdupq_n_u8(mask)));
}

// ---- Q4_K, Q5_K --------------------------------------------------------------------------------

NEON_INLINE void k_scales_of_six_bits(struct k_sink *s, const struct panel_rows *rows,
                                      enum form form, size_t at)
{
    uint32x4_t a[4], b[4], c[4];
    panel_words(a, rows, form, at);
    panel_words(b, rows, form, at + 4);
    panel_words(c, rows, form, at + 8);
    NEON_UNROLL
    for (int v = 0; v < panel_numbers(form); v++) {
        uint32x4_t sc[2] = {
            k_every_byte(a[v], 0, 63),
            vorrq_u32(k_every_byte(c[v], 0, 15), k_every_byte(a[v], 2, 48)),
        };
        uint32x4_t m[2] = {
            k_every_byte(b[v], 0, 63),
            vorrq_u32(k_every_byte(c[v], 4, 15), k_every_byte(b[v], 2, 48)),
        };
        NEON_UNROLL
        for (int j = 0; j < 8; j++) {
            s->p->scale[j][v] = panel_unsigned_byte(sc[j / 4], j % 4);
            s->p->min[j][v] = vmovn_s32(panel_unsigned_byte(m[j / 4], j % 4));
        }
    }
}

// qh_at: 0 for Q4_K, else where the fifth bits are.
NEON_INLINE void k_unpack_pairs(struct k_sink *s, const struct panel_rows *rows, enum form form,
                                size_t qh_at, size_t qs_at)
{
    const uint8x16_t bit = vdupq_n_u8(16);
    for (size_t half = 0; half < 2; half++) {
        uint8x16_t high[16];
        if (qh_at)
            panel_load(high, rows, form, qh_at + 16 * half);
        for (size_t pair = 0; pair < 4; pair++) {
            uint8x16_t packed[16];
            size_t k = 4 * pair + half;
            int j = 2 * (int)pair;
            panel_load(packed, rows, form, qs_at + 32 * pair + 16 * half);
            NEON_UNROLL
            for (int i = 0; i < panel_bytes(form); i++) {
                uint8x16_t even = vandq_u8(packed[i], vdupq_n_u8(15));
                uint8x16_t odd = vshrq_n_u8(packed[i], 4);
                if (qh_at) {
                    even = vorrq_u8(even, vandq_u8(k_shift(high[i], 4 - j), bit));
                    odd = vorrq_u8(odd, vandq_u8(k_shift(high[i], 3 - j), bit));
                }
                k_put(s, form, k, i, vreinterpretq_s8_u8(even));
                k_put(s, form, k + 2, i, vreinterpretq_s8_u8(odd));
            }
        }
    }
}

NEON_INLINE void k_unpack_q4_k(struct k_sink *s, const struct panel_rows *rows, enum form form,
                               size_t at)
{
    panel_halves(s->p->d, rows, form, at);
    panel_halves(s->p->dmin, rows, form, at + 2);
    k_scales_of_six_bits(s, rows, form, at + 4);
    k_unpack_pairs(s, rows, form, 0, at + 16);
}

NEON_INLINE void k_unpack_q5_k(struct k_sink *s, const struct panel_rows *rows, enum form form,
                               size_t at)
{
    panel_halves(s->p->d, rows, form, at);
    panel_halves(s->p->dmin, rows, form, at + 2);
    k_scales_of_six_bits(s, rows, form, at + 4);
    k_unpack_pairs(s, rows, form, at + 16, at + 48);
}

// ---- sixteen sub-blocks ------------------------------------------------------------------------

// Sub-blocks 4i..4i+3 from a signed byte each.
NEON_INLINE void k_four_scales(struct k_panel *p, int v, int i, uint32x4_t bytes)
{
    NEON_UNROLL
    for (int j = 0; j < 4; j++)
        p->scale[4 * i + j][v] = panel_signed_byte(bytes, j);
}

NEON_INLINE void k_unpack_q6_k(struct k_sink *s, const struct panel_rows *rows, enum form form,
                               size_t at)
{
    enum { QH_AT = 128, SCALES_AT = 192, D_AT = 208 };
    const uint8x16_t low = vdupq_n_u8(15), top = vdupq_n_u8(48);
    const int8x16_t offset = vdupq_n_s8(32);
    panel_halves(s->p->d, rows, form, at + D_AT);
    for (int i = 0; i < 4; i++) {
        uint32x4_t bytes[4];
        panel_words(bytes, rows, form, at + SCALES_AT + 4 * (size_t)i);
        NEON_UNROLL
        for (int v = 0; v < panel_numbers(form); v++)
            k_four_scales(s->p, v, i, bytes[v]);
    }
    for (size_t part = 0; part < 4; part++) {
        size_t h = part / 2, from = part % 2 * 16, k = 8 * h + part % 2;
        uint8x16_t a[16], b[16], high[16];
        panel_load(a, rows, form, at + 64 * h + from);
        panel_load(b, rows, form, at + 64 * h + 32 + from);
        panel_load(high, rows, form, at + QH_AT + 32 * h + from);
        NEON_UNROLL
        for (int i = 0; i < panel_bytes(form); i++) {
            uint8x16_t q[4] = {
                vorrq_u8(vandq_u8(a[i], low), vandq_u8(vshlq_n_u8(high[i], 4), top)),
                vorrq_u8(vandq_u8(b[i], low), vandq_u8(vshlq_n_u8(high[i], 2), top)),
                vorrq_u8(vshrq_n_u8(a[i], 4), vandq_u8(high[i], top)),
                vorrq_u8(vshrq_n_u8(b[i], 4), vandq_u8(vshrq_n_u8(high[i], 2), top)),
            };
            NEON_UNROLL
            for (size_t j = 0; j < 4; j++)
                k_put(s, form, k + 2 * j, i, vsubq_s8(vreinterpretq_s8_u8(q[j]), offset));
        }
    }
}

// Weights of two bits less `offset`; hmask_at: 0, or where their third bits are.
NEON_INLINE void k_two_bits(struct k_sink *s, const struct panel_rows *rows, enum form form,
                            size_t qs_at, bool third_bit, size_t hmask_at, int offset)
{
    const uint8x16_t two = vdupq_n_u8(3), third = vdupq_n_u8(4);
    const int8x16_t off = vdupq_n_s8((int8_t)offset);
    for (size_t part = 0; part < 4; part++) {
        size_t h = part / 2, from = part % 2 * 16, k = 8 * h + part % 2;
        uint8x16_t packed[16], mask[16];
        panel_load(packed, rows, form, qs_at + 32 * h + from);
        if (third_bit)
            panel_load(mask, rows, form, hmask_at + from);
        NEON_UNROLL
        for (int i = 0; i < panel_bytes(form); i++)
            NEON_UNROLL
        for (int j = 0; j < 4; j++) {
            uint8x16_t q = vandq_u8(k_shift(packed[i], -2 * j), two);
            if (third_bit)
                q = vorrq_u8(q, vandq_u8(k_shift(mask[i], 2 - 4 * (int)h - j), third));
            k_put(s, form, k + 2 * (size_t)j, i, vsubq_s8(vreinterpretq_s8_u8(q), off));
        }
    }
}

NEON_INLINE void k_unpack_q2_k(struct k_sink *s, const struct panel_rows *rows, enum form form,
                               size_t at)
{
    panel_halves(s->p->d, rows, form, at + 80);
    panel_halves(s->p->dmin, rows, form, at + 82);
    for (int i = 0; i < 4; i++) {
        uint32x4_t both[4];
        panel_words(both, rows, form, at + 4 * (size_t)i);
        NEON_UNROLL
        for (int v = 0; v < panel_numbers(form); v++) {
            k_four_scales(s->p, v, i, k_every_byte(both[v], 0, 15));
            uint32x4_t m = k_every_byte(both[v], 4, 15);
            NEON_UNROLL
            for (int j = 0; j < 4; j++)
                s->p->min[4 * i + j][v] = vmovn_s32(panel_unsigned_byte(m, j));
        }
    }
    k_two_bits(s, rows, form, at + 16, false, 0, 0);
}

NEON_INLINE void k_unpack_q3_k(struct k_sink *s, const struct panel_rows *rows, enum form form,
                               size_t at)
{
    const uint8x16_t offset = vdupq_n_u8(32);
    uint32x4_t low[2][4], high[4];
    panel_halves(s->p->d, rows, form, at + 108);
    panel_words(low[0], rows, form, at + 96);
    panel_words(low[1], rows, form, at + 100);
    panel_words(high, rows, form, at + 104);
    NEON_UNROLL
    for (int i = 0; i < 4; i++)
        NEON_UNROLL
    for (int v = 0; v < panel_numbers(form); v++) {
        uint32x4_t four = k_every_byte(low[i % 2][v], i / 2 * 4, 15);
        uint32x4_t two = vshlq_n_u32(k_every_byte(high[v], 2 * i, 3), 4);
        uint8x16_t sc = vsubq_u8(vreinterpretq_u8_u32(vorrq_u32(four, two)), offset);
        k_four_scales(s->p, v, i, vreinterpretq_u32_u8(sc));
    }
    k_two_bits(s, rows, form, at + 32, true, at, 4);
}

// All scales are 1.
NEON_INLINE void k_unpack_tq2_0(struct k_sink *s, const struct panel_rows *rows, enum form form,
                                size_t at)
{
    panel_halves(s->p->d, rows, form, at + 64);
    NEON_UNROLL
    for (int j = 0; j < 8; j++)
        NEON_UNROLL
    for (int v = 0; v < panel_numbers(form); v++)
        s->p->scale[j][v] = vdupq_n_s32(1);
    k_two_bits(s, rows, form, at, false, 0, 1);
}

// ---- IQ4_XS ------------------------------------------------------------------------------------

NEON_INLINE void k_unpack_iq4_xs(struct k_sink *s, const struct panel_rows *rows, enum form form,
                                 size_t at)
{
    const int8x16_t table = vld1q_s8(codebook_iq4_nl);
    const int32x4_t offset = vdupq_n_s32(32);
    uint16x4_t high[4];
    uint32x4_t low[4];
    panel_halves(s->p->d, rows, form, at);
    panel_shorts(high, rows, form, at + 2);
    panel_words(low, rows, form, at + 4);
    NEON_UNROLL
    for (int j = 0; j < 8; j++)
        NEON_UNROLL
    for (int v = 0; v < panel_numbers(form); v++) {
        uint32x4_t four = vandq_u32(vshlq_u32(low[v], vdupq_n_s32(-4 * j)), vdupq_n_u32(15));
        uint32x4_t two = vshlq_u32(vmovl_u16(high[v]), vdupq_n_s32(-2 * j));
        two = vshlq_n_u32(vandq_u32(two, vdupq_n_u32(3)), 4);
        s->p->scale[j][v] = vsubq_s32(vreinterpretq_s32_u32(vorrq_u32(four, two)), offset);
    }
    for (size_t j = 0; j < 8; j++) {
        uint8x16_t packed[16];
        panel_load(packed, rows, form, at + 8 + 16 * j);
        NEON_UNROLL
        for (int i = 0; i < panel_bytes(form); i++) {
            k_put(s, form, 2 * j, i, vqtbl1q_s8(table, vandq_u8(packed[i], vdupq_n_u8(15))));
            k_put(s, form, 2 * j + 1, i, vqtbl1q_s8(table, vshrq_n_u8(packed[i], 4)));
        }
    }
}
