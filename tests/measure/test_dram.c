// measure/dram: a figure that a machine can have, from as many threads as asked for.
#include "support.h"

#include "measure/dram.h"

static void memory_has_a_speed(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        struct dram *d;
        struct err e = {0};
        assert_ok(dram_open(&d, threads, 8 << 20, &e), &e);
        assert_int_equal(dram_threads(d), threads);
        assert_int_equal(dram_bytes(d), 8 << 20);
        for (int i = 0; i < 3; i++) {
            double gbps = dram_read_gbps(d);
            assert_true(gbps > 0.001 && gbps < 100000);
        }
        dram_close(d);
    }
}

static void too_many_threads_are_refused(void **state)
{
    (void)state;
    struct dram *d;
    struct err e = {0};
    assert_int_equal(dram_open(&d, 100000, 8 << 20, &e), ERR_NO_MEMORY);
    assert_null(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_has_a_speed),
        cmocka_unit_test(too_many_threads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
