// What passes cost: see timings.h. Times of passes that are not complete stand in a table by pass
// number; a complete one is folded into the samples of its kind and kept among the last ones.
#include "cluster/timings.h"

#include "base/check.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    TIMINGS_OPEN = 4 * RING_MAX_PASSES, // passes being collected
    KEPT_STOPS = 1 << 16,               // of all passes that are kept whole
    KEPT_LEAST = 8,                     // passes
};

struct stop { // a node's window in one round; its own clock
    int64_t received_ns, started_ns, computed_ns, sent_ns, waited_ns;
};

struct open_pass {
    uint64_t pass;
    bool used;
    int n_tokens;
    int64_t begun_ns;
    int64_t *entered_ns; // (n_rounds) the head handed over the frame of the round
    int64_t *left_ns;    // (n_rounds) and it was given to the socket; 0: not known
    struct stop *stops;  // (n_rounds, n_nodes)
};

enum figure { COMPUTE_MS, WAIT_MS, HOP_US, SEND_US, FIGURES };

struct samples {
    int n;           // ever
    double *nodes;   // (n_nodes, FIGURES, TIMINGS_SAMPLES)
    double *pass_ms; // (TIMINGS_SAMPLES)
};

struct timings {
    pthread_mutex_t lock; // all below
    int n_nodes, n_rounds;
    int64_t offset_ns[WIRE_MAX_NODES];
    struct open_pass open[TIMINGS_OPEN];
    struct samples samples[2]; // one token, more
    struct timings_trace kept; // pass i of all is passes[i % n_passes]
    uint64_t n_kept;           // ever
    struct timings_trace last; // of one token
    bool has_last;
};

int timings_trace_new(struct timings_trace *out, int n_nodes, int n_rounds, int n_passes,
                      struct err *e)
{
    size_t stops = (size_t)n_nodes * (size_t)n_rounds, n = (size_t)n_passes;
    *out = (struct timings_trace){.n_nodes = n_nodes, .n_rounds = n_rounds};
    CHECK(n_nodes >= 0 && n_nodes <= WIRE_MAX_NODES);
    CHECK(n_rounds >= 0 && n_rounds <= WIRE_MAX_ROUNDS);
    CHECK(n_passes >= 0 && n_passes <= TIMINGS_KEPT);
    if (!n)
        return 0;
    out->passes = calloc(n, sizeof *out->passes);
    struct timings_stop *all = out->passes ? calloc(n * stops + 1, sizeof *all) : NULL;
    if (!all) {
        free(out->passes);
        out->passes = NULL;
        return err_set(e, ERR_NO_MEMORY, "no memory for the times of %d passes", n_passes);
    }
    out->n_passes = n_passes;
    for (size_t i = 0; i < n; i++)
        out->passes[i].stops = all + i * stops;
    return 0;
}

void timings_trace_free(struct timings_trace *trace)
{
    if (trace->passes)
        free(trace->passes[0].stops); // of all of them
    free(trace->passes);
    *trace = (struct timings_trace){0};
}

static int make_open(struct timings *t, struct open_pass *p)
{
    size_t rounds = (size_t)t->n_rounds;
    p->entered_ns = calloc(rounds, sizeof *p->entered_ns);
    p->left_ns = calloc(rounds, sizeof *p->left_ns);
    p->stops = calloc(rounds * (size_t)t->n_nodes, sizeof *p->stops);
    return p->entered_ns && p->left_ns && p->stops ? 0 : ERR_NO_MEMORY;
}

int timings_new(struct timings **out, int n_nodes, int n_rounds, struct err *e)
{
    struct timings *t = calloc(1, sizeof *t);
    CHECK(n_nodes >= 1 && n_nodes <= WIRE_MAX_NODES && n_rounds >= 1);
    int rc = 0, kept = KEPT_STOPS / (n_nodes * n_rounds);
    kept = kept < KEPT_LEAST ? KEPT_LEAST : kept > TIMINGS_KEPT ? TIMINGS_KEPT : kept;
    *out = NULL;
    if (!t)
        return err_set(e, ERR_NO_MEMORY, "no memory for a table of times");
    pthread_mutex_init(&t->lock, NULL);
    t->n_nodes = n_nodes;
    t->n_rounds = n_rounds;
    for (int i = 0; !rc && i < TIMINGS_OPEN; i++)
        rc = make_open(t, &t->open[i]);
    for (int i = 0; !rc && i < 2; i++) {
        struct samples *s = &t->samples[i];
        s->nodes = calloc((size_t)n_nodes * FIGURES * TIMINGS_SAMPLES, sizeof *s->nodes);
        s->pass_ms = calloc(TIMINGS_SAMPLES, sizeof *s->pass_ms);
        rc = s->nodes && s->pass_ms ? 0 : ERR_NO_MEMORY;
    }
    if (!rc)
        rc = timings_trace_new(&t->kept, n_nodes, n_rounds, kept, e);
    if (!rc)
        rc = timings_trace_new(&t->last, n_nodes, n_rounds, 1, e);
    if (rc) {
        timings_free(t);
        return err_set(e, rc, "no memory for a table of times");
    }
    *out = t;
    return 0;
}

