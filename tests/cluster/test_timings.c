// The report of times, with clocks that differ.
#include "support.h"

#include "cluster/timings.h"

enum { NODES = 3, ROUNDS = 2, US = 1000 };

static const int64_t skew_ns[NODES] = {7000000000, -3000000000,
                                       0}; // each node's clock minus the head's

// Every node computes 100 us times its number, waits for the disk 10 us times it, and each hop
// takes 10 us; begins at `at_us`.
static void play(struct timings *t, uint64_t pass, int n_tokens, int64_t at_us, int leave_out)
{
    int64_t now = at_us * US;
    timings_begin(t, pass, n_tokens);
    for (uint32_t r = 0; r < ROUNDS; r++) {
        timings_entered(t, pass, (int)r, now);
        for (int m = 0; m < NODES; m++) {
            int64_t started = now + 10 * US, computed = started + 110 * US * (m + 1);
            struct wire_time w = {.pass = pass,
                                  .round = r,
                                  .started_ns = started + skew_ns[m],
                                  .computed_ns = computed + skew_ns[m],
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
    }
    timings_read(t, true, &r);
    assert_int_equal(r.n_passes, 0);
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
    timings_begin(t, 1, 1);
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
    timings_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hops_are_told_across_clocks),
        cmocka_unit_test(prompts_are_counted_apart),
        cmocka_unit_test(a_pass_with_a_report_missing_does_not_count),
        cmocka_unit_test(nonsense_from_a_worker_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
