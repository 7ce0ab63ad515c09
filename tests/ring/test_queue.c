// The queue between link threads and compute loops.
#include "support.h"

#include "base/clock.h"
#include "ring/queue.h"

#include <pthread.h>
#include <unistd.h>

enum { EVER = -1 };

static void frames_come_out_in_order_and_no_more_go_in_than_fit(void **state)
{
    struct frame_pool *p = frame_pool_new(4, 64);
    struct frame_queue *q = frame_queue_new(3);
    struct frame *f[4];
    (void)state;
    for (int i = 0; i < 4; i++) {
        f[i] = frame_take(p);
        assert_int_equal(frame_queue_push(q, f[i]), i < 3);
    }
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(frame_queue_pop(q, 0, 0), f[i]);
    assert_null(frame_queue_pop(q, 0, 0));
    assert_true(frame_queue_push(q, f[3]));
    for (int i = 0; i < 3; i++)
        frame_release(f[i]);
    frame_queue_free(q); // releases the last
    frame_pool_free(p);
}

static void a_pop_waits_as_long_as_it_was_told(void **state)
{
    struct frame_queue *q = frame_queue_new(1);
    (void)state;
    for (int spin = 0; spin < 2; spin++) {
        int64_t start_ns = clock_ns();
        assert_null(frame_queue_pop(q, 20000000, spin ? 1000000000 : 0));
        assert_true(clock_ns() - start_ns >= 20000000);
    }
    frame_queue_free(q);
}

static void a_closed_queue_gives_what_is_left(void **state)
{
    struct frame_pool *p = frame_pool_new(2, 64);
    struct frame_queue *q = frame_queue_new(2);
    struct frame *f = frame_take(p), *late = frame_take(p);
    (void)state;
    assert_false(frame_queue_closed(q));
    assert_true(frame_queue_push(q, f));
    frame_queue_close(q);
    assert_true(frame_queue_closed(q));
    assert_false(frame_queue_push(q, late));
    assert_ptr_equal(frame_queue_pop(q, EVER, 0), f);
    assert_null(frame_queue_pop(q, EVER, 1000000));
    frame_release(f);
    frame_release(late);
    frame_queue_free(q);
    frame_pool_free(p);
}

struct traffic {
    struct frame_pool *pool;
    struct frame_queue *queue;
    int n;
};

static void *push_all(void *arg)
{
    struct traffic *t = arg;
    for (int i = 0; i < t->n;) {
        struct frame *f = frame_take(t->pool);
        if (!f)
            continue;
        f->size = (size_t)i;
        while (!frame_queue_push(t->queue, f))
            sched_yield();
        i++;
    }
    return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    for (int spin_ns = 0; spin_ns < 100000; spin_ns += 50000) {
        struct traffic t = {frame_pool_new(8, 64), frame_queue_new(4), 20000};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, push_all, &t), 0);
        for (int i = 0; i < t.n; i++) {
            struct frame *f = frame_queue_pop(t.queue, EVER, spin_ns);
            assert_non_null(f);
            assert_int_equal(f->size, i);
            frame_release(f);
        }
        pthread_join(thread, NULL);
        frame_queue_free(t.queue);
        frame_pool_free(t.pool);
    }
}

static void *wake_it(void *arg)
{
    usleep(20000);
    frame_queue_wake(arg);
    return NULL;
}

static void a_waiting_pop_can_be_woken(void **state)
{
    struct frame_queue *q = frame_queue_new(1);
    pthread_t thread;
    (void)state;
    for (int spin = 0; spin < 2; spin++) {
        assert_int_equal(pthread_create(&thread, NULL, wake_it, q), 0);
        assert_null(frame_queue_pop(q, EVER, spin ? 1000000000 : 0));
        pthread_join(thread, NULL);
    }
    frame_queue_wake(q); // before anybody waits: the next pop is the one
    assert_null(frame_queue_pop(q, EVER, 0));
    frame_queue_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_out_in_order_and_no_more_go_in_than_fit),
        cmocka_unit_test(a_pop_waits_as_long_as_it_was_told),
        cmocka_unit_test(a_closed_queue_gives_what_is_left),
        cmocka_unit_test(nothing_is_lost_between_threads),
        cmocka_unit_test(a_waiting_pop_can_be_woken),
    };
    return cmocka_run_group_tests_name("ring/queue", tests, NULL, NULL);
}
