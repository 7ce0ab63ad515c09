// Matmul for formats with blocks of 32 on ARM: unpacking, and the loops around the products, which
// small_neon.c and small_i8mm.c bring.
//
// A block of 16 rows becomes a panel once for many tokens: 32 signed bytes and the scales of each
// row, in the forms that panel_rows.h draws, weights 16k..16k+15 in w[k]. All products are of
// signed by signed bytes into 32 bits, so offsets are taken off while unpacking and nothing can
// saturate. Every way gives the exact integer dot of a block and then the same fma.
#pragma once

#include "kernels/arm/panel_rows.h"
#include "kernels/scalar/codebooks.h"

enum { SMALL_TOKENS = 64 }; // tokens a panel is used for before it is unpacked again

struct small_panel {
    int8x16_t w[2][16];
    float32x4_t d[4], m[4];
};

struct small_format {
    size_t bytes; // of a block
    bool has_min; // half floats at byte 2
};

// Where unpacked weights go: to a panel, or, one token over raw rows, straight into products.
struct small_sink {
    struct small_panel *p;
    const int8_t *x;   // FORM_FLAT: the token's block
    int32x4_t isum[4]; // FORM_FLAT: by row, four partial sums
};

// Fills d and sends the weights of the block at `at` of each row to the sink. Handed on beside the
// format, not in it: only then does gcc leave no copy that does not know its form.
typedef void small_unpack(struct small_sink *s, const struct panel_rows *rows, enum form form,
                          size_t at);

// How panels are multiplied.
struct small_products {
    void (*prepare)(struct small_panel *p); // once for each panel; NULL: nothing to do
    // acc[i] + the block's sums of 16 rows for the token whose block is x[i], i < n <= 4.
    void (*tile)(const struct small_panel *p, const struct act_q8 *const x[4], int n, bool has_min,
                 float32x4_t (*acc)[4]);
};

// acc + a block's sums.
NEON_INLINE float32x4_t small_add(float32x4_t acc, int32x4_t isum, float32x4_t d, float32x4_t m,
                                  bool has_min, const struct act_q8 *x)
{
    acc = vfmaq_f32(acc, vmulq_n_f32(d, x->d), vcvtq_f32_s32(isum));
    return has_min ? vfmaq_n_f32(acc, vmulq_n_f32(m, x->d), (float)x->sum) : acc;
}

NEON_INLINE const struct act_q8 *small_act(const struct matmul_args *a, int t, size_t block)
{
    return (const struct act_q8 *)((const uint8_t *)a->x + (size_t)t * a->x_stride) + block;
}

// Register i of weights 16k..16k+15.
NEON_INLINE void small_put(struct small_sink *s, enum form form, int k, int i, int8x16_t w)
{
    if (form == FORM_FLAT)
        s->isum[i] = vdotq_s32(s->isum[i], w, vld1q_s8(s->x + 16 * k));
    else
        s->p->w[k][i] = w;
}

NEON_INLINE void small_fill(struct small_format f, small_unpack *unpack, struct small_sink *s,
                            const struct panel_rows *rows, enum form form, size_t block)
{
    unpack(s, rows, form, block * f.bytes);
    if (f.has_min)
        panel_halves(s->p->m, rows, form, block * f.bytes + 2);
}

// One token over raw rows, four at a time.
NEON_INLINE void small_one_token(const struct matmul_args *a, struct small_format f,
                                 small_unpack *unpack)
{
    for (int r = a->row_lo; r < a->row_hi; r += 4) {
        struct panel_rows rows = panel_rows_at(a, FORM_FLAT, r);
        float32x4_t acc = vdupq_n_f32(0);
        for (size_t b = 0; b < a->n_in / BLOCK_SMALL; b++) {
            const struct act_q8 *x = small_act(a, 0, b);
            struct small_panel p;
            struct small_sink s = {.p = &p, .x = x->q};
            NEON_UNROLL
            for (int i = 0; i < 4; i++)
                s.isum[i] = vdupq_n_s32(0);
            small_fill(f, unpack, &s, &rows, FORM_FLAT, b);
            acc = small_add(acc, panel_sums(s.isum), p.d[0], p.m[0], f.has_min, x);
        }
        panel_store(a->out + r, acc, rows.n);
    }
}

