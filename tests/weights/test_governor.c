// The governor on machines that are made up: others take and give back memory while what is
// governed follows its limit as fast as memory can be let go of. And its thread, on files.
#include "support.h"

#include "base/clock.h"
#include "base/rng.h"
#include "weights/governor.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static const int64_t MS = 1000000;
static const uint64_t MIB = 1 << 20;

enum { HOGS = 4, PART = 4 << 20 };

struct hog {
    int64_t begins_ms, ends_ms;
    double rate; // bytes/s
    uint64_t most, has;
};

struct world {
    struct governor_state governor;
    struct budget_source source;
    struct hog hogs[HOGS];
    uint64_t others; // that never change
    uint64_t resident, wanted, besides;
    double let_go, take_back; // bytes/s
    int64_t ms, look_ms;
    int64_t least_free; // ever
    int turns;          // from letting go to taking back or the other way
    int direction;
};

static void world_init(struct world *w, uint64_t limit, uint64_t others, uint64_t wanted, bool grow)
{
    *w = (struct world){
        .source = {.name = "the group", .limits = true, .limit = limit, .floor = limit / 20},
        .others = others,
        .resident = wanted,
        .wanted = wanted,
        .let_go = 4e9,
        .take_back = 3e8,
        .least_free = INT64_MAX,
    };
    governor_init(&w->governor, grow);
}

static int64_t free_in(const struct world *w)
{
    uint64_t used = w->others + w->resident + w->besides;
    for (int i = 0; i < HOGS; i++)
        used += w->hogs[i].has;
    return (int64_t)(w->source.limit - used);
}

static int64_t spare_in(const struct world *w)
{
    return free_in(w) - (int64_t)w->source.floor;
}

static void world_look(struct world *w)
{
    uint64_t before = w->governor.limit;
    w->source.free = free_in(w) > 0 ? (uint64_t)free_in(w) : 0;
    w->source.used = w->source.limit - w->source.free;
    struct governor_view v = {.now_ns = w->ms * MS,
                              .sources = &w->source,
                              .n_sources = 1,
                              .others = w->ms == 0,
                              .resident = w->resident,
                              .wanted = w->wanted,
                              .besides = w->besides};
    uint64_t limit = governor_decide(&w->governor, &v);
    int direction = limit < before ? -1 : limit > before ? 1 : w->direction;
    w->turns += direction != w->direction;
    w->direction = direction;
}

// A millisecond: all take and let go, then the governor looks where it is due.
static void world_step(struct world *w)
{
    for (int i = 0; i < HOGS; i++) {
        struct hog *h = &w->hogs[i];
        uint64_t more = (uint64_t)(h->rate / 1000);
        if (w->ms >= h->ends_ms)
            h->has = 0;
        else if (w->ms >= h->begins_ms)
            h->has = h->has + more < h->most ? h->has + more : h->most;
    }
    uint64_t out = (uint64_t)(w->let_go / 1000), in = (uint64_t)(w->take_back / 1000);
    uint64_t limit = w->governor.limit < w->wanted ? w->governor.limit : w->wanted;
    if (w->resident > limit) {
        uint64_t target = limit / PART * PART;
        w->resident = w->resident > target + out ? w->resident - out : target;
    } else if (w->resident < limit / PART * PART) {
        w->resident = w->resident + in < limit ? w->resident + in : limit / PART * PART;
    }
    w->least_free = free_in(w) < w->least_free ? free_in(w) : w->least_free;
    if (w->ms >= w->look_ms) {
        world_look(w);
        w->look_ms = w->ms + (w->governor.hurry ? 5 : 20);
    }
    w->ms++;
}

static void world_run(struct world *w, int64_t until_ms)
{
    while (w->ms < until_ms)
        world_step(w);
}

