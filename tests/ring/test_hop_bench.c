// The measurement measures. With --bench it prints its figures for several sizes.
#include "support.h"

#include "ring/hop_bench.h"

#include <stdio.h>
#include <string.h>

static void figures_are_in_order(void **state)
{
    struct hop_figures link, loops;
    struct err e = {0};
    (void)state;
    assert_ok(hop_bench(&link, &loops, 32768, 50, &e), &e);
    assert_int_equal(link.n, 50);
    assert_true(link.p50_us > 0 && link.p50_us <= link.p90_us && link.p90_us <= link.p99_us);
    assert_true(loops.p50_us > 0 && loops.p50_us <= loops.p90_us && loops.p90_us <= loops.p99_us);
}

static void impossible_hops_are_refused(void **state)
{
    struct hop_figures a, b;
    struct err e = {0};
    (void)state;
    assert_int_equal(hop_bench(&a, &b, 0, 10, &e), ERR_USAGE);
    assert_int_equal(hop_bench(&a, &b, 1 << 20, 10, NULL), ERR_USAGE);
    assert_int_equal(hop_bench(&a, &b, 32768, 0, NULL), ERR_USAGE);
}

static int bench(void)
{
    printf("one-way hop over loopback, TLS 1.3, us    link to link            loop to loop\n");
    printf("%10s %8s %11s %7s %7s %9s %7s %7s\n", "bytes", "hops", "p50", "p90", "p99", "p50",
           "p90", "p99");
    for (uint32_t payload = 1024; payload <= 131072; payload *= 2) {
        struct hop_figures a, b;
        struct err e = {0};
        if (hop_bench(&a, &b, payload, 5000, &e)) {
            fprintf(stderr, "%s\n", e.text);
            return 1;
        }
        printf("%10u %8d %11.1f %7.1f %7.1f %9.1f %7.1f %7.1f\n", payload, a.n, a.p50_us, a.p90_us,
               a.p99_us, b.p50_us, b.p90_us, b.p99_us);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return bench();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_in_order),
        cmocka_unit_test(impossible_hops_are_refused),
    };
    return cmocka_run_group_tests_name("ring/hop_bench", tests, NULL, NULL);
}
