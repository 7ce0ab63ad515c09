// Who is not let in, what does not fit and who is lost: a sentence on both sides, and whoever is
// left goes on.
#include "support.h"

#include "ring_rig.h"
#include "tiny_model.h"
#include "wire_end.h"

#include "cluster/identity.h"
#include "cluster/pairing_book.h"
#include "cluster/remote.h"
#include "engine/session.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LAYERS = 4, TOKENS = 24 };

static char model_path[256], other_path[256], holed_path[256];

static const char *make(char *path, size_t size, const char *name, uint64_t seed,
                        const char *without)
{
    struct tiny_model t = {
        .n_layers = LAYERS, .seed = seed, .context = RING_CONTEXT, .leave_out = without};
    snprintf(path, size, "%s", test_file(name));
    tiny_model_write(path, &t);
    return path;
}

// ---- The head's log: what it tells people about strangers.

static int log_fd = -1, real_stderr;

static void log_begin(void)
{
    const char *path = test_file("log");
    fflush(stderr);
    real_stderr = dup(STDERR_FILENO);
    log_fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(log_fd >= 0);
    dup2(log_fd, STDERR_FILENO);
}

static void log_end(void)
{
    fflush(stderr);
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(log_fd);
}

// Waits until the log has this sentence: its thread may still be closing the connection.
static void log_await(const char *what)
{
    char text[8192];
    for (int tries = 0; tries < 6000; tries++) {
        ssize_t n = pread(log_fd, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = 0;
        if (strstr(text, what))
            return;
        usleep(10000);
    }
    log_end();
    fail_msg("'%s' is not in the log: %s", what, text);
}

static void assert_contains(const char *text, const char *what)
{
    if (!strstr(text, what))
        fail_msg("'%s' is not in: %s", what, text);
}

// ---- Refusals at the door.

// The worker ends by itself with this code and sentence, which the head's log has too.
static void check_refused(struct node *head, const char *token, int code, const char *sentence)
{
    static struct ring_worker w;
    log_begin();
    ring_worker_start(&w, "stranger", token, model_path, 1);
    ring_worker_await_end(&w);
    ring_worker_stop(&w);
    log_await(sentence);
    log_end();
    node_close(head);
    assert_int_equal(w.rc, code);
    assert_contains(w.e.text, sentence);
}

static void change_token(const char *token, char out[TOKEN_TEXT_MAX],
                         void (*change)(struct token *))
{
    struct token t;
    struct err e = {0};
    assert_ok(token_read(&t, token, strlen(token), &e), &e);
    change(&t);
    token_write(&t, out);
}

static void spoil_secret(struct token *t)
{
    t->secret[3] ^= 1;
}

static void spoil_fingerprint(struct token *t)
{
    t->fingerprint.bytes[0] ^= 1;
}

static void a_wrong_secret_is_refused_on_both_sides(void **state)
{
    (void)state;
    struct node *head = ring_head_open("head-a", 0);
    char token[TOKEN_TEXT_MAX];
    change_token(node_token(head), token, spoil_secret);
    check_refused(head, token, ERR_DENIED, "the token's secret is wrong");
}

static void a_token_of_another_head_does_not_connect(void **state)
{
    (void)state;
    static struct ring_worker w;
    struct node *head = ring_head_open("head-b", 0);
    char token[TOKEN_TEXT_MAX];
    change_token(node_token(head), token, spoil_fingerprint);
    log_begin();
    ring_worker_start(&w, "stranger", token, model_path, 1);
    ring_worker_await_end(&w);
    ring_worker_stop(&w);
    node_close(head);
    log_end();
    assert_int_equal(w.rc, ERR_DENIED);
}

static const char *folder_of(const char *name)
{
    return test_file(name);
}

static int revoke_all(void *ctx, struct pairing_book *b, struct err *e)
{
    (void)ctx;
    for (int i = 0; i < b->n_tokens; i++)
        if (pairing_book_revoke_token(b, b->tokens[i].id, 1, e))
            return e->code;
    for (int i = 0; i < b->n_peers; i++)
        b->peers[i].revoked_s = INT64_MAX;
    return 0;
}

static int expire_all(void *ctx, struct pairing_book *b, struct err *e)
{
    (void)ctx, (void)e;
    for (int i = 0; i < b->n_tokens; i++)
        b->tokens[i].expires_s = 1;
    return 0;
}

static void a_revoked_token_lets_nobody_in(void **state)
{
    (void)state;
    struct err e = {0};
    struct node *head = ring_head_open("head-c", 0);
    char token[TOKEN_TEXT_MAX];
    snprintf(token, sizeof token, "%s", node_token(head));
    assert_ok(pairing_book_change(folder_of("head-c"), revoke_all, NULL, &e), &e);
    check_refused(head, token, ERR_DENIED, "revoked");
}

static void a_known_worker_rejoins_with_an_expired_token(void **state)
{
    (void)state;
    static struct ring_worker w;
    struct err e = {0};
    struct node *head = ring_head_open("head-d", 0);
    ring_worker_start(&w, "guest", node_token(head), model_path, 1);
    ring_worker_await(&w, "joined");
    ring_worker_stop(&w);
    assert_ok(pairing_book_change(folder_of("head-d"), expire_all, NULL, &e), &e);
    ring_worker_start(&w, "guest", node_token(head), model_path, 1);
    ring_worker_await(&w, "joined");
    ring_worker_stop(&w);
    char token[TOKEN_TEXT_MAX];
    snprintf(token, sizeof token, "%s", node_token(head));
    check_refused(head, token, ERR_DENIED, "expired"); // a worker that it does not know
}

// ---- Peers made of nothing but links.

static struct link_target head_target(const struct node *head)
{
    struct token t;
    struct err e = {0};
    struct link_target to = {.n_addresses = 1};
    assert_ok(token_read(&t, node_token(head), strlen(node_token(head)), &e), &e);
    to.fingerprint = t.fingerprint;
    to.port = t.port;
    assert_ok(net_address_parse(&to.addresses[0], "127.0.0.1", &e), &e);
    return to;
}

static void another_protocol_version_is_refused_on_both_sides(void **state)
{
    (void)state;
    struct node *head = ring_head_open("head-e", 0);
    struct tls_identity *id = wire_identity();
    struct wire_end end;
    struct err e = {0};
    wire_end_init(&end, 4, WIRE_MAX_CONTROL);
    struct link_options o = wire_end_options(&end, id);
    struct link_target to = head_target(head);
    end.header.version = WIRE_VERSION + 1;
    end.hello.purpose = WIRE_JOIN;
    log_begin();
    assert_ok(link_dial(&end.link, &to, &o, &e), &e);
    wire_end_wait(&end, &end.closed, 1);
    log_await("protocol version 4");
    log_end();
    node_close(head);
    assert_contains(end.why.text, "protocol version 4");
    wire_end_fini(&end);
    tls_identity_free(id);
}

// ---- Models.

static void check_unfit(const char *path, const char *worker_sentence, const char *head_sentence)
{
    static struct ring r;
    struct window_table t = ring_split(LAYERS, 2, 1, NULL);
    ring_begin(&r, model_path, &t, 1, WIRE_F32, 0);
    ring_worker_start(&r.workers[0], "worker0", node_token(r.head), path, 1);
    ring_worker_await(&r.workers[0], worker_sentence);
    ring_await_note(r.head, head_sentence);
    // The head goes on with one that fits.
    ring_worker_start(&r.workers[1], "worker1", node_token(r.head), model_path, 1);
    ring_await_running(r.head);
    r.n_workers = 2;
    ring_close(&r);
}

static void another_model_is_refused_on_both_sides(void **state)
{
    (void)state;
    check_unfit(other_path, "which is another model", "cannot take part");
}

static void a_worker_without_its_layers_is_refused_on_both_sides(void **state)
{
    (void)state;
    check_unfit(holed_path, "blk.1.attn_q.weight is missing", "blk.1.attn_q.weight is missing");
}

// A copy of the model with one byte of layer `layer` changed.
static void spoil_layer(const char *path, int layer)
{
    char name[64];
    uint8_t byte;
    struct ring_file f = ring_file_open(path);
    snprintf(name, sizeof name, "blk.%d.attn_q.weight", layer);
    const struct gguf_tensor *t = gguf_find_tensor(f.gguf, name);
    assert_non_null(t);
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, (off_t)t->offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)t->offset), 1);
    close(fd);
    ring_file_close(&f);
}

