// Matmul for formats with blocks of 256, twice: one token, and several. The plan is that of
// small_avx2.h: eight rows and a tree of sums per block, or a turned panel of 16 rows that is
// unpacked once for many tokens. Sub-block scales are multiplied in as 16-bit integers, so a block
// ends in one exact 32-bit sum per row and one fma (two with minima).
//
//   panel.w[v][g]:      words g = 0..63 of rows 8v..8v+7, as in small_avx2.h
//   panel.scale[v][s]:  | sc[s] of row 8v: 16 bits, twice | ... |, s counting sub-blocks
//   panel.pair[v][j]:   | m[2j], m[2j+1] of row 8v: 16 bits each | ... |
//
// The byte product takes unsigned by signed. Signed weights are moved up by an offset and offset *
// sc takes the place of m, to be taken off; or, where the moved ones would not fit, w has their
// magnitudes and activations get the signs.
#pragma once

#include "kernels/x86/avx2.h"

enum { K_TOKENS = 64 }; // tokens a panel is used for before it is unpacked again

struct k_panel {
    __m256i w[2][64];
    __m256i sign[2][64]; // is_signed: the signed weights, w being their magnitudes
    __m256i scale[2][16];
    __m256i pair[2][8];
    __m256 d[2], dmin[2];
};

// One block of one row against one token.
struct k_dot {
    __m256i isum; // eight partial sums
    __m128i imin; // four
};

struct k_format {
    size_t bytes, d_at;
    int sub_words;  // words of four weights in a sub-block: 8 or 4
    int groups;     // words whose products may be added in 16 bits
    bool has_min;   // with a scale of their own; else pair holds what corrects for the offset
    bool is_signed; // no offset, no pairs
    // The blocks' scales; NULL: half floats at d_at.
    __m256 (*d)(const struct avx2_rows *rows, size_t at);
    struct k_dot (*dot)(const uint8_t *block, const struct act_q8k *x);
    // Fills w[v], scale[v] and pair[v], or w[v], sign[v] and scale[v].
    void (*unpack)(struct k_panel *p, int v, const struct avx2_rows *rows, size_t at);
};

AVX2_INLINE const struct act_q8k *k_act(const struct matmul_args *a, int t, size_t block)
{
    return (const struct act_q8k *)((const uint8_t *)a->x + (size_t)t * a->x_stride) + block;
}

// Sums over 32 activations: eight of 16 bits.
AVX2_INLINE __m128i k_sums32(const struct act_q8k *x)
{
    return _mm_hadd_epi16(_mm_loadu_si128((const void *)x->sums),
                          _mm_loadu_si128((const void *)(x->sums + 8)));
}

AVX2_INLINE __m256 k_add(const struct k_format *f, __m256 acc, __m256i isum, __m256i imin, __m256 d,
                         __m256 dmin, float x_d)
{
    __m256 dx = _mm256_set1_ps(x_d);
    acc = _mm256_fmadd_ps(_mm256_mul_ps(d, dx), _mm256_cvtepi32_ps(isum), acc);
    if (f->has_min)
        acc = _mm256_fnmadd_ps(_mm256_mul_ps(dmin, dx), _mm256_cvtepi32_ps(imin), acc);
    return acc;
}

// Lane i: the sum of the lanes of v[i].
AVX2_INLINE __m256i k_sums_of_four(const __m128i v[8])
{
    __m256i both[4], two[2];
    AVX2_UNROLL
    for (int i = 0; i < 4; i++)
        both[i] = _mm256_set_m128i(v[i + 4], v[i]);
    AVX2_UNROLL
    for (int i = 0; i < 2; i++)
        two[i] = _mm256_add_epi32(_mm256_unpacklo_epi32(both[2 * i], both[2 * i + 1]),
                                  _mm256_unpackhi_epi32(both[2 * i], both[2 * i + 1]));
    return _mm256_add_epi32(_mm256_unpacklo_epi64(two[0], two[1]),
                            _mm256_unpackhi_epi64(two[0], two[1]));
}

// Two signed bytes of each 32-bit lane, widened.
AVX2_INLINE __m256i k_widen(__m256i v, int first, int second)
{
    const __m256i word = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404,
                                           0x08080808, 0x0c0c0c0c);
    // Bytes go to the upper half of a 16-bit integer, whence an arithmetic shift brings them down.
    __m256i from = _mm256_add_epi8(word, _mm256_set1_epi32(first << 8 | second << 24));
    return _mm256_srai_epi16(_mm256_shuffle_epi8(v, from), 8);
}

