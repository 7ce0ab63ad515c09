// Matmul for formats with blocks of 32, twice: one token, and several.
//
// One token: eight rows side by side; each row's block gives eight partial sums, a tree adds them
// so that lane i belongs to row i, and one fma continues the rows' sums.
//
// Several tokens: a panel of 16 rows is unpacked once per block and turned, so that a lane belongs
// to a row from the start: word g of a lane holds the weights 4g..4g+3 of its row, and four
// activations of a token are broadcast to all lanes. No sums across lanes are left.
//
//   panel.w[v][g]:  | row 8v+0: 4g..4g+3 | row 8v+1: 4g..4g+3 | ... | row 8v+7: 4g..4g+3 |
//
// Both give the exact integer dot of a block and then the same fma, so they agree bit for bit with
// each other and with scalar/.
#pragma once

#include "kernels/x86/avx2.h"

enum { SMALL_TOKENS = 64 }; // tokens a panel is used for before it is unpacked again

struct small_panel {
    __m256i w[2][8];
    __m256i sign[2][8]; // is_signed: the signed weights, w being their magnitudes
    __m256 d[2], m[2];
};

// What a format tells the two loops; constant at compile time, so that nothing of it is left.
struct small_format {
    size_t bytes; // of a block
    int offset;   // taken off every weight
    int groups;   // words whose products may be added in 16 bits
    bool has_min, is_signed;
    // The blocks' scales; NULL: half floats at the beginning of a block.
    __m256 (*d)(const struct avx2_rows *rows, size_t at);
    __m256i (*dot)(const uint8_t *block, __m256i x);
    // Fills w[v], sign[v] and, when the format has one, m[v] is read at block + 2.
    void (*unpack)(struct small_panel *p, int v, const struct avx2_rows *rows, size_t at);
};

AVX2_INLINE const struct act_q8 *small_act(const struct matmul_args *a, int t, size_t block)
{
    return (const struct act_q8 *)((const uint8_t *)a->x + (size_t)t * a->x_stride) + block;
}

AVX2_INLINE __m256 small_d(const struct small_format *f, const struct avx2_rows *rows, size_t at)
{
    return f->d ? f->d(rows, at) : avx2_row_halves(rows, at);
}

// acc + the block's sum, for eight rows.
AVX2_INLINE __m256 small_add(const struct small_format *f, __m256 acc, __m256i isum, __m256 d,
                             __m256 m, const struct act_q8 *x)
{
    __m256 dx = _mm256_set1_ps(x->d);
    if (f->offset)
        isum = _mm256_sub_epi32(isum, _mm256_set1_epi32(f->offset * x->sum));
    acc = _mm256_fmadd_ps(_mm256_mul_ps(d, dx), _mm256_cvtepi32_ps(isum), acc);
    if (f->has_min)
        acc = _mm256_fmadd_ps(_mm256_mul_ps(m, dx), _mm256_set1_ps((float)x->sum), acc);
    return acc;
}

AVX2_INLINE void small_one_token(const struct matmul_args *a, const struct small_format *f)
{
    for (int r = a->row_lo; r < a->row_hi; r += 8) {
        struct avx2_rows rows = avx2_rows_at(a, r);
        size_t ahead = r + 16 <= a->row_hi ? 8 * a->w_stride : 0;
        __m256 acc = _mm256_setzero_ps();
        for (size_t b = 0; b < a->n_in / 32; b++) {
            const struct act_q8 *x = small_act(a, 0, b);
            size_t at = b * f->bytes;
            avx2_rows_ahead(&rows, at, f->bytes, ahead);
            __m256i q = avx2_load(x->q), s[8];
            AVX2_UNROLL
            for (int i = 0; i < 8; i++)
                s[i] = f->dot(rows.row[i] + at, q);
            __m256 d = small_d(f, &rows, at);
            __m256 m = f->has_min ? avx2_row_halves(&rows, at + 2) : _mm256_setzero_ps();
            acc = small_add(f, acc, avx2_sums(s), d, m, x);
        }
        avx2_store_rows(a, 0, r, rows.n, acc);
    }
}

