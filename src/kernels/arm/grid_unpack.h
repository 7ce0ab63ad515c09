// How the formats without a lane form are unpacked: TQ1_0, and those whose weights
// are points of a codebook, which are looked up row by row and turned afterwards.
#pragma once

#include "kernels/arm/k_unpack.h"

// One row's block.
struct grid_row {
    int8_t q[256];
    int8_t sc[16]; // eight, in formats with sub-blocks of 32
    float d;
};

typedef void grid_unpack_row(struct grid_row *w, const uint8_t *block);

NEON_INLINE void grid_unpack(struct k_sink *s, const struct panel_rows *rows, enum form form,
                             size_t at, int sub_width, grid_unpack_row *unpack_row)
{
    struct grid_row row[16];
    int32_t sc[16][16] = {{0}}; // (sub-blocks, rows)
    float d[16];
    struct panel_rows unpacked;
    int n_subs = BLOCK_K / sub_width;
    for (int i = 0; i < panel_height(form); i++) {
        unpack_row(&row[i], rows->row[i] + at);
        unpacked.row[i] = (const uint8_t *)row[i].q;
        d[i] = row[i].d;
        for (int j = 0; j < n_subs; j++)
            sc[j][i] = row[i].sc[j];
    }
    for (int v = 0; v < panel_numbers(form); v++) {
        s->p->d[v] = vld1q_f32(d + 4 * v);
        for (int j = 0; j < n_subs; j++)
            s->p->scale[j][v] = vld1q_s32(&sc[j][4 * v]);
    }
    for (size_t k = 0; k < 16; k++) {
        uint8x16_t bytes[16];
        panel_load(bytes, &unpacked, form, 16 * k);
        NEON_UNROLL
        for (int i = 0; i < panel_bytes(form); i++)
            k_put(s, form, k, i, vreinterpretq_s8_u8(bytes[i]));
    }
}

// ---- points with signs -------------------------------------------------------------------------

// Two points of eight; a bit of `signs` for each weight.
NEON_INLINE void grid_put(int8_t q[16], uint64_t first, uint64_t second, unsigned signs)
{
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
    int8x16_t point = vreinterpretq_s8_u64(vcombine_u64(vcreate_u64(first), vcreate_u64(second)));
    uint8x16_t bytes = vcombine_u8(vdup_n_u8((uint8_t)signs), vdup_n_u8((uint8_t)(signs >> 8)));
    int8x16_t minus = vreinterpretq_s8_u8(vtstq_u8(bytes, bit)); // -1 or 0
    vst1q_s8(q, vsubq_s8(veorq_s8(point, minus), minus));
}

NEON_INLINE unsigned grid_signs(unsigned first_seven, unsigned second_seven)
{
    return codebook_signs(first_seven) | (unsigned)codebook_signs(second_seven) << 8;
}

NEON_INLINE uint64_t grid_two(uint32_t first, uint32_t second)
{
    return first | (uint64_t)second << 32;
}

// Nibbles s as 2 s + 1.
NEON_INLINE void grid_odd_scales(int8_t *sc, const uint8_t *nibbles, int n)
{
    for (int j = 0; j < n; j++)
        sc[j] = (int8_t)(2 * (nibbles[j / 2] >> j % 2 * 4 & 15) + 1);
}

NEON_INLINE void grid_row_iq3_xxs(struct grid_row *w, const uint8_t *block)
{
    const struct block_iq3_xxs *b = (const void *)block;
    const uint32_t *points = codebook_iq3_xxs;
    w->d = half_to_float(b->d) * 0.25f;
    for (int j = 0; j < 8; j++) {
        uint32_t both = b->scales_signs[j];
        w->sc[j] = (int8_t)(2 * (both >> 28) + 1);
        for (int l = 0; l < 2; l++, both >>= 14) {
            const uint8_t *n = b->qs + 8 * j + 4 * l;
            grid_put(w->q + 32 * j + 16 * l, grid_two(points[n[0]], points[n[1]]),
                     grid_two(points[n[2]], points[n[3]]), grid_signs(both & 127, both >> 7 & 127));
        }
    }
}