static void only_the_layers_of_its_windows_are_compared(void **state)
{
    (void)state;
    static struct ring r;
    char path[256];
    struct window_table t = ring_split(LAYERS, 2, 1, NULL); // the worker has 0 and 1
    make(path, sizeof path, "spoilt.gguf", 3, NULL);
    spoil_layer(path, LAYERS - 1);
    ring_begin(&r, model_path, &t, 1, WIRE_F32, 0);
    ring_worker_start(&r.workers[0], "worker0", node_token(r.head), path, 1);
    ring_await_running(r.head);
    ring_close(&r);
    spoil_layer(path, 1);
    check_unfit(path, "the weights of layer 1 differ", "the weights of layer 1 differ");
}

static void another_instruction_set_is_announced(void **state)
{
    (void)state;
    static struct ring r;
    struct err e = {0};
    struct window_table t = ring_split(LAYERS, 2, 1, NULL);
    if (isa_detect() == ISA_SCALAR)
        test_skip("this machine has no other instruction set than scalar");
    r = (struct ring){
        .file = ring_file_open(model_path), .head = ring_head_open("head", 0), .n_workers = 1};
    struct node_ring o = {.model = r.file.model, .table = t, .engine = ring_engine(1)};
    o.engine.isa = ISA_SCALAR;
    assert_ok(node_begin(r.head, &o, &e), &e);
    ring_worker_start(&r.workers[0], "worker0", node_token(r.head), model_path, 1);
    ring_await_running(r.head);
    ring_await_note(r.head, "this head with scalar");
    ring_close(&r);
}