void timings_free(struct timings *t)
{
    if (!t)
        return;
    for (int i = 0; i < TIMINGS_OPEN; i++) {
        free(t->open[i].entered_ns);
        free(t->open[i].left_ns);
        free(t->open[i].stops);
    }
    for (int i = 0; i < 2; i++) {
        free(t->samples[i].nodes);
        free(t->samples[i].pass_ms);
    }
    timings_trace_free(&t->kept);
    timings_trace_free(&t->last);
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

// When the frame that `node` runs in `round` was handed over by the one before it.
static double handed_over(const struct timings *t, const struct open_pass *p, int round, int node)
{
    return node ? on_head(t, node - 1, stop_of(t, p, round, node - 1)->computed_ns)
                : (double)p->entered_ns[round];
}

static double *samples_of(const struct samples *s, int node, enum figure f)
{
    return s->nodes + ((size_t)node * FIGURES + f) * TIMINGS_SAMPLES;
}

// When the node's frame of this round was given to the socket, its own clock. The head's frame of a
// round is the one that begins the next.
static int64_t sent_ns(const struct timings *t, const struct open_pass *p, int round, int node)
{
    const struct stop *x = stop_of(t, p, round, node);
    int64_t sent = x->sent_ns;
    if (node == t->n_nodes - 1)
        sent = round + 1 < t->n_rounds ? p->left_ns[round + 1] : 0;
    return sent > x->computed_ns ? sent : x->computed_ns;
}

// Sums of time over the rounds; hops and sending are told for one round.
static void add_samples(struct timings *t, const struct open_pass *p, struct samples *s)
{
    int at = s->n++ % TIMINGS_SAMPLES, last = t->n_nodes - 1;
    for (int m = 0; m < t->n_nodes; m++) {
        double compute = 0, waited = 0, hop = 0, send = 0;
        for (int r = 0; r < t->n_rounds; r++) {
            const struct stop *x = stop_of(t, p, r, m);
            compute += (double)x->computed_ns - (double)x->started_ns;
            waited += (double)x->waited_ns;
            hop += on_head(t, m, x->started_ns) - handed_over(t, p, r, m);
            send += (double)sent_ns(t, p, r, m) - (double)x->computed_ns;
        }
        samples_of(s, m, COMPUTE_MS)[at] = (compute - waited) / 1e6;
        samples_of(s, m, WAIT_MS)[at] = waited / 1e6;
        samples_of(s, m, HOP_US)[at] = hop / t->n_rounds / 1e3;
        samples_of(s, m, SEND_US)[at] = send / t->n_rounds / 1e3;
    }
    double end = on_head(t, last, stop_of(t, p, t->n_rounds - 1, last)->computed_ns);
    s->pass_ms[at] = (end - (double)p->begun_ns) / 1e6;
}

// Microseconds since the pass was taken up; what a worker says may be absurd, but stays a number
// that can be drawn.
static double since(const struct open_pass *p, double time_ns)
{
    const double most = 1e12;
    double us = (time_ns - (double)p->begun_ns) / 1e3;
    return us < -most ? -most : us > most ? most : us;
}

static void keep(const struct timings *t, const struct open_pass *p, struct timings_pass *out)
{
    struct timings_stop *stops = out->stops;
    *out = (struct timings_pass){
        .pass = p->pass,
        .n_tokens = p->n_tokens,
        .begun_ns = p->begun_ns,
        .embedded_us = since(p, (double)p->entered_ns[0]),
        .sent_us = since(p, (double)(p->left_ns[0] ? p->left_ns[0] : p->entered_ns[0])),
        .stops = stops,
    };
    for (int r = 0; r < t->n_rounds; r++)
        for (int m = 0; m < t->n_nodes; m++) {
            const struct stop *x = stop_of(t, p, r, m);
            stops[r * t->n_nodes + m] = (struct timings_stop){
                .received_us = since(p, on_head(t, m, x->received_ns)),
                .started_us = since(p, on_head(t, m, x->started_ns)),
                .computed_us = since(p, on_head(t, m, x->computed_ns)),
                .sent_us = since(p, on_head(t, m, sent_ns(t, p, r, m))),
                .waited_us = (double)x->waited_ns / 1e3,
            };
        }
}

// With the lock held.
static void fold_when_complete(struct timings *t, struct open_pass *p)
{
    if (!complete(t, p))
        return;
    add_samples(t, p, &t->samples[p->n_tokens > 1]);
    keep(t, p, &t->kept.passes[t->n_kept++ % (uint64_t)t->kept.n_passes]);
    if (p->n_tokens == 1) {
        keep(t, p, &t->last.passes[0]);
        t->has_last = true;
    }
    p->used = false;
}

void timings_begin(struct timings *t, uint64_t pass, int n_tokens, int64_t now_ns)
{
    pthread_mutex_lock(&t->lock);
    struct open_pass *p = &t->open[pass % TIMINGS_OPEN];
    p->used = n_tokens > 0;
    p->pass = pass;
    p->n_tokens = n_tokens;
    p->begun_ns = now_ns;
    for (int r = 0; r < t->n_rounds; r++) {
        p->entered_ns[r] = p->left_ns[r] = 0;
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
        *stop_of(t, p, (int)time->round, node) = (struct stop){
            time->received_ns, time->started_ns, time->computed_ns, time->sent_ns, time->waited_ns};
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

void timings_left(struct timings *t, uint64_t pass, int round, int64_t now_ns)
{
    pthread_mutex_lock(&t->lock);
    struct open_pass *p = find(t, pass);
    if (p && round >= 0 && round < t->n_rounds)
        p->left_ns[round] = now_ns;
    pthread_mutex_unlock(&t->lock);
}

void timings_offset(struct timings *t, int node, int64_t offset_ns)
{
    pthread_mutex_lock(&t->lock);
    if (node >= 0 && node < t->n_nodes)
        t->offset_ns[node] = offset_ns;
    pthread_mutex_unlock(&t->lock);
}

// ---- Reading. What is sorted or allocated is not so under the lock: compute loops take it.

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Sorts `of` in place.
static double median(double *of, int n)
{
    qsort(of, (size_t)n, sizeof *of, ascending);
    return n % 2 ? of[n / 2] : (of[n / 2 - 1] + of[n / 2]) / 2;
}

// The samples of one figure, copied; returns how many.
static int copy_samples(struct timings *t, const struct samples *s, const double *from, double *out)
{
    pthread_mutex_lock(&t->lock);
    int n = s->n < TIMINGS_SAMPLES ? s->n : TIMINGS_SAMPLES;
    memcpy(out, from, (size_t)n * sizeof *out);
    pthread_mutex_unlock(&t->lock);
    return n;
}

void timings_read(struct timings *t, bool prompts, struct timings_report *out)
{
    const struct samples *s = &t->samples[prompts];
    double copy[TIMINGS_SAMPLES];
    *out = (struct timings_report){0};
    pthread_mutex_lock(&t->lock);
    out->n_passes = s->n;
    pthread_mutex_unlock(&t->lock);
    if (!out->n_passes)
        return;
    for (int m = 0; m < t->n_nodes; m++) {
        struct timings_node *x = &out->nodes[m];
        double *const to[FIGURES] = {
            [COMPUTE_MS] = &x->compute_ms,
            [WAIT_MS] = &x->wait_ms,
            [HOP_US] = &x->hop_us,
            [SEND_US] = &x->send_us,
        };
        for (int f = 0; f < FIGURES; f++)
            *to[f] = median(copy, copy_samples(t, s, samples_of(s, m, (enum figure)f), copy));
    }
    out->pass_ms = median(copy, copy_samples(t, s, s->pass_ms, copy));
}

void timings_latest(struct timings *t, struct timings_report *out)
{
    const struct samples *s = &t->samples[0];
    *out = (struct timings_report){0};
    pthread_mutex_lock(&t->lock);
    out->n_passes = s->n;
    int at = (s->n + TIMINGS_SAMPLES - 1) % TIMINGS_SAMPLES;
    out->pass_ms = s->n ? s->pass_ms[at] : 0;
    for (int m = 0; s->n && m < t->n_nodes; m++)
        out->nodes[m] = (struct timings_node){
            .compute_ms = samples_of(s, m, COMPUTE_MS)[at],
            .wait_ms = samples_of(s, m, WAIT_MS)[at],
            .hop_us = samples_of(s, m, HOP_US)[at],
            .send_us = samples_of(s, m, SEND_US)[at],
        };
    pthread_mutex_unlock(&t->lock);
}

static void copy_pass(const struct timings *t, const struct timings_pass *from,
                      struct timings_pass *to)
{
    struct timings_stop *stops = to->stops;
    *to = *from;
    to->stops = stops;
    memcpy(stops, from->stops, (size_t)(t->n_rounds * t->n_nodes) * sizeof *stops);
}

int timings_last(struct timings *t, struct timings_trace *out, struct err *e)
{
    int rc = timings_trace_new(out, t->n_nodes, t->n_rounds, 1, e);
    if (rc)
        return rc;
    pthread_mutex_lock(&t->lock);
    bool has = t->has_last;
    if (has)
        copy_pass(t, &t->last.passes[0], &out->passes[0]);
    pthread_mutex_unlock(&t->lock);
    out->n_passes = has;
    return 0;
}

int timings_recent(struct timings *t, struct timings_trace *out, struct err *e)
{
    uint64_t room = (uint64_t)t->kept.n_passes;
    int rc = timings_trace_new(out, t->n_nodes, t->n_rounds, t->kept.n_passes, e);
    if (rc)
        return rc;
    pthread_mutex_lock(&t->lock);
    uint64_t n = t->n_kept < room ? t->n_kept : room;
    for (uint64_t i = 0; i < n; i++)
        copy_pass(t, &t->kept.passes[(t->n_kept - n + i) % room], &out->passes[i]);
    pthread_mutex_unlock(&t->lock);
    out->n_passes = (int)n;
    return 0;
}