NEON_INLINE void grid_row_iq3_s(struct grid_row *w, const uint8_t *block)
{
    const struct block_iq3_s *b = (const void *)block;
    const uint32_t *points = codebook_iq3_s;
    w->d = half_to_float(b->d);
    grid_odd_scales(w->sc, b->scales, 8);
    for (int i = 0; i < 16; i++) {
        const uint8_t *low = b->qs + 4 * i;
        int high = b->qh[i / 2] >> i % 2 * 4;
        uint64_t first =
            grid_two(points[low[0] | (high & 1) << 8], points[low[1] | (high & 2) << 7]);
        uint64_t second =
            grid_two(points[low[2] | (high & 4) << 6], points[low[3] | (high & 8) << 5]);
        grid_put(w->q + 16 * i, first, second,
                 b->signs[2 * i] | (unsigned)b->signs[2 * i + 1] << 8);
    }
}

NEON_INLINE void grid_row_iq2_xxs(struct grid_row *w, const uint8_t *block)
{
    const struct block_iq2_xxs *b = (const void *)block;
    w->d = half_to_float(b->d) * 0.125f;
    for (int j = 0; j < 8; j++) {
        uint32_t both = b->sub[j].scale_signs;
        w->sc[j] = (int8_t)(2 * (both >> 28) + 1);
        for (int l = 0; l < 2; l++, both >>= 14) {
            const uint8_t *n = b->sub[j].points + 2 * l;
            grid_put(w->q + 32 * j + 16 * l, codebook_iq2_xxs[n[0]], codebook_iq2_xxs[n[1]],
                     grid_signs(both & 127, both >> 7 & 127));
        }
    }
}

NEON_INLINE void grid_row_iq2_xs(struct grid_row *w, const uint8_t *block)
{
    const struct block_iq2_xs *b = (const void *)block;
    w->d = half_to_float(b->d) * 0.125f;
    grid_odd_scales(w->sc, b->scales, 16);
    for (int i = 0; i < 16; i++) {
        unsigned first = b->qs[2 * i], second = b->qs[2 * i + 1];
        grid_put(w->q + 16 * i, codebook_iq2_xs[first & 511], codebook_iq2_xs[second & 511],
                 grid_signs(first >> 9, second >> 9));
    }
}

NEON_INLINE void grid_row_iq2_s(struct grid_row *w, const uint8_t *block)
{
    const struct block_iq2_s *b = (const void *)block;
    w->d = half_to_float(b->d) * 0.125f;
    grid_odd_scales(w->sc, b->scales, 16);
    for (int i = 0; i < 16; i++) {
        int high = b->qh[i / 2] >> i % 2 * 4;
        grid_put(w->q + 16 * i, codebook_iq2_s[b->qs[2 * i] | (high & 3) << 8],
                 codebook_iq2_s[b->qs[2 * i + 1] | (high & 12) << 6],
                 b->signs[2 * i] | (unsigned)b->signs[2 * i + 1] << 8);
    }
}

// ---- points moved by an eighth: weights count in eighths ---------------------------------------

NEON_INLINE void grid_put_moved(int8_t q[16], uint64_t first, uint64_t second, int first_move,
                                int second_move)
{
    int8x16_t point = vreinterpretq_s8_u64(vcombine_u64(vcreate_u64(first), vcreate_u64(second)));
    int8x16_t move = vcombine_s8(vdup_n_s8((int8_t)first_move), vdup_n_s8((int8_t)second_move));
    vst1q_s8(q, vaddq_s8(vshlq_n_s8(point, 3), move));
}

NEON_INLINE void grid_row_iq1_s(struct grid_row *w, const uint8_t *block)
{
    const struct block_iq1_s *b = (const void *)block;
    w->d = half_to_float(b->d) * 0.125f;
    for (int i = 0; i < 16; i++) {
        unsigned qh = b->qh[i / 2], high = qh >> i % 2 * 6;
        int move = qh >> 15 ? -1 : 1;
        w->sc[i / 2] = (int8_t)(2 * (qh >> 12 & 7) + 1);
        grid_put_moved(w->q + 16 * i, codebook_iq1[b->qs[2 * i] | (high & 7) << 8],
                       codebook_iq1[b->qs[2 * i + 1] | (high & 56) << 5], move, move);
    }
}

