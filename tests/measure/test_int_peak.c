// measure/int_peak and measure/machine: figures and names that a machine can have.
#include "support.h"

#include "measure/int_peak.h"
#include "measure/machine.h"

#include <string.h>

static void every_instruction_set_has_a_peak(void **state)
{
    (void)state;
    for (int isa = 0; isa < ISA_COUNT; isa++) {
        struct err e = {0};
        if (!isa_has((enum isa)isa))
            continue;
        for (int threads = 1; threads <= 2; threads++) {
            struct int_peak *p;
            assert_ok(int_peak_open(&p, (enum isa)isa, threads, &e), &e);
            double gops = int_peak_gops(p);
            assert_true(gops > 0.001 && gops < 1e7);
            int_peak_close(p);
        }
    }
}

static void operations_are_in_proportion_to_the_rounds(void **state)
{
    (void)state;
    for (int isa = 0; isa < ISA_COUNT; isa++) {
        if (!isa_has((enum isa)isa))
            continue;
        uint64_t (*dots)(uint64_t) = kernels_for((enum isa)isa)->int_dots;
        assert_int_equal(dots(0), 0);
        assert_true(dots(1) >= 2);
        assert_int_equal(dots(100), 100 * dots(1));
    }
}

static void too_many_threads_are_refused(void **state)
{
    (void)state;
    struct int_peak *p;
    struct err e = {0};
    assert_int_equal(int_peak_open(&p, ISA_SCALAR, 100000, &e), ERR_NO_MEMORY);
    assert_null(p);
}

static void a_machine_has_a_name(void **state)
{
    (void)state;
    struct machine m;
    machine_describe(&m);
    assert_true(m.processor[0] > ' ' && strcmp(m.processor, "unknown"));
    assert_memory_equal(m.system, "Linux ", 6);
    assert_true(m.n_processors >= 1 && m.memory_bytes > 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_instruction_set_has_a_peak),
        cmocka_unit_test(operations_are_in_proportion_to_the_rounds),
        cmocka_unit_test(too_many_threads_are_refused),
        cmocka_unit_test(a_machine_has_a_name),
    };
    return cmocka_run_group_tests_name("int_peak", tests, NULL, NULL);
}