// 16 rows from r on and the tokens [t, t + n).
NEON_INLINE void small_block(const struct matmul_args *a, struct small_format f,
                             small_unpack *unpack, const struct small_products *products,
                             enum form form, int r, int t, int n)
{
    struct panel_rows rows = panel_rows_at(a, form, r);
    float32x4_t acc[SMALL_TOKENS][4];
    for (int i = 0; i < n; i++)
        for (int v = 0; v < 4; v++)
            acc[i][v] = vdupq_n_f32(0);
    for (size_t b = 0; b < a->n_in / BLOCK_SMALL; b++) {
        struct small_panel p;
        struct small_sink s = {.p = &p};
        small_fill(f, unpack, &s, &rows, form, b);
        if (products->prepare)
            products->prepare(&p);
        for (int i = 0; i < n; i += 4) {
            const struct act_q8 *x[4];
            for (int j = 0; j < 4 && i + j < n; j++)
                x[j] = small_act(a, t + i + j, b);
            products->tile(&p, x, n - i < 4 ? n - i : 4, f.has_min, acc + i);
        }
    }
    for (int i = 0; i < n; i++)
        for (int v = 0; v < 4; v++)
            panel_store(a->out + (size_t)(t + i) * a->out_stride + r + 4 * v, acc[i][v],
                        rows.n - 4 * v);
}

NEON_INLINE void small_matmul(const struct matmul_args *a, struct small_format f,
                              small_unpack *unpack, const struct small_products *products,
                              enum form form)
{
    if (form == FORM_FLAT) {
        small_one_token(a, f, unpack);
        return;
    }
    for (int t = 0; t < a->n_tokens; t += SMALL_TOKENS) {
        int n = a->n_tokens - t < SMALL_TOKENS ? a->n_tokens - t : SMALL_TOKENS;
        for (int r = a->row_lo; r < a->row_hi; r += LANE_ROWS)
            small_block(a, f, unpack, products, form, r, t, n);
    }
}

// ---- formats -----------------------------------------------------------------------------------

// 16 bytes of each row, whose low and high nibbles are the two halves of the block.
NEON_INLINE void small_nibbles(struct small_sink *s, const struct panel_rows *rows, enum form form,
                               size_t at, int offset)
{
    uint8x16_t packed[16];
    int8x16_t off = vdupq_n_s8((int8_t)offset);
    panel_load(packed, rows, form, at);
    NEON_UNROLL
    for (int i = 0; i < panel_bytes(form); i++) {
        small_put(s, form, 0, i, vsubq_s8(panel_low(packed[i]), off));
        small_put(s, form, 1, i, vsubq_s8(panel_high(packed[i]), off));
    }
}

NEON_INLINE void small_table(struct small_sink *s, const struct panel_rows *rows, enum form form,
                             size_t at, const int8_t codebook[16])
{
    uint8x16_t packed[16];
    int8x16_t table = vld1q_s8(codebook);
    panel_load(packed, rows, form, at);
    NEON_UNROLL
    for (int i = 0; i < panel_bytes(form); i++) {
        small_put(s, form, 0, i, vqtbl1q_s8(table, vandq_u8(packed[i], vdupq_n_u8(15))));
        small_put(s, form, 1, i, vqtbl1q_s8(table, vshrq_n_u8(packed[i], 4)));
    }
}

// Sixteens for the fifth bits that are set of register i of weights 16k..16k+15; bit n of a row's
// word in `bits` belongs to weight n.
NEON_INLINE int8x16_t small_fifth_bits(const uint32x4_t bits[4], enum form form, int k, int i)
{
    static const uint8_t own_byte[16] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
    uint8x16_t from, word, bit;
    if (form == FORM_FLAT) { // two bytes of one row
        uint32_t four[4];
        vst1q_u32(four, bits[0]);
        word = vreinterpretq_u8_u32(vdupq_n_u32(four[i]));
        from = vcombine_u8(vdup_n_u8((uint8_t)(2 * k)), vdup_n_u8((uint8_t)(2 * k + 1)));
        bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
    } else { // word g of four rows: four bits of one byte of each
        int g = i / 4;
        word = vreinterpretq_u8_u32(bits[i % 4]);
        from = vaddq_u8(vld1q_u8(own_byte), vdupq_n_u8((uint8_t)(2 * k + g / 2)));
        bit = vreinterpretq_u8_u32(vdupq_n_u32(g % 2 ? 0x80402010 : 0x08040201));
    }
    uint8x16_t set = vtstq_u8(vqtbl1q_u8(word, from), bit);
    return vreinterpretq_s8_u8(vandq_u8(set, vdupq_n_u8(16)));
}

