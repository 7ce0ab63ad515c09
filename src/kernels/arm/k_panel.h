// Matmul for formats with blocks of 256 on ARM: unpacking, and the loops around the products, which
// k_neon.c and k_i8mm.c bring. The plan is that of small_panel.h; a block has sub-blocks besides,
// whose scales are multiplied in as integers of 32 bits, so that it ends in one exact sum per row
// and one fma (two with minima).
#pragma once

#include "kernels/arm/panel_rows.h"
#include "kernels/scalar/codebooks.h"

enum { K_TOKENS = 64 }; // tokens a panel is used for before it is unpacked again

struct k_panel {
    int8x16_t w[16][16];
    int32x4_t scale[16][4]; // by sub-block
    int16x4_t min[16][4];
    float32x4_t d[4], dmin[4];
};

struct k_format {
    size_t bytes;  // of a block
    int sub_width; // weights of a sub-block: 32 or 16
    bool has_min;
};

// Where unpacked weights go: to a panel, or, one token over raw rows, straight into products, for
// which scales are there before weights come.
struct k_sink {
    struct k_panel *p;
    const int8_t *x;   // FORM_FLAT: the token's block
    int sub_width;     // FORM_FLAT
    int32x4_t isum[4]; // FORM_FLAT: by row, four partial sums
};

// Sends the block at `at` of each row to the sink. Handed on beside the format, not in it: only
// then does gcc leave no copy that does not know its form.
typedef void k_unpack(struct k_sink *s, const struct panel_rows *rows, enum form form, size_t at);

// How panels are multiplied.
struct k_products {
    void (*prepare)(struct k_panel *p); // once for each panel; NULL: nothing to do
    // acc[i] + the block's sums of 16 rows for the token whose block is x[i], i < n <= 4.
    void (*tile)(const struct k_panel *p, struct k_format f, const struct act_q8k *const x[4],
                 int n, float32x4_t (*acc)[4]);
};

NEON_INLINE const struct act_q8k *k_act(const struct matmul_args *a, int t, size_t block)
{
    return (const struct act_q8k *)((const uint8_t *)a->x + (size_t)t * a->x_stride) + block;
}

// imin[v] += m of sub-block first + j, rows 4 (low + v).., times sum j.
#define MIN(j)                          \
    NEON_UNROLL                         \
    for (int v = 0; v < n_vectors; v++) \
    imin[v] = vmlal_laneq_s16(imin[v], p->min[first + (j)][low + v], sums, j)

NEON_INLINE void k_eight_mins(int32x4_t imin[4], const struct k_panel *p, int first, int low,
                              int n_vectors, int16x8_t sums)
{
    MIN(0);
    MIN(1);
    MIN(2);
    MIN(3);
    MIN(4);
    MIN(5);
    MIN(6);
    MIN(7);
}

#undef MIN

// What the minima of rows 4 low .. take off, in units of dmin.
NEON_INLINE void k_mins(int32x4_t imin[4], const struct k_panel *p, struct k_format f, int low,
                        int n_vectors, const struct act_q8k *x)
{
    NEON_UNROLL
    for (int v = 0; v < n_vectors; v++)
        imin[v] = vdupq_n_s32(0);
    if (!f.has_min)
        return;
    int16x8_t sums[2] = {vld1q_s16(x->sums), vld1q_s16(x->sums + 8)};
    if (f.sub_width == 16) {
        k_eight_mins(imin, p, 0, low, n_vectors, sums[0]);
        k_eight_mins(imin, p, 8, low, n_vectors, sums[1]);
    } else { // sums of 32: at most 32 * 127
        k_eight_mins(imin, p, 0, low, n_vectors, vpaddq_s16(sums[0], sums[1]));
    }
}

// acc + a block's sums for rows 4v...
NEON_INLINE float32x4_t k_add(float32x4_t acc, const struct k_panel *p, struct k_format f, int v,
                              int32x4_t isum, int32x4_t imin, const struct act_q8k *x)
{
    acc = vfmaq_f32(acc, vmulq_n_f32(p->d[v], x->d), vcvtq_f32_s32(isum));
    if (!f.has_min)
        return acc;
    return vfmsq_f32(acc, vmulq_n_f32(p->dmin[v], x->d), vcvtq_f32_s32(imin));
}

