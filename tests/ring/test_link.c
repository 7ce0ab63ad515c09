// Links over loopback: order, ownership, refusals, what strangers send, and sockets that fail.
#include "support.h"

#include "base/clock.h"
#include "base/rng.h"
#include "faulty_net.h"
#include "net/net_io.h"
#include "wire_end.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/ssl.h>
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

// ---- Those who are not let in.

struct stage {
    struct tls_identity *id, *other;
    struct wire_end listener;
    struct door *door;
};

static void stage_open(struct stage *s, int open_ms, int max_unknown)
{
    struct err e = {0};
    s->id = wire_identity();
    s->other = wire_identity();
    wire_end_init(&s->listener, 4, BIG);
    struct door_options d = {.host = "127.0.0.1",
                             .max_unknown = max_unknown,
                             .link = wire_end_options(&s->listener, s->id)};
    d.link.open_ms = open_ms;
    assert_ok(door_open(&s->door, &d, &e), &e);
}

static void stage_close(struct stage *s)
{
    door_close(s->door);
    wire_end_fini(&s->listener);
    tls_identity_free(s->id);
    tls_identity_free(s->other);
}

// Dials with these hello and target; returns what the dialler was told when it was over.
static struct err told(struct stage *s, const struct link_target *to, uint16_t version)
{
    struct wire_end dialler;
    struct err e = {0};
    wire_end_init(&dialler, 2, BIG);
    dialler.header.version = version;
    dialler.hello.token_id = 77;
    struct link_options o = wire_end_options(&dialler, s->other);
    assert_ok(link_dial(&dialler.link, to, &o, &e), &e);
    wire_end_wait(&dialler, &dialler.closed, 1);
    assert_int_equal(dialler.opened, 0);
    e = dialler.why;
    wire_end_fini(&dialler);
    pthread_mutex_lock(&s->listener.lock); // what admit noted there may be read from here on
    pthread_mutex_unlock(&s->listener.lock);
    return e;
}

static void assert_a_good_link_opens(struct stage *s)
{
    struct wire_end dialler;
    struct err e = {0};
    wire_end_init(&dialler, 2, BIG);
    struct link_target to = wire_target(s->id, door_port(s->door));
    struct link_options o = wire_end_options(&dialler, s->other);
    s->listener.refuse = 0;
    int opened = s->listener.opened;
    assert_null(s->listener.link);
    assert_ok(link_dial(&dialler.link, &to, &o, &e), &e);
    wire_end_wait(&dialler, &dialler.opened, 1);
    wire_end_wait(&s->listener, &s->listener.opened, opened + 1);
    wire_end_fini(&dialler);
    link_free(s->listener.link);
    s->listener.link = NULL;
}

static void a_refusal_is_the_same_sentence_on_both_sides(void **state)
{
    struct stage s;
    (void)state;
    stage_open(&s, 0, 0);
    struct link_target to = wire_target(s.id, door_port(s.door));
    s.listener.refuse = ERR_DENIED;
    s.listener.sentence = "the secret is wrong; make a new token";
    struct err why = told(&s, &to, WIRE_VERSION);
    assert_int_equal(why.code, ERR_DENIED);
    assert_string_equal(why.text, s.listener.sentence);
    assert_int_equal(s.listener.hello.token_id, 77);
    assert_int_equal(s.listener.closed, 0); // never was the listener's
    assert_a_good_link_opens(&s);
    stage_close(&s);
}

static void another_protocol_version_reaches_admit_with_its_build(void **state)
{
    struct stage s;
    (void)state;
    stage_open(&s, 0, 0);
    struct link_target to = wire_target(s.id, door_port(s.door));
    s.listener.refuse = ERR_FAILED;
    s.listener.sentence = "versions differ";
    struct err why = told(&s, &to, WIRE_VERSION + 1);
    assert_string_equal(why.text, "versions differ");
    assert_int_equal(s.listener.header.version, WIRE_VERSION + 1);
    assert_string_equal(s.listener.hello.build, RONDO_VERSION);
    assert_int_equal(s.listener.hello.token_id, 0); // nothing behind build is read
    stage_close(&s);
}

static void a_node_with_another_certificate_is_not_talked_to(void **state)
{
    struct stage s;
    (void)state;
    stage_open(&s, 0, 0);
    struct link_target to = wire_target(s.other, door_port(s.door));
    struct err why = told(&s, &to, WIRE_VERSION);
    assert_int_equal(why.code, ERR_DENIED);
    assert_non_null(strstr(why.text, "certificate"));
    assert_int_equal(s.listener.admitted, 0);
    stage_close(&s);
}

