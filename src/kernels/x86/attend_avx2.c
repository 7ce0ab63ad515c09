// Attention over one chunk with AVX2: the bits of scalar/attend.c.
//
// A tile of a product (see attend_groups.h), rows by 8 * n_words lanes, stays in registers while k
// goes by: the fewer rows, the more words. Each line that is loaded asks for one that is wanted
// later: scores for the chunk's values, values for the next chunk's keys.
#include "kernels/attend_groups.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/x86.h"

// How a factor b is stored: as the floats and halves of F32 and F16, or as signed bytes.
enum number { N_F32, N_F16, N_I8 };

AVX2_INLINE size_t number_bytes(enum number n)
{
    return n == N_F32 ? 4 : n == N_F16 ? 2 : 1;
}

AVX2_INLINE __m256 load(enum number n, const uint8_t *p)
{
    if (n == N_F32)
        return _mm256_loadu_ps((const void *)p);
    if (n == N_F16)
        return _mm256_cvtph_ps(_mm_loadu_si128((const void *)p));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)p)));
}

// The first n_numbers < 8 numbers at p, zeros above.
AVX2_INLINE __m256 load_part(enum number n, const uint8_t *p, int n_numbers)
{
    uint8_t eight[32] = {0};
    memcpy(eight, p, (size_t)n_numbers * number_bytes(n));
    return load(n, eight);
}

AVX2_INLINE void tile(const struct attend_product *p, int lane, enum number n, int n_rows,
                      int n_words)
{
    size_t line = 8 * (size_t)n_words * number_bytes(n);
    const uint8_t *b = p->b + (size_t)p->k_lo * p->b_stride + (size_t)lane * number_bytes(n);
    const uint8_t *ahead = p->ahead + (size_t)p->k_lo * p->ahead_stride;
    ahead += n == N_I8 ? 0 : (size_t)lane * number_bytes(n);
    __m256 s[ATTEND_ROWS][8];
    AVX2_UNROLL
    for (int r = 0; r < n_rows; r++)
        AVX2_UNROLL
    for (int j = 0; j < n_words; j++)
        s[r][j] = _mm256_loadu_ps(p->out[r] + lane + 8 * j);
    for (int k = p->k_lo; k < p->k_hi; k++, b += p->b_stride, ahead += p->ahead_stride) {
        __m256 v[8];
        AVX2_UNROLL
        for (int j = 0; j < n_words; j++)
            v[j] = load(n, b + 8 * (size_t)j * number_bytes(n));
        AVX2_UNROLL
        for (size_t at = 0; at < line; at += 64)
            _mm_prefetch((const void *)(ahead + at), _MM_HINT_T1);
        AVX2_UNROLL
        for (int r = 0; r < n_rows; r++) {
            __m256 factor = _mm256_broadcast_ss(p->a[r] + k);
            AVX2_UNROLL
            for (int j = 0; j < n_words; j++)
                s[r][j] = _mm256_fmadd_ps(factor, v[j], s[r][j]);
        }
    }
    AVX2_UNROLL
    for (int r = 0; r < n_rows; r++)
        AVX2_UNROLL
    for (int j = 0; j < n_words; j++)
        _mm256_storeu_ps(p->out[r] + lane + 8 * j, s[r][j]);
}

// The last lanes, fewer than 8.
static void tile_part(const struct attend_product *p, int lane, enum number n, int n_rows)
{
    int rest = p->n_lanes - lane;
    for (int r = 0; r < n_rows; r++) {
        __m256 s = avx2_load_part(p->out[r] + lane, rest);
        const uint8_t *b = p->b + (size_t)p->k_lo * p->b_stride + (size_t)lane * number_bytes(n);
        for (int k = p->k_lo; k < p->k_hi; k++, b += p->b_stride)
            s = _mm256_fmadd_ps(_mm256_broadcast_ss(p->a[r] + k), load_part(n, b, rest), s);
        _mm256_maskstore_ps(p->out[r] + lane, avx2_mask(rest), s);
    }
}