// A prompt touches buffers that were promised to it. They leave the floor, and nobody else takes.
static void what_we_touch_ourselves_is_no_pace_of_others(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1024 * MIB, 50 * MIB, 800 * MIB, false);
    world_run(&w, 1000);
    for (int i = 0; i < 80; i++) {
        w.besides += MIB;
        world_run(&w, w.ms + 1);
    }
    world_run(&w, 3000);
    assert_int_equal(w.resident, 800 * MIB);
    w.besides += 60 * MIB; // beyond the floor it is taken from weights, and not more than that
    world_run(&w, 4000);
    assert_true(w.resident <= 783 * MIB && w.resident > 760 * MIB);
}

static void a_quiet_machine_is_left_alone(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1024 * MIB, 100 * MIB, 800 * MIB, true);
    world_run(&w, 60000);
    assert_true(w.governor.limit == UINT64_MAX);
    assert_int_equal(w.resident, 800 * MIB);
    assert_int_equal(w.turns, 0);
}

static void a_hog_gets_what_it_takes_and_all_comes_back_slowly(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1024 * MIB, 100 * MIB, 800 * MIB, true);
    w.hogs[0] = (struct hog){.begins_ms = 1000, .ends_ms = 6000, .rate = 1e9, .most = 700 * MIB};
    world_run(&w, 1999);
    assert_true(w.least_free > 0);
    assert_true(w.resident <= 224 * MIB);
    world_run(&w, 5990);
    assert_true(spare_in(&w) >= 0);
    uint64_t kept = w.resident;
    world_run(&w, 7000); // what the hog had is not taken at once
    assert_true(spare_in(&w) >= 0);
    assert_true(w.resident <= kept + 800 * MIB / 15);
    for (int64_t ms = 7000; ms < 60000; ms += 1000) {
        uint64_t before = w.resident;
        world_run(&w, ms + 1000);
        assert_true(w.resident >= before && w.resident - before <= 800 * MIB / 15);
    }
    assert_int_equal(w.resident, 800 * MIB);
    assert_true(w.governor.limit == UINT64_MAX);
    assert_int_equal(w.turns, 2);
    assert_true(w.least_free > 0);
}

// Between two looks 1 GB/s takes 20 MB: more than the floor of a small group. Seeing it come helps.
static void a_floor_smaller_than_a_look_is_enough(void **state)
{
    (void)state;
    for (int late = 0; late < 20; late++) {
        struct world w;
        world_init(&w, 300 * MIB, 30 * MIB, 200 * MIB, true);
        w.hogs[0] =
            (struct hog){.begins_ms = 1000 + late, .ends_ms = 6000, .rate = 1e9, .most = 230 * MIB};
        world_run(&w, 6000);
        if (w.least_free <= 0)
            fail_msg("begun %d ms late: %lld bytes free", late, (long long)w.least_free);
    }
}

static void a_given_amount_shrinks_in_need_and_does_not_grow(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1024 * MIB, 100 * MIB, 800 * MIB, false);
    w.hogs[0] = (struct hog){.begins_ms = 1000, .ends_ms = 6000, .rate = 1e9, .most = 700 * MIB};
    world_run(&w, 6000);
    assert_true(w.least_free > 0);
    uint64_t kept = w.resident;
    assert_true(kept < 224 * MIB);
    world_run(&w, 100000);
    assert_int_equal(w.resident, kept);
}

static void who_stays_leaves_room_for_part_of_the_plan(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1024 * MIB, 100 * MIB, 800 * MIB, true);
    w.hogs[0] = (struct hog){.begins_ms = 1000, .ends_ms = 5000, .rate = 1e9, .most = 700 * MIB};
    w.hogs[1] =
        (struct hog){.begins_ms = 2000, .ends_ms = INT64_MAX, .rate = 1e8, .most = 200 * MIB};
    world_run(&w, 120000);
    assert_true(spare_in(&w) >= 0 && spare_in(&w) <= (int64_t)w.source.floor);
    uint64_t settled = w.resident;
    int turns = w.turns;
    world_run(&w, 240000);
    assert_int_equal(w.resident, settled);
    assert_int_equal(w.turns, turns);
}