static void the_right_node_is_found_behind_the_second_address(void **state)
{
    struct stage s;
    struct tls_identity *wrong = wire_identity();
    struct wire_end elsewhere, dialler;
    struct door *other_door;
    struct err e = {0};
    (void)state;
    stage_open(&s, 0, 0);
    wire_end_init(&elsewhere, 2, BIG);
    wire_end_init(&dialler, 2, BIG);
    struct door_options d = {.host = "127.0.0.2",
                             .port = door_port(s.door),
                             .link = wire_end_options(&elsewhere, wrong)};
    assert_ok(door_open(&other_door, &d, &e), &e);
    struct link_target to = wire_target(s.id, door_port(s.door));
    to.n_addresses = 3;
    to.addresses[2] = to.addresses[0];
    to.addresses[0].bytes[3] = 3; // nobody
    to.addresses[1] = to.addresses[0];
    to.addresses[1].bytes[3] = 2; // somebody else
    struct link_options o = wire_end_options(&dialler, s.other);
    assert_ok(link_dial(&dialler.link, &to, &o, &e), &e);
    wire_end_wait(&dialler, &dialler.opened, 1);
    assert_int_equal(elsewhere.admitted, 0);
    wire_end_fini(&dialler);
    door_close(other_door);
    wire_end_fini(&elsewhere);
    tls_identity_free(wrong);
    stage_close(&s);
}

static void dialling_nobody_is_one_sentence(void **state)
{
    struct stage s;
    (void)state;
    stage_open(&s, 0, 0);
    struct link_target to = wire_target(s.id, door_port(s.door));
    to.addresses[0].bytes[3] = 9; // the door listens on 127.0.0.1 only
    struct err why = told(&s, &to, WIRE_VERSION);
    assert_int_equal(why.code, ERR_UNREACHABLE);
    assert_non_null(strstr(why.text, "127.0.0.9"));
    to.n_addresses = 0;
    assert_int_equal(told(&s, &to, WIRE_VERSION).code, ERR_UNREACHABLE);
    stage_close(&s);
}

static void a_dialled_link_can_be_given_up_at_any_time(void **state)
{
    struct stage s;
    struct err e = {0};
    uint16_t port;
    (void)state;
    stage_open(&s, 0, 0);
    s.listener.refuse = ERR_FAILED;
    s.listener.sentence = "not today";
    int mute = net_listen("127.0.0.1", 0, &port, &e); // takes the call and says nothing
    assert_true(mute >= 0);
    for (int i = 0; i < 30; i++) {
        struct wire_end dialler;
        wire_end_init(&dialler, 2, BIG);
        bool quiet = i % 3 == 0;
        struct link_target to = wire_target(s.id, quiet ? port : door_port(s.door));
        struct link_options o = wire_end_options(&dialler, s.other);
        o.open_ms = 600000;
        assert_ok(link_dial(&dialler.link, &to, &o, &e), &e);
        usleep((unsigned)(i * 200));
        if (i % 2)
            link_close(dialler.link, NULL);
        wire_end_fini(&dialler);
        assert_int_equal(dialler.closed, 1);
    }
    close(mute);
    stage_close(&s);
}

// ---- Strangers.

static int call(struct stage *s)
{
    struct err e = {0};
    struct net_address to = {.family = 4, .bytes = {127, 0, 0, 1}};
    int fd = net_connect(&to, door_port(s->door), 10000, -1, &e);
    assert_true(fd >= 0);
    return fd;
}

// Until the other side hangs up.
static void assert_hung_up(int fd)
{
    char ignored[4096];
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, WIRE_END_HANG_S * 1000), 1);
        ssize_t n = recv(fd, ignored, sizeof ignored, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            break;
        assert_true(n > 0);
    }
    close(fd);
}

static void garbage_is_hung_up_on(void **state)
{
    struct stage s;
    struct rng r;
    uint8_t garbage[5000];
    (void)state;
    stage_open(&s, 0, 0);
    rng_init(&r, 5);
    for (int i = 0; i < 20; i++) {
        for (size_t k = 0; k < sizeof garbage; k++)
            garbage[k] = (uint8_t)rng_u64(&r);
        if (i % 2) { // looks like the beginning of a TLS record
            const uint8_t record[] = {22, 3, 1, 0x10, 0, 1, 0, 0x0f, 0xfc};
            memcpy(garbage, record, sizeof record);
        }
        int fd = call(&s);
        assert_int_equal(send(fd, garbage, sizeof garbage, MSG_NOSIGNAL), sizeof garbage);
        assert_hung_up(fd);
    }
    const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    int fd = call(&s);
    assert_int_equal(send(fd, http, sizeof http - 1, MSG_NOSIGNAL), sizeof http - 1);
    assert_hung_up(fd);
    assert_int_equal(s.listener.admitted, 0);
    assert_a_good_link_opens(&s);
    stage_close(&s);
}