AVX2_INLINE void lanes(const struct attend_product *p, enum number n, int n_rows)
{
    const int n_words = n_rows == 1 ? 8 : n_rows <= 3 ? 4 : 2;
    int lane = 0;
    for (; lane + 8 * n_words <= p->n_lanes; lane += 8 * n_words)
        tile(p, lane, n, n_rows, n_words);
    for (; lane + 8 <= p->n_lanes; lane += 8)
        tile(p, lane, n, n_rows, 1);
    if (lane < p->n_lanes)
        tile_part(p, lane, n, n_rows);
}

AVX2_INLINE void multiply(const struct attend_product *p, enum number n, int n_rows)
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

// In place, the first 16 * n_words positions; the others are seen by no query.
static void softmax(struct attn_partial *out, float *w, struct attn_span seen, int n_words)
{
    const __m256 none = _mm256_set1_ps(-INFINITY);
    const __m256i lo = _mm256_set1_epi32(seen.lo - 1), hi = _mm256_set1_epi32(seen.hi);
    __m256i at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256 max = none, sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (int j = 0; j < 2 * n_words; j++, at = _mm256_add_epi32(at, _mm256_set1_epi32(8))) {
        __m256i in = _mm256_and_si256(_mm256_cmpgt_epi32(at, lo), _mm256_cmpgt_epi32(hi, at));
        __m256 score = _mm256_blendv_ps(none, _mm256_loadu_ps(w + 8 * j), _mm256_castsi256_ps(in));
        max = _mm256_max_ps(score, max);
        _mm256_storeu_ps(w + 8 * j, score);
    }
    __m128 four = _mm_max_ps(_mm256_extractf128_ps(max, 1), _mm256_castps256_ps128(max));
    __m128 two = _mm_max_ps(_mm_movehl_ps(four, four), four);
    out->max = _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(two), two));
    __m256 base = _mm256_set1_ps(out->max == -INFINITY ? 0.0f : out->max);
    for (int j = 0; j < 2 * n_words; j++) {
        __m256 e = avx2_exp(_mm256_sub_ps(_mm256_loadu_ps(w + 8 * j), base));
        _mm256_storeu_ps(w + 8 * j, e);
        sum[j % 2] = _mm256_add_ps(sum[j % 2], e);
    }
    out->sum = avx2_lanes_sum(_mm256_add_ps(sum[0], sum[1]));
}

// ---- F32 and F16 -------------------------------------------------------------------------------

