// Blocks of 256 with i8mm: two rows against two tokens in one instruction, as small_i8mm.c draws
// it.
#include "kernels/arm/arm.h"
#include "kernels/arm/grid_unpack.h"
#include "kernels/arm/squares.h"

static void prepare(struct k_panel *p)
{
    for (int k = 0; k < 16; k++)
        squares_pair_rows(p->w[k]);
}

// The products of sub-block `sub`, scaled and added to isum, for row pairs 4 * first and the three
// after it and the n_pairs pairs of tokens.
NEON_INLINE void sub_block(const struct k_panel *p, int sub, int n_groups, const int8_t *const x[4],
                           int first, int n_rows, int n_pairs, int32x4_t isum[2][8])
{
    int32x4_t s[2][8];
    NEON_UNROLL
    for (int j = 0; j < n_pairs; j++)
        NEON_UNROLL
    for (int r = 0; r < n_rows; r++)
        s[j][r] = vdupq_n_s32(0);
    NEON_UNROLL
    for (int g = 0; g < n_groups; g++) {
        int k = n_groups * sub + g;
        int8x16_t q[2][2];
        NEON_UNROLL
        for (int j = 0; j < n_pairs; j++)
            squares_pair_tokens(q[j], x[2 * j] + 16 * k, x[2 * j + 1] + 16 * k);
        NEON_UNROLL
        for (int c = 0; c < 2; c++)
            NEON_UNROLL
        for (int r = 0; r < n_rows; r++)
            NEON_UNROLL
        for (int j = 0; j < n_pairs; j++)
            s[j][r] = vmmlaq_s32(s[j][r], p->w[k][8 * c + first + r], q[j][c]);
    }
    NEON_UNROLL
    for (int r = 0; r < n_rows; r++) {
        int32x4_t four = p->scale[sub][(first + r) / 2];
        int32x4_t scale = (first + r) % 2 ? vzip2q_s32(four, four) : vzip1q_s32(four, four);
        NEON_UNROLL
        for (int j = 0; j < n_pairs; j++)
            isum[j][r] = vmlaq_s32(isum[j][r], s[j][r], scale);
    }
}

// Sums and scaled sums fit 32 registers for 16 rows and a pair of tokens, or 8 rows and two.
NEON_INLINE void tile(const struct k_panel *p, struct k_format f, int n_groups,
                      const struct act_q8k *const x[4], int n_pairs, int n, float32x4_t (*acc)[4])
{
    const int n_rows = n_pairs == 1 ? 8 : 4; // pairs of rows
    const int8_t *q[4];
    NEON_UNROLL
    for (int i = 0; i < 2 * n_pairs; i++)
        q[i] = x[i < n ? i : n - 1]->q;
    for (int first = 0; first < 8; first += n_rows) {
        int32x4_t isum[2][8];
        NEON_UNROLL
        for (int j = 0; j < n_pairs; j++)
            NEON_UNROLL
        for (int r = 0; r < n_rows; r++)
            isum[j][r] = vdupq_n_s32(0);
        for (int sub = 0; sub < 16 / n_groups; sub++)
            sub_block(p, sub, n_groups, q, first, n_rows, n_pairs, isum);
        NEON_UNROLL
        for (int i = 0; i < 2 * n_pairs; i++) {
            int32x4_t imin[4];
            if (i >= n)
                continue;
            k_mins(imin, p, f, first / 2, n_rows / 2, x[i]);
            NEON_UNROLL
            for (int v = 0; v < n_rows / 2; v++) {
                int32x4_t sum = squares_column(isum[i / 2] + 2 * v, i % 2);
                float32x4_t *to = &acc[i][first / 2 + v];
                *to = k_add(*to, p, f, first / 2 + v, sum, imin[v], x[i]);
            }
        }
    }
}

NEON_INLINE void tiles_of(const struct k_panel *p, struct k_format f, int n_groups,
                          const struct act_q8k *const x[4], int n, float32x4_t (*acc)[4])
{
    if (n <= 2)
        tile(p, f, n_groups, x, 1, n, acc);
    else
        tile(p, f, n_groups, x, 2, n, acc);
}

static void tiles(const struct k_panel *p, struct k_format f, const struct act_q8k *const x[4],
                  int n, float32x4_t (*acc)[4])
{
    if (f.sub_width == 32)
        tiles_of(p, f, 2, x, n, acc);
    else
        tiles_of(p, f, 1, x, n, acc);
}

// One token fills half a square only: sdot is better.
#define ROWS(name, block_bytes, width, min)                          \
    void i8mm_matmul_##name(const struct matmul_args *a)             \
    {                                                                \
        static const struct k_products products = {prepare, tiles};  \
        const struct k_format f = {block_bytes, width, min};         \
        if (a->n_tokens == 1)                                        \
            neon_matmul_##name(a);                                   \
        else                                                         \
            k_matmul(a, f, k_unpack_##name, &products, FORM_TURNED); \
    }

#define LANES(name, block_bytes, width, min)                        \
    void i8mm_matmul_lanes_##name(const struct matmul_args *a)      \
    {                                                               \
        static const struct k_products products = {prepare, tiles}; \
        const struct k_format f = {block_bytes, width, min};        \
        if (a->n_tokens == 1)                                       \
            neon_matmul_lanes_##name(a);                            \
        else                                                        \
            k_matmul(a, f, k_unpack_##name, &products, FORM_LANES); \
    }

K_FORMATS(ROWS)
K_FORMATS(LANES)
GRID_FORMATS(ROWS) // these have no lane form