static void who_says_nothing_is_hung_up_on(void **state)
{
    struct stage s;
    (void)state;
    stage_open(&s, 200, 0);
    int silent = call(&s), slow = call(&s);
    const uint8_t hello[] = {22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3};
    for (size_t i = 0; i < sizeof hello; i++) { // a byte now and then buys no time
        if (send(slow, &hello[i], 1, MSG_NOSIGNAL) != 1)
            break;
        usleep(30000);
    }
    assert_hung_up(silent);
    assert_hung_up(slow);
    assert_int_equal(s.listener.admitted, 0);
    stage_close(&s);
}

static void a_crowd_of_strangers_keeps_nobody_out(void **state)
{
    struct stage s;
    int crowd[12];
    (void)state;
    stage_open(&s, 600000, 3);
    for (int i = 0; i < 12; i++)
        crowd[i] = call(&s);
    assert_a_good_link_opens(&s);
    for (int i = 0; i < 9; i++) // the oldest made room
        assert_hung_up(crowd[i]);
    stage_close(&s); // and does not wait for the rest
    for (int i = 9; i < 12; i++)
        close(crowd[i]);
}

static void an_older_tls_is_refused(void **state)
{
    struct stage s;
    (void)state;
    stage_open(&s, 0, 0);
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());
    assert_true(SSL_CTX_set_max_proto_version(c, TLS1_2_VERSION));
    SSL *ssl = SSL_new(c);
    int fd = call(&s);
    BIO *b = BIO_new_socket(fd, BIO_NOCLOSE);
    SSL_set_bio(ssl, b, b);
    for (int rc = -1; rc < 0;) {
        rc = SSL_connect(ssl);
        if (rc < 0 && SSL_get_error(ssl, rc) != SSL_ERROR_WANT_READ)
            break;
        assert_int_not_equal(rc, 1);
        usleep(1000);
    }
    SSL_free(ssl);
    SSL_CTX_free(c);
    assert_hung_up(fd);
    assert_int_equal(s.listener.admitted, 0);
    stage_close(&s);
}

// ---- A peer that has a key and does wrong.

struct rogue {
    struct stage stage;
    struct tls *tls;
    int fd;
};

static ssize_t rogue_step(struct rogue *r, ssize_t rc)
{
    assert_true(rc >= 0);
    if (rc == TLS_AGAIN) {
        struct pollfd p = {.fd = r->fd, .events = tls_wants(r->tls)};
        assert_int_equal(poll(&p, 1, WIRE_END_HANG_S * 1000), 1);
    }
    return rc;
}

static void rogue_send(struct rogue *r, const void *data, size_t size)
{
    struct err e = {0};
    for (size_t done = 0; done < size;)
        done +=
            (size_t)rogue_step(r, tls_write(r->tls, (const uint8_t *)data + done, size - done, &e));
}

static void rogue_read(struct rogue *r, void *data, size_t size)
{
    struct err e = {0};
    for (size_t done = 0; done < size;)
        done += (size_t)rogue_step(r, tls_read(r->tls, (uint8_t *)data + done, size - done, &e));
}

// TLS is up.
static void rogue_call(struct rogue *r)
{
    struct err e = {0};
    stage_open(&r->stage, 0, 0);
    r->fd = call(&r->stage);
    assert_ok(tls_new(&r->tls, r->stage.other, r->fd, TLS_DIALLED, NULL, &e), &e);
    while (rogue_step(r, tls_handshake(r->tls, &e)) != 1)
        ;
}

static struct frame small_frame(uint8_t bytes[1024])
{
    return (struct frame){.bytes = bytes, .capacity = 1024};
}

// And it has been let in.
static void rogue_join(struct rogue *r)
{
    _Alignas(8) uint8_t bytes[1024];
    struct frame f = small_frame(bytes);
    struct wire_header h = {.version = WIRE_VERSION};
    struct wire_hello hello = {.purpose = WIRE_EDGE};
    struct wire_welcome welcome;
    struct err e = {0};
    rogue_call(r);
    frame_write_hello(&f, &h, &hello);
    rogue_send(r, f.bytes, f.size);
    rogue_read(r, bytes, sizeof h + sizeof welcome);
    assert_ok(frame_read_answer(&welcome, bytes, sizeof h + sizeof welcome, &e), &e);
    wire_end_wait(&r->stage.listener, &r->stage.listener.opened, 1);
}

// Hangs up and takes the stage down; what the listener was told.
static struct err rogue_leave(struct rogue *r)
{
    struct wire_end *end = &r->stage.listener;
    tls_free(r->tls);
    close(r->fd);
    if (end->link)
        wire_end_wait(end, &end->closed, 1);
    struct err why = end->why;
    stage_close(&r->stage); // all frames are back: the pool checks it
    return why;
}

