// Shares of products: every step is somebody's, whoever comes, and who was fast gets more.
// `test_shares --bench MODEL [THREADS]` times passes of one token instead and says how much of them
// is spent outside operations, per layer.
#include "rig.h"
#include "support.h"

#include "backend/cpu/shares.h"
#include "base/clock.h"
#include "base/pool.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 5, PRODUCTS = 3, MAX_STEPS = 700 };

struct fixture {
    struct shares shares;
    void *memory;
    int n[PRODUCTS];
    int absent; // a thread that does not come; -1: all come
    atomic_int times[PRODUCTS][MAX_STEPS];
    int own[MAX_THREADS], stolen[MAX_THREADS];
};

static void fixture_open(struct fixture *f, int n_threads)
{
    size_t size = shares_size(n_threads, PRODUCTS);
    *f = (struct fixture){.absent = -1, .memory = aligned_alloc(64, (size + 63) / 64 * 64)};
    assert_non_null(f->memory);
    memset(f->memory, 0, size);
    shares_init(&f->shares, f->memory, n_threads, PRODUCTS);
}

static void take_all(void *arg, int thread)
{
    struct fixture *f = arg;
    struct steps s;
    if (thread == f->absent)
        return;
    for (int p = 0; p < PRODUCTS; p++)
        for (; shares_own(&f->shares, p, f->n[p], thread, &s); f->own[thread] += s.hi - s.lo)
            for (int i = s.lo; i < s.hi; i++)
                f->times[p][i]++;
    for (int p = 0; p < PRODUCTS; p++)
        for (; shares_steal(&f->shares, p, f->n[p], &s); f->stolen[thread] += s.hi - s.lo)
            for (int i = s.lo; i < s.hi; i++)
                f->times[p][i]++;
}

static void every_step_is_taken_once_whoever_comes(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    for (int n_threads = 1; n_threads <= MAX_THREADS; n_threads++) {
        struct fixture f;
        struct pool *pool = pool_new(n_threads);
        fixture_open(&f, n_threads);
        assert_non_null(pool);
        for (int run = 0; run < 200; run++) {
            memset(f.times, 0, sizeof f.times);
            for (int p = 0; p < PRODUCTS; p++)
                f.n[p] = (int)rng_below(&rng, run % 2 ? 8 : MAX_STEPS + 1);
            f.absent = n_threads > 1 ? (int)rng_below(&rng, (uint64_t)n_threads + 1) : -1;
            for (int t = 0; t < n_threads; t++)
                f.shares.work[t].done = (int64_t)rng_below(&rng, 3) * 1000;
            shares_begin(&f.shares);
            pool_run(pool, take_all, &f);
            for (int p = 0; p < PRODUCTS; p++)
                for (int i = 0; i < MAX_STEPS; i++)
                    assert_int_equal(f.times[p][i], i < f.n[p]);
        }
        pool_free(pool);
        free(f.memory);
    }
}

// Steps of a product of 1000 that thread `thread` calls its own, taken one thread after the other.
static int own_steps(struct fixture *f, int thread)
{
    struct steps s;
    int n = 0;
    while (shares_own(&f->shares, 0, 1000, thread, &s)) {
        assert_true(s.lo < s.hi && s.hi <= 1000);
        n += s.hi - s.lo;
    }
    return n;
}

static void a_thread_that_did_more_begins_with_more(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, 3);
    shares_begin(&f.shares);
    for (int t = 0; t < 3; t++)
        assert_in_range(own_steps(&f, t), 333, 334);
    for (int run = 0; run < 50; run++) { // one twice as fast as another, one that never comes
        f.shares.work[0].done = 2000;
        f.shares.work[1].done = 1000;
        shares_begin(&f.shares);
    }
    int own[3] = {own_steps(&f, 0), own_steps(&f, 1), own_steps(&f, 2)};
    assert_int_equal(own[0] + own[1] + own[2], 1000);
    assert_in_range(own[0], 2 * own[1] - 10, 2 * own[1] + 10);
    assert_in_range(own[2], 50, 120); // not nothing, so that its return is noticed
    shares_begin(&f.shares);          // nothing was done: nothing is learnt
    assert_int_equal(own_steps(&f, 0), own[0]);
    free(f.memory);
}

static void pieces_become_smaller_and_come_from_both_ends(void **state)
{
    (void)state;
    struct fixture f;
    struct steps s, last = {0, 0};
    fixture_open(&f, 2);
    shares_begin(&f.shares);
    assert_true(shares_steal(&f.shares, 0, 100, &s)); // of two as long, the first one's
    assert_int_equal(s.hi, 50);
    int end = s.lo, pieces = 0;
    while (shares_own(&f.shares, 0, 100, 0, &s)) {
        assert_int_equal(s.lo, last.hi);
        assert_true(!pieces || s.hi - s.lo <= last.hi - last.lo);
        last = s;
        pieces++;
    }
    assert_int_equal(last.hi, end);
    assert_int_equal(last.hi - last.lo, 1);
    assert_in_range(pieces, 10, 30);
    assert_true(shares_steal(&f.shares, 0, 100, &s));
    assert_int_equal(s.hi, 100);
    free(f.memory);
}

// ---- bench -------------------------------------------------------------------------------------

enum { BENCH_ROUNDS = 200, BENCH_PASSES = 16 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int bench(const char *path, int n_threads)
{
    struct rig r;
    _Atomic int64_t work = 0;
    double total[BENCH_ROUNDS], outside[BENCH_ROUNDS];
    rig_open(&r, path, &(struct rig_options){.isa = isa_detect(), .n_threads = n_threads});
    float *logits = malloc((size_t)r.h->n_vocab * sizeof *logits);
    assert_non_null(logits);
    for (int round = 0; round < BENCH_ROUNDS; round++) {
        work = 0;
        backend_count_work(r.backend, round % 2 ? &work : NULL);
        int64_t start = clock_ns();
        for (int i = 0; i < BENCH_PASSES; i++) {
            struct batch_token token = {.id = i % 100, .pos = (uint32_t)i, .want = WANT_LOGITS};
            struct session_op cut = {.kind = SESSION_TRUNCATE};
            struct batch b = {.tokens = &token, .n_tokens = 1, .ops = &cut, .n_ops = !i};
            rig_pass(&r, &b, logits);
        }
        double took = (double)(clock_ns() - start) * 1e-3 / BENCH_PASSES;
        if (round % 2) {
            total[round / 2] = took;
            outside[round / 2] = (took - (double)work * 1e-3 / BENCH_PASSES / n_threads);
        } else {
            total[BENCH_ROUNDS / 2 + round / 2] = took;
        }
    }
    int half = BENCH_ROUNDS / 2;
    qsort(total, (size_t)half, sizeof *total, by_value);
    qsort(total + half, (size_t)half, sizeof *total, by_value);
    qsort(outside, (size_t)half, sizeof *outside, by_value);
    printf(
        "%d threads: %.1f us a token (best %.1f; %.1f while it is timed), %.2f us a layer outside "
        "operations (best %.2f)\n",
        n_threads, total[half + half / 2], total[half], total[half / 2],
        outside[half / 2] / r.h->n_layers, outside[0] / r.h->n_layers);
    free(logits);
    rig_close(&r);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], "--bench"))
        return bench(argv[2], argc > 3 ? atoi(argv[3]) : 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_step_is_taken_once_whoever_comes),
        cmocka_unit_test(a_thread_that_did_more_begins_with_more),
        cmocka_unit_test(pieces_become_smaller_and_come_from_both_ends),
    };
    return cmocka_run_group_tests_name("shares", tests, NULL, NULL);
}
