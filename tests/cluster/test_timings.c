// The report of times, with clocks that differ.
#include "support.h"

#include "cluster/timings.h"

enum {
    NODES = 3,
    ROUNDS = 2,
    US = 1000,
    PASS_US = 5 + ROUNDS * (NODES * 10 + 110 + 220 + 330),
};

static const int64_t skew_ns[NODES] = {7000000000, -3000000000,
                                       0}; // each node's clock minus the head's

// Embedding takes 5 us. Every node computes 100 us times its number, waits for the disk 10 us times
// it, and each hop takes 10 us, of which 2 are for sending and 7 until it is received; begins at
// `at_us`.
static void play(struct timings *t, uint64_t pass, int n_tokens, int64_t at_us, int leave_out)
{
    int64_t now = at_us * US;
    timings_begin(t, pass, n_tokens, now);
    now += 5 * US;
    for (uint32_t r = 0; r < ROUNDS; r++) {
        timings_entered(t, pass, (int)r, now);
        timings_left(t, pass, (int)r, now + 2 * US);
        for (int m = 0; m < NODES; m++) {
            int64_t started = now + 10 * US, computed = started + 110 * US * (m + 1);
            struct wire_time w = {.pass = pass,
                                  .round = r,
                                  .received_ns = started - 3 * US + skew_ns[m],
                                  .started_ns = started + skew_ns[m],
                                  .computed_ns = computed + skew_ns[m],
                                  .sent_ns = computed + 2 * US + skew_ns[m],
                                  .waited_ns = 10 * US * (m + 1)};
            if (m != leave_out)
                timings_ran(t, m, &w);
            now = computed;
        }
    }
}

static struct timings *new_timings(void)
{
    struct timings *t;
    struct err e = {0};
    assert_ok(timings_new(&t, NODES, ROUNDS, &e), &e);
    for (int m = 0; m < NODES; m++)
        timings_offset(t, m, skew_ns[m]);
    return t;
}

static void assert_near(double value, double want)
{
    assert_true(value > want - 0.5 && value < want + 0.5);
}

static void hops_are_told_across_clocks(void **state)
{
    (void)state;
    struct timings *t = new_timings();
    struct timings_report r;
    for (uint64_t pass = 0; pass < 600; pass++)
        play(t, pass, 1, 5000 * (int64_t)pass + 1, -1);
    timings_read(t, false, &r);
    assert_int_equal(r.n_passes, 600);
    for (int m = 0; m < NODES; m++) {
        assert_near(r.nodes[m].compute_ms * 1e3, 200.0 * (m + 1));
        assert_near(r.nodes[m].hop_us, 10);
        assert_near(r.nodes[m].wait_ms * 1e3, 20.0 * (m + 1));
        // The head sends nothing behind its last round.
        assert_near(r.nodes[m].send_us, m == NODES - 1 ? 1 : 2);
    }
    assert_near(r.pass_ms * 1e3, PASS_US);
    timings_latest(t, &r);
    assert_int_equal(r.n_passes, 600);
    assert_near(r.nodes[1].compute_ms * 1e3, 400);
    assert_near(r.pass_ms * 1e3, PASS_US);
    timings_read(t, true, &r);
    assert_int_equal(r.n_passes, 0);
    timings_free(t);
}

static void the_last_token_is_kept_whole_by_the_heads_clock(void **state)
{
    (void)state;
    struct timings *t = new_timings();
    struct timings_trace trace;
    struct err e = {0};
    assert_ok(timings_last(t, &trace, &e), &e);
    assert_int_equal(trace.n_passes, 0);
    timings_trace_free(&trace);
    for (uint64_t pass = 0; pass < 40; pass++)
        play(t, pass, 1, 5000 * (int64_t)pass + 1, -1);
    play(t, 40, 64, 500000, -1);
    play(t, 41, 1, 600000, 2); // not complete
    assert_ok(timings_last(t, &trace, &e), &e);
    assert_int_equal(trace.n_passes, 1);
    assert_int_equal(trace.n_nodes, NODES);
    assert_int_equal(trace.n_rounds, ROUNDS);
    const struct timings_pass *p = &trace.passes[0];
    assert_int_equal(p->pass, 39);
    assert_int_equal(p->begun_ns, (5000 * 39 + 1) * US);
    assert_near(p->embedded_us, 5);
    assert_near(p->sent_us, 7);
    double now = 5;
    for (int r = 0; r < ROUNDS; r++)
        for (int m = 0; m < NODES; m++) {
            const struct timings_stop *s = timings_stop_of(&trace, p, r, m);
            bool ends = r == ROUNDS - 1 && m == NODES - 1;
            assert_near(s->received_us, now + 7);
            assert_near(s->started_us, now + 10);
            assert_near(s->computed_us, now + 10 + 110 * (m + 1));
            assert_near(s->sent_us, s->computed_us + (ends ? 0 : 2));
            assert_near(s->waited_us, 10 * (m + 1));
            now = s->computed_us;
        }
    timings_trace_free(&trace);
    timings_free(t);
}