// The scales of sub-blocks 4i..4i+3, a signed byte each.
AVX2_INLINE void k_put_scales(struct k_panel *p, int v, int i, __m256i bytes)
{
    AVX2_UNROLL
    for (int s = 0; s < 4; s++)
        p->scale[v][4 * i + s] = k_widen(bytes, s, s);
}

// What pair holds for them.
AVX2_INLINE void k_put_pairs(struct k_panel *p, int v, int i, __m256i bytes)
{
    p->pair[v][2 * i] = k_widen(bytes, 0, 1);
    p->pair[v][2 * i + 1] = k_widen(bytes, 2, 3);
}

// Sixteen scales for one row's 8 x 32 weights, of which each 32 span two sub-blocks: those of even
// ones in the low half, of odd ones in the high half.
AVX2_INLINE __m256i k_even_odd(__m128i scales)
{
    const __m128i even_odd = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    return _mm256_cvtepi8_epi16(_mm_shuffle_epi8(scales, even_odd));
}

// 16-bit integer j of each half, in eight lanes.
AVX2_INLINE __m256i k_scale_at(__m256i sc, int j)
{
    return _mm256_shuffle_epi8(sc, _mm256_set1_epi16((short)(0x0100 + j * 0x0202)));
}

AVX2_INLINE __m256 k_d(const struct k_format *f, const struct avx2_rows *rows, size_t at)
{
    return f->d ? f->d(rows, at) : avx2_row_halves(rows, at + f->d_at);
}

AVX2_INLINE void k_one_token(const struct matmul_args *a, const struct k_format *f)
{
    for (int r = a->row_lo; r < a->row_hi; r += 8) {
        struct avx2_rows rows = avx2_rows_at(a, r);
        size_t ahead = r + 16 <= a->row_hi ? 8 * a->w_stride : 0;
        __m256 acc = _mm256_setzero_ps();
        for (size_t b = 0; b < a->n_in / 256; b++) {
            const struct act_q8k *x = k_act(a, 0, b);
            size_t at = b * f->bytes;
            avx2_rows_ahead(&rows, at, f->bytes, ahead);
            __m256i isum[8];
            __m128i imin[8];
            AVX2_UNROLL
            for (int i = 0; i < 8; i++) {
                struct k_dot s = f->dot(rows.row[i] + at, x);
                isum[i] = s.isum;
                imin[i] = s.imin;
            }
            __m256 d = k_d(f, &rows, at), dmin = _mm256_setzero_ps();
            __m256i sum_min = _mm256_setzero_si256();
            if (f->has_min) {
                dmin = avx2_row_halves(&rows, at + f->d_at + 2);
                sum_min = k_sums_of_four(imin);
            }
            acc = k_add(f, acc, avx2_sums(isum), sum_min, d, dmin, x->d);
        }
        avx2_store_rows(a, 0, r, rows.n, acc);
    }
}

// The products of one sub-block with `n` tokens, scaled and added to isum.
AVX2_INLINE void k_sub_block(const struct k_format *f, const struct k_panel *p, int sub,
                             const int8_t *const x[4], int n, __m256i isum[4][2])
{
    AVX2_UNROLL
    for (int first = 0; first < f->sub_words; first += f->groups) {
        __m256i s[4][2];
        AVX2_UNROLL
        for (int g = first; g < first + f->groups; g++) {
            int word = sub * f->sub_words + g;
            AVX2_UNROLL
            for (int i = 0; i < n; i++) {
                __m256i q = avx2_broadcast4(x[i] + 4 * word);
                AVX2_UNROLL
                for (int v = 0; v < 2; v++) {
                    __m256i signed_q = f->is_signed ? _mm256_sign_epi8(q, p->sign[v][word]) : q;
                    __m256i product = _mm256_maddubs_epi16(p->w[v][word], signed_q);
                    s[i][v] = g == first ? product : avx2_add16(s[i][v], product);
                }
            }
        }
        AVX2_UNROLL
        for (int i = 0; i < n; i++)
            AVX2_UNROLL
        for (int v = 0; v < 2; v++)
            isum[i][v] = _mm256_add_epi32(isum[i][v], _mm256_madd_epi16(s[i][v], p->scale[v][sub]));
    }
}

