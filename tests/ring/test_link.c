// Links over loopback: order, ownership, last words, heartbeats, and sockets that fail. Who is not
// let in is in test_strangers.c.
#include "support.h"

#include "base/clock.h"
#include "base/rng.h"
#include "faulty_net.h"
#include "net/net_io.h"
#include "wire_end.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { FRAMES = 16, BIG = 40000 };

// A pass of one token whose activations are derived from its number.
static struct frame *numbered(struct frame_pool *pool, uint64_t n)
{
    struct frame *f;
    while (!(f = frame_take(pool)))
        usleep(100);
    struct rng r;
    rng_init(&r, n);
    uint32_t width = 1 + (uint32_t)rng_below(&r, BIG / 4 - 64);
    struct wire_token token = {.session = 1, .pos = (uint32_t)n};
    struct pass_view v = {.header = {.pass = n}, .pass = {.n_tokens = 1}, .tokens = &token};
    frame_write_pass(f, &v, width);
    for (uint32_t i = 0; i < width; i++)
        ((uint32_t *)v.activations)[i] = (uint32_t)rng_u64(&r);
    return f;
}

static void assert_numbered(const struct frame *f, uint64_t n)
{
    struct rng r;
    struct pass_view v;
    struct err e = {0};
    rng_init(&r, n);
    uint32_t width = 1 + (uint32_t)rng_below(&r, BIG / 4 - 64);
    assert_ok(frame_read_pass(&v, f->bytes, f->size, width, WIRE_F32, &e), &e);
    assert_int_equal(v.header.pass, n);
    for (uint32_t i = 0; i < width; i++)
        assert_int_equal(((uint32_t *)v.activations)[i], (uint32_t)rng_u64(&r));
}

static struct frame *pop(struct wire_end *end)
{
    struct frame *f = frame_queue_pop(end->frames, WIRE_END_HANG_S * INT64_C(1000000000), 0);
    assert_non_null(f);
    return f;
}

struct sender {
    struct wire_end *end;
    struct frame_pool *pool;
    int n;
};

static void *send_all(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < s->n; i++)
        link_send(s->end->link, numbered(s->pool, (uint64_t)i));
    return NULL;
}

// `n` frames each way at the same time.
static void exchange(struct wire_pair *p, int n)
{
    struct sender s[2] = {{&p->dialler, frame_pool_new(4, BIG), n},
                          {&p->listener, frame_pool_new(4, BIG), n}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &s[i]), 0);
    for (int i = 0; i < n; i++) {
        struct frame *a = pop(&p->listener), *b = pop(&p->dialler);
        assert_numbered(a, (uint64_t)i);
        assert_numbered(b, (uint64_t)i);
        frame_release(a);
        frame_release(b);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        wire_end_wait(s[i].end, &s[i].end->sent, n);
    }
    wire_pair_close(p); // gives all frames back
    for (int i = 0; i < 2; i++)
        frame_pool_free(s[i].pool);
}

static void thousands_of_frames_keep_their_order_both_ways(void **state)
{
    struct wire_pair p;
    (void)state;
    wire_pair_open(&p, FRAMES, BIG);
    exchange(&p, 3000);
}

static void frames_survive_short_calls(void **state)
{
    struct wire_pair p;
    (void)state;
    for (size_t most = 1; most < 5000; most = most * 7 + 1) {
        faulty_net((struct net_faults){.most = most, .again_every = 3});
        wire_pair_open(&p, FRAMES, BIG);
        exchange(&p, most < 10 ? 2 : 20);
        assert_false(faulty_net_end());
    }
}

static void both_ends_know_each_other_when_they_open(void **state)
{
    struct wire_pair p;
    (void)state;
    wire_pair_open(&p, FRAMES, BIG);
    struct digest dialler = tls_identity_digest(p.dialler_id);
    struct digest listener = tls_identity_digest(p.listener_id);
    assert_memory_equal(p.listener.peer.bytes, dialler.bytes, DIGEST_BYTES);
    assert_memory_equal(p.dialler.peer.bytes, listener.bytes, DIGEST_BYTES);
    assert_memory_equal(p.dialler.exporter, p.listener.exporter, TLS_EXPORTER_BYTES);
    assert_string_equal(p.dialler.welcome.name, "listener");
    assert_string_equal(p.dialler.welcome.build, RONDO_VERSION);
    struct net_address from = link_peer_address(p.listener.link);
    assert_true(net_address_loopback(&from));
    struct wire_pair q;
    wire_pair_open(&q, FRAMES, BIG);
    assert_memory_not_equal(p.dialler.exporter, q.dialler.exporter, TLS_EXPORTER_BYTES);
    wire_pair_close(&q);
    wire_pair_close(&p);
}