NEON_INLINE void grid_row_iq1_m(struct grid_row *w, const uint8_t *block)
{
    const struct block_iq1_m *b = (const void *)block;
    unsigned d = 0;
    for (int i = 0; i < 4; i++)
        d |= (unsigned)(b->scales[i] >> 12) << 4 * i;
    w->d = half_to_float((uint16_t)d) * 0.125f;
    for (int i = 0; i < 16; i++) {
        unsigned qh = b->qh[i];
        w->sc[i] = (int8_t)(2 * (b->scales[i / 4] >> i % 4 * 3 & 7) + 1);
        grid_put_moved(w->q + 16 * i, codebook_iq1[b->qs[2 * i] | (qh & 7) << 8],
                       codebook_iq1[b->qs[2 * i + 1] | (qh & 112) << 4], qh & 8 ? -1 : 1,
                       qh & 128 ? -1 : 1);
    }
}

#define GRID_UNPACK(name, sub_width)                                                  \
    NEON_INLINE void k_unpack_##name(struct k_sink *s, const struct panel_rows *rows, \
                                     enum form form, size_t at)                       \
    {                                                                                 \
        grid_unpack(s, rows, form, at, sub_width, grid_row_##name);                   \
    }

GRID_UNPACK(iq3_xxs, 32)
GRID_UNPACK(iq3_s, 32)
GRID_UNPACK(iq2_xxs, 32)
GRID_UNPACK(iq2_xs, 16)
GRID_UNPACK(iq2_s, 16)
GRID_UNPACK(iq1_s, 32)
GRID_UNPACK(iq1_m, 16)

// ---- TQ1_0 -------------------------------------------------------------------------------------

// A ternary digit of each byte, less one; `power` brings it up (blocks.h). Three times a byte is
// 256 or more from 86 on, 512 or more from 171 on.
NEON_INLINE int8x16_t grid_trit(uint8x16_t bytes, uint8x16_t power)
{
    uint8x16_t v = vmulq_u8(bytes, power);
    uint8x16_t one = vcgeq_u8(v, vdupq_n_u8(86)), two = vcgeq_u8(v, vdupq_n_u8(171)); // 255: yes
    return vsubq_s8(vdupq_n_s8(-1), vreinterpretq_s8_u8(vaddq_u8(one, two)));
}

NEON_INLINE void k_unpack_tq1_0(struct k_sink *s, const struct panel_rows *rows, enum form form,
                                size_t at)
{
    static const uint8_t powers[5] = {1, 3, 9, 27, 81};
    static const uint32_t four_powers[4] = {0x01010101, 0x03030303, 0x09090909, 0x1b1b1b1b};
    uint32x4_t last[4];
    panel_halves(s->p->d, rows, form, at + 52);
    NEON_UNROLL
    for (int j = 0; j < 8; j++)
        NEON_UNROLL
    for (int v = 0; v < panel_numbers(form); v++)
        s->p->scale[j][v] = vdupq_n_s32(1);
    for (size_t part = 0; part < 3; part++) {
        uint8x16_t bytes[16];
        panel_load(bytes, rows, form, at + 16 * part);
        for (size_t n = 0; n < 5; n++)
            NEON_UNROLL
        for (int i = 0; i < panel_bytes(form); i++)
            k_put(s, form, part < 2 ? 2 * n + part : 10 + n, i,
                  grid_trit(bytes[i], vdupq_n_u8(powers[n])));
    }
    panel_words(last, rows, form, at + 48);
    NEON_UNROLL
    for (int i = 0; i < panel_bytes(form); i++) {
        uint32_t four[4];
        if (form == FORM_FLAT) { // all digits of one row's four bytes
            vst1q_u32(four, last[0]);
            k_put(s, form, 15, i,
                  grid_trit(vreinterpretq_u8_u32(vdupq_n_u32(four[i])),
                            vreinterpretq_u8_u32(vld1q_u32(four_powers))));
        } else { // digit g of four rows
            k_put(s, form, 15, i,
                  grid_trit(vreinterpretq_u8_u32(last[i % 4]), vdupq_n_u8(powers[i / 4])));
        }
    }
}

#define GRID_FORMATS(F)       \
    F(iq3_xxs, 98, 32, false) \
    F(iq3_s, 110, 32, false)  \
    F(iq2_xxs, 66, 32, false) \
    F(iq2_xs, 74, 16, false)  \
    F(iq2_s, 82, 16, false)   \
    F(iq1_s, 50, 32, false)   \
    F(iq1_m, 56, 16, false)   \
    F(tq1_0, 54, 32, false)
