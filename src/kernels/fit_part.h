// Fitting one sub-block of 16 or 32 weights: scales, and scales with minima, by least squares.
//
// For numbers q that are fixed the best scale follows from sums (a minimum beside it from two
// equations), and for a scale that is fixed the best q are the nearest ones. A search tries scales
// that would map the largest weight onto, or somewhat beyond, the end of the range, takes each
// one's nearest q and their best scale, and keeps the best; some rounds of q and scale in turn
// polish it.
//
// Eight weights at a time, in the compiler's own vectors, so that sums have one order everywhere.
#pragma once

#include "kernels/scalar/codebooks.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef float vec __attribute__((vector_size(32)));
typedef int32_t vec_mask __attribute__((vector_size(32)));

#define FIT_INLINE static inline __attribute__((always_inline))

enum { VEC = 8 };

struct part {
    const vec *x, *w; // (n)
    int n;            // vectors
};

// The candidates of a search: the part's largest weight is mapped onto from + i * step, i < n.
struct search {
    float from, step;
    int n;
    int starts; // scales of a block of parts that are tried
};

// What a weight divided by its scale can be: whole numbers [lo, hi], or the values of a table.
struct grid {
    float lo, hi;
    const int8_t *table;        // (16) ascending; NULL: whole numbers
    float middle[15], step[15]; // between a value and the next one
};

FIT_INLINE struct grid grid_of(const int8_t table[16])
{
    struct grid g = {.lo = (float)table[0], .table = table};
    for (int i = 0; i < 15; i++) {
        float low = (float)table[i], high = (float)table[i + 1];
        g.middle[i] = (low + high) * 0.5f;
        g.step[i] = high - low;
    }
    return g;
}

FIT_INLINE vec vec_min(vec a, vec b)
{
    vec_mask less = a < b;
    return (vec)(((vec_mask)a & less) | ((vec_mask)b & ~less));
}

FIT_INLINE vec vec_max(vec a, vec b)
{
    vec_mask more = a > b;
    return (vec)(((vec_mask)a & more) | ((vec_mask)b & ~more));
}

FIT_INLINE vec vec_all(float a)
{
    return (vec){a, a, a, a, a, a, a, a};
}

FIT_INLINE float vec_sum(vec v)
{
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

// The grid's value nearest to each of v.
FIT_INLINE vec grid_snap(const struct grid *g, vec v)
{
    if (!g->table) {
        v = vec_min(vec_max(v, vec_all(g->lo)), vec_all(g->hi));
        return (v + 0x1.8p23f) - 0x1.8p23f; // rounds to the nearest integer
    }
    vec q = vec_all(g->lo);
    for (int i = 0; i < 15; i++)
        q += (vec)((vec_mask)vec_all(g->step[i]) & (v > vec_all(g->middle[i])));
    return q;
}

FIT_INLINE float inverse_of(float x)
{
    float i = 1.0f / x;
    return i < 0x1p100f && i > -0x1p100f ? i : 0; // of zero, and of what is no better
}

// Weighted error of a part with this scale and base: x ~ scale * q + base.
FIT_INLINE float part_error(const struct part *p, const struct grid *g, float scale, float base)
{
    float id = inverse_of(scale);
    vec sum = vec_all(0);
    for (int i = 0; i < p->n; i++) {
        vec d = p->x[i] - base;
        vec r = d - scale * grid_snap(g, d * id);
        sum += p->w[i] * r * r;
    }
    return vec_sum(sum);
}

// The sums over nearest q that scales follow from.
struct sums {
    float q, qq, qx;
};

FIT_INLINE struct sums part_sums(const struct part *p, const struct grid *g, float id, float base)
{
    vec q1 = vec_all(0), qq = q1, qx = q1;
    for (int i = 0; i < p->n; i++) {
        vec q = grid_snap(g, (p->x[i] - base) * id), wq = p->w[i] * q;
        q1 += wq;
        qq += wq * q;
        qx += wq * p->x[i];
    }
    return (struct sums){vec_sum(q1), vec_sum(qq), vec_sum(qx)};
}

// The weight of the largest magnitude.
FIT_INLINE float part_extreme(const struct part *p)
{
    float e = 0;
    for (int i = 0; i < p->n * VEC; i++) {
        float x = p->x[i / VEC][i % VEC];
        e = fabsf(x) > fabsf(e) ? x : e;
    }
    return e;
}

enum { FIT_POLISH = 2 };

// The best scale, of either sign: candidates map the extreme also onto the negatives.
FIT_INLINE float part_scale(const struct part *p, const struct grid *g, struct search t)
{
    float e = part_extreme(p), best = -1, scale = 0;
    if (e == 0)
        return 0;
    for (int i = 0; i < 2 * t.n; i++) {
        float end = t.from + t.step * (float)(i / 2);
        struct sums s = part_sums(p, g, inverse_of(e / (i & 1 ? end : -end)), 0);
        if (s.qq > 0 && s.qx * s.qx > best * s.qq) {
            best = s.qx * s.qx / s.qq;
            scale = s.qx / s.qq;
        }
    }
    for (int i = 0; i < FIT_POLISH; i++) {
        struct sums s = part_sums(p, g, inverse_of(scale), 0);
        if (!(s.qq > 0 && s.qx * s.qx > best * s.qq))
            break;
        best = s.qx * s.qx / s.qq;
        scale = s.qx / s.qq;
    }
    return scale;
}

struct line { // x ~ scale * q - minimum, neither of them negative
    float scale, minimum, gain;
};

// The best line for the sums of q, and how much error it spares against none.
FIT_INLINE struct line line_of(const struct sums *s, float w, float wx)
{
    float d = w * s->qq - s->q * s->q;
    struct line l = {0};
    if (d > 0) {
        l.scale = (w * s->qx - s->q * wx) / d;
        l.minimum = (s->q * s->qx - s->qq * wx) / d;
    }
    if (!(d > 0) || l.minimum < 0 || l.scale < 0) {
        l.minimum = 0;
        l.scale = s->qq > 0 && s->qx > 0 ? s->qx / s->qq : 0;
    }
    l.gain = l.scale * s->qx - l.minimum * wx;
    return l;
}

FIT_INLINE struct line part_line(const struct part *p, const struct grid *g, struct search t)
{
    vec low = p->x[0], high = p->x[0], w = vec_all(0), wx = w;
    float min = 0, max = 0;
    for (int i = 0; i < p->n; i++) {
        low = vec_min(low, p->x[i]);
        high = vec_max(high, p->x[i]);
        w += p->w[i];
        wx += p->w[i] * p->x[i];
    }
    for (int i = 0; i < VEC; i++) {
        min = low[i] < min ? low[i] : min;
        max = i && max > high[i] ? max : high[i];
    }
    float sw = vec_sum(w), swx = vec_sum(wx);
    struct line best = {.minimum = -min, .gain = -1};
    if (max <= min) // all alike and not positive: no scale is needed
        return best;
    for (int i = 0; i < t.n; i++) {
        float end = t.from + t.step * (float)i;
        struct sums s = part_sums(p, g, inverse_of((max - min) / end), min);
        struct line l = line_of(&s, sw, swx);
        if (l.gain > best.gain)
            best = l;
    }
    for (int i = 0; i < FIT_POLISH; i++) {
        struct sums s = part_sums(p, g, inverse_of(best.scale), -best.minimum);
        struct line l = line_of(&s, sw, swx);
        if (l.gain <= best.gain)
            break;
        best = l;
    }
    return best;
}
