// Panels of small_avx512.h times many tokens.
#include "kernels/x86/small_avx512.h"

// The panel's `blocks` blocks from the first on, of 32 rows and `n` tokens from t on, added to
// sums.
AVX512_INLINE void small_tile(const struct small_format *f, const struct small_panel *panel,
                              const struct matmul_args *a, int t, int n, size_t first, int blocks,
                              struct avx512_asking *asking, __m512 (*sums)[2])
{
    __m512 acc[SMALL_TILE][2];
    const struct act_q8 *x[SMALL_TILE];
    AVX512_UNROLL
    for (int i = 0; i < n; i++) {
        acc[i][0] = sums[i][0];
        acc[i][1] = sums[i][1];
        x[i] = small_act(a, t + i, first);
    }
    for (int b = 0; b < blocks; b++) {
        avx512_ask(asking);
        __m512i isum[SMALL_TILE][2];
        AVX512_UNROLL
        for (int i = 0; i < n; i++)
            isum[i][0] = isum[i][1] = small_start(f, x[i] + b);
        AVX512_UNROLL
        for (int g = 0; g < 8; g++)
            AVX512_UNROLL
        for (int i = 0; i < n; i++) {
            __m512i q = avx512_broadcast4(x[i][b].q + 4 * g);
            isum[i][0] = avx512_dot4(isum[i][0], panel->w[b][g][0], q);
            isum[i][1] = avx512_dot4(isum[i][1], panel->w[b][g][1], q);
        }
        AVX512_UNROLL
        for (int i = 0; i < n; i++)
            AVX512_UNROLL
        for (int v = 0; v < 2; v++)
            acc[i][v] =
                small_add(f, acc[i][v], isum[i][v], panel->d[b][v], panel->m[b][v], x[i] + b);
    }
    AVX512_UNROLL
    for (int i = 0; i < n; i++) {
        sums[i][0] = acc[i][0];
        sums[i][1] = acc[i][1];
    }
}

#define TILE(width)                                                    \
    case width:                                                        \
        small_tile(f, panel, a, t, width, first, blocks, asking, acc); \
        break

AVX512_INLINE void tiles(const struct small_format *f, const struct small_panel *panel,
                         const struct matmul_args *a, int t, int n, size_t first, int blocks,
                         struct avx512_asking *asking, __m512 (*acc)[2])
{
    int end = t + n;
    for (int left = (n + SMALL_TILE - 1) / SMALL_TILE; left; left--) {
        int width = (end - t + left - 1) / left;
        switch (width) { // more than SMALL_FEW tokens make tiles of 4 to 6
            TILE(4);
            TILE(5);
            TILE(6);
        }
        t += width;
        acc += width;
    }
}

void avx512_small_tiles(const struct small_format *f, const struct small_panel *panel,
                        const struct matmul_args *a, int t, int n, size_t first, int blocks,
                        struct avx512_asking *asking, __m512 (*acc)[2])
{
    // Constants where the code differs.
    if (f->min_at) {
        static const struct small_format with_min = {.min_at = 1};
        tiles(&with_min, panel, a, t, n, first, blocks, asking, acc);
    } else {
        struct small_format symmetric = {.offset = f->offset};
        tiles(&symmetric, panel, a, t, n, first, blocks, asking, acc);
    }
}