// Register i of weights 16k..16k+15.
NEON_INLINE void k_put(struct k_sink *s, enum form form, size_t k, int i, int8x16_t w)
{
    if (form != FORM_FLAT) {
        s->p->w[k][i] = w;
        return;
    }
    int32x4_t dot = vdotq_s32(vdupq_n_s32(0), w, vld1q_s8(s->x + 16 * k));
    int32x4_t scale = s->p->scale[16 * k / (size_t)s->sub_width][0];
    switch (i) { // rows are lanes of the scale
    case 0:
        s->isum[0] = vmlaq_laneq_s32(s->isum[0], dot, scale, 0);
        break;
    case 1:
        s->isum[1] = vmlaq_laneq_s32(s->isum[1], dot, scale, 1);
        break;
    case 2:
        s->isum[2] = vmlaq_laneq_s32(s->isum[2], dot, scale, 2);
        break;
    default:
        s->isum[3] = vmlaq_laneq_s32(s->isum[3], dot, scale, 3);
        break;
    }
}

// One token over raw rows, four at a time.
NEON_INLINE void k_one_token(const struct matmul_args *a, struct k_format f, k_unpack *unpack)
{
    for (int r = a->row_lo; r < a->row_hi; r += 4) {
        struct panel_rows rows = panel_rows_at(a, FORM_FLAT, r);
        float32x4_t acc = vdupq_n_f32(0);
        for (size_t b = 0; b < a->n_in / BLOCK_K; b++) {
            const struct act_q8k *x = k_act(a, 0, b);
            struct k_panel p;
            struct k_sink s = {.p = &p, .x = x->q, .sub_width = f.sub_width};
            int32x4_t imin[4];
            NEON_UNROLL
            for (int i = 0; i < 4; i++)
                s.isum[i] = vdupq_n_s32(0);
            unpack(&s, &rows, FORM_FLAT, b * f.bytes);
            k_mins(imin, &p, f, 0, 1, x);
            acc = k_add(acc, &p, f, 0, panel_sums(s.isum), imin[0], x);
        }
        panel_store(a->out + r, acc, rows.n);
    }
}

// 16 rows from r on and the tokens [t, t + n).
NEON_INLINE void k_block(const struct matmul_args *a, struct k_format f, k_unpack *unpack,
                         const struct k_products *products, enum form form, int r, int t, int n)
{
    struct panel_rows rows = panel_rows_at(a, form, r);
    float32x4_t acc[K_TOKENS][4];
    for (int i = 0; i < n; i++)
        for (int v = 0; v < 4; v++)
            acc[i][v] = vdupq_n_f32(0);
    for (size_t b = 0; b < a->n_in / BLOCK_K; b++) {
        struct k_panel p;
        struct k_sink s = {.p = &p};
        unpack(&s, &rows, form, b * f.bytes);
        if (products->prepare)
            products->prepare(&p);
        for (int i = 0; i < n; i += 4) {
            const struct act_q8k *x[4];
            for (int j = 0; j < 4 && i + j < n; j++)
                x[j] = k_act(a, t + i + j, b);
            products->tile(&p, f, x, n - i < 4 ? n - i : 4, acc + i);
        }
    }
    for (int i = 0; i < n; i++)
        for (int v = 0; v < 4; v++)
            panel_store(a->out + (size_t)(t + i) * a->out_stride + r + 4 * v, acc[i][v],
                        rows.n - 4 * v);
}

NEON_INLINE void k_matmul(const struct matmul_args *a, struct k_format f, k_unpack *unpack,
                          const struct k_products *products, enum form form)
{
    if (form == FORM_FLAT) {
        k_one_token(a, f, unpack);
        return;
    }
    for (int t = 0; t < a->n_tokens; t += K_TOKENS) {
        int n = a->n_tokens - t < K_TOKENS ? a->n_tokens - t : K_TOKENS;
        for (int r = a->row_lo; r < a->row_hi; r += LANE_ROWS)
            k_block(a, f, unpack, products, form, r, t, n);
    }
}

#define K_FORMATS(F)          \
    F(q2_k, 84, 16, true)     \
    F(q3_k, 110, 16, false)   \
    F(q4_k, 144, 32, true)    \
    F(q5_k, 176, 32, true)    \
    F(q6_k, 210, 16, false)   \
    F(iq4_xs, 136, 32, false) \
    F(tq2_0, 66, 32, false)
