// The arithmetic of clocks that are apart.
#include "support.h"

#include "base/rng.h"
#include "ring/clock_offset.h"

static void equal_ways_give_the_exact_offset(void **state)
{
    struct clock_offset c = {.n = 0};
    int64_t offset, round_trip;
    (void)state;
    assert_false(clock_offset_best(&c, &offset, &round_trip));
    // The peer is 1,000,000 ahead; 100 there, 30 at the peer, 100 back.
    assert_true(clock_offset_add(&c, 5000, 1005100, 1005130, 5230));
    assert_true(clock_offset_best(&c, &offset, &round_trip));
    assert_int_equal(offset, 1000000);
    assert_int_equal(round_trip, 200);
    // And behind.
    c = (struct clock_offset){.n = 0};
    assert_true(clock_offset_add(&c, 5000, -994900, -994870, 5230));
    assert_true(clock_offset_best(&c, &offset, &round_trip));
    assert_int_equal(offset, -1000000);
}

static void the_shortest_way_is_believed(void **state)
{
    struct clock_offset c = {.n = 0};
    struct rng r;
    int64_t offset, round_trip, now = 1000;
    (void)state;
    rng_init(&r, 3);
    for (int i = 0; i < 1000; i++) {
        int64_t there = 50 + (int64_t)rng_below(&r, i % 5 ? 100000 : 10);
        int64_t back = 50 + (int64_t)rng_below(&r, i % 5 ? 100000 : 10);
        int64_t t2 = now + there - 777777, t3 = t2 + 20, t4 = now + there + 20 + back;
        assert_true(clock_offset_add(&c, now, t2, t3, t4));
        assert_true(clock_offset_best(&c, &offset, &round_trip));
        // Never wrong by more than half of the way it was measured on.
        assert_true(offset + 777777 <= round_trip / 2 + 1 &&
                    -offset - 777777 <= round_trip / 2 + 1);
        if (i >= CLOCK_OFFSET_WINDOW)
            assert_true(round_trip <= 120);
        now = t4 + 500;
    }
}

static void old_exchanges_are_forgotten(void **state)
{
    struct clock_offset c = {.n = 0};
    int64_t offset, round_trip;
    (void)state;
    assert_true(clock_offset_add(&c, 0, 10, 10, 20));
    for (int i = 0; i < CLOCK_OFFSET_WINDOW; i++)
        assert_true(clock_offset_add(&c, 0, 1000, 1000, 2000));
    assert_true(clock_offset_best(&c, &offset, &round_trip));
    assert_int_equal(round_trip, 2000);
}

static void impossible_times_are_ignored(void **state)
{
    struct clock_offset c = {.n = 0};
    (void)state;
    assert_false(clock_offset_add(&c, 10, 20, 30, 5));   // came back before it went
    assert_false(clock_offset_add(&c, 10, 30, 20, 50));  // left before it came
    assert_false(clock_offset_add(&c, 10, 20, 100, 50)); // stayed longer than it was away
    assert_false(clock_offset_add(&c, INT64_MIN, INT64_MAX, INT64_MAX, INT64_MAX));
    assert_false(clock_offset_add(&c, 0, INT64_MIN, INT64_MAX, 10));
    assert_false(clock_offset_add(&c, -1, INT64_MAX, INT64_MAX, 10));
    assert_int_equal(c.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_ways_give_the_exact_offset),
        cmocka_unit_test(the_shortest_way_is_believed),
        cmocka_unit_test(old_exchanges_are_forgotten),
        cmocka_unit_test(impossible_times_are_ignored),
    };
    return cmocka_run_group_tests_name("ring/clock_offset", tests, NULL, NULL);
}
