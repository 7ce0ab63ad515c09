// F32, F16 and BF16 with AVX-512. The sum runs over eight lanes (see kernels.h), so a register
// holds those of two rows: eight weights of each, against eight activations twice. Tiles are eight
// rows by four or six tokens; what is left over, and a token or two, for which memory is the limit,
// is AVX2's.
#include "kernels/x86/avx512.h"
#include "kernels/x86/x86.h"

enum { PAIRS = 4, ROWS = 2 * PAIRS, MAX_TOKENS = 6 };
enum { NEAR_BYTES = 256 << 10 }; // of activations, which all rows pass in turn

// How a weight is stored: its size, and eight of two rows each as floats. `tokens` of a tile: what
// is fastest.
struct float_weights {
    size_t bytes;
    int tokens;
    __m512 (*load)(const uint8_t *first, const uint8_t *second);
    void (*rest)(const struct matmul_args *a);
};

AVX512_INLINE __m256i two_rows(const uint8_t *first, const uint8_t *second)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)first)),
                                   _mm_loadu_si128((const void *)second), 1);
}

AVX512_INLINE __m512 load_f32(const uint8_t *first, const uint8_t *second)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps((const void *)first)),
                              _mm256_loadu_ps((const void *)second), 1);
}

AVX512_INLINE __m512 load_f16(const uint8_t *first, const uint8_t *second)
{
    return _mm512_cvtph_ps(two_rows(first, second));
}

AVX512_INLINE __m512 load_bf16(const uint8_t *first, const uint8_t *second)
{
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(two_rows(first, second)), 16));
}

// The fixed tree of the eight-lane sum.
AVX512_INLINE float lanes_of(__m256 s)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// ROWS x f->tokens results from (r, t) on.
AVX512_INLINE void tile(const struct matmul_args *a, const struct float_weights *f, int r, int t)
{
    __m512 s[PAIRS][MAX_TOKENS];
    const uint8_t *w = (const uint8_t *)a->w + (size_t)r * a->w_stride;
    const float *x[MAX_TOKENS];
    AVX512_UNROLL
    for (int j = 0; j < f->tokens; j++) {
        x[j] = (const void *)((const uint8_t *)a->x + (size_t)(t + j) * a->x_stride);
        AVX512_UNROLL
        for (int i = 0; i < PAIRS; i++)
            s[i][j] = _mm512_setzero_ps();
    }
    for (size_t k = 0; k < a->n_in; k += 8) {
        __m512 weights[PAIRS];
        AVX512_UNROLL
        for (int i = 0; i < PAIRS; i++) {
            const uint8_t *row = w + (size_t)(2 * i) * a->w_stride + k * f->bytes;
            weights[i] = f->load(row, row + a->w_stride);
        }
        AVX512_UNROLL
        for (int j = 0; j < f->tokens; j++) {
            __m512 twice = _mm512_broadcast_f32x8(_mm256_loadu_ps(x[j] + k));
            AVX512_UNROLL
            for (int i = 0; i < PAIRS; i++)
                s[i][j] = _mm512_fmadd_ps(weights[i], twice, s[i][j]);
        }
    }
    AVX512_UNROLL
    for (int j = 0; j < f->tokens; j++) {
        float *out = a->out + (size_t)(t + j) * a->out_stride + (size_t)r;
        AVX512_UNROLL
        for (int i = 0; i < PAIRS; i++) {
            out[2 * i] = lanes_of(_mm512_castps512_ps256(s[i][j]));
            out[2 * i + 1] = lanes_of(_mm512_extractf32x8_ps(s[i][j], 1));
        }
    }
}

AVX512_INLINE void matmul(const struct matmul_args *a, const struct float_weights *f)
{
    int rows = a->n_in % 8 ? 0 : (a->row_hi - a->row_lo) / ROWS * ROWS;
    int tokens = rows ? a->n_tokens / f->tokens * f->tokens : 0, near;
    for (int t = 0; t < tokens; t += near) {
        near = (int)(NEAR_BYTES / sizeof(float) / a->n_in) / f->tokens * f->tokens;
        near = near < f->tokens ? f->tokens : near > tokens - t ? tokens - t : near;
        for (int r = a->row_lo; r < a->row_lo + rows; r += ROWS)
            for (int i = t; i < t + near; i += f->tokens)
                tile(a, f, r, i);
    }
    struct matmul_args rest = *a; // the other rows, then the other tokens of these rows
    rest.row_lo += tokens ? rows : 0;
    if (rest.row_lo < rest.row_hi)
        f->rest(&rest);
    if (tokens == 0 || tokens == a->n_tokens)
        return;
    rest = *a;
    rest.row_hi = a->row_lo + rows;
    rest.out += (size_t)tokens * a->out_stride;
    rest.x = (const uint8_t *)a->x + (size_t)tokens * a->x_stride;
    rest.n_tokens = a->n_tokens - tokens;
    f->rest(&rest);
}

void avx512_matmul_f32(const struct matmul_args *a)
{
    static const struct float_weights f = {4, 4, load_f32, avx2_matmul_f32};
    matmul(a, &f);
}

void avx512_matmul_f16(const struct matmul_args *a)
{
    static const struct float_weights f = {2, 6, load_f16, avx2_matmul_f16};
    matmul(a, &f);
}

void avx512_matmul_bf16(const struct matmul_args *a)
{
    static const struct float_weights f = {2, 4, load_bf16, avx2_matmul_bf16};
    matmul(a, &f);
}
