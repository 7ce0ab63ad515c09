// Drift by made-up series of tokens: noise, steps, hiccups, pauses.
#include "support.h"

#include "base/rng.h"
#include "cluster/drift.h"

#include <math.h>

enum { NODES = 3, MS = 1000000 };

// A ring that was foretold 100 ms a token: 20, 30 and 44 ms of its nodes, and 2 ms a hop.
static struct timings_report predicted(void)
{
    struct timings_report r = {.pass_ms = 100};
    for (int m = 0; m < NODES; m++)
        r.nodes[m] = (struct timings_node){.compute_ms = (const double[]){20, 25, 44}[m],
                                           .wait_ms = m == 1 ? 5 : 0,
                                           .hop_us = 2000};
    return r;
}

struct series {
    struct drift drift;
    struct timings_report now; // what a token takes, without noise
    struct rng rng;
    double noise;   // largest, relative, both ways
    double hiccups; // share of tokens that take ten times as long
    int64_t at_ns;
    int n; // tokens
};

static struct series begin(double noise, double hiccups)
{
    struct series s = {.now = predicted(), .noise = noise, .hiccups = hiccups};
    struct timings_report foretold = predicted();
    rng_init(&s.rng, 17);
    drift_init(&s.drift);
    drift_begin(&s.drift, &foretold, NODES, 0);
    return s;
}

// Factor of one time of a token.
static double shaken(struct series *s)
{
    double factor = 1 + s->noise * (2 * rng_double(&s->rng) - 1);
    return rng_double(&s->rng) < s->hiccups ? 10 * factor : factor;
}

static enum drift_verdict play(struct series *s, int n_tokens)
{
    enum drift_verdict v = s->drift.verdict;
    for (int i = 0; i < n_tokens && v != DRIFT_DRIFTED; i++, s->n++) {
        struct timings_report token = s->now;
        token.pass_ms = 0;
        for (int m = 0; m < NODES; m++) {
            struct timings_node *x = &token.nodes[m];
            x->compute_ms *= shaken(s);
            x->wait_ms *= shaken(s);
            x->hop_us *= shaken(s);
            token.pass_ms += x->compute_ms + x->wait_ms + x->hop_us / 1e3;
        }
        s->at_ns += (int64_t)(token.pass_ms * MS);
        v = drift_token(&s->drift, &token, s->at_ns);
    }
    return v;
}

static void slow_all(struct series *s, double factor)
{
    s->now = predicted();
    for (int m = 0; m < NODES; m++) {
        s->now.nodes[m].compute_ms *= factor;
        s->now.nodes[m].wait_ms *= factor;
        s->now.nodes[m].hop_us *= factor;
    }
}

static void noise_is_no_drift(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) { // half an hour each
        struct series s = begin(0.3, 0.01);
        rng_init(&s.rng, seed);
        assert_int_not_equal(play(&s, 20000), DRIFT_DRIFTED);
    }
}

static void a_ring_that_is_a_fifth_slower_for_long_has_drifted(void **state)
{
    (void)state;
    for (int faster = 0; faster < 2; faster++) {
        struct series s = begin(0.3, 0.02);
        assert_int_equal(play(&s, 500), DRIFT_STEADY);
        slow_all(&s, faster ? 0.8 : 1.2);
        int64_t since_ns = s.at_ns;
        assert_int_equal(play(&s, 1000), DRIFT_DRIFTED);
        assert_true(s.n < 500 + 300);
        // Not before it was so for long.
        assert_true(s.at_ns - since_ns >= DRIFT_LONG_MS * (int64_t)MS);
        assert_true(fabs(s.drift.ratio - (faster ? 0.8 : 1.2)) < 0.15);
        // It stays said until the next plan.
        slow_all(&s, 1);
        assert_int_equal(play(&s, 1000), DRIFT_DRIFTED);
    }
}

static void less_than_a_tenth_is_left_alone(void **state)
{
    (void)state;
    struct series s = begin(0.05, 0);
    slow_all(&s, 1.06);
    assert_int_equal(play(&s, 5000), DRIFT_STEADY);
}

static void what_comes_back_soon_is_no_drift(void **state)
{
    (void)state;
    struct series s = begin(0.1, 0);
    for (int i = 0; i < 50; i++) { // five seconds slow, twenty as foretold
        slow_all(&s, 1.5);
        assert_int_not_equal(play(&s, 33), DRIFT_DRIFTED);
        slow_all(&s, 1);
        play(&s, 200);
        assert_int_equal(s.drift.verdict, DRIFT_STEADY);
    }
}

