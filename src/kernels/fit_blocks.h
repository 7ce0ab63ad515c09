// The searches of all formats: fit.h says what they are for, fit_part.h fits sub-blocks. Here their
// scales and minima become the few bits that a block has for them.
//
// Of a block of 256, sub-blocks are fitted alone first; the largest of their scales decides the
// block's. Then two steps alternate: each sub-block takes of the numbers near its scale and minimum
// the pair with the least error, measured with the scales as they are stored; and the block's
// scales are the least squares solution for all weights as they are rounded now.
//
// A file of an instruction set includes this and hands out `fit_blocks`; the bytes are the same.
#pragma once

#include "kernels/fit_part.h"
#include "kernels/pack.h"
#include "kernels/scalar/scalar.h"

enum { ROUNDS = 3, MAX_PARTS = 16 };

// A block's weights, and what each of them counts.
struct source {
    vec x[BLOCK_K / VEC], w[BLOCK_K / VEC];
};

typedef void fit_block(void *block, const struct source *s);
fit_block *fit_block_avx2(uint32_t type); // NULL: no search for this format

FIT_INLINE struct part part_at(const struct source *s, int j, int n)
{
    return (struct part){s->x + j * n, s->w + j * n, n};
}

static int whole_between(float x, int low, int high)
{
    if (!(x > (float)low))
        return low;
    return x < (float)high ? (int)lrintf(x) : high;
}

// The stored numbers of a part, from `zero` up; of a table its indices.
FIT_INLINE void part_store(uint8_t *out, const struct part *p, const struct grid *g, float scale,
                           float base, int zero)
{
    float id = inverse_of(scale);
    for (int i = 0; i < p->n; i++) {
        vec q = grid_snap(g, (p->x[i] - base) * id);
        for (int k = 0; k < VEC; k++) {
            int number = (int)q[k] + zero, index = 0;
            while (g->table && g->table[index] < (int)q[k])
                index++;
            out[i * VEC + k] = (uint8_t)(g->table ? index : number);
        }
    }
}

// ---- 32 weights and a scale --------------------------------------------------------------------

FIT_INLINE uint16_t fit_small(uint8_t q[32], const struct source *s, const struct grid *g,
                              struct search t, int zero)
{
    struct part p = part_at(s, 0, BLOCK_SMALL / VEC);
    uint16_t d = half_from_float(part_scale(&p, g, t));
    part_store(q, &p, g, half_to_float(d), 0, zero);
    return d;
}

static void fit_q4_0(void *block, const struct source *s)
{
    static const struct grid g = {.lo = -8, .hi = 7};
    struct block_q4_0 *b = block;
    uint8_t q[32];
    b->d = fit_small(q, s, &g, (struct search){5.5f, 0.2f, 20, 0}, 8);
    pack_nibbles(b->qs, q);
}

static void fit_q5_0(void *block, const struct source *s)
{
    static const struct grid g = {.lo = -16, .hi = 15};
    struct block_q5_0 *b = block;
    uint8_t q[32];
    b->d = fit_small(q, s, &g, (struct search){13, 0.25f, 16, 0}, 16);
    b->qh = pack_fifth_bits(q);
    pack_nibbles(b->qs, q);
}

static void fit_q8_0(void *block, const struct source *s)
{
    static const struct grid g = {.lo = -127, .hi = 127};
    struct block_q8_0 *b = block;
    uint8_t q[32];
    b->d = fit_small(q, s, &g, (struct search){124, 0.25f, 14, 0}, 0);
    memcpy(b->qs, q, sizeof q);
}

static void fit_iq4_nl(void *block, const struct source *s)
{
    const struct grid g = grid_of(codebook_iq4_nl);
    struct block_iq4_nl *b = block;
    uint8_t q[32];
    b->d = fit_small(q, s, &g, (struct search){84, 7, 8, 0}, 0);
    pack_nibbles(b->qs, q);
}

