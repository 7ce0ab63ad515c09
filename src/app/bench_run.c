// Runs the tests of a bench by turns: see bench.h.
//
// Every depth has a session of its own, so that one prompt fills the cache for all rounds: the
// deepest session computes it, the others are forks of it and share its pages. A test ends with its
// session cut back to its depth. Passes are too short to be timed one by one: the passes of a depth
// run in turns among themselves for a while, and the time of a width is the mean of its turns.
#include "app/bench.h"

#include "app/interrupt.h"
#include "app/progress.h"
#include "base/clock.h"
#include "base/rng.h"
#include "engine/session.h"

#include <stdlib.h>

enum { WARM_TOKENS = 32, PASS_TURNS_NS = 50000000, MIN_TURNS = 3, MAX_TURNS = 50 };

struct bench_runner {
    struct bench *b;
    int32_t *ids;                                 // (deepest + longest), random
    struct session *plain[OPTION_LIST_MAX + 1];   // by depth
    struct session *wanting[OPTION_LIST_MAX + 1]; // of passes: every token wants logits
    double dram_gbps, int_gops;                   // as read last
    int turns;                                    // of passes
    double seconds[OPTION_LIST_MAX + 1];          // of each pass of a group
    struct progress progress;
};

static void drop_logits(void *arg, size_t position, const float *logits)
{
    (void)arg, (void)position, (void)logits;
}

static bool go_on(void *arg, size_t done, size_t total)
{
    struct progress *p = arg;
    if (p)
        progress_set(p, done, total);
    return !interrupt_seen();
}

static int open_sessions(struct bench_runner *r, struct err *e)
{
    struct bench *b = r->b;
    bool passes = bench_longest(b, true);
    int rc = 0;
    for (int i = 0; i < b->n_depths && !rc; i++) {
        struct session_options o = {.id = (uint32_t)i};
        rc = session_new(&r->plain[i], b->loaded.pipeline, &o, e);
        o.id = (uint32_t)(b->n_depths + i);
        o.rows = drop_logits;
        if (!rc && passes)
            rc = session_new(&r->wanting[i], b->loaded.pipeline, &o, e);
    }
    return rc;
}

// Each session as deep as it shall be.
static int fill(struct bench_runner *r, struct err *e)
{
    struct bench *b = r->b;
    int deepest = 0, rc = 0;
    for (int i = 0; i < b->n_depths; i++)
        deepest = b->depths[i] > b->depths[deepest] ? i : deepest;
    if (!b->depths[deepest])
        return 0;
    progress_start(&r->progress, "filling the cache", "tokens");
    rc = session_prompt(r->plain[deepest], r->ids, (size_t)b->depths[deepest], go_on, &r->progress,
                        e);
    progress_end(&r->progress);
    for (int i = 0; i < b->n_depths && !rc; i++) {
        size_t depth = (size_t)b->depths[i];
        if (i != deepest && depth)
            rc = session_fork(r->plain[i], r->plain[deepest], depth, e);
        if (r->wanting[i] && depth && !rc)
            rc = session_fork(r->wanting[i], r->plain[deepest], depth, e);
    }
    return rc;
}

// Nanoseconds of one run of `n` tokens, or an error.
static int64_t time_run(struct bench_runner *r, const struct bench_test *t, int n, struct err *e)
{
    int at = 0, rc = 0;
    while (r->b->depths[at] != t->depth)
        at++;
    struct session *s = t->kind == BENCH_PASS ? r->wanting[at] : r->plain[at];
    session_truncate(s, (size_t)t->depth);
    int64_t start = clock_ns();
    if (t->kind != BENCH_ANSWER)
        rc = session_prompt(s, r->ids, (size_t)(t->depth + n), go_on, NULL, e);
    for (int i = 0; i < n && t->kind == BENCH_ANSWER && !rc; i++)
        rc = interrupt_seen() ? SESSION_CANCELLED : session_append(s, r->ids[t->depth + i], e);
    int64_t took = clock_ns() - start;
    if (rc == SESSION_CANCELLED)
        return err_set(e, ERR_FAILED, "interrupted");
    return rc ? rc : took > 0 ? took : 1;
}