// A plan that is too large for the machine fills it up to the floor and no further.
static void loading_stops_at_the_floor(void **state)
{
    (void)state;
    for (int grow = 0; grow < 2; grow++) {
        struct world w;
        world_init(&w, 1024 * MIB, 100 * MIB, 1500 * MIB, grow);
        w.resident = 0;
        w.take_back = 1e9;
        world_run(&w, 30000);
        assert_true(w.least_free >= (int64_t)w.source.floor / 2);
        assert_true(spare_in(&w) >= 0);
        assert_true(w.resident > 600 * MIB);
    }
}

static void nothing_left_to_give_is_no_reason_to_hurry(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1024 * MIB, 1000 * MIB, 10 * MIB, true);
    world_run(&w, 1000);
    assert_int_equal(w.resident, 0);
    assert_false(w.governor.hurry);
    assert_int_equal(w.turns, 1);
}

static void the_source_that_is_short_decides(void **state)
{
    (void)state;
    struct budget_source s[3] = {
        {.limits = true, .limit = 8000 * MIB, .free = 3000 * MIB, .floor = 400 * MIB},
        {.limits = false},
        {.limits = true, .limit = 1000 * MIB, .free = 40 * MIB, .floor = 50 * MIB},
    };
    struct governor_state g;
    governor_init(&g, true);
    struct governor_view v = {.now_ns = 5000 * MS, .sources = s, .n_sources = 3};
    v.resident = v.wanted = 700 * MIB;
    uint64_t limit = governor_decide(&g, &v);
    assert_int_equal(g.cause, 2);
    assert_int_equal(limit, 700 * MIB - 10 * MIB - 50 * MIB / 8);
    // What the group has is known no longer: the machine alone decides.
    s[2].limits = false;
    v.now_ns += 60000 * MS;
    assert_true(governor_decide(&g, &v) > limit);
    s[0].free = 0;
    v.now_ns += 20 * MS;
    assert_true(governor_decide(&g, &v) < 700 * MIB - 400 * MIB);
    assert_int_equal(g.cause, 0);
}

// Whatever others do within what there is beside the weights: nobody runs out of memory, headroom
// is back a second after they are done, and the plan in the end; each of them turns it twice at
// most.
static void loads_at_random_are_survived(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct rng r;
        struct world w;
        rng_init(&r, seed);
        uint64_t limit = (512 + rng_below(&r, 15 * 1024)) * MIB, others = rng_below(&r, limit / 4);
        uint64_t wanted = (limit - others - 2 * (limit / 20)) / PART * PART;
        world_init(&w, limit, others, wanted, true);
        w.let_go = 2e9 + rng_double(&r) * 8e9;
        w.take_back = 1e8 + rng_double(&r) * 2e9;
        uint64_t left = limit - others - limit / 20;
        int n_hogs = 1 + (int)rng_below(&r, HOGS);
        for (int i = 0; i < n_hogs; i++) {
            struct hog *h = &w.hogs[i];
            h->begins_ms = (int64_t)rng_below(&r, 20000);
            h->ends_ms = h->begins_ms + (int64_t)rng_below(&r, 20000);
            h->rate = rng_double(&r) * 1e9 / n_hogs;
            h->most = rng_below(&r, left / (uint64_t)n_hogs);
        }
        for (int64_t ms = 0; ms < 40000; ms += 100) {
            uint64_t before = w.resident;
            world_run(&w, ms + 100);
            assert_true(w.resident <= before || w.resident - before <= wanted / 50 + 3 * PART);
        }
        if (w.least_free <= 0)
            fail_msg("seed %d: %lld bytes free", (int)seed, (long long)w.least_free);
        world_run(&w, 41000);
        assert_true(spare_in(&w) >= 0);
        world_run(&w, 41000 + 120000);
        if (w.resident != wanted || w.turns > 4 * n_hogs)
            fail_msg("seed %d: %d of %d MiB, %d turns by %d hogs", (int)seed,
                     (int)(w.resident / MIB), (int)(wanted / MIB), w.turns, n_hogs);
        w.turns = 0;
        world_run(&w, 200000);
        assert_int_equal(w.turns, 0);
    }
}

// ---- the thread --------------------------------------------------------------------------------

struct governed {
    pthread_mutex_t lock;
    uint64_t resident, wanted, limit;
    int n_status;
};

