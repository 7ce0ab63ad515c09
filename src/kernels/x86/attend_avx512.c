// Attention over one chunk with AVX-512: the bits of scalar/attend.c.
//
// A tile of a product (see attend_groups.h), rows by 16 * n_words lanes, stays in registers while k
// goes by. Each line that is loaded asks for one that is wanted later: scores for the chunk's
// values, values for the next chunk's keys.
#include "kernels/attend_groups.h"
#include "kernels/scalar/scalar.h"
#include "kernels/x86/x86.h"

#include "base/bytes.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

// Accumulators live in arrays of registers, which needs the loops over them unrolled.
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

// How a factor b is stored: as the floats and halves of F32 and F16, or as signed bytes.
enum number { N_F32, N_F16, N_I8 };

INLINE size_t number_bytes(enum number n)
{
    return n == N_F32 ? 4 : n == N_F16 ? 2 : 1;
}

// Sixteen numbers as floats, those that `mask` leaves out as zeros; `part`: some are left out.
INLINE __m512 load(enum number n, const uint8_t *p, bool part, __mmask16 mask)
{
    if (n == N_F32)
        return part ? _mm512_maskz_loadu_ps(mask, p) : _mm512_loadu_ps(p);
    if (n == N_F16)
        return _mm512_cvtph_ps(part ? _mm256_maskz_loadu_epi16(mask, p)
                                    : _mm256_loadu_si256((const void *)p));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(part ? _mm_maskz_loadu_epi8(mask, p)
                                                        : _mm_loadu_si128((const void *)p)));
}

INLINE void tile(const struct attend_product *p, int lane, enum number n, int n_rows, int n_words,
                 bool part)
{
    __mmask16 mask = (__mmask16)(part ? (1u << (p->n_lanes - lane)) - 1 : 0xffff);
    const uint8_t *b = p->b + (size_t)p->k_lo * p->b_stride + (size_t)lane * number_bytes(n);
    const uint8_t *ahead = p->ahead + (size_t)p->k_lo * p->ahead_stride;
    ahead += n == N_I8 ? 0 : (size_t)lane * number_bytes(n);
    __m512 s[ATTEND_ROWS][4];
    UNROLL
    for (int r = 0; r < n_rows; r++)
        UNROLL
    for (int j = 0; j < n_words; j++)
        s[r][j] = part ? _mm512_maskz_loadu_ps(mask, p->out[r] + lane)
                       : _mm512_loadu_ps(p->out[r] + lane + 16 * j);
    for (int k = p->k_lo; k < p->k_hi; k++, b += p->b_stride, ahead += p->ahead_stride) {
        __m512 v[4];
        UNROLL
        for (int j = 0; j < n_words; j++)
            v[j] = load(n, b + 16 * (size_t)j * number_bytes(n), part, mask);
        UNROLL
        for (size_t at = 0; at < 16 * (size_t)n_words * number_bytes(n); at += 64)
            _mm_prefetch((const void *)(ahead + at), _MM_HINT_T1);
        UNROLL
        for (int r = 0; r < n_rows; r++) {
            __m512 factor = _mm512_set1_ps(p->a[r][k]);
            UNROLL
            for (int j = 0; j < n_words; j++)
                s[r][j] = _mm512_fmadd_ps(factor, v[j], s[r][j]);
        }
    }
    UNROLL
    for (int r = 0; r < n_rows; r++)
        UNROLL
    for (int j = 0; j < n_words; j++) {
        if (part)
            _mm512_mask_storeu_ps(p->out[r] + lane, mask, s[r][j]);
        else
            _mm512_storeu_ps(p->out[r] + lane + 16 * j, s[r][j]);
    }
}

INLINE void lanes(const struct attend_product *p, enum number n, int n_rows)
{
    int lane = 0;
    for (; lane + 64 <= p->n_lanes; lane += 64)
        tile(p, lane, n, n_rows, 4, false);
    if (lane + 32 <= p->n_lanes) {
        tile(p, lane, n, n_rows, 2, false);
        lane += 32;
    }
    if (lane + 16 <= p->n_lanes) {
        tile(p, lane, n, n_rows, 1, false);
        lane += 16;
    }
    if (lane < p->n_lanes)
        tile(p, lane, n, n_rows, 1, true);
}

