// What passes cost: see timings.h. Times of passes that are not complete stand in a table by pass
// number; a complete one is folded into the samples of its kind and forgotten.
#include "cluster/timings.h"

#include "base/check.h"

#include <pthread.h>
#include <stdlib.h>

enum { TIMINGS_OPEN = 4 * RING_MAX_PASSES }; // passes being collected

struct stop { // a node's window in one round; its own clock
    int64_t started_ns, computed_ns, waited_ns;
};

struct open_pass {
    uint64_t pass;
    bool used;
    int n_tokens;
    int64_t *entered_ns; // (n_rounds) the head handed over the frame of the round
    struct stop *stops;  // (n_rounds, n_nodes)
};

struct samples {
    int n;                                 // ever
    double *compute_ms, *hop_us, *wait_ms; // (n_nodes, TIMINGS_SAMPLES)
};

struct timings {
    pthread_mutex_t lock; // all below
    int n_nodes, n_rounds;
    int64_t offset_ns[WIRE_MAX_NODES];
    struct open_pass open[TIMINGS_OPEN];
    struct samples samples[2]; // one token, more
};

int timings_new(struct timings **out, int n_nodes, int n_rounds, struct err *e)
{
    struct timings *t = calloc(1, sizeof *t);
    CHECK(n_nodes >= 1 && n_nodes <= WIRE_MAX_NODES && n_rounds >= 1);
    *out = NULL;
    if (!t)
        goto no_memory;
    pthread_mutex_init(&t->lock, NULL);
    t->n_nodes = n_nodes;
    t->n_rounds = n_rounds;
    for (int i = 0; i < TIMINGS_OPEN; i++) {
        struct open_pass *p = &t->open[i];
        p->entered_ns = calloc((size_t)n_rounds, sizeof *p->entered_ns);
        p->stops = calloc((size_t)n_rounds * (size_t)n_nodes, sizeof *p->stops);
        if (!p->entered_ns || !p->stops)
            goto no_memory;
    }
    for (int i = 0; i < 2; i++) {
        struct samples *s = &t->samples[i];
        s->compute_ms = calloc((size_t)n_nodes * TIMINGS_SAMPLES, sizeof *s->compute_ms);
        s->hop_us = calloc((size_t)n_nodes * TIMINGS_SAMPLES, sizeof *s->hop_us);
        s->wait_ms = calloc((size_t)n_nodes * TIMINGS_SAMPLES, sizeof *s->wait_ms);
        if (!s->compute_ms || !s->hop_us || !s->wait_ms)
            goto no_memory;
    }
    *out = t;
    return 0;
no_memory:
    timings_free(t);
    return err_set(e, ERR_NO_MEMORY, "no memory for a table of times");
}