static void governed_limit(void *ctx, uint64_t bytes)
{
    struct governed *g = ctx;
    pthread_mutex_lock(&g->lock);
    g->limit = bytes;
    g->resident = g->resident < bytes ? g->resident : bytes;
    pthread_mutex_unlock(&g->lock);
}

static void governed_status(void *ctx, uint64_t *resident, uint64_t *wanted)
{
    struct governed *g = ctx;
    pthread_mutex_lock(&g->lock);
    *resident = g->resident;
    *wanted = g->wanted;
    g->n_status++;
    pthread_mutex_unlock(&g->lock);
}

static uint64_t limit_of(struct governed *g)
{
    pthread_mutex_lock(&g->lock);
    uint64_t limit = g->limit;
    pthread_mutex_unlock(&g->lock);
    return limit;
}

static void pause_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * MS}, NULL);
}

static void put_available(const char *root, uint64_t mib)
{
    char path[600], text[100];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    int n = snprintf(text, sizeof text, "MemTotal: 8388608 kB\nMemAvailable: %llu kB\n",
                     (unsigned long long)(mib << 10));
    test_write(path, text, (size_t)n);
}

static void the_thread_acts_on_what_files_say(void **state)
{
    (void)state;
    char root[400], path[500];
    snprintf(root, sizeof root, "%s/made-up", test_folder());
    snprintf(path, sizeof path, "%s/proc", root);
    mkdir(root, 0700);
    mkdir(path, 0700);
    put_available(root, 4096);
    struct governed g = {.lock = PTHREAD_MUTEX_INITIALIZER,
                         .resident = 1000 * MIB,
                         .wanted = 1000 * MIB,
                         .limit = UINT64_MAX};
    const struct governor_calls calls = {&g, governed_limit, governed_status};
    struct governor *governor;
    struct err e = {0};
    assert_ok(governor_start(&governor, root, true, &calls, &e), &e);
    pause_ms(100);
    assert_true(limit_of(&g) == UINT64_MAX);
    put_available(root, 200); // of 410 that should stay free
    while (limit_of(&g) == UINT64_MAX)
        pause_ms(5);
    assert_true(limit_of(&g) <= 790 * MIB);
    uint64_t low = limit_of(&g);
    put_available(root, 4096);
    while (limit_of(&g) <= low) {
        low = limit_of(&g); // it may go on falling for what it had seen
        pause_ms(5);
    }
    governor_stop(governor);
    assert_true(g.n_status > 10);
}

static void stopping_does_not_wait_for_the_next_look(void **state)
{
    (void)state;
    struct governed g = {.lock = PTHREAD_MUTEX_INITIALIZER, .limit = UINT64_MAX};
    const struct governor_calls calls = {&g, governed_limit, governed_status};
    struct err e = {0};
    for (int i = 0; i < 20; i++) {
        struct governor *governor;
        assert_ok(governor_start(&governor, "", i & 1, &calls, &e), &e);
        governor_stop(governor);
    }
    governor_stop(NULL);
    assert_int_equal(g.n_status >= 20, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quiet_machine_is_left_alone),
        cmocka_unit_test(what_we_touch_ourselves_is_no_pace_of_others),
        cmocka_unit_test(a_hog_gets_what_it_takes_and_all_comes_back_slowly),
        cmocka_unit_test(a_floor_smaller_than_a_look_is_enough),
        cmocka_unit_test(a_given_amount_shrinks_in_need_and_does_not_grow),
        cmocka_unit_test(who_stays_leaves_room_for_part_of_the_plan),
        cmocka_unit_test(loading_stops_at_the_floor),
        cmocka_unit_test(nothing_left_to_give_is_no_reason_to_hurry),
        cmocka_unit_test(the_source_that_is_short_decides),
        cmocka_unit_test(loads_at_random_are_survived),
        cmocka_unit_test(the_thread_acts_on_what_files_say),
        cmocka_unit_test(stopping_does_not_wait_for_the_next_look),
    };
    return cmocka_run_group_tests_name("governor", tests, NULL, NULL);
}