// ---- 256 weights, a scale for each part --------------------------------------------------------

struct scaled {
    uint16_t d;
    int8_t sc[MAX_PARTS];
};

// Each part's best number for the block's scale d; the error of all.
FIT_INLINE float choose_scales(int8_t sc[MAX_PARTS], const float *scale, float d,
                               const struct source *s, const struct grid *g, int n, int low,
                               int high)
{
    float total = 0, id = inverse_of(d);
    for (int j = 0; j < BLOCK_K / VEC / n; j++) {
        struct part p = part_at(s, j, n);
        int near = whole_between(scale[j] * id, low, high);
        float least = INFINITY;
        for (int k = near - 1; k <= near + 1; k++) {
            float error = k < low || k > high ? INFINITY : part_error(&p, g, d * (float)k, 0);
            if (error < least) {
                least = error;
                sc[j] = (int8_t)k;
            }
        }
        total += least;
    }
    return total;
}

// The block's best scale for weights rounded as they are.
FIT_INLINE float refit_scale(const int8_t *sc, float d, const struct source *s,
                             const struct grid *g, int n)
{
    float qx = 0, qq = 0;
    for (int j = 0; j < BLOCK_K / VEC / n; j++) {
        struct part p = part_at(s, j, n);
        struct sums a = part_sums(&p, g, inverse_of(d * (float)sc[j]), 0);
        qx += a.qx * (float)sc[j];
        qq += a.qq * (float)(sc[j] * sc[j]);
    }
    return qq > 0 ? qx / qq : 0;
}

// Numbers of parts lie in [low, high]; n vectors a part.
FIT_INLINE void fit_scaled(struct scaled *out, const struct source *s, const struct grid *g, int n,
                           int low, int high, struct search t)
{
    float scale[MAX_PARTS], top = 0, least = INFINITY;
    for (int j = 0; j < BLOCK_K / VEC / n; j++) {
        struct part p = part_at(s, j, n);
        scale[j] = part_scale(&p, g, t);
        top = fabsf(scale[j]) > fabsf(top) ? scale[j] : top;
    }
    *out = (struct scaled){0};
    for (int start = 0; start < t.starts; start++) {
        float d = start & 1 ? top / (float)(low + start / 2) : top / (float)(high - start / 2);
        for (int i = 0; i < ROUNDS; i++) {
            int8_t sc[MAX_PARTS];
            uint16_t half = half_from_float(d);
            float error = choose_scales(sc, scale, half_to_float(half), s, g, n, low, high);
            if (!(error < least) && i)
                break;
            if (error < least) {
                least = error;
                out->d = half;
                memcpy(out->sc, sc, sizeof sc);
            }
            d = refit_scale(sc, half_to_float(half), s, g, n);
        }
    }
}

FIT_INLINE void store_scaled(uint8_t q[256], const struct scaled *f, const struct source *s,
                             const struct grid *g, int n, int zero)
{
    float d = half_to_float(f->d);
    for (int j = 0; j < BLOCK_K / VEC / n; j++) {
        struct part p = part_at(s, j, n);
        part_store(q + j * n * VEC, &p, g, d * (float)f->sc[j], 0, zero);
    }
}

static void fit_q6_k(void *block, const struct source *s)
{
    static const struct grid g = {.lo = -32, .hi = 31};
    struct block_q6_k *b = block;
    struct scaled f;
    uint8_t q[256];
    fit_scaled(&f, s, &g, 2, -128, 127, (struct search){29.5f, 0.35f, 10, 2});
    store_scaled(q, &f, s, &g, 2, 32);
    b->d = f.d;
    memcpy(b->scales, f.sc, sizeof b->scales);
    pack_q6_k(b, q);
}