NEON_INLINE void small_five_bits(struct small_sink *s, const struct panel_rows *rows,
                                 enum form form, size_t bits_at, size_t nibbles_at, int offset)
{
    uint8x16_t packed[16];
    uint32x4_t bits[4];
    int8x16_t off = vdupq_n_s8((int8_t)offset);
    panel_words(bits, rows, form, bits_at);
    panel_load(packed, rows, form, nibbles_at);
    NEON_UNROLL
    for (int i = 0; i < panel_bytes(form); i++) {
        int8x16_t low = vorrq_s8(panel_low(packed[i]), small_fifth_bits(bits, form, 0, i));
        int8x16_t high = vorrq_s8(panel_high(packed[i]), small_fifth_bits(bits, form, 1, i));
        small_put(s, form, 0, i, vsubq_s8(low, off));
        small_put(s, form, 1, i, vsubq_s8(high, off));
    }
}

NEON_INLINE void small_unpack_q4_0(struct small_sink *s, const struct panel_rows *rows,
                                   enum form form, size_t at)
{
    small_nibbles(s, rows, form, at + 2, 8);
    panel_halves(s->p->d, rows, form, at);
}

NEON_INLINE void small_unpack_q4_1(struct small_sink *s, const struct panel_rows *rows,
                                   enum form form, size_t at)
{
    small_nibbles(s, rows, form, at + 4, 0);
    panel_halves(s->p->d, rows, form, at);
}

NEON_INLINE void small_unpack_q5_0(struct small_sink *s, const struct panel_rows *rows,
                                   enum form form, size_t at)
{
    small_five_bits(s, rows, form, at + 2, at + 6, 16);
    panel_halves(s->p->d, rows, form, at);
}

NEON_INLINE void small_unpack_q5_1(struct small_sink *s, const struct panel_rows *rows,
                                   enum form form, size_t at)
{
    small_five_bits(s, rows, form, at + 4, at + 8, 0);
    panel_halves(s->p->d, rows, form, at);
}

NEON_INLINE void small_unpack_q8_0(struct small_sink *s, const struct panel_rows *rows,
                                   enum form form, size_t at)
{
    NEON_UNROLL
    for (int k = 0; k < 2; k++) {
        uint8x16_t bytes[16];
        panel_load(bytes, rows, form, at + 2 + 16 * (size_t)k);
        NEON_UNROLL
        for (int i = 0; i < panel_bytes(form); i++)
            small_put(s, form, k, i, vreinterpretq_s8_u8(bytes[i]));
    }
    panel_halves(s->p->d, rows, form, at);
}

NEON_INLINE void small_unpack_iq4_nl(struct small_sink *s, const struct panel_rows *rows,
                                     enum form form, size_t at)
{
    small_table(s, rows, form, at + 2, codebook_iq4_nl);
    panel_halves(s->p->d, rows, form, at);
}

// The scale is e8m0_half: the exponent less one, or below 2 a subnormal.
NEON_INLINE void small_unpack_mxfp4(struct small_sink *s, const struct panel_rows *rows,
                                    enum form form, size_t at)
{
    const uint32x4_t one = vdupq_n_u32(1);
    uint32x4_t e[4];
    small_table(s, rows, form, at + 1, codebook_mxfp4);
    panel_single_bytes(e, rows, form, at);
    NEON_UNROLL
    for (int v = 0; v < panel_numbers(form); v++) {
        uint32x4_t normal = vshlq_n_u32(vsubq_u32(e[v], one), 23);
        uint32x4_t tiny = vshlq_u32(vdupq_n_u32(0x200000), vreinterpretq_s32_u32(e[v]));
        s->p->d[v] = vreinterpretq_f32_u32(vbslq_u32(vcgtq_u32(e[v], one), normal, tiny));
    }
}

#define SMALL_FORMATS(F) \
    F(q4_0, 18, false)   \
    F(q4_1, 20, true)    \
    F(q5_0, 22, false)   \
    F(q5_1, 24, true)    \
    F(q8_0, 34, false)   \
    F(iq4_nl, 18, false) \
    F(mxfp4, 17, false)
