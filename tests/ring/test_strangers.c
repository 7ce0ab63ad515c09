// Links over loopback that do not come to be or should not have: refusals, wrong nodes, strangers
// with garbage, silence or an old TLS, and peers with a key that do wrong.
#include "support.h"

#include "base/rng.h"
#include "wire_end.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BIG = 40000 };

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
            hello.purpose = 4;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests_name("ring/strangers", tests, NULL, NULL);
}
