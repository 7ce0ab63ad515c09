// base: errors, checked arithmetic, arenas, cursors, the pool, the guard.
#include "support.h"

#include "base/arena.h"
#include "base/arith.h"
#include "base/bytes.h"
#include "base/digest.h"
#include "base/guard.h"
#include "base/pool.h"
#include "base/rng.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static void first_cause_wins(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(err_set(&e, ERR_DENIED, "first %d", 1), ERR_DENIED);
    assert_int_equal(err_set(&e, ERR_FAILED, "second"), ERR_FAILED);
    assert_int_equal(e.code, ERR_DENIED);
    assert_string_equal(e.text, "first 1");
}

static void overflow_is_seen(void **state)
{
    (void)state;
    size_t out = 7;
    assert_false(size_add(SIZE_MAX, 1, &out));
    assert_false(size_mul(SIZE_MAX / 2, 3, &out));
    assert_false(size_align(SIZE_MAX - 3, 64, &out));
    assert_int_equal(out, 7);
    assert_true(size_align(65, 64, &out));
    assert_int_equal(out, 128);
}

static void cursor_stops_at_the_end(void **state)
{
    (void)state;
    uint8_t data[6] = {1, 0, 0, 0, 2, 3};
    struct cursor c = cursor_of(data, sizeof data);
    assert_int_equal(cursor_u32(&c), 1);
    assert_int_equal(cursor_u32(&c), 0);
    assert_true(c.bad);
    assert_int_equal(cursor_u8(&c), 0); // bad stays bad
    assert_null(cursor_take(&c, UINT64_MAX));
}

static void arena_gives_what_was_planned(void **state)
{
    (void)state;
    struct arena a;
    size_t size = arena_plan(arena_plan(0, 100), 1);
    assert_int_equal(arena_init(&a, size), 0);
    char *p = arena_take(&a, 100), *q = arena_take(&a, 1);
    assert_true(q >= p + 100 && (uintptr_t)q % 64 == 0);
    arena_fini(&a);
    assert_int_equal(arena_init(&a, arena_plan(SIZE_MAX, 1)), -1);
}

struct claimed {
    struct pool *pool;
    atomic_int next, done, wrong;
    int times[500]; // each unit was done
};

static void claim_units(void *arg, int thread)
{
    struct claimed *c = arg;
    (void)thread;
    for (int i; (i = atomic_fetch_add(&c->next, 1)) < 500; pool_add(c->pool, &c->done, 1, 500))
        c->times[i]++;
    pool_await(c->pool, &c->done, 500);
    for (int i = 0; i < 500; i++)
        if (c->times[i] != 1)
            atomic_fetch_add(&c->wrong, 1);
}

static void count_threads(void *arg, int thread)
{
    __atomic_fetch_add((int *)arg + thread, 1, __ATOMIC_RELAXED);
}

// Shared regions, whose late threads nobody waits for, between regions that all threads run.
static void shared_work_is_done_once_however_many_come(void **state)
{
    (void)state;
    for (int n = 1; n <= 4; n++) {
        struct pool *p = pool_new(n);
        int runs[4] = {0};
        assert_non_null(p);
        for (int round = 1; round <= 200; round++) {
            struct claimed c = {.pool = p};
            pool_share(p, claim_units, &c);
            assert_int_equal(c.wrong, 0);
            if (round % 3 == 0)
                pool_run(p, count_threads, runs);
        }
        for (int i = 0; i < n; i++)
            assert_int_equal(runs[i], 200 / 3);
        pool_free(p);
    }
}

static void *volatile kept; // so that the compiler does not remove the pair

static void allocate(void)
{
    kept = malloc(1);
    free(kept);
}

static void a_pool_has_as_many_threads_as_asked_for(void **state)
{
    (void)state;
    for (int n = 1; n <= 4; n++) {
        struct pool *p = pool_new(n);
        assert_non_null(p);
        assert_int_equal(pool_threads(p), n);
        pool_free(p);
    }
    assert_null(pool_new(0));
    assert_null(pool_new(POOL_MAX_THREADS + 1));
    int n = pool_default_threads();
    assert_true(n >= 1 && n <= POOL_MAX_THREADS);
}

static void guard_sees_an_allocation(void **state)
{
    (void)state;
    long before = guard_violations();
    allocate();
    assert_int_equal(guard_violations(), before);
    guard_enter();
    allocate();
    guard_leave();
    assert_int_equal(guard_violations(), before + 1);
}

static void digest_of_abc(void **state)
{
    (void)state;
    char hex[2 * DIGEST_BYTES + 1];
    struct digest d = digest_of("abc", 3); // FIPS 180-4, example B.1
    digest_hex(&d, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void rng_is_reproducible(void **state)
{
    (void)state;
    struct rng a, b;
    rng_init(&a, 42);
    rng_init(&b, 42);
    double sum = 0;
    for (int i = 0; i < 10000; i++) {
        double x = rng_double(&a);
        assert_true(x >= 0 && x < 1 && x == rng_double(&b));
        sum += x;
        uint64_t k = rng_below(&a, 7);
        assert_true(k < 7 && k == rng_below(&b, 7));
    }
    assert_true(sum > 4800 && sum < 5200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_cause_wins),
        cmocka_unit_test(overflow_is_seen),
        cmocka_unit_test(cursor_stops_at_the_end),
        cmocka_unit_test(arena_gives_what_was_planned),
        cmocka_unit_test(a_pool_has_as_many_threads_as_asked_for),
        cmocka_unit_test(shared_work_is_done_once_however_many_come),
        cmocka_unit_test(guard_sees_an_allocation),
        cmocka_unit_test(digest_of_abc),
        cmocka_unit_test(rng_is_reproducible),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