// Products of one word of weights with one of activations, as pairs in 16 bits.
AVX2_INLINE __m256i small_product(const struct small_format *f, const struct small_panel *p, int v,
                                  int g, __m256i x)
{
    if (f->is_signed)
        x = _mm256_sign_epi8(x, p->sign[v][g]);
    return _mm256_maddubs_epi16(p->w[v][g], x);
}

// The block's sums of 16 rows and `n` tokens from t on, added to acc.
AVX2_INLINE void small_tile(const struct small_format *f, const struct small_panel *p,
                            const struct matmul_args *a, int t, int n, size_t block,
                            __m256 (*acc)[2])
{
    __m256i isum[4][2];
    AVX2_UNROLL
    for (int first = 0; first < 8; first += f->groups) {
        __m256i s[4][2];
        AVX2_UNROLL
        for (int g = first; g < first + f->groups; g++)
            AVX2_UNROLL
        for (int i = 0; i < n; i++) {
            __m256i x = avx2_broadcast4(small_act(a, t + i, block)->q + 4 * g);
            AVX2_UNROLL
            for (int v = 0; v < 2; v++) {
                __m256i product = small_product(f, p, v, g, x);
                s[i][v] = g == first ? product : avx2_add16(s[i][v], product);
            }
        }
        AVX2_UNROLL
        for (int i = 0; i < n; i++)
            AVX2_UNROLL
        for (int v = 0; v < 2; v++) {
            __m256i pairs = avx2_pairs(s[i][v]);
            isum[i][v] = first ? _mm256_add_epi32(isum[i][v], pairs) : pairs;
        }
    }
    AVX2_UNROLL
    for (int i = 0; i < n; i++)
        AVX2_UNROLL
    for (int v = 0; v < 2; v++)
        acc[i][v] =
            small_add(f, acc[i][v], isum[i][v], p->d[v], p->m[v], small_act(a, t + i, block));
}

AVX2_INLINE void small_unpack(const struct small_format *f, struct small_panel *p,
                              const struct avx2_rows rows[2], size_t at, size_t ahead)
{
    for (int v = 0; v < 2; v++) {
        f->unpack(p, v, &rows[v], at);
        avx2_rows_ahead(&rows[v], at, f->bytes, ahead);
        p->d[v] = small_d(f, &rows[v], at);
        p->m[v] = f->has_min ? avx2_row_halves(&rows[v], at + 2) : _mm256_setzero_ps();
    }
}

// 16 rows from r on (the second eight may be the first again) and the tokens [t, t + n).
AVX2_INLINE void small_block(const struct matmul_args *a, const struct small_format *f, int r,
                             int t, int n)
{
    int second = r + 8 < a->row_hi ? r + 8 : r;
    struct avx2_rows rows[2] = {avx2_rows_at(a, r), avx2_rows_at(a, second)};
    size_t ahead = r + 32 <= a->row_hi ? 16 * a->w_stride : 0;
    __m256 acc[SMALL_TOKENS][2];
    for (int i = 0; i < n; i++)
        acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    for (size_t b = 0; b < a->n_in / 32; b++) {
        struct small_panel p;
        small_unpack(f, &p, rows, b * f->bytes, ahead);
        int i = 0;
        for (; i + 4 <= n; i += 4)
            small_tile(f, &p, a, t + i, 4, b, acc + i);
        for (; i < n; i++)
            small_tile(f, &p, a, t + i, 1, b, acc + i);
    }
    for (int i = 0; i < n; i++) {
        avx2_store_rows(a, t + i, r, rows[0].n, acc[i][0]);
        if (second != r)
            avx2_store_rows(a, t + i, second, rows[1].n, acc[i][1]);
    }
}

AVX2_INLINE void small_matmul(const struct matmul_args *a, const struct small_format *f)
{
    if (a->n_tokens == 1) {
        small_one_token(a, f);
        return;
    }
    for (int t = 0; t < a->n_tokens; t += SMALL_TOKENS) {
        int n = a->n_tokens - t < SMALL_TOKENS ? a->n_tokens - t : SMALL_TOKENS;
        for (int r = a->row_lo; r < a->row_hi; r += 16)
            small_block(a, f, r, t, n);
    }
}