static void fit_q3_k(void *block, const struct source *s)
{
    static const struct grid g = {.lo = -4, .hi = 3};
    struct block_q3_k *b = block;
    struct scaled f;
    uint8_t q[256], sc[16];
    fit_scaled(&f, s, &g, 2, -32, 31, (struct search){2, 0.25f, 12, 4});
    store_scaled(q, &f, s, &g, 2, 4);
    for (int j = 0; j < 16; j++)
        sc[j] = (uint8_t)(f.sc[j] + 32);
    b->d = f.d;
    pack_q3_k(b, sc, q);
}

static void fit_iq4_xs(void *block, const struct source *s)
{
    const struct grid g = grid_of(codebook_iq4_nl);
    struct block_iq4_xs *b = block;
    struct scaled f;
    uint8_t q[256], sc[8];
    fit_scaled(&f, s, &g, 4, -32, 31, (struct search){84, 7, 8, 2});
    store_scaled(q, &f, s, &g, 4, 0);
    for (int j = 0; j < 8; j++)
        sc[j] = (uint8_t)(f.sc[j] + 32);
    b->d = f.d;
    pack_iq4_xs(b, sc, q);
}

// ---- 256 weights, a scale and a minimum for each part ------------------------------------------

struct lined {
    uint16_t d, dmin;
    uint8_t sc[MAX_PARTS], m[MAX_PARTS];
};

// The best pair of numbers for one part near (sc, m), going downhill; its error.
FIT_INLINE float choose_pair(uint8_t *sc, uint8_t *m, const struct part *p, const struct grid *g,
                             float d, float dmin, int max)
{
    int a = *sc, b = *m;
    float least = part_error(p, g, d * (float)a, -dmin * (float)b);
    for (bool moved = true; moved;) {
        moved = false;
        for (int k = 0; k < 9; k++) {
            int i = a + k / 3 - 1, j = b + k % 3 - 1;
            if (k == 4 || i < 0 || j < 0 || i > max || j > max)
                continue;
            float error = part_error(p, g, d * (float)i, -dmin * (float)j);
            if (error < least) {
                least = error;
                *sc = (uint8_t)i;
                *m = (uint8_t)j;
                moved = true;
            }
        }
        a = *sc;
        b = *m;
    }
    return least;
}

FIT_INLINE float choose_lines(struct lined *f, const struct source *s, const struct grid *g, int n,
                              int max)
{
    float total = 0, d = half_to_float(f->d), dmin = half_to_float(f->dmin);
    for (int j = 0; j < BLOCK_K / VEC / n; j++) {
        struct part p = part_at(s, j, n);
        total += choose_pair(&f->sc[j], &f->m[j], &p, g, d, dmin, max);
    }
    return total;
}

// The block's best scale and scale of minima for weights rounded as they are.
FIT_INLINE void refit_lines(struct lined *f, const struct source *s, const struct grid *g, int n)
{
    float d = half_to_float(f->d), dmin = half_to_float(f->dmin);
    float aa = 0, am = 0, mm = 0, ax = 0, mx = 0; // x ~ d * a - dmin * m
    for (int j = 0; j < BLOCK_K / VEC / n; j++) {
        struct part p = part_at(s, j, n);
        float sc = f->sc[j], m = f->m[j];
        struct sums u = part_sums(&p, g, inverse_of(d * sc), -dmin * m);
        vec w = vec_all(0), wx = w;
        for (int i = 0; i < n; i++) {
            w += p.w[i];
            wx += p.w[i] * p.x[i];
        }
        aa += sc * sc * u.qq;
        am += sc * m * u.q;
        mm += m * m * vec_sum(w);
        ax += sc * u.qx;
        mx += m * vec_sum(wx);
    }
    float det = aa * mm - am * am;
    if (det > 1e-6f * aa * mm) {
        d = (ax * mm - am * mx) / det;
        dmin = (am * ax - aa * mx) / det;
    } else if (aa > 0 && !(mm > 0)) {
        d = ax / aa;
    }
    if (d > 0 && dmin >= 0) {
        f->d = half_from_float(d);
        f->dmin = half_from_float(dmin);
    }
}