static void a_full_pool_holds_the_sender_back_and_loses_nothing(void **state)
{
    struct wire_pair p;
    (void)state;
    wire_pair_open(&p, 2, BIG);
    struct frame_pool *pool = frame_pool_new(50, BIG);
    for (uint64_t i = 0; i < 50; i++)
        link_send(p.dialler.link, numbered(pool, i));
    struct frame *first = pop(&p.listener), *second = pop(&p.listener);
    assert_null(frame_queue_pop(p.listener.frames, 50000000, 0)); // both frames are held here
    assert_true(link_is_open(p.listener.link));
    assert_numbered(first, 0);
    assert_numbered(second, 1);
    frame_release(second);
    frame_release(first);
    for (uint64_t i = 2; i < 50; i++) {
        struct frame *f = pop(&p.listener);
        assert_numbered(f, i);
        frame_release(f);
    }
    wire_end_wait(&p.dialler, &p.dialler.sent, 50);
    wire_pair_close(&p);
    frame_pool_free(pool);
}

static void last_words_come_after_everything_that_was_queued(void **state)
{
    struct wire_pair p;
    struct err why = {0};
    (void)state;
    wire_pair_open(&p, 32, BIG);
    struct frame_pool *pool = frame_pool_new(21, BIG);
    for (uint64_t i = 0; i < 20; i++)
        assert_true(link_send(p.dialler.link, numbered(pool, i)));
    err_set(&why, ERR_NO_MEMORY, "there is no room left");
    link_close(p.dialler.link, &why);
    assert_false(link_send(p.dialler.link, numbered(pool, 20)));
    for (uint64_t i = 0; i < 20; i++) {
        struct frame *f = pop(&p.listener);
        assert_numbered(f, i);
        frame_release(f);
    }
    wire_end_wait(&p.listener, &p.listener.closed, 1);
    wire_end_wait(&p.dialler, &p.dialler.closed, 1);
    assert_int_equal(p.listener.why.code, ERR_NO_MEMORY);
    assert_string_equal(p.listener.why.text, "there is no room left");
    assert_string_equal(p.dialler.why.text, "there is no room left");
    assert_false(link_is_open(p.listener.link));
    assert_false(link_send(p.listener.link, numbered(pool, 21)));
    wire_pair_close(&p);
    frame_pool_free(pool);
}

static void closing_without_a_reason_is_told_as_such(void **state)
{
    struct wire_pair p;
    (void)state;
    wire_pair_open(&p, 2, BIG);
    link_close(p.listener.link, NULL);
    wire_end_wait(&p.dialler, &p.dialler.closed, 1);
    wire_end_wait(&p.listener, &p.listener.closed, 1);
    assert_int_equal(p.listener.why.code, 0);
    assert_int_equal(p.dialler.why.code, ERR_UNREACHABLE);
    wire_pair_close(&p);
}

