// F32, F16 and BF16 with AVX2: a register is the eight lanes of the sum (see kernels.h). Weights
// are widened once for the tokens of a tile; a tile's accumulators stay in registers for a whole
// row.
#include "kernels/x86/avx2.h"
#include "kernels/x86/x86.h"

#include <string.h>

// How a weight is stored: its size, and eight of them as floats.
struct float_weights {
    size_t bytes;
    __m256 (*load)(const uint8_t *w);
};

AVX2_INLINE __m256 load_weights_f32(const uint8_t *w)
{
    return _mm256_loadu_ps((const void *)w);
}

AVX2_INLINE __m256 load_weights_f16(const uint8_t *w)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)w));
}

AVX2_INLINE __m256 load_weights_bf16(const uint8_t *w)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)w));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

// The last n % 8 products, zeros beside them: the other lanes stay as they are.
AVX2_INLINE __m256 add_tail(const struct float_weights *f, __m256 s, const uint8_t *w,
                            const float *x, int n)
{
    uint8_t w8[32] = {0};
    memcpy(w8, w, (size_t)n * f->bytes);
    return avx2_part(_mm256_fmadd_ps(f->load(w8), avx2_load_part(x, n), s), s, n);
}

// n_rows x n_tokens results from (r, t) on.
AVX2_INLINE void tile(const struct matmul_args *a, const struct float_weights *f, int r, int n_rows,
                      int t, int n_tokens)
{
    __m256 s[8][4], sums[8][4]; // s in registers, sums in memory
    const uint8_t *w[8];
    const float *x[4];
    AVX2_UNROLL
    for (int i = 0; i < n_rows; i++) {
        w[i] = (const uint8_t *)a->w + (size_t)(r + i) * a->w_stride;
        AVX2_UNROLL
        for (int j = 0; j < n_tokens; j++)
            s[i][j] = _mm256_setzero_ps();
    }
    AVX2_UNROLL
    for (int j = 0; j < n_tokens; j++)
        x[j] = (const void *)((const uint8_t *)a->x + (size_t)(t + j) * a->x_stride);
    size_t k = 0;
    for (; k + 8 <= a->n_in; k += 8) {
        AVX2_UNROLL
        for (int i = 0; i < n_rows; i++) {
            __m256 weights = f->load(w[i] + k * f->bytes);
            AVX2_UNROLL
            for (int j = 0; j < n_tokens; j++)
                s[i][j] = _mm256_fmadd_ps(weights, _mm256_loadu_ps(x[j] + k), s[i][j]);
        }
    }
    AVX2_UNROLL
    for (int i = 0; i < n_rows; i++)
        AVX2_UNROLL
    for (int j = 0; j < n_tokens; j++)
        sums[i][j] = s[i][j];
    int tail = (int)(a->n_in - k);
    for (int i = 0; i < n_rows; i++)
        for (int j = 0; j < n_tokens; j++) {
            if (tail)
                sums[i][j] = add_tail(f, sums[i][j], w[i] + k * f->bytes, x[j] + k, tail);
            a->out[(size_t)(t + j) * a->out_stride + (size_t)(r + i)] = avx2_lanes_sum(sums[i][j]);
        }
}

enum { TILE_ROWS = 4, TILE_TOKENS = 3, NEAR_BYTES = 1 << 18 };

// The tokens [t, t + n).
AVX2_INLINE void some_tokens(const struct matmul_args *a, const struct float_weights *f, int t,
                             int n)
{
    int r = a->row_lo;
    for (; r + TILE_ROWS <= a->row_hi; r += TILE_ROWS) {
        int i = 0;
        for (; i + TILE_TOKENS <= n; i += TILE_TOKENS)
            tile(a, f, r, TILE_ROWS, t + i, TILE_TOKENS);
        for (; i < n; i++)
            tile(a, f, r, TILE_ROWS, t + i, 1);
    }
    for (; r < a->row_hi; r++)
        for (int i = 0; i < n; i++)
            tile(a, f, r, 1, t + i, 1);
}

AVX2_INLINE void one_token(const struct matmul_args *a, const struct float_weights *f)
{
    int r = a->row_lo;
    for (; r + 8 <= a->row_hi; r += 8)
        tile(a, f, r, 8, 0, 1);
    for (; r < a->row_hi; r++)
        tile(a, f, r, 1, 0, 1);
}

// As many tokens at a time as stay in the near cache while all rows pass by them.
AVX2_INLINE void matmul(const struct matmul_args *a, const struct float_weights *f)
{
    if (a->n_tokens == 1) {
        one_token(a, f);
        return;
    }
    size_t tiles = NEAR_BYTES / (TILE_TOKENS * sizeof(float)) / a->n_in;
    int step = tiles < 1 ? TILE_TOKENS : tiles > 64 ? 64 * TILE_TOKENS : (int)tiles * TILE_TOKENS;
    for (int t = 0; t < a->n_tokens; t += step)
        some_tokens(a, f, t, a->n_tokens - t < step ? a->n_tokens - t : step);
}

void avx2_matmul_f32(const struct matmul_args *a)
{
    static const struct float_weights f = {4, load_weights_f32};
    matmul(a, &f);
}

void avx2_matmul_f16(const struct matmul_args *a)
{
    static const struct float_weights f = {2, load_weights_f16};
    matmul(a, &f);
}

void avx2_matmul_bf16(const struct matmul_args *a)
{
    static const struct float_weights f = {2, load_weights_bf16};
    matmul(a, &f);
}
