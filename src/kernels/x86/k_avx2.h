// Matmul for formats with blocks of 256, from raw rows and from lanes. Everything but one token of
// raw rows works on turned words (avx2_turn16): a word holds four consecutive weights of each of
// eight rows, and four activations of a token are broadcast to all lanes, so that no sums across
// lanes are left. Sub-block scales are multiplied in as 16-bit integers, so a block ends in one
// exact 32-bit sum per row and one fma (two with minima).
//
//   few tokens    16 words at a time (a piece) are unpacked in registers and multiplied
//   more          a panel of 16 rows is unpacked once for up to K_TOKENS tokens, in tiles of four
//   one, raw      eight rows and a tree of sums per block: cheaper than turning them
//
//   w[g]:      words g = 0..63 of eight rows | row 0: 4g..4g+3 | row 1: 4g..4g+3 | ... |
//   scale[s]:  | sc[s] of row 0: 16 bits, twice | row 1 | ... |, s counting sub-blocks
//   pair[j]:   | m[2j], m[2j+1] of row 0: 16 bits each | ... |
//
// The byte product takes unsigned by signed. Signed weights are moved up by an offset and offset *
// sc takes the place of m, to be taken off. Where the moved ones would not fit (a wide format), few
// tokens are multiplied with magnitudes and get the weights' signs, every pair going to 32 bits at
// once; a panel holds the moved weights' upper and lower four bits apart, whose sums fit 16 bits.
#pragma once

#include "kernels/x86/avx2.h"

enum {
    K_TOKENS = 64, // tokens a panel is used for before it is unpacked again
    K_FEW = 4,     // tokens up to which no panel is made
    K_PIECE = 16,  // words
};

// What eight rows' block has beside its words.
struct k_scales {
    __m256i scale[16], pair[8];
    __m256 d, dmin;
};

struct k_panel {
    __m256i w[2][64];
    __m256i high[2][64]; // wide: the upper four bits, w being the lower ones
    struct k_scales s[2];
};

// One block of one row against one token.
struct k_dot {
    __m256i isum; // eight partial sums
    __m128i imin; // four
};

// What a format tells the loops; constant at compile time, so that nothing of it is left.
struct k_format {
    size_t bytes, d_at;
    size_t sub_words; // words of four weights in a sub-block: 8 or 4
    size_t groups;    // words whose products may be added in 16 bits; wide: of the panel's halves
    bool has_min;     // with a scale of their own; else pair holds what corrects for the offset
    bool wide;        // a piece has signed bytes; pair holds 128 sc
    bool in_quarters; // a piece holds 4 words of each quarter of a half block, else 16 in a row
    // The blocks' scales; NULL: half floats at d_at.
    __m256 (*d)(const struct avx2_rows *rows, size_t at);
    struct k_dot (*dot)(const uint8_t *block, const struct act_q8k *x);
    // Fills scale and pair, and a piece of the words.
    void (*scales)(struct k_scales *s, const struct avx2_rows *rows, size_t at);
    void (*piece)(__m256i w[K_PIECE], const struct avx2_rows *rows, size_t at, size_t piece);
    // Instead of both: all words, scale and pair.
    void (*unpack)(__m256i w[64], struct k_scales *s, const struct avx2_rows *rows, size_t at);
};

AVX2_INLINE const struct act_q8k *k_act(const struct matmul_args *a, int t, size_t block)
{
    return (const struct act_q8k *)((const uint8_t *)a->x + (size_t)t * a->x_stride) + block;
}

// The sub-block that the words of a piece from `first` on belong to.
AVX2_INLINE size_t k_sub(const struct k_format *f, size_t piece, size_t first)
{
    if (f->in_quarters)
        return piece / 2 * 8 + piece % 2 + first / f->sub_words * 2;
    return (piece * K_PIECE + first) / f->sub_words;
}

// Sums over 32 activations: eight of 16 bits.
AVX2_INLINE __m128i k_sums32(const struct act_q8k *x)
{
    return _mm_hadd_epi16(_mm_loadu_si128((const void *)x->sums),
                          _mm_loadu_si128((const void *)(x->sums + 8)));
}

