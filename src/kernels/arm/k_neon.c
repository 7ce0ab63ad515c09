// Blocks of 256 with dotprod: four activations of a token, taken by lane, against a word of four
// rows.
#include "kernels/arm/arm.h"
#include "kernels/arm/grid_unpack.h"

// s[i][v] += a word of rows 4 (first + v).. times a word of token i.
#define WORD(word)                      \
    NEON_UNROLL                         \
    for (int v = 0; v < n_vectors; v++) \
        NEON_UNROLL                     \
    for (int i = 0; i < n; i++)         \
    s[i][v] = vdotq_laneq_s32(s[i][v], p->w[k][4 * (word) + first + v], q[i], word)

// The products of sub-block `sub`, scaled and added to isum, for n_vectors * 4 rows and n tokens.
NEON_INLINE void sub_block(const struct k_panel *p, int sub, int n_groups,
                           const struct act_q8k *const x[4], int first, int n_vectors, int n,
                           int32x4_t isum[4][4])
{
    int32x4_t s[4][4];
    NEON_UNROLL
    for (int i = 0; i < n; i++)
        NEON_UNROLL
    for (int v = 0; v < n_vectors; v++)
        s[i][v] = vdupq_n_s32(0);
    NEON_UNROLL
    for (int g = 0; g < n_groups; g++) {
        int k = n_groups * sub + g;
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
    for (int v = 0; v < n_vectors; v++)
        NEON_UNROLL
    for (int i = 0; i < n; i++)
        isum[i][v] = vmlaq_s32(isum[i][v], s[i][v], p->scale[sub][first + v]);
}

// Sums and scaled sums fit 32 registers for 16 rows and two tokens, or 8 rows and four.
NEON_INLINE void tile(const struct k_panel *p, struct k_format f, int n_groups,
                      const struct act_q8k *const x[4], int n, float32x4_t (*acc)[4])
{
    const int n_vectors = n <= 2 ? 4 : 2;
    for (int first = 0; first < 4; first += n_vectors) {
        int32x4_t isum[4][4];
        NEON_UNROLL
        for (int i = 0; i < n; i++)
            NEON_UNROLL
        for (int v = 0; v < n_vectors; v++)
            isum[i][v] = vdupq_n_s32(0);
        for (int sub = 0; sub < 16 / n_groups; sub++)
            sub_block(p, sub, n_groups, x, first, n_vectors, n, isum);
        NEON_UNROLL
        for (int i = 0; i < n; i++) {
            int32x4_t imin[4];
            k_mins(imin, p, f, first, n_vectors, x[i]);
            NEON_UNROLL
            for (int v = 0; v < n_vectors; v++) {
                float32x4_t *to = &acc[i][first + v];
                *to = k_add(*to, p, f, first + v, isum[i][v], imin[v], x[i]);
            }
        }
    }
}

NEON_INLINE void tiles_of(const struct k_panel *p, struct k_format f, int n_groups,
                          const struct act_q8k *const x[4], int n, float32x4_t (*acc)[4])
{
    switch (n) {
    case 1:
        tile(p, f, n_groups, x, 1, acc);
        break;
    case 2:
        tile(p, f, n_groups, x, 2, acc);
        break;
    case 3:
        tile(p, f, n_groups, x, 3, acc);
        break;
    default:
        tile(p, f, n_groups, x, 4, acc);
        break;
    }
}

static void tiles(const struct k_panel *p, struct k_format f, const struct act_q8k *const x[4],
                  int n, float32x4_t (*acc)[4])
{
    if (f.sub_width == 32)
        tiles_of(p, f, 2, x, n, acc);
    else
        tiles_of(p, f, 1, x, n, acc);
}

#define ROWS(name, block_bytes, width, min)                          \
    void neon_matmul_##name(const struct matmul_args *a)             \
    {                                                                \
        static const struct k_products products = {NULL, tiles};     \
        const struct k_format f = {block_bytes, width, min};         \
        if (a->n_tokens == 1)                                        \
            k_matmul(a, f, k_unpack_##name, &products, FORM_FLAT);   \
        else                                                         \
            k_matmul(a, f, k_unpack_##name, &products, FORM_TURNED); \
    }

#define LANES(name, block_bytes, width, min)                     \
    void neon_matmul_lanes_##name(const struct matmul_args *a)   \
    {                                                            \
        static const struct k_products products = {NULL, tiles}; \
        const struct k_format f = {block_bytes, width, min};     \
        k_matmul(a, f, k_unpack_##name, &products, FORM_LANES);  \
    }

K_FORMATS(ROWS)
K_FORMATS(LANES)
GRID_FORMATS(ROWS) // these have no lane form
