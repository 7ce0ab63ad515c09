// Rings of one, two, three and five nodes in one process compute what one node computes, bit for
// bit: whatever the rounds, the windows (empty ones included), the chunks of a prompt, the threads
// and the company in flight.
#include "support.h"

#include "ring_rig.h"
#include "tiny_model.h"

#include "base/guard.h"
#include "base/rng.h"
#include "cluster/remote.h"
#include "engine/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 6, TOKENS = RING_BATCH };

struct kept { // logits of a prompt's tokens, as they come
    size_t n_vocab, n;
    float *at; // (TOKENS, n_vocab)
};

static char model_path[256];

static const int32_t *prompt(uint64_t seed)
{
    static int32_t ids[2][TOKENS];
    struct rng r;
    rng_init(&r, seed);
    for (int i = 0; i < TOKENS; i++)
        ids[seed % 2][i] = (int32_t)rng_below(&r, 300);
    return ids[seed % 2];
}

static struct kept rows_new(const struct pipeline *p)
{
    struct kept k = {.n_vocab = (size_t)p->info.hparams->n_vocab};
    k.at = calloc(TOKENS, k.n_vocab * sizeof *k.at);
    assert_non_null(k.at);
    return k;
}

static void keep(void *arg, size_t position, const float *logits)
{
    struct kept *k = arg;
    assert_true(position < TOKENS);
    memcpy(k->at + position * k->n_vocab, logits, k->n_vocab * sizeof *logits);
    k->n++;
}

static struct session *session(struct pipeline *p, uint32_t id, int chunk, int depth,
                               struct kept *k)
{
    struct err e = {0};
    struct session *s;
    struct session_options o = {
        .id = id, .chunk = chunk, .depth = depth, .rows = keep, .rows_arg = k};
    assert_ok(session_new(&s, p, &o, &e), &e);
    return s;
}

// All rows of one prompt in chunks, several of them in flight.
static struct kept prompt_rows(struct pipeline *p, const int32_t *ids, int chunk)
{
    struct err e = {0};
    struct kept k = rows_new(p);
    struct session *s = session(p, 0, chunk, 4, &k);
    assert_int_equal(session_prompt(s, ids, TOKENS, NULL, NULL, &e), 0);
    session_free(s);
    assert_int_equal(k.n, TOKENS);
    return k;
}

static void assert_same(const struct kept *a, const struct kept *b)
{
    assert_memory_equal(a->at, b->at, TOKENS * a->n_vocab * sizeof *a->at);
}

// Two conversations by turns, both in flight, each in chunks.
static void check_two_sessions(struct pipeline *p, const struct kept want[2])
{
    struct kept k[2];
    struct session *s[2];
    struct err e = {0};
    int left = 2 * TOKENS;
    for (int i = 0; i < 2; i++) {
        k[i] = rows_new(p);
        s[i] = session(p, (uint32_t)i + 1, i ? 16 : 40, 2, &k[i]);
        assert_ok(session_feed(s[i], prompt((uint64_t)i), TOKENS, &e), &e);
    }
    while (left) {
        for (int i = 0; i < 2; i++)
            while (session_submit(s[i], &e) > 0)
                ;
        for (int i = 0; i < 2; i++) {
            size_t before = k[i].n;
            assert_true(session_collect(s[i], &e) >= 0);
            left -= (int)(k[i].n - before);
        }
        assert_int_equal(e.code, 0);
    }
    for (int i = 0; i < 2; i++) {
        session_free(s[i]);
        assert_same(&k[i], &want[i]);
        free(k[i].at);
    }
}

static struct kept want[2]; // what one node computes

static void check_pipeline(struct pipeline *p)
{
    const int chunks[] = {1, 7, 64, TOKENS};
    for (int i = 0; i < 4; i++) {
        struct kept got = prompt_rows(p, prompt(0), chunks[i]);
        assert_same(&got, &want[0]);
        free(got.at);
    }
    check_two_sessions(p, want);
}

static void check_ring(const struct window_table *t)
{
    static struct ring r;
    long before = guard_violations();
    for (int n_threads = 1; n_threads <= 2; n_threads++) {
        ring_open(&r, model_path, t, n_threads, WIRE_F32);
        check_pipeline(node_pipeline(r.head));
        ring_close(&r);
    }
    assert_int_equal(guard_violations() - before, 0);
}

static void a_ring_of_one_hands_its_frames_to_itself(void **state)
{
    (void)state;
    struct ring_file f = ring_file_open(model_path);
    for (int k = 1; k <= 4; k *= 2) {
        struct window_table t = ring_split(LAYERS, 1, k, NULL);
        struct remote_options o = {.engine = ring_engine(k == 2 ? 2 : 1), .table = &t};
        struct pipeline *p;
        struct err e = {0};
        assert_ok(remote_open(&p, f.model, &o, &e), &e);
        assert_ok(remote_load(p, f.model, &(struct remote_share){0}, &e), &e);
        remote_connect(p, NULL, 1);
        check_pipeline(p);
        p->ops->free(p);
    }
    ring_file_close(&f);
}

static void two_nodes(void **state)
{
    (void)state;
    for (int k = 1; k <= 4; k *= 2) {
        struct window_table t = ring_split(LAYERS, 2, k, NULL);
        check_ring(&t);
    }
}