void timings_free(struct timings *t)
{
    if (!t)
        return;
    for (int i = 0; i < TIMINGS_OPEN; i++) {
        free(t->open[i].entered_ns);
        free(t->open[i].stops);
    }
    for (int i = 0; i < 2; i++) {
        free(t->samples[i].compute_ms);
        free(t->samples[i].hop_us);
        free(t->samples[i].wait_ms);
    }
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static struct stop *stop_of(const struct timings *t, const struct open_pass *p, int round, int node)
{
    return &p->stops[round * t->n_nodes + node];
}

static struct open_pass *find(struct timings *t, uint64_t pass)
{
    struct open_pass *p = &t->open[pass % TIMINGS_OPEN];
    return p->used && p->pass == pass ? p : NULL;
}

static bool complete(const struct timings *t, const struct open_pass *p)
{
    for (int r = 0; r < t->n_rounds; r++) {
        if (!p->entered_ns[r])
            return false;
        for (int m = 0; m < t->n_nodes; m++)
            if (!stop_of(t, p, r, m)->computed_ns)
                return false;
    }
    return true;
}

// A node's time by the head's clock. As a double, because it is whatever the node says.
static double on_head(const struct timings *t, int node, int64_t time_ns)
{
    return (double)time_ns - (double)t->offset_ns[node];
}

// Mean of the rounds' hops to `node`, microseconds.
static double hop_of(const struct timings *t, const struct open_pass *p, int node)
{
    double sum = 0;
    for (int r = 0; r < t->n_rounds; r++) {
        double left = node ? on_head(t, node - 1, stop_of(t, p, r, node - 1)->computed_ns)
                           : (double)p->entered_ns[r];
        sum += on_head(t, node, stop_of(t, p, r, node)->started_ns) - left;
    }
    return sum / t->n_rounds / 1e3;
}

// With the lock held.
static void fold_when_complete(struct timings *t, struct open_pass *p)
{
    if (!complete(t, p))
        return;
    struct samples *s = &t->samples[p->n_tokens > 1];
    for (int m = 0; m < t->n_nodes; m++) {
        double compute_ns = 0, waited_ns = 0;
        for (int r = 0; r < t->n_rounds; r++) {
            const struct stop *x = stop_of(t, p, r, m);
            compute_ns += (double)x->computed_ns - (double)x->started_ns;
            waited_ns += (double)x->waited_ns;
        }
        int at = m * TIMINGS_SAMPLES + s->n % TIMINGS_SAMPLES;
        s->compute_ms[at] = (compute_ns - waited_ns) / 1e6;
        s->wait_ms[at] = waited_ns / 1e6;
        s->hop_us[at] = hop_of(t, p, m);
    }
    s->n++;
    p->used = false;
}

void timings_begin(struct timings *t, uint64_t pass, int n_tokens)
{
    pthread_mutex_lock(&t->lock);
    struct open_pass *p = &t->open[pass % TIMINGS_OPEN];
    p->used = n_tokens > 0;
    p->pass = pass;
    p->n_tokens = n_tokens;
    for (int r = 0; r < t->n_rounds; r++) {
        p->entered_ns[r] = 0;
        for (int m = 0; m < t->n_nodes; m++)
            *stop_of(t, p, r, m) = (struct stop){0};
    }
    pthread_mutex_unlock(&t->lock);
}

void timings_ran(struct timings *t, int node, const struct wire_time *time)
{
    pthread_mutex_lock(&t->lock);
    struct open_pass *p = find(t, time->pass);
    if (p && node >= 0 && node < t->n_nodes && time->round < (uint32_t)t->n_rounds) {
        *stop_of(t, p, (int)time->round, node) =
            (struct stop){time->started_ns, time->computed_ns, time->waited_ns};
        fold_when_complete(t, p);
    }
    pthread_mutex_unlock(&t->lock);
}

void timings_entered(struct timings *t, uint64_t pass, int round, int64_t now_ns)
{
    pthread_mutex_lock(&t->lock);
    struct open_pass *p = find(t, pass);
    if (p && round >= 0 && round < t->n_rounds) {
        p->entered_ns[round] = now_ns;
        fold_when_complete(t, p);
    }
    pthread_mutex_unlock(&t->lock);
}

void timings_offset(struct timings *t, int node, int64_t offset_ns)
{
    pthread_mutex_lock(&t->lock);
    if (node >= 0 && node < t->n_nodes)
        t->offset_ns[node] = offset_ns;
    pthread_mutex_unlock(&t->lock);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *of, int n)
{
    double sorted[TIMINGS_SAMPLES];
    for (int i = 0; i < n; i++)
        sorted[i] = of[i];
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

void timings_read(struct timings *t, bool prompts, struct timings_report *out)
{
    *out = (struct timings_report){0};
    pthread_mutex_lock(&t->lock);
    const struct samples *s = &t->samples[prompts];
    int n = s->n < TIMINGS_SAMPLES ? s->n : TIMINGS_SAMPLES;
    out->n_passes = s->n;
    for (int m = 0; n && m < t->n_nodes; m++) {
        out->nodes[m].compute_ms = median(s->compute_ms + m * TIMINGS_SAMPLES, n);
        out->nodes[m].wait_ms = median(s->wait_ms + m * TIMINGS_SAMPLES, n);
        out->nodes[m].hop_us = median(s->hop_us + m * TIMINGS_SAMPLES, n);
    }
    pthread_mutex_unlock(&t->lock);
}
