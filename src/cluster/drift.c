// Whether a ring does what its plan foretold: see drift.h.
#include "cluster/drift.h"

#include "base/check.h"

#include <math.h>
#include <stdlib.h>

static const double off = 0.10;   // of what was predicted, at least: what is too much
static const double errors = 3;   // standard errors, at least: the same
static const double again = 0.7;  // of what is too much: below it all is well again
static const double worth = 0.02; // of the pass: what a node must be off by to count

void drift_init(struct drift *d)
{
    *d = (struct drift){.long_ms = DRIFT_LONG_MS};
}

void drift_begin(struct drift *d, const struct timings_report *predicted, int n_nodes,
                 int64_t now_ns)
{
    int long_ms = d->long_ms;
    CHECK(n_nodes >= 1 && n_nodes <= WIRE_MAX_NODES && long_ms > 0);
    if (d->n && now_ns - d->begun_ns >= DRIFT_LONGEST_MS * INT64_C(1000000))
        long_ms = DRIFT_LONG_MS;
    else if (d->verdict == DRIFT_DRIFTED)
        long_ms = long_ms < DRIFT_LONGEST_MS ? 2 * long_ms : long_ms;
    *d = (struct drift){.predicted = *predicted,
                        .n_nodes = n_nodes,
                        .begun_ns = now_ns,
                        .long_ms = long_ms,
                        .worst = -1,
                        .ratio = 1};
}

// ---- What was seen.

enum figure { PASS, STAGE, COMPUTE, WAIT, HOP };

static double figure_of(const struct drift *d, enum figure f, int node, int i)
{
    const struct timings_node *x = &d->nodes[node][i];
    return f == PASS      ? d->pass_ms[i]
           : f == STAGE   ? x->compute_ms + x->wait_ms
           : f == COMPUTE ? x->compute_ms
           : f == WAIT    ? x->wait_ms
                          : x->hop_us;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct middle {
    double mean;  // of the middle half
    double error; // standard error, by the quartiles, as of a normal distribution
};

static struct middle middle_of(const struct drift *d, enum figure f, int node)
{
    double sorted[DRIFT_WINDOW], sum = 0;
    int n = d->n < DRIFT_WINDOW ? d->n : DRIFT_WINDOW, lo = n / 4, hi = n - lo;
    if (!n)
        return (struct middle){0};
    for (int i = 0; i < n; i++)
        sorted[i] = figure_of(d, f, node, i);
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    for (int i = lo; i < hi; i++)
        sum += sorted[i];
    return (struct middle){.mean = sum / (hi - lo),
                           .error = (sorted[hi - 1] - sorted[lo]) / 1.349 / sqrt(n)};
}

// ---- The verdict.

// How far off `seen` is, in units of what is too much.
static double excess(struct middle seen, double foretold)
{
    return fabs(seen.mean - foretold) / fmax(off * foretold, errors * seen.error);
}

// The greatest excess; remembers whose. A node counts by what it does to the pass.
static double furthest(struct drift *d)
{
    double pass = d->predicted.pass_ms;
    struct middle seen = middle_of(d, PASS, 0);
    double most_excess = excess(seen, pass);
    d->worst = -1;
    d->ratio = seen.mean / pass;
    for (int m = 0; m < d->n_nodes; m++) {
        const struct timings_node *x = &d->predicted.nodes[m];
        double stage = x->compute_ms + x->wait_ms, by;
        seen = middle_of(d, STAGE, m);
        if (!(stage > 0) || fabs(seen.mean - stage) < worth * pass)
            continue;
        by = excess(seen, stage);
        if (by > most_excess) {
            most_excess = by;
            d->worst = m;
            d->ratio = seen.mean / stage;
        }
    }
    return most_excess;
}

enum drift_verdict drift_token(struct drift *d, const struct timings_report *measured,
                               int64_t now_ns)
{
    if (!(d->predicted.pass_ms > 0) || d->verdict == DRIFT_DRIFTED || !isfinite(measured->pass_ms))
        return d->verdict;
    int at = d->n++ % DRIFT_WINDOW;
    d->pass_ms[at] = measured->pass_ms;
    for (int m = 0; m < d->n_nodes; m++)
        d->nodes[m][at] = measured->nodes[m];
    if (d->n < DRIFT_LEAST)
        return d->verdict;
    double by = furthest(d);
    if (d->verdict == DRIFT_STEADY && by > 1) {
        d->verdict = DRIFT_SUSPECT;
        d->suspect_ns = now_ns;
        d->n_suspect = 0;
    } else if (d->verdict == DRIFT_SUSPECT && by < again) {
        d->verdict = DRIFT_STEADY;
    } else if (d->verdict == DRIFT_SUSPECT && ++d->n_suspect >= DRIFT_LONG &&
               now_ns - d->suspect_ns >= d->long_ms * INT64_C(1000000) && by > 1) {
        d->verdict = DRIFT_DRIFTED;
    }
    return d->verdict;
}

void drift_seen(const struct drift *d, struct timings_report *out)
{
    *out = (struct timings_report){.n_passes = d->n, .pass_ms = middle_of(d, PASS, 0).mean};
    for (int m = 0; m < d->n_nodes; m++)
        out->nodes[m] = (struct timings_node){
            .compute_ms = middle_of(d, COMPUTE, m).mean,
            .wait_ms = middle_of(d, WAIT, m).mean,
            .hop_us = middle_of(d, HOP, m).mean,
        };
}