static void three_nodes(void **state)
{
    (void)state;
    for (int k = 1; k <= 4; k *= 2) {
        struct window_table t = ring_split(LAYERS, 3, k, NULL);
        check_ring(&t);
    }
}

static void five_nodes(void **state)
{
    (void)state;
    for (int k = 1; k <= 4; k *= 2) {
        struct window_table t = ring_split(LAYERS, 5, k, NULL);
        check_ring(&t);
    }
}

static void empty_windows_forward_the_frame_unchanged(void **state)
{
    (void)state;
    // A node with nothing, a head with nothing, one with everything, and more rounds than layers.
    const int layers[][3] = {{0, 4, 2}, {3, 3, 0}, {0, LAYERS, 0}, {1, 1, 4}};
    for (int i = 0; i < 4; i++) {
        struct window_table t = ring_split(LAYERS, 3, i == 3 ? 4 : 2, layers[i]);
        check_ring(&t);
    }
}

static void instruction_sets_may_be_mixed(void **state)
{
    (void)state;
    static struct ring r;
    struct err e = {0};
    struct window_table t = ring_split(LAYERS, 2, 3, NULL);
    if (isa_detect() == ISA_SCALAR)
        test_skip("this machine has no other instruction set than scalar");
    r = (struct ring){
        .file = ring_file_open(model_path), .head = ring_head_open("head", 0), .n_workers = 1};
    struct node_ring o = {.model = r.file.model,
                          .table = t,
                          .engine = ring_engine(1),
                          .predicted = {.pass_ms = 7.5, .nodes = {[1] = {.hop_us = 33}}}};
    struct node_report report;
    o.engine.isa = ISA_SCALAR;
    assert_ok(node_begin(r.head, &o, &e), &e);
    ring_worker_start(&r.workers[0], "worker0", node_token(r.head), model_path, 1);
    ring_await_running(r.head);
    struct kept got = prompt_rows(node_pipeline(r.head), prompt(0), 16);
    node_report(r.head, &report); // what was foretold stands beside what was measured
    ring_close(&r);
    assert_true(report.predicted.pass_ms == 7.5 && report.predicted.nodes[1].hop_us == 33);
    assert_same(&got, &want[0]);
    free(got.at);
}

static void half_precision_on_the_wire_is_close_but_not_equal(void **state)
{
    (void)state;
    static struct ring r;
    struct window_table t = ring_split(LAYERS, 2, 2, NULL);
    ring_open(&r, model_path, &t, 1, WIRE_F16);
    struct kept got = prompt_rows(node_pipeline(r.head), prompt(0), 16);
    double worst = 0;
    for (size_t i = 0; i < TOKENS * got.n_vocab; i++) {
        double d = (double)got.at[i] - (double)want[0].at[i];
        worst = (d < 0 ? -d : d) > worst ? (d < 0 ? -d : d) : worst;
    }
    ring_close(&r);
    free(got.at);
    assert_true(worst > 0);
    assert_true(worst < 0.1);
}

static void times_of_every_node_and_hop_are_reported(void **state)
{
    (void)state;
    static struct ring r;
    struct window_table t = ring_split(LAYERS, 3, 2, NULL);
    struct node_report report = {0};
    ring_open(&r, model_path, &t, 1, WIRE_F32);
    // Reports come on a link of their own and may be late.
    for (int tries = 0; tries < 100 && report.decode.n_passes < 3; tries++) {
        struct kept k = prompt_rows(node_pipeline(r.head), prompt(0), 1);
        free(k.at);
        node_report(r.head, &report);
    }
    assert_true(report.decode.n_passes >= 3);
    for (int i = 0; i < 3; i++) {
        assert_true(report.decode.nodes[i].compute_ms > 0);
        // One machine, one clock: a hop takes time, less than the guard.
        assert_true(report.decode.nodes[i].hop_us > -1000);
        assert_true(report.decode.nodes[i].hop_us < 60e6);
        assert_true(report.names[i][0]);
    }
    ring_close(&r);
}

static int make_model(void **state)
{
    (void)state;
    struct tiny_model tiny = {.n_layers = LAYERS, .seed = 11, .context = RING_CONTEXT};
    snprintf(model_path, sizeof model_path, "%s", test_file("tiny.gguf"));
    tiny_model_write(model_path, &tiny);
    struct ring_file f = ring_file_open(model_path);
    struct local_options o = ring_engine(1);
    struct pipeline *p;
    struct err e = {0};
    assert_ok(local_open(&p, f.model, &o, &e), &e);
    for (int i = 0; i < 2; i++)
        want[i] = prompt_rows(p, prompt((uint64_t)i), TOKENS);
    p->ops->free(p);
    ring_file_close(&f);
    return 0;
}

static int forget(void **state)
{
    (void)state;
    free(want[0].at);
    free(want[1].at);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ring_of_one_hands_its_frames_to_itself),
        cmocka_unit_test(two_nodes),
        cmocka_unit_test(three_nodes),
        cmocka_unit_test(five_nodes),
        cmocka_unit_test(empty_windows_forward_the_frame_unchanged),
        cmocka_unit_test(instruction_sets_may_be_mixed),
        cmocka_unit_test(half_precision_on_the_wire_is_close_but_not_equal),
        cmocka_unit_test(times_of_every_node_and_hop_are_reported),
    };
    return cmocka_run_group_tests(tests, make_model, forget);
}
