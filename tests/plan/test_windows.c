// plan/windows: every split covers each layer once, in visiting order; damaged tables are refused.
#include "support.h"

#include "base/rng.h"
#include "plan/windows.h"

#include <string.h>

static void even_rounds_of_the_example(void **state)
{
    (void)state;
    struct window_table t;
    struct err e = {0};
    assert_ok(windows_split(&t, 8, 3, (int[]){3, 2, 3}, 2, &e), &e);
    const uint16_t lo[2][3] = {{0, 2, 3}, {5, 6, 7}}, hi[2][3] = {{2, 3, 5}, {6, 7, 8}};
    for (int r = 0; r < 2; r++)
        for (int m = 0; m < 3; m++) {
            assert_int_equal(t.lo[r][m], lo[r][m]);
            assert_int_equal(t.hi[r][m], hi[r][m]);
        }
}

static void every_split_is_whole_and_even(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 1);
    for (int i = 0; i < 5000; i++) {
        int nodes = 1 + (int)rng_below(&r, PLAN_MAX_NODES), layers[PLAN_MAX_NODES], total = 0;
        int rounds = 1 + (int)rng_below(&r, PLAN_MAX_ROUNDS);
        for (int m = 0; m < nodes; m++)
            total += layers[m] = (int)rng_below(&r, 9);
        struct window_table t;
        struct err e = {0};
        if (!total) {
            assert_int_equal(windows_split(&t, total, nodes, layers, rounds, &e), ERR_USAGE);
            continue;
        }
        assert_ok(windows_split(&t, total, nodes, layers, rounds, &e), &e);
        assert_ok(windows_check(&t, &e), &e);
        for (int m = 0; m < nodes; m++) {
            assert_int_equal(windows_layers(&t, m), layers[m]);
            for (int k = 0; k < rounds; k++) {
                int n = t.hi[k][m] - t.lo[k][m];
                assert_true(n == layers[m] / rounds || n == layers[m] / rounds + 1);
            }
        }
        int node = (int)rng_below(&r, (uint64_t)nodes),
            round = (int)rng_below(&r, (uint64_t)rounds);
        t.hi[round][node]++;
        assert_int_equal(windows_check(&t, &e), ERR_FAILED);
    }
}

static void even_layers_differ_by_one_at_most(void **state)
{
    (void)state;
    for (int layers = 1; layers < 130; layers++)
        for (int nodes = 1; nodes <= PLAN_MAX_NODES; nodes++) {
            int of[PLAN_MAX_NODES], sum = 0;
            windows_even(layers, nodes, of);
            for (int m = 0; m < nodes; m++) {
                sum += of[m];
                assert_true(of[0] - of[m] >= 0 && of[0] - of[m] <= 1);
            }
            assert_int_equal(sum, layers);
            assert_int_equal(of[nodes - 1], layers / nodes); // the head has the fewer
        }
}

static void impossible_plans_get_a_sentence(void **state)
{
    (void)state;
    struct window_table t;
    struct err e = {0};
    assert_int_equal(windows_split(&t, 8, 2, (int[]){3, 4}, 1, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "add up to 7 but the model has 8"));
    e.code = 0;
    assert_int_equal(windows_split(&t, 8, 2, (int[]){-1, 9}, 1, &e), ERR_USAGE);
    assert_int_equal(windows_split(&t, 8, 0, NULL, 1, &e), ERR_USAGE);
    assert_int_equal(windows_split(&t, 8, 1, (int[]){8}, 0, &e), ERR_USAGE);
    assert_int_equal(windows_split(&t, 8, 1, (int[]){8}, PLAN_MAX_ROUNDS + 1, &e), ERR_USAGE);
    t = (struct window_table){.n_nodes = 99, .n_rounds = 1, .n_layers = 1};
    assert_int_equal(windows_check(&t, &e), ERR_USAGE);
}

// Any stretch of rounds has as many layers as its share, or one more or less: there is as much time
// between large windows as can be. What lies on a GPU is in the windows.
static void larger_windows_are_far_apart(void **state)
{
    (void)state;
    for (int layers = 0; layers <= 20; layers++)
        for (int rounds = 1; rounds <= 20; rounds++)
            for (int from = 0; from < rounds; from++)
                for (int to = from + 1, sum = 0; to <= rounds; to++) {
                    int n = windows_share(layers, rounds, to - 1);
                    sum += n;
                    assert_true(sum * rounds > (to - from) * layers - rounds);
                    assert_true(sum * rounds < (to - from) * layers + rounds);
                    for (int gpu = 0; gpu <= layers && from == 0; gpu++) {
                        int part = windows_part(gpu, layers, sum - n, n);
                        assert_in_range(part, 0, n);
                    }
                }
    assert_int_equal(windows_share(3, 2, 0), 2);
    int sum = 0;
    for (int done = 0; done < 9; done += 3)
        sum += windows_part(5, 9, done, 3);
    assert_int_equal(sum, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(even_rounds_of_the_example),
        cmocka_unit_test(every_split_is_whole_and_even),
        cmocka_unit_test(larger_windows_are_far_apart),
        cmocka_unit_test(even_layers_differ_by_one_at_most),
        cmocka_unit_test(impossible_plans_get_a_sentence),
    };
    return cmocka_run_group_tests_name("windows", tests, NULL, NULL);
}
