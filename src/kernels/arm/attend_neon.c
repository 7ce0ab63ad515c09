// Attention over one chunk with NEON: the bits of scalar/attend.c.
//
// A tile of a product (see attend_groups.h), rows by 16 * n_words lanes, stays in registers while k
// goes by. Lines that are loaded ask for lines that are wanted later.
#include "kernels/arm/arm.h"
#include "kernels/arm/neon.h"
#include "kernels/attend_groups.h"

#include "base/bytes.h"

// How a factor b is stored: as the floats and halves of F32 and F16, or as signed bytes.
enum number { N_F32, N_F16, N_I8 };

NEON_INLINE size_t number_bytes(enum number n)
{
    return n == N_F32 ? 4 : n == N_F16 ? 2 : 1;
}

// Sixteen numbers as floats.
NEON_INLINE void load16(float32x4_t v[4], enum number n, const uint8_t *p)
{
    if (n == N_I8) {
        int8x16_t bytes = vreinterpretq_s8_u8(vld1q_u8(p));
        int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
        v[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(low)));
        v[1] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(low)));
        v[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(high)));
        v[3] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)));
        return;
    }
    NEON_UNROLL
    for (int i = 0; i < 4; i++)
        v[i] = n == N_F32 ? neon_load_f32(p + 16 * i) : neon_load_f16(p + 8 * i);
}

NEON_INLINE float load1(enum number n, const uint8_t *p)
{
    return n == N_F32   ? float_from_bits(load_u32(p))
           : n == N_F16 ? half_to_float(load_u16(p))
                        : (float)(int8_t)*p;
}

NEON_INLINE void tile(const struct attend_product *p, int lane, enum number n, int n_rows,
                      int n_words)
{
    size_t line = 16 * (size_t)n_words * number_bytes(n);
    const uint8_t *b = p->b + (size_t)p->k_lo * p->b_stride + (size_t)lane * number_bytes(n);
    const uint8_t *ahead = p->ahead + (size_t)p->k_lo * p->ahead_stride;
    ahead += n == N_I8 ? 0 : (size_t)lane * number_bytes(n);
    float32x4_t s[ATTEND_ROWS][8];
    NEON_UNROLL
    for (int r = 0; r < n_rows; r++)
        NEON_UNROLL
    for (int j = 0; j < 4 * n_words; j++)
        s[r][j] = vld1q_f32(p->out[r] + lane + 4 * j);
    for (int k = p->k_lo; k < p->k_hi; k++, b += p->b_stride, ahead += p->ahead_stride) {
        float32x4_t v[8];
        NEON_UNROLL
        for (int j = 0; j < n_words; j++)
            load16(v + 4 * j, n, b + 16 * (size_t)j * number_bytes(n));
        NEON_UNROLL
        for (size_t at = 0; at < line; at += 64)
            __builtin_prefetch(ahead + at, 0, 2);
        NEON_UNROLL
        for (int r = 0; r < n_rows; r++) {
            float32x4_t factor = vld1q_dup_f32(p->a[r] + k);
            NEON_UNROLL
            for (int j = 0; j < 4 * n_words; j++)
                s[r][j] = vfmaq_f32(s[r][j], factor, v[j]);
        }
    }
    NEON_UNROLL
    for (int r = 0; r < n_rows; r++)
        NEON_UNROLL
    for (int j = 0; j < 4 * n_words; j++)
        vst1q_f32(p->out[r] + lane + 4 * j, s[r][j]);
}

// The last lanes, fewer than 16.
NEON_INLINE void tile_part(const struct attend_product *p, int lane, enum number n, int n_rows)
{
    for (int k = p->k_lo; k < p->k_hi; k++) {
        const uint8_t *b = p->b + (size_t)k * p->b_stride;
        for (int i = lane; i < p->n_lanes; i++) {
            float v = load1(n, b + (size_t)i * number_bytes(n));
            for (int r = 0; r < n_rows; r++)
                p->out[r][i] = fmaf(p->a[r][k], v, p->out[r][i]);
        }
    }
}

NEON_INLINE void lanes(const struct attend_product *p, enum number n, int n_rows)
{
    const int n_words = n_rows <= 2 ? 2 : 1;
    int lane = 0;
    for (; lane + 16 * n_words <= p->n_lanes; lane += 16 * n_words)
        tile(p, lane, n, n_rows, n_words);
    for (; lane + 16 <= p->n_lanes; lane += 16)
        tile(p, lane, n, n_rows, 1);
    if (lane < p->n_lanes)
        tile_part(p, lane, n, n_rows);
}

NEON_INLINE void multiply(const struct attend_product *p, enum number n, int n_rows)
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
    static const int32_t first[4] = {0, 1, 2, 3};
    const float32x4_t none = vdupq_n_f32(-INFINITY);
    const int32x4_t lo = vdupq_n_s32(seen.lo), hi = vdupq_n_s32(seen.hi);
    float32x4_t max = none, sum[4];
    for (int j = 0; j < 4 * n_words; j++) {
        int32x4_t at = vaddq_s32(vld1q_s32(first), vdupq_n_s32(4 * j));
        uint32x4_t in = vandq_u32(vcgeq_s32(at, lo), vcltq_s32(at, hi));
        float32x4_t score = vbslq_f32(in, vld1q_f32(w + 4 * j), none);
        max = neon_max(score, max);
        vst1q_f32(w + 4 * j, score);
    }
    out->max = vmaxvq_f32(max);
    float32x4_t base = vdupq_n_f32(out->max == -INFINITY ? 0.0f : out->max);
    for (int i = 0; i < 4; i++)
        sum[i] = vdupq_n_f32(0);
    for (int j = 0; j < 4 * n_words; j++) {
        float32x4_t e = neon_exp(vsubq_f32(vld1q_f32(w + 4 * j), base));
        vst1q_f32(w + 4 * j, e);
        sum[j % 4] = vaddq_f32(sum[j % 4], e);
    }
    out->sum = neon_lanes_sum(vaddq_f32(sum[0], sum[2]), vaddq_f32(sum[1], sum[3]));
}