// ---- Losses.

static int32_t ids[TOKENS];

static int answer(struct pipeline *p, int times, struct err *e)
{
    struct session *s;
    struct session_options o = {.chunk = 1, .depth = 4};
    int rc = session_new(&s, p, &o, e);
    assert_int_equal(rc, 0);
    for (int i = 0; i < times && !rc; i++) {
        session_truncate(s, 0);
        rc = session_prompt(s, ids, TOKENS, NULL, NULL, e);
    }
    session_free(s);
    return rc;
}

struct killer {
    struct ring_worker *victim;
    pthread_t thread;
};

static void *kill_main(void *arg)
{
    struct killer *k = arg;
    usleep(100000);
    ring_worker_stop(k->victim);
    return NULL;
}

static void a_lost_worker_ends_the_answer_and_the_rest_take_the_next_head(void **state)
{
    (void)state;
    static struct ring r;
    struct err e = {0};
    struct window_table t = ring_split(LAYERS, 3, 2, NULL);
    ring_open(&r, model_path, &t, 1, WIRE_F32);
    uint16_t port = node_port(r.head);
    struct killer k = {.victim = &r.workers[1]};
    assert_int_equal(pthread_create(&k.thread, NULL, kill_main, &k), 0);
    assert_int_equal(answer(node_pipeline(r.head), 1000000, &e), ERR_UNREACHABLE);
    pthread_join(k.thread, NULL);
    // Nothing is taken any more, at once.
    struct err again = {0};
    struct batch b = {0};
    assert_int_equal(node_pipeline(r.head)->ops->submit(node_pipeline(r.head), &b, &again),
                     ERR_UNREACHABLE);
    ring_worker_await(&r.workers[0], "this ring is over");
    node_close(r.head);
    ring_file_close(&r.file);
    ring_worker_await(&r.workers[0], "waiting for the next head");

    // The same machine starts another head; the worker that is left finds it by itself.
    t = ring_split(LAYERS, 2, 1, NULL);
    static struct ring next;
    ring_begin(&next, model_path, &t, 1, WIRE_F32, port);
    ring_await_running(next.head);
    e.code = 0;
    assert_ok(answer(node_pipeline(next.head), 2, &e), &e);
    node_close(next.head);
    ring_file_close(&next.file);
    ring_worker_stop(&r.workers[0]);
}

// A worker that takes part and then is busy for ever: its heartbeats go on, its work does not.
static struct frame *expect(struct wire_end *end, enum wire_type type)
{
    struct wire_header h;
    struct frame *f = frame_queue_pop(end->frames, WIRE_END_HANG_S * INT64_C(1000000000), 0);
    assert_non_null(f);
    memcpy(&h, f->bytes, sizeof h);
    assert_int_equal(h.type, type);
    return f;
}