INLINE void multiply(const struct attend_product *p, enum number n, int n_rows)
{
    switch (n_rows) {
    case 1:
        lanes(p, n, 1);
        break;
    case 2:
        lanes(p, n, 2);
        break;
    case 3:
        lanes(p, n, 3);
        break;
    case 4:
        lanes(p, n, 4);
        break;
    case 5:
        lanes(p, n, 5);
        break;
    default:
        lanes(p, n, ATTEND_ROWS);
        break;
    }
}

static void multiply_f32(const struct attend_product *p, int n_rows)
{
    multiply(p, N_F32, n_rows);
}

static void multiply_f16(const struct attend_product *p, int n_rows)
{
    multiply(p, N_F16, n_rows);
}

static void multiply_i8(const struct attend_product *p, int n_rows)
{
    multiply(p, N_I8, n_rows);
}

// ---- scores to weights -------------------------------------------------------------------------

// The exp of scalar.h, sixteen times.
INLINE __m512 exp16(__m512 x)
{
    const __m512 round = _mm512_set1_ps(EXP_ROUND), one = _mm512_set1_ps(1);
    __m512 c = _mm512_min_ps(x, _mm512_set1_ps(EXP_MAX));
    c = _mm512_max_ps(c, _mm512_set1_ps(EXP_MIN));
    __m512 n = _mm512_sub_ps(_mm512_fmadd_ps(c, _mm512_set1_ps(EXP_LOG2E), round), round);
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-EXP_LN2_HIGH), c);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-EXP_LN2_LOW), r);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(EXP_C6), r, _mm512_set1_ps(EXP_C5));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C2));
    p = _mm512_fmadd_ps(p, r, one);
    p = _mm512_fmadd_ps(p, r, one);
    p = _mm512_scalef_ps(p, n); // rounds once, as the two factors of scalar_exp1 do
    return _mm512_mask_mov_ps(p, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
}

