// Samples to figures: see bench.h. Middles, because a machine that somebody else uses for a moment
// makes some samples bad and none too good.
#include "app/bench.h"

#include "base/check.h"

#include <math.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Sorts `x`.
static double middle(double *x, int n)
{
    CHECK(n > 0);
    qsort(x, (size_t)n, sizeof *x, compare);
    return (x[(n - 1) / 2] + x[n / 2]) / 2;
}

static double deviation(const double *x, int n)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++)
        sum += x[i];
    for (int i = 0; i < n; i++)
        squares += (x[i] - sum / n) * (x[i] - sum / n);
    return n > 1 ? sqrt(squares / (n - 1)) : 0;
}

struct bench_figures bench_figures_of(const struct bench *b, const struct bench_test *t)
{
    static double rate[BENCH_MAX_REPEATS], seconds[BENCH_MAX_REPEATS], dram[BENCH_MAX_REPEATS],
        peak[BENCH_MAX_REPEATS], relative[BENCH_MAX_REPEATS];
    struct bench_figures f = {0};
    const struct bench_test *other = t->against < 0 ? t : &b->tests[t->against];
    int n = t->n_samples, pairs = n < other->n_samples ? n : other->n_samples;
    CHECK(n <= BENCH_MAX_REPEATS);
    for (int i = 0; i < n; i++) {
        const struct bench_sample *s = &t->samples[i];
        seconds[i] = s->seconds;
        rate[i] = t->n / s->seconds;
        dram[i] = s->dram_gbps > 0 ? t->bytes / s->seconds / 1e9 / s->dram_gbps : 0;
        peak[i] = t->operations / s->seconds / 1e9 / s->int_gops;
        if (i < pairs)
            relative[i] = s->seconds / other->samples[i].seconds;
    }
    f.deviation = deviation(rate, n);
    f.tokens_per_s = middle(rate, n);
    f.ms = middle(seconds, n) * 1e3;
    f.gbps = t->bytes / f.ms * 1e3 / 1e9;
    f.gops = t->operations / f.ms * 1e3 / 1e9;
    f.dram_share = middle(dram, n);
    f.peak_share = b->model.integer ? middle(peak, n) : 0;
    if (t->against >= 0 && pairs)
        f.relative = middle(relative, pairs);
    return f;
}

// Of one member of all samples, `at` bytes into each.
static struct bench_range range_of(const struct bench *b, size_t at)
{
    struct bench_range r = {0};
    int n = 0;
    double *all = malloc((size_t)b->n_tests * (size_t)b->repeats * sizeof *all);
    for (int i = 0; all && i < b->n_tests; i++)
        for (int j = 0; j < b->tests[i].n_samples; j++)
            all[n++] = *(const double *)((const char *)&b->tests[i].samples[j] + at);
    if (n) {
        r.middle = middle(all, n); // and they are sorted
        r.least = all[0];
        r.most = all[n - 1];
    }
    free(all);
    return r;
}

struct bench_range bench_dram_range(const struct bench *b)
{
    return range_of(b, offsetof(struct bench_sample, dram_gbps));
}

struct bench_range bench_peak_range(const struct bench *b)
{
    return range_of(b, offsetof(struct bench_sample, int_gops));
}