static void send_frame(struct wire_end *end, struct frame *f)
{
    assert_true(link_send(end->link, f));
}

static void a_worker_that_hangs_ends_the_answer(void **state)
{
    (void)state;
    static struct link_pulse pulse;
    struct ring r;
    struct err e = {0};
    struct wire_end control, in, out;
    struct tls_identity *id = wire_identity();
    struct digest me = tls_identity_digest(id);
    struct window_table t = ring_split(LAYERS, 2, 1, NULL);
    struct door *door;
    wire_end_init(&control, 16, WIRE_MAX_CONTROL);
    wire_end_init(&in, 16, 1 << 20);
    wire_end_init(&out, 4, WIRE_MAX_CONTROL);
    ring_begin(&r, model_path, &t, 1, WIRE_F32, 0);
    assert_ok(pairing_remember(folder_of("head"), &me, "sloth", &e), &e);

    struct door_options d = {.host = "127.0.0.1", .link = wire_end_options(&in, id)};
    assert_ok(door_open(&door, &d, &e), &e);
    struct link_options o = wire_end_options(&control, id);
    struct link_target to = head_target(r.head);
    o.pulse = &pulse;
    control.header.version = WIRE_VERSION;
    control.hello = (struct wire_hello){.purpose = WIRE_JOIN, .port = door_port(door)};
    frame_name(control.hello.name, sizeof control.hello.name, "sloth");
    assert_ok(link_dial(&control.link, &to, &o, &e), &e);
    struct wire_have have = {0};
    memset(have.layers, 0xff, sizeof have.layers);
    struct frame *f = frame_take(control.pool);
    frame_write_have(f, &have);
    send_frame(&control, f);
    f = expect(&control, WIRE_OFFER);
    struct wire_header offer;
    memcpy(&offer, f->bytes, sizeof offer);
    frame_release(f);
    frame_release(expect(&control, WIRE_PLAN));
    f = expect(&control, WIRE_ROSTER);
    frame_write_ready(f, offer.epoch, &(struct wire_ready){0});
    send_frame(&control, f);
    f = expect(&control, WIRE_GO);
    o = wire_end_options(&out, id);
    out.header = (struct wire_header){.version = WIRE_VERSION, .epoch = offer.epoch};
    out.hello.purpose = WIRE_EDGE;
    assert_ok(link_dial(&out.link, &to, &o, &e), &e);
    wire_end_wait(&out, &out.opened, 1);
    frame_write_empty(f, WIRE_LINKED, offer.epoch);
    send_frame(&control, f);
    ring_await_running(r.head);

    atomic_store(&pulse.busy, 1);
    assert_int_equal(answer(node_pipeline(r.head), 1, &e), ERR_UNREACHABLE);
    assert_contains(e.text, "sloth hangs");
    node_close(r.head);
    ring_file_close(&r.file);
    door_close(door);
    wire_end_fini(&control);
    wire_end_fini(&in);
    wire_end_fini(&out);
    tls_identity_free(id);
}

static int make_models(void **state)
{
    (void)state;
    make(model_path, sizeof model_path, "tiny.gguf", 3, NULL);
    make(other_path, sizeof other_path, "other.gguf", 4, NULL);
    make(holed_path, sizeof holed_path, "holed.gguf", 3, "blk.1.attn_q.weight");
    for (int i = 0; i < TOKENS; i++)
        ids[i] = 5 + i;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_secret_is_refused_on_both_sides),
        cmocka_unit_test(a_token_of_another_head_does_not_connect),
        cmocka_unit_test(a_revoked_token_lets_nobody_in),
        cmocka_unit_test(a_known_worker_rejoins_with_an_expired_token),
        cmocka_unit_test(another_protocol_version_is_refused_on_both_sides),
        cmocka_unit_test(another_model_is_refused_on_both_sides),
        cmocka_unit_test(a_worker_without_its_layers_is_refused_on_both_sides),
        cmocka_unit_test(only_the_layers_of_its_windows_are_compared),
        cmocka_unit_test(another_instruction_set_is_announced),
        cmocka_unit_test(a_lost_worker_ends_the_answer_and_the_rest_take_the_next_head),
        cmocka_unit_test(a_worker_that_hangs_ends_the_answer),
    };
    return cmocka_run_group_tests(tests, make_models, NULL);
}