static void the_last_passes_are_kept_in_order(void **state)
{
    (void)state;
    struct timings *t = new_timings();
    struct timings_trace trace;
    struct err e = {0};
    play(t, 0, 64, 1, -1);
    play(t, 1, 1, 5000, -1);
    assert_ok(timings_recent(t, &trace, &e), &e);
    assert_int_equal(trace.n_passes, 2);
    assert_int_equal(trace.passes[0].n_tokens, 64);
    assert_int_equal(trace.passes[1].n_tokens, 1);
    timings_trace_free(&trace);
    for (uint64_t pass = 2; pass < 1000; pass++)
        play(t, pass, 1, 5000 * (int64_t)pass, -1);
    assert_ok(timings_recent(t, &trace, &e), &e);
    assert_int_equal(trace.n_passes, TIMINGS_KEPT);
    for (int i = 0; i < TIMINGS_KEPT; i++) {
        assert_int_equal(trace.passes[i].pass, 1000 - TIMINGS_KEPT + i);
        assert_near(timings_stop_of(&trace, &trace.passes[i], 1, 2)->computed_us, PASS_US);
    }
    timings_trace_free(&trace);
    timings_free(t);
}

static void a_large_ring_keeps_fewer_passes(void **state)
{
    (void)state;
    struct timings *t;
    struct timings_trace trace;
    struct err e = {0};
    assert_ok(timings_new(&t, WIRE_MAX_NODES, WIRE_MAX_ROUNDS, &e), &e);
    for (uint64_t pass = 0; pass < 100; pass++) {
        timings_begin(t, pass, 1, 1);
        for (uint32_t r = 0; r < WIRE_MAX_ROUNDS; r++) {
            timings_entered(t, pass, (int)r, 1);
            for (int m = 0; m < WIRE_MAX_NODES; m++)
                timings_ran(t, m, &(struct wire_time){.pass = pass, .round = r, .computed_ns = 1});
        }
    }
    assert_ok(timings_recent(t, &trace, &e), &e);
    assert_in_range(trace.n_passes, 8, TIMINGS_KEPT - 1);
    assert_int_equal(trace.passes[trace.n_passes - 1].pass, 99);
    timings_trace_free(&trace);
    timings_free(t);
}

static void prompts_are_counted_apart(void **state)
{
    (void)state;
    struct timings *t = new_timings();
    struct timings_report r;
    play(t, 1, 64, 1, -1);
    play(t, 2, 0, 1, -1); // operations only: not counted at all
    timings_read(t, true, &r);
    assert_int_equal(r.n_passes, 1);
    timings_read(t, false, &r);
    assert_int_equal(r.n_passes, 0);
    timings_free(t);
}

static void a_pass_with_a_report_missing_does_not_count(void **state)
{
    (void)state;
    struct timings *t = new_timings();
    struct timings_report r;
    play(t, 1, 1, 1, 1);
    timings_read(t, false, &r);
    assert_int_equal(r.n_passes, 0);
    timings_free(t);
}

static void nonsense_from_a_worker_changes_nothing(void **state)
{
    (void)state;
    struct timings *t = new_timings();
    struct timings_report r;
    struct wire_time w = {.pass = 1, .round = 63, .computed_ns = 1};
    timings_begin(t, 1, 1, 1);
    timings_ran(t, 0, &w);  // no such round
    timings_ran(t, 31, &w); // no such node
    w.pass = 12345;         // no such pass
    timings_ran(t, 0, &w);
    play(t, 1, 1, 1, 0);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        w = (struct wire_time){
            .pass = 1, .round = round, .started_ns = INT64_MIN, .computed_ns = INT64_MAX};
        timings_ran(t, 0, &w);
    }
    timings_read(t, false, &r);
    assert_int_equal(r.n_passes, 1); // absurd, but it is what the worker says
    struct timings_trace trace;
    struct err e = {0};
    assert_ok(timings_last(t, &trace, &e), &e);
    const struct timings_stop *s = timings_stop_of(&trace, &trace.passes[0], 0, 0);
    assert_true(s->started_us >= -1e12 && s->computed_us <= 1e12);
    timings_trace_free(&trace);
    timings_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hops_are_told_across_clocks),
        cmocka_unit_test(the_last_token_is_kept_whole_by_the_heads_clock),
        cmocka_unit_test(the_last_passes_are_kept_in_order),
        cmocka_unit_test(a_large_ring_keeps_fewer_passes),
        cmocka_unit_test(prompts_are_counted_apart),
        cmocka_unit_test(a_pass_with_a_report_missing_does_not_count),
        cmocka_unit_test(nonsense_from_a_worker_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