AVX2_INLINE void attend_floats(const struct attend_args *a, enum number n, int row, int n_rows,
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

void avx2_attend_f32(const struct attend_args *a)
{
    attend_groups(a, group_f32);
}

void avx2_attend_f16(const struct attend_args *a)
{
    attend_groups(a, group_f16);
}

// ---- Q8_0 --------------------------------------------------------------------------------------

// A block of each query as pairs of 16 bits: bytes 0 and 2 of each word, and bytes 1 and 3.
struct query_pairs {
    _Alignas(32) int32_t even[ATTEND_ROWS][8];
    _Alignas(32) int32_t odd[ATTEND_ROWS][8];
    const struct act_q8 *q[ATTEND_ROWS];
};

AVX2_INLINE void query_pairs_of(struct query_pairs *p, const struct attend_group *g,
                                const struct attend_args *a, int block, int n_rows)
{
    for (int r = 0; r < n_rows; r++) {
        p->q[r] = (const struct act_q8 *)(const void *)(g->q + (size_t)r * a->q_stride) + block;
        __m256i q = avx2_load(p->q[r]->q);
        _mm256_store_si256((__m256i *)p->even[r], _mm256_srai_epi16(_mm256_slli_epi16(q, 8), 8));
        _mm256_store_si256((__m256i *)p->odd[r], _mm256_srai_epi16(q, 8));
    }
}

// One block's part of the scores of 8 * n_words positions from `lane` on. Keys are unsigned bytes,
// 128 too large, which costs 128 times the sum of the query; as 16-bit numbers no sum saturates.
AVX2_INLINE void score_block(struct attend_group *g, const struct attend_args *a,
                             const struct kv_layout *l, const struct query_pairs *p, int block,
                             int lane, int n_rows, int n_words)
{
    int words = kv_words(a->head_dim) - 8 * block;
    const uint8_t *key = a->chunk + ((size_t)(8 * block) * KV_CHUNK + (size_t)lane) * 4;
    const uint8_t *scale = a->chunk + l->key_scales + (size_t)(block * KV_CHUNK + lane) * 2;
    __m256i s[ATTEND_ROWS][2];
    AVX2_UNROLL
    for (int r = 0; r < n_rows; r++)
        AVX2_UNROLL
    for (int j = 0; j < n_words; j++)
        s[r][j] = _mm256_set1_epi32(-128 * p->q[r]->sum);
    for (int w = 0; w < (words < 8 ? words : 8); w++, key += KV_CHUNK * 4) {
        __m256i even[2], odd[2];
        AVX2_UNROLL
        for (int j = 0; j < n_words; j++) {
            __m256i v = avx2_load(key + 32 * j);
            even[j] = _mm256_and_si256(v, _mm256_set1_epi16(255));
            odd[j] = _mm256_srli_epi16(v, 8);
        }
        AVX2_UNROLL
        for (int r = 0; r < n_rows; r++) {
            __m256i q_even = _mm256_set1_epi32(p->even[r][w]);
            __m256i q_odd = _mm256_set1_epi32(p->odd[r][w]);
            AVX2_UNROLL
            for (int j = 0; j < n_words; j++) {
                s[r][j] = _mm256_add_epi32(s[r][j], _mm256_madd_epi16(even[j], q_even));
                s[r][j] = _mm256_add_epi32(s[r][j], _mm256_madd_epi16(odd[j], q_odd));
            }
        }
    }
    AVX2_UNROLL
    for (int j = 0; j < n_words; j++) {
        __m256 d = load(N_F16, scale + 16 * j);
        AVX2_UNROLL
        for (int r = 0; r < n_rows; r++) {
            float *w = &g->w[r][lane + 8 * j];
            __m256 both = _mm256_mul_ps(_mm256_set1_ps(p->q[r]->d), d);
            _mm256_storeu_ps(
                w, _mm256_fmadd_ps(both, _mm256_cvtepi32_ps(s[r][j]), _mm256_loadu_ps(w)));
        }
    }
}

AVX2_INLINE void score_q8_0(struct attend_group *g, const struct attend_args *a,
                            const struct kv_layout *l, int n_rows)
{
    const int n_words = n_rows <= 4 ? 2 : 1;
    struct query_pairs p;
    for (int b = 0; b < kv_blocks(a->head_dim); b++) {
        query_pairs_of(&p, g, a, b, n_rows);
        for (int lane = 0; lane < 16 * g->n_words; lane += 8 * n_words)
            score_block(g, a, l, &p, b, lane, n_rows, n_words);
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
        for (int j = 0; j < 2 * g.n_words; j++) {
            __m256 d = load(N_F16, scale + 16 * j);
            for (int r = 0; r < n_rows; r++)
                _mm256_storeu_ps(&scaled[r][8 * j],
                                 _mm256_mul_ps(_mm256_loadu_ps(&g.w[r][8 * j]), d));
        }
        for (int r = 0; r < n_rows; r++) {
            p.out[r] = g.out[r].acc + b * BLOCK_SMALL;
            p.a[r] = scaled[r];
        }
        attend_ask_block(&p, a, b, row);
        attend_values(&g, &p, multiply_i8);
    }
}

void avx2_attend_q8_0(const struct attend_args *a)
{
    attend_groups(a, group_q8_0);
}

void avx2_attn_merge(struct attn_partial *into, const struct attn_partial *p, int head_dim)
{
    float max = p->max > into->max ? p->max : into->max;
    float base = max == -INFINITY ? 0.0f : max;
    float old = scalar_exp1(into->max - base), new = scalar_exp1(p->max - base);
    into->max = max;
    into->sum = fmaf(p->sum, new, into->sum * old);
    __m256 olds = _mm256_set1_ps(old), news = _mm256_set1_ps(new);
    int d = 0;
    for (; d + 8 <= head_dim; d += 8) {
        __m256 kept = _mm256_mul_ps(_mm256_loadu_ps(into->acc + d), olds);
        _mm256_storeu_ps(into->acc + d, _mm256_fmadd_ps(_mm256_loadu_ps(p->acc + d), news, kept));
    }
    for (; d < head_dim; d++)
        into->acc[d] = fmaf(p->acc[d], new, into->acc[d] * old);
}
