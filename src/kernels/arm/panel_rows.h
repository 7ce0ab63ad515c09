// Where the ARM kernels get weights from: rows as they lie in a file, or in lane form.
//
// For several tokens, and for one over lanes, 16 rows are taken at once and turned: 16 bytes of
// each become 16 registers, word g (bytes 4g..4g+3) of rows 4v..4v+3 being register 4g + v.
//
//     v[4g + v]:  | row 4v: 4g..4g+3 | row 4v+1: 4g..4g+3 | row 4v+2: .. | row 4v+3: .. |
//
// One token over raw rows takes four rows as they lie: register r is 16 bytes of row r. What works
// on bytes alone (nibbles, offsets, tables) is therefore written once for all three.
#pragma once

#include "kernels/arm/neon.h"
#include "kernels/lanes.h"

#include "base/bytes.h"

enum form { FORM_LANES, FORM_TURNED, FORM_FLAT };

// A group of rows from row r on; past the end the last row again, whose result is not stored.
struct panel_rows {
    const uint8_t *lanes;   // FORM_LANES: where the group begins
    const uint8_t *row[16]; // otherwise; FORM_FLAT: four
    int n;                  // rows that are wanted
};

NEON_INLINE int panel_height(enum form form)
{
    return form == FORM_FLAT ? 4 : LANE_ROWS;
}

// Registers for 16 bytes of each row.
NEON_INLINE int panel_bytes(enum form form)
{
    return panel_height(form);
}

// Registers for a number of each row.
NEON_INLINE int panel_numbers(enum form form)
{
    return panel_height(form) / 4;
}

NEON_INLINE struct panel_rows panel_rows_at(const struct matmul_args *a, enum form form, int r)
{
    struct panel_rows rows;
    int height = panel_height(form);
    rows.n = a->row_hi - r < height ? a->row_hi - r : height;
    rows.lanes = (const uint8_t *)a->w + (size_t)r * a->w_stride;
    for (int i = 0; i < height && form != FORM_LANES; i++)
        rows.row[i] = rows.lanes + (size_t)(i < rows.n ? i : rows.n - 1) * a->w_stride;
    return rows;
}

NEON_INLINE void panel_turn(uint8x16_t out[16], const struct panel_rows *rows, size_t at)
{
    NEON_UNROLL
    for (int v = 0; v < 4; v++) {
        uint32x4_t r[4];
        NEON_UNROLL
        for (int i = 0; i < 4; i++)
            r[i] = vreinterpretq_u32_u8(vld1q_u8(rows->row[4 * v + i] + at));
        uint64x2_t a = vreinterpretq_u64_u32(vtrn1q_u32(r[0], r[1]));
        uint64x2_t b = vreinterpretq_u64_u32(vtrn2q_u32(r[0], r[1]));
        uint64x2_t c = vreinterpretq_u64_u32(vtrn1q_u32(r[2], r[3]));
        uint64x2_t d = vreinterpretq_u64_u32(vtrn2q_u32(r[2], r[3]));
        out[v] = vreinterpretq_u8_u64(vtrn1q_u64(a, c));
        out[4 + v] = vreinterpretq_u8_u64(vtrn1q_u64(b, d));
        out[8 + v] = vreinterpretq_u8_u64(vtrn2q_u64(a, c));
        out[12 + v] = vreinterpretq_u8_u64(vtrn2q_u64(b, d));
    }
}

// Bytes at..at+15 of each row.
NEON_INLINE void panel_load(uint8x16_t out[16], const struct panel_rows *rows, enum form form,
                            size_t at)
{
    if (form == FORM_TURNED) {
        panel_turn(out, rows, at);
        return;
    }
    NEON_UNROLL
    for (int i = 0; i < panel_bytes(form); i++)
        out[i] =
            vld1q_u8(form == FORM_LANES ? rows->lanes + 16 * (at + (size_t)i) : rows->row[i] + at);
}