// In place, the first `n_words` words of 16 positions; the others are seen by no query.
static void softmax(struct attn_partial *out, float *w, struct attn_span seen, int n_words)
{
    const __m512 none = _mm512_set1_ps(-INFINITY);
    __m512 score[4], max = none, sum = _mm512_setzero_ps();
    uint64_t mask = (UINT64_MAX >> (KV_CHUNK - seen.hi)) & UINT64_MAX << seen.lo;
    for (int j = 0; j < n_words; j++) {
        score[j] = _mm512_mask_loadu_ps(none, (__mmask16)(mask >> 16 * j), w + 16 * j);
        max = _mm512_max_ps(score[j], max);
    }
    out->max = _mm512_reduce_max_ps(max);
    __m512 base = _mm512_set1_ps(out->max == -INFINITY ? 0.0f : out->max);
    for (int j = 0; j < n_words; j++) {
        __m512 e = exp16(_mm512_sub_ps(score[j], base));
        _mm512_storeu_ps(w + 16 * j, e);
        sum = _mm512_add_ps(sum, e);
    }
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    out->sum = _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// ---- a group of queries ------------------------------------------------------------------------

INLINE void attend_floats(const struct attend_args *a, enum number n, int row, int n_rows,
                          void (*run)(const struct attend_product *, int))
{
    struct attend_group g;
    attend_group_begin(&g, a, row, n_rows);
    size_t half = (size_t)KV_CHUNK * (size_t)a->head_dim * number_bytes(n);
    struct attend_product p = {.b = a->chunk,
                               .b_stride = KV_CHUNK * number_bytes(n),
                               .k_hi = a->head_dim,
                               .n_lanes = 16 * g.n_words};
    attend_ask(&p, a->chunk + half, row);
    for (int r = 0; r < n_rows; r++) {
        p.out[r] = g.w[r];
        p.a[r] = (const void *)(g.q + (size_t)r * a->q_stride);
    }
    run(&p, n_rows);
    p = (struct attend_product){.b = a->chunk + half,
                                .b_stride = (size_t)a->head_dim * number_bytes(n),
                                .n_lanes = a->head_dim};
    attend_ask(&p, a->ahead, row);
    attend_cap(&g, a, avx2_softcap);
    for (int r = 0; r < n_rows; r++) {
        softmax(&g.out[r], g.w[r], g.seen[r], g.n_words);
        p.out[r] = g.out[r].acc;
        p.a[r] = g.w[r];
    }
    attend_values(&g, &p, run);
}

static void group_f32(const struct attend_args *a, int row, int n_rows)
{
    attend_floats(a, N_F32, row, n_rows, multiply_f32);
}

static void group_f16(const struct attend_args *a, int row, int n_rows)
{
    attend_floats(a, N_F16, row, n_rows, multiply_f16);
}

void avx512_attend_f32(const struct attend_args *a)
{
    attend_groups(a, group_f32);
}

void avx512_attend_f16(const struct attend_args *a)
{
    attend_groups(a, group_f16);
}

// ---- Q8_0 --------------------------------------------------------------------------------------

// s + the dot products of unsigned bytes of u with signed ones of v, here and now: left alone, gcc
// moves accumulators about.
INLINE __m512i dot_words(__m512i s, __m512i u, __m512i v)
{
    s = _mm512_dpbusd_epi32(s, u, v);
    __asm__("" : "+v"(s));
    return s;
}

// One block's part of the scores of 16 * n_words positions from `lane` on. Keys are unsigned bytes,
// 128 too large, which costs 128 times the sum of the query.
INLINE void score_block(struct attend_group *g, const struct attend_args *a,
                        const struct kv_layout *l, int block, int lane, int n_rows, int n_words)
{
    int words = kv_words(a->head_dim) - 8 * block;
    const uint8_t *key = a->chunk + ((size_t)(8 * block) * KV_CHUNK + (size_t)lane) * 4;
    const uint8_t *scale = a->chunk + l->key_scales + ((size_t)(block * KV_CHUNK + lane)) * 2;
    const struct act_q8 *q[ATTEND_ROWS];
    __m512i s[ATTEND_ROWS][4];
    UNROLL
    for (int r = 0; r < n_rows; r++) {
        q[r] = (const struct act_q8 *)(const void *)(g->q + (size_t)r * a->q_stride) + block;
        UNROLL
        for (int j = 0; j < n_words; j++)
            s[r][j] = _mm512_set1_epi32(-128 * q[r]->sum);
    }
    for (int w = 0; w < (words < 8 ? words : 8); w++, key += KV_CHUNK * 4) {
        __m512i v[4];
        UNROLL
        for (int j = 0; j < n_words; j++)
            v[j] = _mm512_loadu_si512(key + 64 * j);
        UNROLL
        for (int r = 0; r < n_rows; r++) {
            __m512i four = _mm512_set1_epi32((int)load_u32(q[r]->q + 4 * w));
            UNROLL
            for (int j = 0; j < n_words; j++)
                s[r][j] = dot_words(s[r][j], v[j], four);
        }
    }
    __m512 d[4];
    UNROLL
    for (int j = 0; j < n_words; j++)
        d[j] = load(N_F16, scale + 32 * j, false, 0);
    UNROLL
    for (int r = 0; r < n_rows; r++)
        UNROLL
    for (int j = 0; j < n_words; j++) {
        float *w = &g->w[r][lane + 16 * j];
        __m512 both = _mm512_mul_ps(_mm512_set1_ps(q[r]->d), d[j]);
        _mm512_storeu_ps(w, _mm512_fmadd_ps(both, _mm512_cvtepi32_ps(s[r][j]), _mm512_loadu_ps(w)));
    }
}

INLINE void score_q8_0(struct attend_group *g, const struct attend_args *a,
                       const struct kv_layout *l, int n_rows)
{
    for (int b = 0; b < kv_blocks(a->head_dim); b++) {
        if (g->n_words == 4) {
            score_block(g, a, l, b, 0, n_rows, 4);
            continue;
        }
        for (int j = 0; j < g->n_words; j++)
            score_block(g, a, l, b, 16 * j, n_rows, 1);
    }
}

static void scores_q8_0(struct attend_group *g, const struct attend_args *a,
                        const struct kv_layout *l)
{
    switch (g->n_rows) {
    case 1:
        score_q8_0(g, a, l, 1);
        break;
    case 2:
        score_q8_0(g, a, l, 2);
        break;
    case 3:
        score_q8_0(g, a, l, 3);
        break;
    case 4:
        score_q8_0(g, a, l, 4);
        break;
    case 5:
        score_q8_0(g, a, l, 5);
        break;
    default:
        score_q8_0(g, a, l, ATTEND_ROWS);
        break;
    }
}

static void group_q8_0(const struct attend_args *a, int row, int n_rows)
{
    struct kv_layout l = kv_layout(KV_Q8_0, a->head_dim);
    struct attend_group g;
    attend_group_begin(&g, a, row, n_rows);
    for (size_t at = (size_t)kv_blocks(a->head_dim) * ATTEND_ASKED; !row && at < l.bytes; at += 64)
        _mm_prefetch((const void *)(a->chunk + at), _MM_HINT_T1);
    scores_q8_0(&g, a, &l);
    attend_cap(&g, a, avx2_softcap);
    for (int r = 0; r < n_rows; r++)
        softmax(&g.out[r], g.w[r], g.seen[r], g.n_words);
    for (int b = 0; b < kv_blocks(a->head_dim); b++) {
        float scaled[ATTEND_ROWS][KV_CHUNK];
        const uint8_t *scale = a->chunk + l.value_scales + (size_t)b * KV_CHUNK * 2;
        int rest = a->head_dim - b * BLOCK_SMALL;
        struct attend_product p = {.b = a->chunk + l.values + (size_t)b * BLOCK_SMALL,
                                   .b_stride = (size_t)a->head_dim,
                                   .n_lanes = rest < BLOCK_SMALL ? rest : BLOCK_SMALL};
        for (int j = 0; j < g.n_words; j++) {
            __m512 d = load(N_F16, scale + 32 * j, false, 0);
            for (int r = 0; r < n_rows; r++)
                _mm512_storeu_ps(&scaled[r][16 * j],
                                 _mm512_mul_ps(_mm512_loadu_ps(&g.w[r][16 * j]), d));
        }
        for (int r = 0; r < n_rows; r++) {
            p.out[r] = g.out[r].acc + b * BLOCK_SMALL;
            p.a[r] = scaled[r];
        }
        attend_ask_block(&p, a, b, row);
        attend_values(&g, &p, multiply_i8);
    }
}

void avx512_attend_q8_0(const struct attend_args *a)
{
    attend_groups(a, group_q8_0);
}

void avx512_attn_merge(struct attn_partial *into, const struct attn_partial *p, int head_dim)
{
    float max = p->max > into->max ? p->max : into->max;
    float base = max == -INFINITY ? 0.0f : max;
    float old = scalar_exp1(into->max - base), new = scalar_exp1(p->max - base);
    into->max = max;
    into->sum = fmaf(p->sum, new, into->sum * old);
    __m512 olds = _mm512_set1_ps(old), news = _mm512_set1_ps(new);
    for (int d = 0; d < head_dim; d += 16) {
        __mmask16 mask = (__mmask16)(head_dim - d < 16 ? (1u << (head_dim - d)) - 1 : 0xffff);
        __m512 kept = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, into->acc + d), olds);
        __m512 more = _mm512_maskz_loadu_ps(mask, p->acc + d);
        _mm512_mask_storeu_ps(into->acc + d, mask, _mm512_fmadd_ps(more, news, kept));
    }
}