AVX2_INLINE __m256 k_d(const struct k_format *f, const struct avx2_rows *rows, size_t at)
{
    return f->d ? f->d(rows, at) : avx2_row_halves(rows, at + f->d_at);
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

// ---- what formats are made of ------------------------------------------------------------------

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
AVX2_INLINE void k_put_scales(struct k_scales *to, int i, __m256i bytes)
{
    AVX2_UNROLL
    for (int s = 0; s < 4; s++)
        to->scale[4 * i + s] = k_widen(bytes, s, s);
}

// What pair holds for them.
AVX2_INLINE void k_put_pairs(struct k_scales *to, int i, __m256i bytes)
{
    to->pair[2 * i] = k_widen(bytes, 0, 1);
    to->pair[2 * i + 1] = k_widen(bytes, 2, 3);
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

// ---- one token, raw rows -----------------------------------------------------------------------

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

AVX2_INLINE void k_one_token(const struct matmul_args *a, const struct k_format *f)
{
    for (int r = a->row_lo; r < a->row_hi; r += 8) {
        struct avx2_rows rows = avx2_rows_at(a, r, false);
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

// ---- turned words ------------------------------------------------------------------------------

AVX2_INLINE void k_ends(const struct k_format *f, struct k_scales *s, const struct avx2_rows *rows,
                        size_t at)
{
    s->d = k_d(f, rows, at);
    s->dmin = f->has_min ? avx2_row_halves(rows, at + f->d_at + 2) : _mm256_setzero_ps();
}

// The products of one sub-block's words, `n_w` times, with `n` tokens, scaled and added to isum.
AVX2_INLINE void k_sub_block(const struct k_format *f, const __m256i *const w[2],
                             const __m256i scale[2], int n_w, size_t sub, const int8_t *const x[4],
                             int n, __m256i isum[4][2])
{
    AVX2_UNROLL
    for (size_t first = 0; first < f->sub_words; first += f->groups) {
        __m256i s[4][2];
        AVX2_UNROLL
        for (size_t g = 0; g < f->groups; g++)
            AVX2_UNROLL
        for (int i = 0; i < n; i++) {
            __m256i q = avx2_broadcast4(x[i] + 4 * sub * f->sub_words + 4 * (first + g));
            AVX2_UNROLL
            for (int v = 0; v < n_w; v++) {
                __m256i product = _mm256_maddubs_epi16(w[v][first + g], q);
                s[i][v] = g ? avx2_add16(s[i][v], product) : product;
            }
        }
        AVX2_UNROLL
        for (int i = 0; i < n; i++)
            AVX2_UNROLL
        for (int v = 0; v < n_w; v++)
            isum[i][v] = _mm256_add_epi32(isum[i][v], _mm256_madd_epi16(s[i][v], scale[v]));
    }
}

// The same of words of signed bytes: no two products fit 16 bits.
AVX2_INLINE void k_signed_sub_block(const struct k_format *f, const __m256i *w, __m256i scale,
                                    size_t sub, const int8_t *const x[4], int n, __m256i isum[4][2])
{
    AVX2_UNROLL
    for (size_t g = 0; g < f->sub_words; g++)
        AVX2_UNROLL
    for (int i = 0; i < n; i++) {
        __m256i q = avx2_broadcast4(x[i] + 4 * sub * f->sub_words + 4 * g);
        __m256i product = avx2_signed_products(w[g], q);
        isum[i][0] = _mm256_add_epi32(isum[i][0], _mm256_madd_epi16(product, scale));
    }
}

// Sum over the sub-blocks of what `pair` holds times the token's sums.
AVX2_INLINE __m256i k_pairs(const struct k_format *f, const __m256i pair[8],
                            const struct act_q8k *x)
{
    if (f->sub_words == 8) {
        __m256i sums = _mm256_broadcastsi128_si256(k_sums32(x));
        __m256i s = _mm256_madd_epi16(pair[0], _mm256_shuffle_epi32(sums, 0x00));
        s = _mm256_add_epi32(s, _mm256_madd_epi16(pair[1], _mm256_shuffle_epi32(sums, 0x55)));
        s = _mm256_add_epi32(s, _mm256_madd_epi16(pair[2], _mm256_shuffle_epi32(sums, 0xaa)));
        return _mm256_add_epi32(s, _mm256_madd_epi16(pair[3], _mm256_shuffle_epi32(sums, 0xff)));
    }
    __m256i s = _mm256_setzero_si256();
    AVX2_UNROLL
    for (int j = 0; j < 8; j++)
        s = _mm256_add_epi32(s, _mm256_madd_epi16(pair[j], avx2_broadcast4(x->sums + 2 * j)));
    return s;
}

// acc + the block's sum, for eight rows. moved: by an offset, to be taken off.
AVX2_INLINE __m256 k_close(const struct k_format *f, const struct k_scales *s, bool moved,
                           const struct act_q8k *x, __m256i isum, __m256 acc)
{
    __m256i pairs = _mm256_setzero_si256();
    if (f->has_min || moved)
        pairs = k_pairs(f, s->pair, x);
    if (moved)
        isum = _mm256_sub_epi32(isum, pairs);
    return k_add(f, acc, isum, pairs, s->d, s->dmin, x->d);
}

// One block of eight rows against `n` tokens, from the registers it is unpacked in.
AVX2_INLINE void k_few_block(const struct k_format *f, const struct matmul_args *a,
                             const struct avx2_rows *rows, size_t block, int n, __m256 acc[4])
{
    size_t at = block * f->bytes;
    struct k_scales s;
    __m256i isum[4][2];
    const int8_t *x[4];
    f->scales(&s, rows, at);
    k_ends(f, &s, rows, at);
    AVX2_UNROLL
    for (int i = 0; i < n; i++) {
        isum[i][0] = _mm256_setzero_si256();
        x[i] = k_act(a, i, block)->q;
    }
    for (size_t piece = 0; piece < 64 / K_PIECE; piece++) {
        __m256i w[K_PIECE];
        f->piece(w, rows, at, piece);
        AVX2_UNROLL
        for (size_t first = 0; first < K_PIECE; first += f->sub_words) {
            size_t sub = k_sub(f, piece, first);
            const __m256i *const words[2] = {w + first, NULL};
            if (f->wide)
                k_signed_sub_block(f, words[0], s.scale[sub], sub, x, n, isum);
            else
                k_sub_block(f, words, s.scale + sub, 1, sub, x, n, isum);
        }
    }
    bool moved = !f->has_min && !f->wide;
    AVX2_UNROLL
    for (int i = 0; i < n; i++)
        acc[i] = k_close(f, &s, moved, k_act(a, i, block), isum[i][0], acc[i]);
}

// All rows against all `n` <= K_FEW tokens.
AVX2_INLINE void k_few(const struct matmul_args *a, const struct k_format *f, bool in_lanes, int n)
{
    for (int r = a->row_lo; r < a->row_hi; r += 16) {
        int halves = r + 8 < a->row_hi ? 2 : 1;
        struct avx2_rows rows[2] = {avx2_rows_at(a, r, in_lanes)};
        if (halves > 1)
            rows[1] = avx2_rows_at(a, r + 8, in_lanes);
        size_t ahead = r + 32 <= a->row_hi ? 16 * a->w_stride : 0;
        __m256 acc[2][4];
        for (int i = 0; i < n; i++)
            acc[0][i] = acc[1][i] = _mm256_setzero_ps();
        for (size_t b = 0; b < a->n_in / 256; b++)
            for (int v = 0; v < halves; v++) {
                struct avx2_rows eight = avx2_rows_of(&rows[v], in_lanes);
                avx2_rows_ahead(&eight, b * f->bytes, f->bytes, ahead);
                k_few_block(f, a, &eight, b, n, acc[v]);
            }
        for (int v = 0; v < halves; v++)
            for (int i = 0; i < n; i++)
                avx2_store_rows(a, i, r + 8 * v, rows[v].n, acc[v][i]);
    }
}

// ---- panels ------------------------------------------------------------------------------------

// The block of eight rows at `at` to half v of the panel.
AVX2_INLINE void k_unpack(const struct k_format *f, struct k_panel *p, int v,
                          const struct avx2_rows *rows, size_t at)
{
    k_ends(f, &p->s[v], rows, at);
    if (f->unpack) {
        f->unpack(p->w[v], &p->s[v], rows, at);
        return;
    }
    f->scales(&p->s[v], rows, at);
    for (size_t piece = 0; piece < 64 / K_PIECE; piece++) {
        __m256i words[K_PIECE];
        f->piece(words, rows, at, piece);
        AVX2_UNROLL
        for (size_t g = 0; g < K_PIECE; g++) {
            size_t in_sub = g % f->sub_words;
            size_t to = k_sub(f, piece, g - in_sub) * f->sub_words + in_sub;
            p->w[v][to] = f->wide ? avx2_low_nibbles(words[g]) : words[g];
            if (f->wide)
                p->high[v][to] = avx2_moved_high(words[g]);
        }
    }
}

// The block's sums of 16 rows and `n` tokens from t on, added to acc.
AVX2_INLINE void k_tile(const struct k_format *f, const struct k_panel *p,
                        const struct matmul_args *a, int t, int n, size_t block, __m256 (*acc)[2])
{
    const int8_t *x[4];
    AVX2_UNROLL
    for (int i = 0; i < n; i++)
        x[i] = k_act(a, t + i, block)->q;
    for (int v = 0; v < (f->wide ? 2 : 1); v++) { // wide: eight rows at a time, else both
        const __m256i *low = p->w[v], *other = f->wide ? p->high[v] : p->w[1];
        __m256i isum[4][2];
        AVX2_UNROLL
        for (int i = 0; i < n; i++)
            isum[i][0] = isum[i][1] = _mm256_setzero_si256();
        for (size_t sub = 0; sub < 64 / f->sub_words; sub++) {
            const __m256i *const words[2] = {low + sub * f->sub_words, other + sub * f->sub_words};
            __m256i sc = p->s[v].scale[sub];
            const __m256i scale[2] = {sc, f->wide ? _mm256_slli_epi16(sc, 4) : p->s[1].scale[sub]};
            k_sub_block(f, words, scale, 2, sub, x, n, isum);
        }
        AVX2_UNROLL
        for (int i = 0; i < n; i++) {
            const struct act_q8k *xb = k_act(a, t + i, block);
            if (f->wide)
                isum[i][0] = _mm256_add_epi32(isum[i][0], isum[i][1]);
            acc[i][v] = k_close(f, &p->s[v], !f->has_min, xb, isum[i][0], acc[i][v]);
            if (!f->wide)
                acc[i][1] = k_close(f, &p->s[1], !f->has_min, xb, isum[i][1], acc[i][1]);
        }
    }
}

// 16 rows from r on (the second eight may be the first again) and the tokens [t, t + n).
AVX2_INLINE void k_block(const struct matmul_args *a, const struct k_format *f, bool in_lanes,
                         int r, int t, int n)
{
    int second = r + 8 < a->row_hi ? r + 8 : r;
    struct avx2_rows rows[2] = {avx2_rows_at(a, r, in_lanes), avx2_rows_at(a, second, in_lanes)};
    size_t ahead = r + 32 <= a->row_hi ? 16 * a->w_stride : 0;
    __m256 acc[K_TOKENS][2];
    for (int i = 0; i < n; i++)
        acc[i][0] = acc[i][1] = _mm256_setzero_ps();
    for (size_t b = 0; b < a->n_in / 256; b++) {
        struct k_panel p;
        for (int v = 0; v < 2; v++)
            if (in_lanes) {
                struct avx2_rows eight = avx2_rows_of(&rows[v], true);
                k_unpack(f, &p, v, &eight, b * f->bytes);
                avx2_rows_ahead(&eight, b * f->bytes, f->bytes, ahead);
            } else {
                struct avx2_rows eight = avx2_rows_of(&rows[v], false);
                k_unpack(f, &p, v, &eight, b * f->bytes);
                avx2_rows_ahead(&eight, b * f->bytes, f->bytes, ahead);
            }
        int i = 0;
        for (; i + 4 <= n; i += 4)
            k_tile(f, &p, a, t + i, 4, b, acc + i);
        if (n - i == 3)
            k_tile(f, &p, a, t + i, 3, b, acc + i);
        else if (n - i == 2)
            k_tile(f, &p, a, t + i, 2, b, acc + i);
        else if (n - i == 1)
            k_tile(f, &p, a, t + i, 1, b, acc + i);
    }
    for (int i = 0; i < n; i++) {
        avx2_store_rows(a, t + i, r, rows[0].n, acc[i][0]);
        if (second != r)
            avx2_store_rows(a, t + i, second, rows[1].n, acc[i][1]);
    }
}

// Any number of tokens. Here the layout is no constant: the tiles are there once.
AVX2_INLINE void k_many(const struct matmul_args *a, const struct k_format *f, bool in_lanes)
{
    for (int t = 0; t < a->n_tokens; t += K_TOKENS) {
        int n = a->n_tokens - t < K_TOKENS ? a->n_tokens - t : K_TOKENS;
        for (int r = a->row_lo; r < a->row_hi; r += 16)
            k_block(a, f, in_lanes, r, t, n);
    }
}

// The few tokens there is a path of their own for; false where there is none.
AVX2_INLINE bool k_matmul_few(const struct matmul_args *a, const struct k_format *f, bool in_lanes)
{
    if (a->n_tokens == 1 && !in_lanes) {
        k_one_token(a, f);
        return true;
    }
    if (!f->piece)
        return false;
    switch (a->n_tokens) {
    case 1:
        k_few(a, f, true, 1);
        return true;
    case 2:
        k_few(a, f, in_lanes, 2);
        return true;
    case 3:
        k_few(a, f, in_lanes, 3);
        return true;
    case 4:
        k_few(a, f, in_lanes, 4);
        return true;
    default:
        return false;
    }
}

#define K_MATMULS(name) AVX2_MATMULS(name, k_matmul_few, k_many)

// For a format without lane form.
#define K_MATMUL_ROWS(name)                              \
    void avx2_matmul_##name(const struct matmul_args *a) \
    {                                                    \
        if (!k_matmul_few(a, &name, false))              \
            k_many(a, &name, false);                     \
    }