FIT_INLINE void fit_lined(struct lined *out, const struct source *s, const struct grid *g, int n,
                          int max, struct search t)
{
    struct line line[MAX_PARTS];
    float top = 0, top_minimum = 0, least = INFINITY;
    for (int j = 0; j < BLOCK_K / VEC / n; j++) {
        struct part p = part_at(s, j, n);
        line[j] = part_line(&p, g, t);
        top = line[j].scale > top ? line[j].scale : top;
        top_minimum = line[j].minimum > top_minimum ? line[j].minimum : top_minimum;
    }
    struct lined f = {.d = half_from_float(top / (float)max),
                      .dmin = half_from_float(top_minimum / (float)max)};
    float id = inverse_of(half_to_float(f.d)), im = inverse_of(half_to_float(f.dmin));
    for (int j = 0; j < BLOCK_K / VEC / n; j++) {
        f.sc[j] = (uint8_t)whole_between(line[j].scale * id, 0, max);
        f.m[j] = (uint8_t)whole_between(line[j].minimum * im, 0, max);
    }
    *out = f;
    for (int i = 0; i < ROUNDS; i++) {
        float error = choose_lines(&f, s, g, n, max);
        if (!(error < least))
            break;
        least = error;
        *out = f;
        refit_lines(&f, s, g, n);
    }
}

FIT_INLINE void store_lined(uint8_t q[256], const struct lined *f, const struct source *s,
                            const struct grid *g, int n)
{
    float d = half_to_float(f->d), dmin = half_to_float(f->dmin);
    for (int j = 0; j < BLOCK_K / VEC / n; j++) {
        struct part p = part_at(s, j, n);
        part_store(q + j * n * VEC, &p, g, d * (float)f->sc[j], -dmin * (float)f->m[j], 0);
    }
}

static void fit_q4_k(void *block, const struct source *s)
{
    static const struct grid g = {.lo = 0, .hi = 15};
    struct block_q4_k *b = block;
    struct lined f;
    uint8_t q[256];
    fit_lined(&f, s, &g, 4, 63, (struct search){13, 0.25f, 16, 1});
    store_lined(q, &f, s, &g, 4);
    b->d = f.d;
    b->dmin = f.dmin;
    pack_q4_k(b, f.sc, f.m, q);
}

static void fit_q5_k(void *block, const struct source *s)
{
    static const struct grid g = {.lo = 0, .hi = 31};
    struct block_q5_k *b = block;
    struct lined f;
    uint8_t q[256];
    fit_lined(&f, s, &g, 4, 63, (struct search){29, 0.25f, 16, 1});
    store_lined(q, &f, s, &g, 4);
    b->d = f.d;
    b->dmin = f.dmin;
    pack_q5_k(b, f.sc, f.m, q);
}

static void fit_q2_k(void *block, const struct source *s)
{
    static const struct grid g = {.lo = 0, .hi = 3};
    struct block_q2_k *b = block;
    struct lined f;
    uint8_t q[256];
    fit_lined(&f, s, &g, 2, 15, (struct search){2, 0.1f, 20, 1});
    store_lined(q, &f, s, &g, 2);
    b->d = f.d;
    b->dmin = f.dmin;
    pack_q2_k(b, f.sc, f.m, q);
}

static fit_block *const fit_blocks[WT_COUNT] = {
    [WT_Q4_0] = fit_q4_0, [WT_Q5_0] = fit_q5_0,     [WT_Q8_0] = fit_q8_0, [WT_IQ4_NL] = fit_iq4_nl,
    [WT_Q2_K] = fit_q2_k, [WT_Q3_K] = fit_q3_k,     [WT_Q4_K] = fit_q4_k, [WT_Q5_K] = fit_q5_k,
    [WT_Q6_K] = fit_q6_k, [WT_IQ4_XS] = fit_iq4_xs,
};
