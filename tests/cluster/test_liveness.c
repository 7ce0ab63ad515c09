// Liveness with a fake clock.
#include "support.h"

#include "cluster/liveness.h"

enum { MS = 1000000 };

static int64_t ms(int64_t n)
{
    return n * MS;
}

// Asks every tick until `end_ms`; heard and progress may follow the clock.
static enum liveness_verdict watch(struct liveness *l, int64_t from_ms, int64_t end_ms, bool hears,
                                   bool moves, bool busy, int64_t *when_ms)
{
    static uint64_t progress;
    for (int64_t t = from_ms; t <= end_ms; t += LIVENESS_TICK_MS) {
        struct liveness_report r = {.heard_ns = hears ? ms(t) : ms(from_ms), .busy = busy};
        progress += moves;
        r.progress = progress;
        enum liveness_verdict v = liveness_check(l, &r, ms(t));
        *when_ms = t - from_ms;
        if (v != LIVENESS_ALIVE)
            return v;
    }
    return LIVENESS_ALIVE;
}

static void a_peer_that_is_heard_lives(void **state)
{
    (void)state;
    struct liveness l;
    int64_t when;
    liveness_init(&l, ms(1000));
    assert_int_equal(watch(&l, 1000, 60000, true, false, false, &when), LIVENESS_ALIVE);
}

static void a_silent_peer_is_dead_within_four_seconds(void **state)
{
    (void)state;
    struct liveness l;
    int64_t when;
    liveness_init(&l, ms(1000));
    assert_int_equal(watch(&l, 1000, 60000, false, false, false, &when), LIVENESS_SILENT);
    assert_in_range(when, LIVENESS_SILENT_MS, 4000);
}

static void a_busy_peer_without_progress_is_hung_within_five_seconds(void **state)
{
    (void)state;
    struct liveness l;
    int64_t when;
    liveness_init(&l, ms(1000));
    assert_int_equal(watch(&l, 1000, 60000, true, false, true, &when), LIVENESS_HUNG);
    assert_in_range(when, LIVENESS_HUNG_MS, 4500);
}

static void a_long_prefill_is_not_a_hang(void **state)
{
    (void)state;
    struct liveness l;
    int64_t when;
    liveness_init(&l, ms(1000));
    assert_int_equal(watch(&l, 1000, 600000, true, true, true, &when), LIVENESS_ALIVE);
}

static void a_watcher_that_was_stopped_blames_nobody(void **state)
{
    (void)state;
    struct liveness l;
    struct liveness_report r = {.heard_ns = ms(1000), .progress = 1, .busy = true};
    int64_t when;
    liveness_init(&l, ms(1000));
    assert_int_equal(liveness_check(&l, &r, ms(1100)), LIVENESS_ALIVE);
    assert_int_equal(liveness_check(&l, &r, ms(61100)), LIVENESS_ALIVE);
    // But it does not forgive for ever.
    assert_int_equal(watch(&l, 61200, 90000, false, false, false, &when), LIVENESS_SILENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_that_is_heard_lives),
        cmocka_unit_test(a_silent_peer_is_dead_within_four_seconds),
        cmocka_unit_test(a_busy_peer_without_progress_is_hung_within_five_seconds),
        cmocka_unit_test(a_long_prefill_is_not_a_hang),
        cmocka_unit_test(a_watcher_that_was_stopped_blames_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