// The four bytes at `at` of each row, a lane each.
NEON_INLINE void panel_words(uint32x4_t out[4], const struct panel_rows *rows, enum form form,
                             size_t at)
{
    NEON_UNROLL
    for (int v = 0; v < panel_numbers(form); v++) {
        if (form == FORM_LANES) {
            out[v] = vreinterpretq_u32_u8(vld1q_u8(rows->lanes + 16 * (at + (size_t)v)));
            continue;
        }
        const uint8_t *const *row = rows->row + 4 * v;
        out[v] = vdupq_n_u32(load_u32(row[0] + at));
        out[v] = vsetq_lane_u32(load_u32(row[1] + at), out[v], 1);
        out[v] = vsetq_lane_u32(load_u32(row[2] + at), out[v], 2);
        out[v] = vsetq_lane_u32(load_u32(row[3] + at), out[v], 3);
    }
}

// The two bytes at `at` of each row.
NEON_INLINE void panel_shorts(uint16x4_t out[4], const struct panel_rows *rows, enum form form,
                              size_t at)
{
    NEON_UNROLL
    for (int v = 0; v < panel_numbers(form); v++) {
        if (form == FORM_LANES) {
            out[v] = vreinterpret_u16_u8(vld1_u8(rows->lanes + 16 * at + 8 * (size_t)v));
            continue;
        }
        const uint8_t *const *row = rows->row + 4 * v;
        out[v] = vdup_n_u16(load_u16(row[0] + at));
        out[v] = vset_lane_u16(load_u16(row[1] + at), out[v], 1);
        out[v] = vset_lane_u16(load_u16(row[2] + at), out[v], 2);
        out[v] = vset_lane_u16(load_u16(row[3] + at), out[v], 3);
    }
}

NEON_INLINE void panel_halves(float32x4_t out[4], const struct panel_rows *rows, enum form form,
                              size_t at)
{
    uint16x4_t h[4];
    panel_shorts(h, rows, form, at);
    NEON_UNROLL
    for (int v = 0; v < panel_numbers(form); v++)
        out[v] = vcvt_f32_f16(vreinterpret_f16_u16(h[v]));
}

// The byte at `at` of each row.
NEON_INLINE void panel_single_bytes(uint32x4_t out[4], const struct panel_rows *rows,
                                    enum form form, size_t at)
{
    NEON_UNROLL
    for (int v = 0; v < panel_numbers(form); v++) {
        uint32_t four[4];
        for (int i = 0; i < 4; i++)
            four[i] = form == FORM_LANES ? rows->lanes[16 * at + (size_t)(4 * v + i)]
                                         : rows->row[4 * v + i][at];
        out[v] = vld1q_u32(four);
    }
}

// Byte `byte` of each lane, widened.
NEON_INLINE int32x4_t panel_unsigned_byte(uint32x4_t v, int byte)
{
    v = vshlq_u32(v, vdupq_n_s32(-8 * byte));
    return vreinterpretq_s32_u32(vandq_u32(v, vdupq_n_u32(255)));
}

NEON_INLINE int32x4_t panel_signed_byte(uint32x4_t v, int byte)
{
    int32x4_t up = vreinterpretq_s32_u32(vshlq_u32(v, vdupq_n_s32(24 - 8 * byte)));
    return vshrq_n_s32(up, 24);
}

NEON_INLINE int8x16_t panel_low(uint8x16_t v)
{
    return vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15)));
}

NEON_INLINE int8x16_t panel_high(uint8x16_t v)
{
    return vreinterpretq_s8_u8(vshrq_n_u8(v, 4));
}

// Numbers of `n` lanes to out.
NEON_INLINE void panel_store(float *out, float32x4_t v, int n)
{
    if (n >= 4) {
        vst1q_f32(out, v);
        return;
    }
    float four[4];
    vst1q_f32(four, v);
    for (int i = 0; i < n; i++)
        out[i] = four[i];
}

// Lane i: the sum of the lanes of v[i].
NEON_INLINE int32x4_t panel_sums(const int32x4_t v[4])
{
    return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}
