// Attention over one chunk with AVX2: the bits of scalar/attend.c.
//
// Keys: four positions at a time share the loads of the query. Values: 64 dimensions at a time stay
// in registers while the positions go by.
#include "kernels/x86/avx2.h"
#include "kernels/x86/x86.h"

// How a cached number is stored: its size, and eight of them as floats.
struct kv_load {
    size_t bytes;
    __m256 (*load)(const uint8_t *p);
};

AVX2_INLINE __m256 load_kv_f32(const uint8_t *p)
{
    return _mm256_loadu_ps((const void *)p);
}

AVX2_INLINE __m256 load_kv_f16(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)p));
}

// The first n < 8 numbers at p, zeros above.
AVX2_INLINE __m256 load_part(const struct kv_load *f, const uint8_t *p, int n)
{
    uint8_t eight[32] = {0};
    memcpy(eight, p, (size_t)n * f->bytes);
    return f->load(eight);
}

// Scores of n_keys positions from k on.
AVX2_INLINE void score(const struct kv_load *f, float *scores, const float *q, const uint8_t *k,
                       size_t stride, int n_keys, int head_dim, float scale)
{
    __m256 s[4];
    AVX2_UNROLL
    for (int i = 0; i < n_keys; i++)
        s[i] = _mm256_setzero_ps();
    int d = 0;
    for (; d + 8 <= head_dim; d += 8) {
        __m256 query = _mm256_loadu_ps(q + d);
        AVX2_UNROLL
        for (int i = 0; i < n_keys; i++)
            s[i] = _mm256_fmadd_ps(query, f->load(k + (size_t)i * stride + (size_t)d * f->bytes),
                                   s[i]);
    }
    int rest = head_dim - d;
    AVX2_UNROLL
    for (int i = 0; i < n_keys; i++) {
        if (rest) {
            __m256 key = load_part(f, k + (size_t)i * stride + (size_t)d * f->bytes, rest);
            __m256 query = avx2_load_part(q + d, rest);
            s[i] = avx2_part(_mm256_fmadd_ps(query, key, s[i]), s[i], rest);
        }
        scores[i] = avx2_lanes_sum(s[i]) * scale;
    }
}

static float largest(const float *scores, int n)
{
    __m256 none = _mm256_set1_ps(-INFINITY), max = none;
    int i = 0;
    for (; i + 8 <= n; i += 8)
        max = _mm256_max_ps(_mm256_loadu_ps(scores + i), max);
    if (i < n)
        max = _mm256_max_ps(avx2_part(avx2_load_part(scores + i, n - i), none, n - i), max);
    __m128 four = _mm_max_ps(_mm256_extractf128_ps(max, 1), _mm256_castps256_ps128(max));
    __m128 two = _mm_max_ps(_mm_movehl_ps(four, four), four);
    return _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(two), two));
}

// Scores to weights, in place: fills max and sum.
static void softmax(struct attn_partial *out, float *scores, int n)
{
    float max = largest(scores, n);
    __m256 base = _mm256_set1_ps(max == -INFINITY ? 0.0f : max), sum = _mm256_setzero_ps();
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 e = avx2_exp(_mm256_sub_ps(_mm256_loadu_ps(scores + i), base));
        _mm256_storeu_ps(scores + i, e);
        sum = _mm256_add_ps(sum, e);
    }
    if (i < n) {
        int rest = n - i;
        __m256 e = avx2_exp(_mm256_sub_ps(avx2_load_part(scores + i, rest), base));
        _mm256_maskstore_ps(scores + i, avx2_mask(rest), e);
        sum = avx2_part(_mm256_add_ps(sum, e), sum, rest);
    }
    out->max = max;
    out->sum = avx2_lanes_sum(sum);
}

// acc = weighted sum of 8 * n_words dimensions of all positions' values.
AVX2_INLINE void add_values(const struct kv_load *f, float *acc, const float *weights,
                            const uint8_t *v, size_t stride, int n, int n_words)
{
    __m256 s[8];
    AVX2_UNROLL
    for (int j = 0; j < n_words; j++)
        s[j] = _mm256_setzero_ps();
    for (int i = 0; i < n; i++) {
        __m256 weight = _mm256_set1_ps(weights[i]);
        const uint8_t *row = v + (size_t)i * stride;
        AVX2_UNROLL
        for (int j = 0; j < n_words; j++)
            s[j] = _mm256_fmadd_ps(weight, f->load(row + 8 * (size_t)j * f->bytes), s[j]);
    }
    AVX2_UNROLL
    for (int j = 0; j < n_words; j++)
        _mm256_storeu_ps(acc + 8 * j, s[j]);
}

AVX2_INLINE void attend(const struct kv_load *f, struct attn_partial *out, const float *q,
                        const uint8_t *k, const uint8_t *v, size_t stride, int n, int head_dim,
                        float scale, float *scores)
{
    int i = 0, d = 0;
    for (; i + 4 <= n; i += 4)
        score(f, scores + i, q, k + (size_t)i * stride, stride, 4, head_dim, scale);
    for (; i < n; i++)
        score(f, scores + i, q, k + (size_t)i * stride, stride, 1, head_dim, scale);
    softmax(out, scores, n);
    for (; d + 64 <= head_dim; d += 64)
        add_values(f, out->acc + d, scores, v + (size_t)d * f->bytes, stride, n, 8);
    for (; d + 8 <= head_dim; d += 8)
        add_values(f, out->acc + d, scores, v + (size_t)d * f->bytes, stride, n, 1);
    if (d == head_dim)
        return;
    __m256 sum = _mm256_setzero_ps();
    for (i = 0; i < n; i++) {
        const uint8_t *row = v + (size_t)i * stride + (size_t)d * f->bytes;
        sum = _mm256_fmadd_ps(_mm256_set1_ps(scores[i]), load_part(f, row, head_dim - d), sum);
    }
    _mm256_maskstore_ps(out->acc + d, avx2_mask(head_dim - d), sum);
}

void avx2_attend_f32(struct attn_partial *out, const float *q, const void *k, const void *v,
                     size_t stride, int n, int head_dim, float scale, float *scores)
{
    static const struct kv_load f = {4, load_kv_f32};
    attend(&f, out, q, k, v, stride, n, head_dim, scale, scores);
}

void avx2_attend_f16(struct attn_partial *out, const float *q, const void *k, const void *v,
                     size_t stride, int n, int head_dim, float scale, float *scores)
{
    static const struct kv_load f = {2, load_kv_f16};
    attend(&f, out, q, k, v, stride, n, head_dim, scale, scores);
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