static int open_descriptors(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void links_that_are_gone_leave_nothing_open(void **state)
{
    (void)state;
    int before = open_descriptors();
    for (int i = 0; i < 20; i++) {
        struct wire_pair p;
        wire_pair_open(&p, 2, BIG);
        if (i % 2)
            link_close(i % 4 == 1 ? p.dialler.link : p.listener.link, NULL);
        wire_pair_close(&p);
    }
    assert_int_equal(open_descriptors(), before);
}

static void heartbeats_carry_the_pulse_and_the_clock(void **state)
{
    struct tls_identity *a = wire_identity(), *b = wire_identity();
    struct wire_end dialler, listener;
    struct link_pulse pulse = {.progress = 41, .busy = 1};
    struct door *door;
    struct err e = {0};
    (void)state;
    wire_end_init(&dialler, 2, BIG);
    wire_end_init(&listener, 2, BIG);
    struct door_options d = {.host = "127.0.0.1", .link = wire_end_options(&listener, b)};
    assert_ok(door_open(&door, &d, &e), &e);
    struct link_target to = wire_target(b, door_port(door));
    struct link_options o = wire_end_options(&dialler, a);
    o.pulse = &pulse;
    o.heartbeat_ms = 5;
    assert_ok(link_dial(&dialler.link, &to, &o, &e), &e);
    wire_end_wait(&listener, &listener.opened, 1);
    struct link_peer_state s = {0};
    while (s.round_trip_ns == 0 || s.progress < 41)
        usleep(1000), s = link_peer_state(listener.link);
    atomic_store(&pulse.progress, 42);
    atomic_store(&pulse.busy, 0);
    int64_t before_ns = link_last_heard_ns(listener.link);
    while (s.progress != 42)
        usleep(1000), s = link_peer_state(listener.link);
    assert_int_equal(s.busy, 0);
    assert_true(link_last_heard_ns(listener.link) >= before_ns);
    // One machine, one clock: the error is at most half of the round trip.
    assert_true(s.offset_ns <= s.round_trip_ns && -s.offset_ns <= s.round_trip_ns);
    door_close(door);
    wire_end_fini(&dialler);
    wire_end_fini(&listener);
    tls_identity_free(a);
    tls_identity_free(b);
}

// ---- Sockets that fail. Whatever fails and when: both ends are told once, nothing is lost,
// nothing hangs.

static void wait_open_or_closed(struct wire_end *end)
{
    pthread_mutex_lock(&end->lock);
    while (!end->opened && !end->closed)
        pthread_cond_wait(&end->changed, &end->lock);
    pthread_mutex_unlock(&end->lock);
}

static bool survives(enum net_call kind, long nth, int error)
{
    struct tls_identity *a = wire_identity(), *b = wire_identity();
    struct wire_end dialler, listener;
    struct door *door;
    struct err e = {0};
    faulty_net((struct net_faults){.call = kind, .nth = nth, .error = error});
    wire_end_init(&dialler, 4, BIG);
    wire_end_init(&listener, 4, BIG);
    struct frame_pool *pool = frame_pool_new(4, BIG);
    struct door_options d = {.host = "127.0.0.1", .link = wire_end_options(&listener, b)};
    assert_ok(door_open(&door, &d, &e), &e);
    struct link_target to = wire_target(b, door_port(door));
    struct link_options o = wire_end_options(&dialler, a);
    assert_ok(link_dial(&dialler.link, &to, &o, &e), &e);
    for (uint64_t i = 0; i < 3; i++)
        link_send(dialler.link, numbered(pool, i)); // before it is open: it waits for that
    struct err why = {0};
    err_set(&why, ERR_FAILED, "that was all");
    wait_open_or_closed(&dialler);
    link_close(dialler.link, &why);
    wire_end_wait(&dialler, &dialler.closed, 1);
    uint64_t got = 0;
    door_close(door);
    if (listener.link)
        wire_end_wait(&listener, &listener.closed, 1);
    for (struct frame *f; (f = frame_queue_pop(listener.frames, 0, 0)); frame_release(f))
        assert_numbered(f, got++);
    bool happened = faulty_net_end();
    assert_true(happened || got == 3);
    assert_int_equal(dialler.closed, 1);
    assert_true(listener.closed <= 1);
    wire_end_fini(&dialler);
    wire_end_fini(&listener);
    frame_pool_free(pool);
    tls_identity_free(a);
    tls_identity_free(b);
    return happened;
}

static void every_call_that_fails_is_survived(void **state)
{
    const struct {
        enum net_call call;
        int error;
    } kinds[] = {{NET_CONNECT, ENETUNREACH}, {NET_ACCEPT, EMFILE}, {NET_SEND, ECONNRESET},
                 {NET_RECV, ECONNRESET},     {NET_RECV, 0},        {NET_POLL, EINVAL}};
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        long n = 0;
        while (n < 40 && survives(kinds[k].call, n, kinds[k].error))
            n++;
        assert_true(n > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thousands_of_frames_keep_their_order_both_ways),
        cmocka_unit_test(frames_survive_short_calls),
        cmocka_unit_test(both_ends_know_each_other_when_they_open),
        cmocka_unit_test(a_full_pool_holds_the_sender_back_and_loses_nothing),
        cmocka_unit_test(last_words_come_after_everything_that_was_queued),
        cmocka_unit_test(closing_without_a_reason_is_told_as_such),
        cmocka_unit_test(links_that_are_gone_leave_nothing_open),
        cmocka_unit_test(heartbeats_carry_the_pulse_and_the_clock),
        cmocka_unit_test(every_call_that_fails_is_survived),
    };
    return cmocka_run_group_tests_name("ring/link", tests, NULL, NULL);
}