// Tests [first, end) in r->turns turns; one test that is no pass in a single one.
static int time_group(struct bench_runner *r, int first, int end, bool warm, struct err *e)
{
    const struct bench_test *tests = r->b->tests;
    int turns = warm || tests[first].kind != BENCH_PASS ? 1 : r->turns;
    for (int i = first; i < end; i++)
        r->seconds[i - first] = 0;
    for (int turn = 0; turn < turns; turn++)
        for (int i = first; i < end; i++) {
            int n = tests[i].n;
            if (warm && tests[i].kind != BENCH_PASS)
                n = tests[i].kind == BENCH_ANSWER ? 1 : n < WARM_TOKENS ? n : WARM_TOKENS;
            int64_t took = time_run(r, &tests[i], n, e);
            if (took < 0)
                return (int)took;
            r->seconds[i - first] += (double)took * 1e-9 / turns;
        }
    return 0;
}

// As many turns as make the shortest pass long enough.
static void choose_turns(struct bench_runner *r, int n)
{
    double least = r->seconds[0];
    for (int i = 1; i < n; i++)
        least = r->seconds[i] < least ? r->seconds[i] : least;
    double turns = PASS_TURNS_NS * 1e-9 / least;
    r->turns = turns < MIN_TURNS ? MIN_TURNS : turns > MAX_TURNS ? MAX_TURNS : (int)turns;
}

static int group_end(const struct bench *b, int first)
{
    int end = first + 1;
    while (b->tests[first].kind == BENCH_PASS && end < b->n_tests &&
           b->tests[end].kind == BENCH_PASS && b->tests[end].depth == b->tests[first].depth)
        end++;
    return end;
}

static void read_limits(struct bench_runner *r)
{
    r->dram_gbps = r->b->dram ? dram_read_gbps(r->b->dram) : 0;
    r->int_gops = int_peak_gops(r->b->peak);
}

static int run_round(struct bench_runner *r, int round, struct err *e)
{
    struct bench *b = r->b;
    for (int i = 0, end; i < b->n_tests; i = end) {
        end = group_end(b, i);
        progress_set(&r->progress, (size_t)((round + 1) * b->n_tests + i),
                     (size_t)((b->repeats + 1) * b->n_tests));
        int rc = time_group(r, i, end, round < 0, e);
        if (rc)
            return rc;
        if (b->tests[i].kind == BENCH_PASS && round < 0)
            choose_turns(r, end - i);
        double dram = r->dram_gbps, ops = r->int_gops;
        read_limits(r);
        for (int k = i; k < end && round >= 0; k++)
            b->tests[k].samples[b->tests[k].n_samples++] =
                (struct bench_sample){.seconds = r->seconds[k - i],
                                      .dram_gbps = (dram + r->dram_gbps) / 2,
                                      .int_gops = (ops + r->int_gops) / 2};
    }
    return 0;
}

int bench_measure(struct bench *b, struct err *e)
{
    struct bench_runner r = {.b = b, .turns = MIN_TURNS};
    int n = b->loaded.pipeline->info.max_context;
    struct rng rng;
    r.ids = malloc((size_t)n * sizeof *r.ids);
    if (!r.ids)
        return err_set(e, ERR_NO_MEMORY, "no memory for %d tokens", n);
    rng_init(&rng, 1);
    for (int i = 0; i < n; i++)
        r.ids[i] = (int32_t)rng_below(&rng, (uint64_t)b->loaded.pipeline->info.hparams->n_vocab);
    int rc = open_sessions(&r, e);
    if (!rc)
        rc = fill(&r, e);
    progress_start(&r.progress, "measuring", "tests");
    for (int round = -1; round < b->repeats && !rc; round++) // once to warm up
        rc = run_round(&r, round, e);
    progress_end(&r.progress);
    for (int i = 0; i < b->n_depths; i++) {
        session_free(r.plain[i]);
        session_free(r.wanting[i]);
    }
    free(r.ids);
    b->interrupted = rc && interrupt_seen();
    return b->interrupted ? 0 : rc;
}