static void half_a_frame_is_given_back(void **state)
{
    _Alignas(8) uint8_t bytes[1024] = {0};
    (void)state;
    for (int size = 1; size < 1000; size += 111) {
        struct rogue r;
        struct frame f = small_frame(bytes);
        struct wire_op op = {0};
        struct wire_token tokens[64] = {{0}};
        struct pass_view v = {.pass = {.n_ops = 1, .n_tokens = 64}, .ops = &op, .tokens = tokens};
        rogue_join(&r);
        frame_write_pass(&f, &v, 1);
        rogue_send(&r, bytes, (size_t)size < f.size ? (size_t)size : f.size - 1);
        struct err why = rogue_leave(&r);
        assert_int_equal(why.code, ERR_UNREACHABLE);
    }
}

static void bad_headers_end_the_link_with_a_sentence(void **state)
{
    const struct {
        struct wire_header h;
        const char *sentence;
    } bad[] = {
        {{.magic = 0x12345678, .version = WIRE_VERSION, .type = WIRE_PASS}, "no message of rondo"},
        {{.magic = WIRE_MAGIC, .version = 9, .type = WIRE_PASS}, "protocol version 9"},
        {{.magic = WIRE_MAGIC, .version = WIRE_VERSION, .type = 0}, "unknown type"},
        {{.magic = WIRE_MAGIC, .version = WIRE_VERSION, .type = 99}, "unknown type"},
        {{.magic = WIRE_MAGIC, .version = WIRE_VERSION, .type = WIRE_PASS, .size = UINT32_MAX},
         "more than"},
        {{.magic = WIRE_MAGIC, .version = WIRE_VERSION, .type = WIRE_PASS, .size = BIG - 31},
         "more than"},
        {{.magic = WIRE_MAGIC, .version = WIRE_VERSION, .type = WIRE_HEARTBEAT, .size = 20000},
         "too long"},
        {{.magic = WIRE_MAGIC, .version = WIRE_VERSION, .type = WIRE_HEARTBEAT, .size = 3},
         "malformed"},
        {{.magic = WIRE_MAGIC, .version = WIRE_VERSION, .type = WIRE_HELLO, .size = 96}, "twice"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rogue r;
        rogue_join(&r);
        rogue_send(&r, &bad[i].h, sizeof bad[i].h);
        if (bad[i].h.size == 3)
            rogue_send(&r, "abc", 3);
        wire_end_wait(&r.stage.listener, &r.stage.listener.closed, 1);
        struct err why = rogue_leave(&r);
        if (!strstr(why.text, bad[i].sentence))
            fail_msg("header %zu: %s", i, why.text);
    }
}

static void a_wrong_first_message_is_refused(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct rogue r;
        struct wire_header h = {.magic = WIRE_MAGIC,
                                .version = WIRE_VERSION,
                                .type = WIRE_HELLO,
                                .size = sizeof(struct wire_hello)};
        struct wire_hello hello = {.purpose = WIRE_EDGE};
        _Alignas(8) uint8_t answer[sizeof(struct wire_header) + sizeof(struct wire_sentence)];
        char text[WIRE_MAX_TEXT + 1];
        struct err e = {0};
        int code;
        rogue_call(&r);
        if (kind == 0)
            h.type = WIRE_PASS;
        if (kind == 1)
            h.size--;
        if (kind == 2)
            h.magic++;
        if (kind == 3)
            hello.purpose = 3;
        rogue_send(&r, &h, sizeof h);
        rogue_send(&r, &hello, sizeof hello);
        rogue_read(&r, answer, sizeof answer);
        assert_ok(frame_read_sentence(&code, text, answer, sizeof answer, &e), &e);
        assert_true(strlen(text) > 10);
        assert_int_equal(r.stage.listener.admitted, 0);
        assert_a_good_link_opens(&r.stage);
        rogue_leave(&r);
    }
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
        cmocka_unit_test(a_refusal_is_the_same_sentence_on_both_sides),
        cmocka_unit_test(another_protocol_version_reaches_admit_with_its_build),
        cmocka_unit_test(a_node_with_another_certificate_is_not_talked_to),
        cmocka_unit_test(the_right_node_is_found_behind_the_second_address),
        cmocka_unit_test(dialling_nobody_is_one_sentence),
        cmocka_unit_test(a_dialled_link_can_be_given_up_at_any_time),
        cmocka_unit_test(garbage_is_hung_up_on),
        cmocka_unit_test(who_says_nothing_is_hung_up_on),
        cmocka_unit_test(a_crowd_of_strangers_keeps_nobody_out),
        cmocka_unit_test(an_older_tls_is_refused),
        cmocka_unit_test(half_a_frame_is_given_back),
        cmocka_unit_test(bad_headers_end_the_link_with_a_sentence),
        cmocka_unit_test(a_wrong_first_message_is_refused),
        cmocka_unit_test(every_call_that_fails_is_survived),
    };
    return cmocka_run_group_tests_name("ring/link", tests, NULL, NULL);
}