// ---- F32 and F16 -------------------------------------------------------------------------------

NEON_INLINE void attend_floats(const struct attend_args *a, enum number n, int row, int n_rows,
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
    attend_cap(&g, a, neon_softcap);
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

void neon_attend_f32(const struct attend_args *a)
{
    attend_groups(a, group_f32);
}

void neon_attend_f16(const struct attend_args *a)
{
    attend_groups(a, group_f16);
}

// ---- Q8_0 --------------------------------------------------------------------------------------

// One block's part of the scores of 16 positions from `lane` on.
NEON_INLINE void score_block(struct attend_group *g, const struct attend_args *a,
                             const struct kv_layout *l, int block, int lane, int n_rows)
{
    int words = kv_words(a->head_dim) - 8 * block;
    const uint8_t *key = a->chunk + ((size_t)(8 * block) * KV_CHUNK + (size_t)lane) * 4;
    const uint8_t *scale = a->chunk + l->key_scales + (size_t)(block * KV_CHUNK + lane) * 2;
    const struct act_q8 *q[ATTEND_ROWS];
    int32x4_t s[ATTEND_ROWS][4];
    NEON_UNROLL
    for (int r = 0; r < n_rows; r++) {
        q[r] = (const struct act_q8 *)(const void *)(g->q + (size_t)r * a->q_stride) + block;
        NEON_UNROLL
        for (int j = 0; j < 4; j++)
            s[r][j] = vdupq_n_s32(0);
    }
    for (int w = 0; w < (words < 8 ? words : 8); w++, key += KV_CHUNK * 4) {
        int8x16_t v[4];
        NEON_UNROLL
        for (int j = 0; j < 4; j++) // to signed bytes
            v[j] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(key + 16 * j), vdupq_n_u8(128)));
        NEON_UNROLL
        for (int r = 0; r < n_rows; r++) {
            int8x16_t four = vreinterpretq_s8_u32(vdupq_n_u32(load_u32(q[r]->q + 4 * w)));
            NEON_UNROLL
            for (int j = 0; j < 4; j++)
                s[r][j] = vdotq_s32(s[r][j], v[j], four);
        }
    }
    NEON_UNROLL
    for (int j = 0; j < 4; j++) {
        float32x4_t d = neon_load_f16(scale + 8 * j);
        NEON_UNROLL
        for (int r = 0; r < n_rows; r++) {
            float *w = &g->w[r][lane + 4 * j];
            float32x4_t both = vmulq_n_f32(d, q[r]->d);
            vst1q_f32(w, vfmaq_f32(vld1q_f32(w), both, vcvtq_f32_s32(s[r][j])));
        }
    }
}

NEON_INLINE void score_q8_0(struct attend_group *g, const struct attend_args *a,
                            const struct kv_layout *l, int n_rows)
{
    for (int b = 0; b < kv_blocks(a->head_dim); b++)
        for (int j = 0; j < g->n_words; j++)
            score_block(g, a, l, b, 16 * j, n_rows);
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
        __builtin_prefetch(a->chunk + at, 0, 2);
    scores_q8_0(&g, a, &l);
    attend_cap(&g, a, neon_softcap);
    for (int r = 0; r < n_rows; r++)
        softmax(&g.out[r], g.w[r], g.seen[r], g.n_words);
    for (int b = 0; b < kv_blocks(a->head_dim); b++) {
        float scaled[ATTEND_ROWS][KV_CHUNK];
        const uint8_t *scale = a->chunk + l.value_scales + (size_t)b * KV_CHUNK * 2;
        int rest = a->head_dim - b * BLOCK_SMALL;
        struct attend_product p = {.b = a->chunk + l.values + (size_t)b * BLOCK_SMALL,
                                   .b_stride = (size_t)a->head_dim,
                                   .n_lanes = rest < BLOCK_SMALL ? rest : BLOCK_SMALL};
        for (int j = 0; j < 4 * g.n_words; j++) {
            float32x4_t d = neon_load_f16(scale + 8 * j);
            for (int r = 0; r < n_rows; r++)
                vst1q_f32(&scaled[r][4 * j], vmulq_f32(vld1q_f32(&g.w[r][4 * j]), d));
        }
        for (int r = 0; r < n_rows; r++) {
            p.out[r] = g.out[r].acc + b * BLOCK_SMALL;
            p.a[r] = scaled[r];
        }
        attend_ask_block(&p, a, b, row);
        attend_values(&g, &p, multiply_i8);
    }
}

void neon_attend_q8_0(const struct attend_args *a)
{
    attend_groups(a, group_q8_0);
}

void neon_attn_merge(struct attn_partial *into, const struct attn_partial *p, int head_dim)
{
    float max = p->max > into->max ? p->max : into->max;
    float base = max == -INFINITY ? 0.0f : max;
    float old = scalar_exp1(into->max - base), new = scalar_exp1(p->max - base);
    into->max = max;
    into->sum = fmaf(p->sum, new, into->sum * old);
    int d = 0;
    for (; d + 4 <= head_dim; d += 4) {
        float32x4_t kept = vmulq_n_f32(vld1q_f32(into->acc + d), old);
        vst1q_f32(into->acc + d, vfmaq_n_f32(kept, vld1q_f32(p->acc + d), new));
    }
    for (; d < head_dim; d++)
        into->acc[d] = fmaf(p->acc[d], new, into->acc[d] * old);
}
