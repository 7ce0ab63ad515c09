// Blocks of 32 with dotprod: four activations of a token, taken by lane, against a word of four
// rows.
#include "kernels/arm/arm.h"
#include "kernels/arm/small_panel.h"

// s[i][v] += word g of rows 4v.. times word g of token i.
#define WORD(g)                 \
    NEON_UNROLL                 \
    for (int v = 0; v < 4; v++) \
        NEON_UNROLL             \
    for (int i = 0; i < n; i++) \
    s[i][v] = vdotq_laneq_s32(s[i][v], p->w[k][4 * (g) + v], q[i], g)

NEON_INLINE void tile(const struct small_panel *p, const struct act_q8 *const x[4], int n,
                      bool has_min, float32x4_t (*acc)[4])
{
    int32x4_t s[4][4];
    NEON_UNROLL
    for (int i = 0; i < n; i++)
        NEON_UNROLL
    for (int v = 0; v < 4; v++)
        s[i][v] = vdupq_n_s32(0);
    NEON_UNROLL
    for (int k = 0; k < 2; k++) {
        int8x16_t q[4];
        NEON_UNROLL
        for (int i = 0; i < n; i++)
            q[i] = vld1q_s8(x[i]->q + 16 * k);
        WORD(0);
        WORD(1);
        WORD(2);
        WORD(3);
    }
    NEON_UNROLL
    for (int i = 0; i < n; i++)
        NEON_UNROLL
    for (int v = 0; v < 4; v++)
        acc[i][v] = small_add(acc[i][v], s[i][v], p->d[v], p->m[v], has_min, x[i]);
}

static void tiles(const struct small_panel *p, const struct act_q8 *const x[4], int n, bool has_min,
                  float32x4_t (*acc)[4])
{
    switch (n) {
    case 1:
        tile(p, x, 1, has_min, acc);
        break;
    case 2:
        tile(p, x, 2, has_min, acc);
        break;
    case 3:
        tile(p, x, 3, has_min, acc);
        break;
    default:
        tile(p, x, 4, has_min, acc);
        break;
    }
}

#define FORMAT(name, block_bytes, min)                                       \
    void neon_matmul_##name(const struct matmul_args *a)                     \
    {                                                                        \
        static const struct small_products products = {NULL, tiles};         \
        const struct small_format f = {block_bytes, min};                    \
        if (a->n_tokens == 1)                                                \
            small_matmul(a, f, small_unpack_##name, &products, FORM_FLAT);   \
        else                                                                 \
            small_matmul(a, f, small_unpack_##name, &products, FORM_TURNED); \
    }                                                                        \
    void neon_matmul_lanes_##name(const struct matmul_args *a)               \
    {                                                                        \
        static const struct small_products products = {NULL, tiles};         \
        const struct small_format f = {block_bytes, min};                    \
        small_matmul(a, f, small_unpack_##name, &products, FORM_LANES);      \
    }

SMALL_FORMATS(FORMAT)
