// Panels of k_avx512.h times many tokens.
#include "kernels/x86/k_avx512.h"

// The block's sums of 32 rows and `n` tokens from t on, added to acc.
AVX512_INLINE void k_tile(const struct k_format *f, const struct k_panel *panel,
                          const struct matmul_args *a, int t, int n, size_t block,
                          struct avx512_asking *asking, __m512 (*acc)[2])
{
    __m512i isum[K_TILE][2];
    const int8_t *x[K_TILE];
    AVX512_UNROLL
    for (int i = 0; i < n; i++) {
        isum[i][0] = isum[i][1] = _mm512_setzero_si512();
        x[i] = k_act(a, t + i, block)->q;
    }
    const __m512i(*w)[2] = panel->w;
    for (int sub = 0; sub < 64 / f->sub_words; sub++, w += f->sub_words) {
        avx512_ask(asking);
        __m512i sum[K_TILE][2];
        AVX512_UNROLL
        for (int i = 0; i < n; i++)
            sum[i][0] = sum[i][1] = _mm512_setzero_si512();
        AVX512_UNROLL
        for (int g = 0; g < f->sub_words; g++)
            AVX512_UNROLL
        for (int i = 0; i < n; i++) {
            __m512i q = avx512_broadcast4(x[i] + 4 * (sub * f->sub_words + g));
            sum[i][0] = avx512_dot4(sum[i][0], w[g][0], q);
            sum[i][1] = avx512_dot4(sum[i][1], w[g][1], q);
        }
        AVX512_UNROLL
        for (int i = 0; i < n; i++)
            AVX512_UNROLL
        for (int v = 0; v < 2; v++)
            isum[i][v] = k_scaled(isum[i][v], sum[i][v], panel->s[v].scale[sub]);
    }
    AVX512_UNROLL
    for (int i = 0; i < n; i++) {
        const struct act_q8k *xb = k_act(a, t + i, block);
        int16_t sums[16];
        k_sums(f, sums, xb);
        AVX512_UNROLL
        for (int v = 0; v < 2; v++)
            acc[i][v] = k_add(f, acc[i][v], isum[i][v], &panel->s[v], sums, xb->d);
    }
}

#define TILE(width)                                        \
    case width:                                            \
        k_tile(f, panel, a, t, width, block, asking, acc); \
        break

AVX512_INLINE void tiles(const struct k_format *f, const struct k_panel *panel,
                         const struct matmul_args *a, int t, int n, size_t block,
                         struct avx512_asking *asking, __m512 (*acc)[2])
{
    int end = t + n;
    for (int left = (n + K_TILE - 1) / K_TILE; left; left--) {
        int width = (end - t + left - 1) / left;
        switch (width) { // more than K_FEW tokens make tiles of 4 to 6
            TILE(4);
            TILE(5);
            TILE(6);
        }
        t += width;
        acc += width;
    }
}

#define TILES(name, words, minima)                                                            \
    static __attribute__((noinline)) void name(                                               \
        const struct k_panel *panel, const struct matmul_args *a, int t, int n, size_t block, \
        struct avx512_asking *asking, __m512(*acc)[2])                                        \
    {                                                                                         \
        static const struct k_format f = {.sub_words = words, .has_min = minima};             \
        tiles(&f, panel, a, t, n, block, asking, acc);                                        \
    }

TILES(tiles32, 8, false)
TILES(tiles32_min, 8, true)
TILES(tiles16, 4, false)
TILES(tiles16_min, 4, true)

void avx512_k_tiles(const struct k_format *f, const struct k_panel *panel,
                    const struct matmul_args *a, int t, int n, size_t block,
                    struct avx512_asking *asking, __m512 (*acc)[2])
{
    if (f->sub_words == 8)
        (f->has_min ? tiles32_min : tiles32)(panel, a, t, n, block, asking, acc);
    else
        (f->has_min ? tiles16_min : tiles16)(panel, a, t, n, block, asking, acc);
}
