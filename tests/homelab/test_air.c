// What becomes of frames on a link that is no cable, with a clock that the test makes up.
#include "support.h"

#include "homelab/air.h"

#include <string.h>

enum { FRAME = 1000 };

static void load(struct air *a, struct home *h, const char *text)
{
    struct err e = {0};
    assert_ok(home_parse(h, "x.home", text, strlen(text), &e), &e);
    air_init(a, h, 1);
}

static void frames_come_after_the_delay_and_never_overtake(void **state)
{
    (void)state;
    static struct home h;
    static struct air a;
    load(&a, &h, "node a delay 3ms\nnode b delay 3ms jitter 2ms\n");
    assert_int_equal(air_arrival_ns(&a.ways[0][0], 5000, FRAME), 3005000);
    int64_t before = 0, least = INT64_MAX, most = 0;
    for (int64_t now = 0; now < 4000000000; now += 10000000) { // further apart than the jitter
        int64_t late = air_arrival_ns(&a.ways[1][0], now, FRAME) - now;
        least = late < least ? late : least;
        most = late > most ? late : most;
    }
    assert_true(least >= 1000000 && least < 1500000 && most > 4500000 && most <= 5000000);
    for (int64_t now = 0; now < 100000000; now += 10000) {
        int64_t at = air_arrival_ns(&a.ways[1][1], now, FRAME);
        assert_true(at >= before);
        before = at;
    }
}

static void as_many_are_lost_as_is_asked(void **state)
{
    (void)state;
    static struct home h;
    static struct air a;
    load(&a, &h, "node a loss 10%\nnode b loss 10%\n");
    int lost = 0, differently = 0;
    for (int i = 0; i < 10000; i++) {
        bool one = air_arrival_ns(&a.ways[0][0], i, FRAME) < 0;
        bool other = air_arrival_ns(&a.ways[0][1], i, FRAME) < 0;
        lost += one;
        differently += one != other;
    }
    assert_true(lost > 900 && lost < 1100);
    assert_true(differently > 1000); // each direction has dice of its own
}

static void outages_are_at_the_end_of_each_period(void **state)
{
    (void)state;
    static struct home h;
    static struct air a;
    load(&a, &h, "node a outage 2s every 30s\n");
    struct air_way *w = &a.ways[0][0];
    for (int64_t period = 0; period < 3; period++) {
        int64_t start = period * 30000000000;
        assert_true(air_arrival_ns(w, start, FRAME) == start);
        assert_true(air_arrival_ns(w, start + 27999999000, FRAME) >= 0);
        assert_true(air_arrival_ns(w, start + 28000000000, FRAME) < 0);
        assert_true(air_arrival_ns(w, start + 29999999000, FRAME) < 0);
    }
}

static void one_medium_is_shared_by_all_of_its_name(void **state)
{
    (void)state;
    static struct home h;
    static struct air a;
    load(&a, &h,
         "node a rate 8Mbit/s air wifi\nnode b rate 16Mbit/s air wifi\n"
         "node c rate 8Mbit/s air other\n");
    assert_int_equal(air_arrival_ns(&a.ways[0][0], 0, FRAME), 1000000);
    assert_int_equal(air_arrival_ns(&a.ways[1][1], 0, FRAME), 1500000); // twice as fast, behind it
    assert_int_equal(air_arrival_ns(&a.ways[2][0], 0, FRAME), 1000000);
    assert_int_equal(air_arrival_ns(&a.ways[0][1], 9000000, FRAME), 10000000);
}

static void a_medium_does_not_promise_more_than_it_can_hold(void **state)
{
    (void)state;
    static struct home h;
    static struct air a;
    load(&a, &h, "node a rate 8Mbit/s air wifi\n"); // a frame takes a millisecond
    int taken = 0;
    for (int i = 0; i < 1000; i++)
        taken += air_arrival_ns(&a.ways[0][0], 0, FRAME) >= 0;
    assert_int_equal(taken, AIR_LONGEST_WAIT_US / 1000 + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_after_the_delay_and_never_overtake),
        cmocka_unit_test(as_many_are_lost_as_is_asked),
        cmocka_unit_test(outages_are_at_the_end_of_each_period),
        cmocka_unit_test(one_medium_is_shared_by_all_of_its_name),
        cmocka_unit_test(a_medium_does_not_promise_more_than_it_can_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