static void a_pause_is_not_long_by_itself(void **state)
{
    (void)state;
    struct series s = begin(0.1, 0);
    slow_all(&s, 1.5);
    assert_int_equal(play(&s, DRIFT_LEAST + 4), DRIFT_SUSPECT);
    s.at_ns += 3600 * INT64_C(1000000000); // nobody asked anything for an hour
    assert_int_equal(play(&s, 4), DRIFT_SUSPECT);
}

static void one_node_that_is_off_is_named(void **state)
{
    (void)state;
    struct series s = begin(0.1, 0);
    s.now.nodes[1].compute_ms *= 1.3;
    s.now.nodes[0].compute_ms *= 0.72; // together the pass is nearly as foretold
    assert_int_equal(play(&s, 1000), DRIFT_DRIFTED);
    assert_in_range(s.drift.worst, 0, 1);
    // A node that hardly matters may be off by any factor.
    s = begin(0.1, 0);
    s.drift.predicted.nodes[0].compute_ms = 0.5;
    s.now.nodes[0].compute_ms = 1.5;
    s.drift.predicted.pass_ms = 81.5;
    assert_int_equal(play(&s, 2000), DRIFT_STEADY);
}

static void without_a_prediction_nothing_is_said(void **state)
{
    (void)state;
    struct series s = begin(0, 0);
    drift_begin(&s.drift, &(struct timings_report){0}, NODES, 0);
    slow_all(&s, 5);
    assert_int_equal(play(&s, 1000), DRIFT_STEADY);
}

static void plans_that_do_not_hold_are_given_longer_and_longer(void **state)
{
    (void)state;
    struct series s = begin(0, 0);
    struct timings_report foretold = predicted();
    int64_t last_ns = 0;
    slow_all(&s, 1.5);
    for (int i = 0; i < 10; i++) {
        int64_t from_ns = s.at_ns;
        assert_int_equal(play(&s, 100000), DRIFT_DRIFTED);
        int64_t took_ns = s.at_ns - from_ns;
        assert_true(took_ns <= (DRIFT_LONGEST_MS + 60000) * (int64_t)MS);
        if (i && i < 7)
            assert_true(took_ns > last_ns * 3 / 2);
        last_ns = took_ns;
        drift_begin(&s.drift, &foretold, NODES, s.at_ns);
    }
    // One that held makes up for it.
    slow_all(&s, 1);
    assert_int_equal(play(&s, 10000), DRIFT_STEADY);
    drift_begin(&s.drift, &foretold, NODES, s.at_ns);
    slow_all(&s, 1.5);
    int64_t from_ns = s.at_ns;
    assert_int_equal(play(&s, 1000), DRIFT_DRIFTED);
    assert_true(s.at_ns - from_ns < 30000 * (int64_t)MS);
}

static void what_was_seen_is_told_without_hiccups(void **state)
{
    (void)state;
    struct series s = begin(0.1, 0.02);
    struct timings_report seen;
    drift_seen(&s.drift, &seen);
    assert_int_equal(seen.n_passes, 0);
    slow_all(&s, 1.05);
    play(&s, 300);
    drift_seen(&s.drift, &seen);
    assert_int_equal(seen.n_passes, 300);
    assert_true(fabs(seen.nodes[1].compute_ms / (25 * 1.05) - 1) < 0.05);
    assert_true(fabs(seen.nodes[1].wait_ms / (5 * 1.05) - 1) < 0.05);
    assert_true(fabs(seen.nodes[2].hop_us / (2000 * 1.05) - 1) < 0.05);
    assert_true(fabs(seen.pass_ms / 105 - 1) < 0.05);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_is_no_drift),
        cmocka_unit_test(a_ring_that_is_a_fifth_slower_for_long_has_drifted),
        cmocka_unit_test(less_than_a_tenth_is_left_alone),
        cmocka_unit_test(what_comes_back_soon_is_no_drift),
        cmocka_unit_test(a_pause_is_not_long_by_itself),
        cmocka_unit_test(one_node_that_is_off_is_named),
        cmocka_unit_test(without_a_prediction_nothing_is_said),
        cmocka_unit_test(plans_that_do_not_hold_are_given_longer_and_longer),
        cmocka_unit_test(what_was_seen_is_told_without_hiccups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
