// Blocks of 32 with i8mm: two rows against two tokens, eight weights deep, in one instruction.
//
// The panel is rearranged for it. Of w[k], chunk c being weights 16k+8c .. 16k+8c+7, register 8c +
// p holds rows 2p and 2p+1, and its product with tokens 2j and 2j+1 is the square
//
//     | row 2p, token 2j | row 2p, token 2j+1 | row 2p+1, token 2j | row 2p+1, token 2j+1 |
#include "kernels/arm/arm.h"
#include "kernels/arm/small_panel.h"
#include "kernels/arm/squares.h"

static void prepare(struct small_panel *p)
{
    for (int k = 0; k < 2; k++)
        squares_pair_rows(p->w[k]);
}

// The tokens of `n_pairs` pairs, of which n are there.
NEON_INLINE void tile(const struct small_panel *p, const struct act_q8 *const x[4], int n_pairs,
                      int n, bool has_min, float32x4_t (*acc)[4])
{
    int32x4_t s[2][8];
    NEON_UNROLL
    for (int j = 0; j < n_pairs; j++)
        NEON_UNROLL
    for (int r = 0; r < 8; r++)
        s[j][r] = vdupq_n_s32(0);
    NEON_UNROLL
    for (int k = 0; k < 2; k++) {
        int8x16_t q[2][2];
        NEON_UNROLL
        for (int j = 0; j < n_pairs; j++)
            squares_pair_tokens(q[j], x[2 * j]->q + 16 * k,
                                x[2 * j + 1 < n ? 2 * j + 1 : 2 * j]->q + 16 * k);
        NEON_UNROLL
        for (int c = 0; c < 2; c++)
            NEON_UNROLL
        for (int r = 0; r < 8; r++)
            NEON_UNROLL
        for (int j = 0; j < n_pairs; j++)
            s[j][r] = vmmlaq_s32(s[j][r], p->w[k][8 * c + r], q[j][c]);
    }
    NEON_UNROLL
    for (int i = 0; i < 2 * n_pairs; i++)
        NEON_UNROLL
    for (int v = 0; v < 4; v++) {
        if (i >= n)
            continue;
        int32x4_t isum = squares_column(s[i / 2] + 2 * v, i % 2);
        acc[i][v] = small_add(acc[i][v], isum, p->d[v], p->m[v], has_min, x[i]);
    }
}

static void tiles(const struct small_panel *p, const struct act_q8 *const x[4], int n, bool has_min,
                  float32x4_t (*acc)[4])
{
    if (n <= 2)
        tile(p, x, 1, n, has_min, acc);
    else
        tile(p, x, 2, n, has_min, acc);
}

// One token fills half a square only: sdot is better.
#define FORMAT(name, block_bytes, min)                                       \
    void i8mm_matmul_##name(const struct matmul_args *a)                     \
    {                                                                        \
        static const struct small_products products = {prepare, tiles};      \
        const struct small_format f = {block_bytes, min};                    \
        if (a->n_tokens == 1)                                                \
            neon_matmul_##name(a);                                           \
        else                                                                 \
            small_matmul(a, f, small_unpack_##name, &products, FORM_TURNED); \
    }                                                                        \
    void i8mm_matmul_lanes_##name(const struct matmul_args *a)               \
    {                                                                        \
        static const struct small_products products = {prepare, tiles};      \
        const struct small_format f = {block_bytes, min};                    \
        if (a->n_tokens == 1)                                                \
            neon_matmul_lanes_##name(a);                                     \
        else                                                                 \
            small_matmul(a, f, small_unpack_##name, &products, FORM_LANES);  \
    }

SMALL_FORMATS(FORMAT)