// Sum over the sub-blocks of what panel.pair holds times the token's sums.
AVX2_INLINE __m256i k_pairs(const struct k_format *f, const struct k_panel *p, int v,
                            const struct act_q8k *x)
{
    __m256i s = _mm256_setzero_si256();
    if (f->is_signed)
        return s;
    if (f->sub_words == 8) {
        __m256i sums = _mm256_broadcastsi128_si256(k_sums32(x));
        s = _mm256_madd_epi16(p->pair[v][0], _mm256_shuffle_epi32(sums, 0x00));
        s = _mm256_add_epi32(s, _mm256_madd_epi16(p->pair[v][1], _mm256_shuffle_epi32(sums, 0x55)));
        s = _mm256_add_epi32(s, _mm256_madd_epi16(p->pair[v][2], _mm256_shuffle_epi32(sums, 0xaa)));
        return _mm256_add_epi32(s,
                                _mm256_madd_epi16(p->pair[v][3], _mm256_shuffle_epi32(sums, 0xff)));
    }
    AVX2_UNROLL
    for (int j = 0; j < 8; j++)
        s = _mm256_add_epi32(s, _mm256_madd_epi16(p->pair[v][j], avx2_broadcast4(x->sums + 2 * j)));
    return s;
}

// The block's sums of 16 rows and `n` tokens from t on, added to acc.
AVX2_INLINE void k_tile(const struct k_format *f, const struct k_panel *p,
                        const struct matmul_args *a, int t, int n, size_t block, __m256 (*acc)[2])
{
    __m256i isum[4][2];
    const int8_t *x[4];
    AVX2_UNROLL
    for (int i = 0; i < n; i++) {
        isum[i][0] = isum[i][1] = _mm256_setzero_si256();
        x[i] = k_act(a, t + i, block)->q;
    }
    for (int sub = 0; sub < 64 / f->sub_words; sub++)
        k_sub_block(f, p, sub, x, n, isum);
    AVX2_UNROLL
    for (int i = 0; i < n; i++)
        AVX2_UNROLL
    for (int v = 0; v < 2; v++) {
        const struct act_q8k *xb = k_act(a, t + i, block);
        __m256i pairs = k_pairs(f, p, v, xb), sum = isum[i][v];
        if (!f->has_min)
            sum = _mm256_sub_epi32(sum, pairs);
        acc[i][v] = k_add(f, acc[i][v], sum, pairs, p->d[v], p->dmin[v], xb->d);
    }
}

AVX2_INLINE void k_unpack(const struct k_format *f, struct k_panel *p,
                          const struct avx2_rows rows[2], size_t at, size_t ahead)
{
    for (int v = 0; v < 2; v++) {
        f->unpack(p, v, &rows[v], at);
        avx2_rows_ahead(&rows[v], at, f->bytes, ahead);
        p->d[v] = k_d(f, &rows[v], at);
        p->dmin[v] = f->has_min ? avx2_row_halves(&rows[v], at + f->d_at + 2) : _mm256_setzero_ps();
    }
}

// 16 rows from r on (the second eight may be the first again) and the tokens [t, t + n).
AVX2_INLINE void k_block(const struct matmul_args *a, const struct k_format *f, int r, int t, int n)
{
    int second = r + 8 < a->row_hi ? r + 8 : r;
    struct avx2_rows rows[2] = {avx2_rows_at(a, r), avx2_rows_at(a, second)};
    size_t ahead = r + 32 <= a->row_hi ? 16 * a->w_stride : 0;
    __m256 acc[K_TOKENS][2];
    for (int i = 0; i < n; i++)
        acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    for (size_t b = 0; b < a->n_in / 256; b++) {
        struct k_panel p;
        k_unpack(f, &p, rows, b * f->bytes, ahead);
        int i = 0;
        for (; i + 4 <= n; i += 4)
            k_tile(f, &p, a, t + i, 4, b, acc + i);
        for (; i < n; i++)
            k_tile(f, &p, a, t + i, 1, b, acc + i);
    }
    for (int i = 0; i < n; i++) {
        avx2_store_rows(a, t + i, r, rows[0].n, acc[i][0]);
        if (second != r)
            avx2_store_rows(a, t + i, second, rows[1].n, acc[i][1]);
    }
}

AVX2_INLINE void k_matmul(const struct matmul_args *a, const struct k_format *f)
{
    if (a->n_tokens == 1) {
        k_one_token(a, f);
        return;
    }
    for (int t = 0; t < a->n_tokens; t += K_TOKENS) {
        int n = a->n_tokens - t < K_TOKENS ? a->n_tokens - t : K_TOKENS;
        for (int r = a->row_lo; r < a->row_hi; r += 16)
            k_block(a, f, r, t, n);
    }
}
