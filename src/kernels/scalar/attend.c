// Attention over one chunk of positions, and the merging of chunks: kv_chunk.h has the sums.
//
// A chunk in which every score is minus infinity counts for nothing: its maximum is taken as 0, so
// that all weights are 0.
#include "kernels/scalar/scalar.h"

#include "base/bytes.h"
#include "kernels/kv_chunk.h"

static inline float load_number(enum kv_type type, const uint8_t *p, int i)
{
    return type == KV_F32 ? float_from_bits(load_u32(p + (size_t)i * 4))
                          : half_to_float(load_u16(p + (size_t)i * 2));
}

static inline float attn_base(float max)
{
    return max == -INFINITY ? 0.0f : max;
}

// Scores of the positions that are seen to weights, in place, and zeros around them; max and sum.
static void softmax(struct attn_partial *out, float w[KV_CHUNK], struct attn_span seen,
                    float softcap)
{
    float max = -INFINITY, lanes[16], eight[8];
    if (softcap > 0)
        scalar_softcap(w + seen.lo, (size_t)(seen.hi - seen.lo), softcap);
    for (int i = seen.lo; i < seen.hi; i++)
        max = w[i] > max ? w[i] : max;
    float base = attn_base(max);
    for (int i = 0; i < KV_CHUNK; i++)
        w[i] = i >= seen.lo && i < seen.hi ? scalar_exp1(w[i] - base) : 0;
    for (int i = 0; i < 16; i++)
        lanes[i] = ((w[i] + w[16 + i]) + w[32 + i]) + w[48 + i];
    for (int i = 0; i < 8; i++)
        eight[i] = lanes[i] + lanes[8 + i];
    out->max = max;
    out->sum = lanes_sum(eight);
}

static void attend_floats(const struct attend_args *a, enum kv_type type)
{
    const uint8_t *keys = a->chunk, *values = keys + kv_layout(type, a->head_dim).values;
    for (int r = 0; r < a->n_rows; r++) {
        struct attn_partial *out = &a->out[r];
        struct attn_span seen = a->seen[r];
        const float *q = (const void *)((const uint8_t *)a->q + (size_t)r * a->q_stride);
        float w[KV_CHUNK];
        for (int i = seen.lo; i < seen.hi; i++) {
            w[i] = 0;
            for (int d = 0; d < a->head_dim; d++)
                w[i] = fmaf(q[d], load_number(type, keys, d * KV_CHUNK + i), w[i]);
        }
        softmax(out, w, seen, a->softcap);
        memset(out->acc, 0, (size_t)a->head_dim * sizeof(float));
        for (int i = seen.lo; i < seen.hi; i++)
            for (int d = 0; d < a->head_dim; d++) {
                float value = load_number(type, values, i * a->head_dim + d);
                out->acc[d] = fmaf(w[i], value, out->acc[d]);
            }
    }
}

void scalar_attend_f32(const struct attend_args *a)
{
    attend_floats(a, KV_F32);
}

void scalar_attend_f16(const struct attend_args *a)
{
    attend_floats(a, KV_F16);
}

static float score_q8_0(const struct act_q8 *q, const struct attend_args *a,
                        const struct kv_layout *l, int position)
{
    float score = 0;
    for (int b = 0; b < kv_blocks(a->head_dim); b++, q++) {
        int rest = a->head_dim - b * BLOCK_SMALL, isum = 0;
        for (int i = 0; i < BLOCK_SMALL && i < rest; i++) {
            int word = (b * BLOCK_SMALL + i) / 4;
            isum += q->q[i] * (a->chunk[(word * KV_CHUNK + position) * 4 + i % 4] - 128);
        }
        float d = load_number(KV_F16, a->chunk + l->key_scales, b * KV_CHUNK + position);
        score = fmaf(q->d * d, (float)isum, score);
    }
    return score;
}

void scalar_attend_q8_0(const struct attend_args *a)
{
    struct kv_layout l = kv_layout(KV_Q8_0, a->head_dim);
    const int8_t *values = (const int8_t *)a->chunk + l.values;
    for (int r = 0; r < a->n_rows; r++) {
        struct attn_partial *out = &a->out[r];
        struct attn_span seen = a->seen[r];
        const void *q = (const uint8_t *)a->q + (size_t)r * a->q_stride;
        float w[KV_CHUNK];
        for (int i = seen.lo; i < seen.hi; i++)
            w[i] = score_q8_0(q, a, &l, i);
        softmax(out, w, seen, a->softcap);
        memset(out->acc, 0, (size_t)a->head_dim * sizeof(float));
        for (int i = seen.lo; i < seen.hi; i++)
            for (int d = 0; d < a->head_dim; d++) {
                int block = d / BLOCK_SMALL;
                float scaled =
                    w[i] * load_number(KV_F16, a->chunk + l.value_scales, block * KV_CHUNK + i);
                out->acc[d] = fmaf(scaled, (float)values[i * a->head_dim + d], out->acc[d]);
            }
    }
}

void scalar_attn_merge(struct attn_partial *into, const struct attn_partial *p, int head_dim)
{
    float max = p->max > into->max ? p->max : into->max, base = attn_base(max);
    float old = scalar_exp1(into->max - base), new = scalar_exp1(p->max - base);
    into->max = max;
    into->sum = fmaf(p->sum, new, into->sum * old);
    for (int d = 0; d < head_dim; d++)
        into->acc[d] = fmaf(p->acc[d], new, into->acc[d] * old);
}
