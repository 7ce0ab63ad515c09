// measure/dram: a figure that a machine can have, from as many threads as asked for.
#include "support.h"

#include "measure/dram.h"

static void memory_has_a_speed(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        struct dram_figures d;
        struct err e = {0};
        assert_ok(dram_measure(&d, threads, 8 << 20, &e), &e);
        assert_int_equal(d.n_threads, threads);
        assert_true(d.n_passes >= 3 && d.buffer_bytes == 8 << 20);
        assert_true(d.read_gbps > 0.001 && d.read_gbps < 100000);
    }
}

static void too_many_threads_are_refused(void **state)
{
    (void)state;
    struct dram_figures d;
    struct err e = {0};
    assert_int_equal(dram_measure(&d, 100000, 8 << 20, &e), ERR_NO_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_has_a_speed),
        cmocka_unit_test(too_many_threads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
