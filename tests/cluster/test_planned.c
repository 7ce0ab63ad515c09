// Rings whose windows are planned: everybody is asked what it can do, the plan is handed out, and
// another one takes its place between answers. The tokens are the same whatever the plan.
#include "support.h"

#include "ring_rig.h"
#include "tiny_model.h"
#include "wire_end.h"

#include "cluster/identity.h"
#include "cluster/pairing_book.h"
#include "cluster/planning.h"
#include "engine/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 6, TOKENS = 48, WORKERS = 2 };

static char model_path[256];
static int32_t ids[2 * TOKENS];

// ---- rows of logits ----------------------------------------------------------------------------

static size_t n_vocab;
static float *want, *got; // (2 * TOKENS, n_vocab)

static void keep(void *arg, size_t position, const float *logits)
{
    memcpy((float *)arg + position * n_vocab, logits, n_vocab * sizeof *logits);
}

static struct session *session_of(struct pipeline *p, float *rows)
{
    struct err e = {0};
    struct session *s;
    struct session_options o = {.rows = keep, .rows_arg = rows};
    assert_ok(session_new(&s, p, &o, &e), &e);
    return s;
}

static void say(struct session *s, size_t n)
{
    struct err e = {0};
    memset(got, 0, 2 * TOKENS * n_vocab * sizeof *got);
    assert_ok(session_prompt(s, ids, n, NULL, NULL, &e), &e);
}

static void assert_rows(size_t from, size_t to)
{
    assert_memory_equal(got + from * n_vocab, want + from * n_vocab,
                        (to - from) * n_vocab * sizeof *got);
}

// ---- rings -------------------------------------------------------------------------------------

struct planned {
    struct ring r;
    struct node_survey survey;
};

static struct planned ring;

static void await_phase(struct node *n, enum deploy_phase phase)
{
    struct node_status s = {0};
    for (int tries = 0; tries < 3000; tries++) {
        node_wait(n, 20, &s);
        if (s.phase == phase)
            return;
    }
    fail_msg("the head is in phase %d and not in %d", (int)s.phase, (int)phase);
}

static void begin(struct planned *p, bool known, int drift_ms)
{
    struct err e = {0};
    *p = (struct planned){
        .r = {.file = ring_file_open(model_path), .head = ring_head_open("head", 0)}};
    struct node_ring o = {.model = p->r.file.model,
                          .n_workers = WORKERS,
                          .survey = true,
                          .known = known,
                          .engine = ring_engine(1),
                          .drift_ms = drift_ms};
    assert_ok(node_begin(p->r.head, &o, &e), &e);
    p->r.n_workers = WORKERS;
    for (int i = 0; i < WORKERS; i++) {
        char name[32];
        snprintf(name, sizeof name, "worker%d", i);
        ring_worker_start(&p->r.workers[i], name, node_token(p->r.head), model_path, 1);
        ring_worker_await(&p->r.workers[i], "joined");
    }
    await_phase(p->r.head, DEPLOY_PLANNING);
    assert_int_equal(node_survey(p->r.head, &p->survey), 0);
}

// Workers by their numbers in the survey; the head gets the last count.
static void hand_out(struct planned *p, int n_workers, const int *workers, const int *layers, int k)
{
    struct err e = {0};
    static struct node_plan plan;
    plan = (struct node_plan){.table = ring_split(LAYERS, n_workers + 1, k, layers), .chunk = 7};
    for (int i = 0; i < n_workers; i++)
        plan.members[i] = p->survey.members[workers[i]];
    assert_ok(node_plan(p->r.head, &plan, &e), &e);
    ring_await_running(p->r.head);
}

static void everybody_says_what_it_can_do(void **state)
{
    struct err e = {0};
    (void)state;
    begin(&ring, false, 0);
    const struct plan_cluster *c = &ring.survey.cluster;
    assert_true(ring.survey.known);
    assert_int_equal(c->n, WORKERS + 1);
    assert_ok(profile_check(c, &e), &e);
    for (int i = 0; i < c->n; i++) {
        assert_true(c->machines[i].memory > 0);
        assert_int_equal(c->machines[i].core_group >= 0, c->machines[0].core_group >= 0);
        for (int j = 0; j < c->n; j++)
            if (i != j)
                assert_true(c->links[i][j].latency > 0 && c->links[i][j].latency < 1 &&
                            c->links[i][j].rate > 1e5);
        for (int l = 0; l < LAYERS; l++)
            assert_true(layer_set_has(&ring.survey.has[i], l));
    }
    ring_close(&ring.r);
}

static void a_planned_ring_computes_what_one_node_does(void **state)
{
    struct err e = {0};
    static struct node_plan plan;
    struct planning *p;
    (void)state;
    begin(&ring, false, 0);
    struct local_options o = ring_engine(1);
    const int layers[] = {1, 3, 2};
    struct planning_wants w = {.model = ring.r.file.model, .engine = &o, .layers = layers};
    assert_ok(planning_new(&p, &w, &ring.survey, &e), &e);
    assert_ok(planning_make(p, &e), &e);
    assert_ok(planning_ring(p, &plan, &e), &e);
    assert_int_equal(windows_layers(&plan.table, 1), 3);
    assert_int_equal(plan.foretold.n, FORETOLD_KNOTS);
    assert_ok(node_plan(ring.r.head, &plan, &e), &e);
    ring_await_running(ring.r.head);
    struct session *s = session_of(node_pipeline(ring.r.head), got);
    say(s, TOKENS);
    assert_rows(0, TOKENS);
    struct node_report r;
    node_report(ring.r.head, &r);
    assert_true(r.predicted.pass_ms > 0);
    session_free(s);
    planning_free(p);
    ring_close(&ring.r);
}

static void a_conversation_goes_on_under_another_plan(void **state)
{
    const int all[] = {0, 1}, second[] = {1}, turned[] = {1, 0}, three[] = {3, 2, 1},
              two[] = {4, 2};
    (void)state;
    begin(&ring, true, 0); // what was measured is known by now
    assert_true(ring.survey.known);
    hand_out(&ring, 2, all, three, 1);
    struct session *s = session_of(node_pipeline(ring.r.head), got);
    say(s, TOKENS);
    assert_rows(0, TOKENS);
    hand_out(&ring, 1, second, two, 2);
    ring_worker_await(&ring.r.workers[0], "the head has planned anew");
    say(s, 2 * TOKENS); // all of it again: nobody has what was computed before
    assert_int_equal(session_reused(s), 0);
    assert_rows(0, 2 * TOKENS);
    hand_out(&ring, 2, turned, three, 3);
    say(s, TOKENS + 9);
    assert_rows(0, TOKENS + 9);
    say(s, TOKENS + 20);
    assert_int_equal(session_reused(s), TOKENS + 9);
    assert_rows(TOKENS + 9, TOKENS + 20);
    session_free(s);
    ring_close(&ring.r);
}

static void the_head_alone_answers_and_the_others_wait(void **state)
{
    const int all[] = {0, 1}, everything[] = {LAYERS}, three[] = {2, 2, 2};
    struct node_status status = {0};
    (void)state;
    begin(&ring, true, 0);
    hand_out(&ring, 0, NULL, everything, 1);
    struct session *s = session_of(node_pipeline(ring.r.head), got);
    say(s, TOKENS);
    assert_rows(0, TOKENS);
    node_wait(ring.r.head, 0, &status);
    assert_int_equal(status.n_members, WORKERS);
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(status.members[i].state, MEMBER_PAIRED);
    hand_out(&ring, 2, all, three, 2); // they are there when they are needed
    say(s, 2 * TOKENS);
    assert_rows(0, 2 * TOKENS);
    // One that is idle may leave.
    hand_out(&ring, 1, all, (const int[]){3, 3}, 1);
    ring_worker_stop(&ring.r.workers[1]);
    ring_await_note(ring.r.head, "is gone");
    say(s, TOKENS + 30);
    assert_rows(0, TOKENS + 30);
    // A plan with it comes too late, and the ring that runs goes on.
    static struct node_plan late;
    struct err e = {0};
    late = (struct node_plan){.table = ring_split(LAYERS, 3, 1, three)};
    late.members[0] = ring.survey.members[0];
    late.members[1] = ring.survey.members[1];
    assert_int_equal(node_plan(ring.r.head, &late, &e), 1);
    say(s, TOKENS + 40);
    assert_rows(TOKENS + 30, TOKENS + 40);
    session_free(s);
    ring.r.n_workers = 1;
    ring_close(&ring.r);
}

// ---- Drift.

static void a_ring_that_is_off_its_prediction_is_noticed(void **state)
{
    const int all[] = {0, 1}, three[] = {2, 2, 2};
    struct err e = {0};
    static struct node_drift d;
    struct foretold f = {.n = 1};
    (void)state;
    begin(&ring, true, 1);
    hand_out(&ring, 2, all, three, 1);
    struct session *s = session_of(node_pipeline(ring.r.head), got);
    node_drift(ring.r.head, &d);
    assert_false(d.drifted);
    f.knots[0] = (struct timings_report){.pass_ms = 1e6}; // a million times too slow
    for (int i = 0; i < WORKERS + 1; i++)
        f.knots[0].nodes[i].compute_ms = 3e5;
    node_foretell(ring.r.head, &f);
    say(s, 4);
    for (int tries = 0; tries < 100 && !d.drifted; tries++) {
        session_truncate(s, 4);
        say(s, 4);
        for (int i = 4; i < 80; i++)
            assert_ok(session_append(s, ids[i], &e), &e);
        node_drift(ring.r.head, &d);
    }
    assert_true(d.drifted);
    assert_true(d.ratio < 0.1);
    assert_true(d.seen.n_passes > 0 && d.seen.pass_ms < 1e5);
    session_free(s);
    ring_close(&ring.r);
}

// A cluster of equals, as a survey tells it.
static void equals(struct node_survey *s)
{
    *s = (struct node_survey){.known = true, .cluster.n = WORKERS + 1};
    for (int i = 0; i <= WORKERS; i++) {
        struct plan_machine *m = &s->cluster.machines[i];
        *m = (struct plan_machine){
            .memory = 1 << 30, .disk_group = -1, .net_group = -1, .core_group = -1};
        m->cpu.layer = 0.01;
        for (int type = 0; type < PLAN_TYPES; type++)
            for (int form = 0; form < PLAN_FORMS; form++)
                for (int w = 0; w < PLAN_WIDTHS; w++)
                    m->cpu.product[form][type][w] = 1e-12;
        layer_set_add(&s->has[i], 0, LAYERS);
        s->members[i] = i;
        for (int j = 0; j <= WORKERS; j++)
            s->cluster.links[i][j] = (struct plan_link){1e-6, 1e9};
    }
}

static struct planning *plan_equals(const struct ring_file *f, const struct local_options *o)
{
    static struct node_survey s;
    struct planning *p;
    struct err e = {0};
    struct planning_wants w = {.model = f->model, .engine = o, .latency = 1};
    equals(&s);
    assert_ok(planning_new(&p, &w, &s, &e), &e);
    uint64_t layer =
        p->model.layers[0].bytes + p->model.layers[0].kv_bytes * (uint64_t)p->ask.context;
    for (int i = 0; i <= WORKERS; i++) {
        // No machine has room for more than four layers, nor a disk to read others from.
        uint64_t own = i == WORKERS ? p->model.computing_head + p->model.output.bytes +
                                          p->model.embedding_bytes
                                    : p->model.computing;
        p->cluster.machines[i].memory = own + 4 * layer + layer / 2;
    }
    assert_ok(planning_make(p, &e), &e);
    return p;
}

static void what_was_learned_moves_layers_where_it_is_worth_it(void **state)
{
    struct ring_file f = ring_file_open(model_path);
    struct local_options o = ring_engine(1);
    struct err e = {0};
    static struct node_drift d;
    static struct node_plan before, after;
    (void)state;
    struct planning *p = plan_equals(&f, &o);
    assert_ok(planning_ring(p, &before, &e), &e);
    assert_true(p->plan.n_nodes >= 2);
    d = (struct node_drift){.drifted = true, .position = 10};
    foretold_at(&before.foretold, 10, &d.seen);
    d.seen.n_passes = 100;
    // All of it a little slower: the plan stays, and foretells more.
    for (int i = 0; i < p->plan.n_nodes; i++)
        d.seen.nodes[i].compute_ms *= 1.03;
    d.seen.pass_ms *= 1.03;
    double tpot = before.foretold.knots[0].pass_ms;
    assert_int_equal(planning_learn(p, &d, &e), 0);
    assert_ok(planning_ring(p, &after, &e), &e);
    assert_memory_equal(&after.table, &before.table, sizeof after.table);
    assert_true(after.foretold.knots[0].pass_ms > 1.02 * tpot);
    // One of them is ten times slower: it gets less to do.
    int slow = 0, machine = p->plan.nodes[slow].machine, had = p->plan.nodes[slow].layers, has = 0;
    foretold_at(&after.foretold, 10, &d.seen);
    d.seen.n_passes = 100;
    d.seen.pass_ms += 9 * d.seen.nodes[slow].compute_ms;
    d.seen.nodes[slow].compute_ms *= 10;
    assert_int_equal(planning_learn(p, &d, &e), 1);
    for (int i = 0; i < p->plan.n_nodes; i++)
        has += p->plan.nodes[i].machine == machine ? p->plan.nodes[i].layers : 0;
    assert_true(has < had);
    planning_free(p);
    ring_file_close(&f);
}

// ---- Somebody who says nonsense.

static void send_frame(struct wire_end *end, struct frame *f)
{
    assert_true(link_send(end->link, f));
}

static void a_profile_that_cannot_be_is_refused(void **state)
{
    struct node *head = ring_head_open("head-nonsense", 0);
    struct ring_file file = ring_file_open(model_path);
    struct tls_identity *id = wire_identity();
    struct wire_end end;
    struct err e = {0};
    struct token token;
    (void)state;
    struct node_ring o = {.model = file.model,
                          .n_workers = 1,
                          .survey = true,
                          .known = true,
                          .engine = ring_engine(1)};
    assert_ok(node_begin(head, &o, &e), &e);
    assert_ok(token_read(&token, node_token(head), strlen(node_token(head)), &e), &e);
    wire_end_init(&end, 8, WIRE_MAX_CONTROL);
    struct link_options l = wire_end_options(&end, id);
    struct link_target to = {.fingerprint = token.fingerprint,
                             .port = node_port(head),
                             .n_addresses = 1,
                             .addresses = {{.family = 4, .bytes = {127, 0, 0, 1}}}};
    struct digest me = tls_identity_digest(id);
    assert_ok(pairing_remember(test_file("head-nonsense"), &me, "fool", &e), &e);
    end.header.version = WIRE_VERSION;
    end.hello = (struct wire_hello){.purpose = WIRE_JOIN, .port = 9};
    frame_name(end.hello.name, sizeof end.hello.name, "fool");
    assert_ok(link_dial(&end.link, &to, &l, &e), &e);
    wire_end_wait(&end, &end.opened, 1);
    struct frame *f = frame_take(end.pool);
    struct wire_have have = {0};
    memset(have.layers, 0xff, sizeof have.layers);
    frame_write_have(f, &have);
    send_frame(&end, f);
    f = frame_queue_pop(end.frames, WIRE_END_HANG_S * INT64_C(1000000000), 0);
    assert_non_null(f);
    struct wire_header h;
    memcpy(&h, f->bytes, sizeof h);
    assert_int_equal(h.type, WIRE_SURVEY);
    static struct wire_profile profile;
    profile = (struct wire_profile){.memory = 1 << 30, .known = 1, .cpu.layer = NAN};
    frame_write_profile(f, h.epoch, &profile);
    send_frame(&end, f);
    wire_end_wait(&end, &end.closed, 1);
    assert_non_null(strstr(end.why.text, "a number that cannot be"));
    await_phase(head, DEPLOY_GATHERING); // for somebody else
    node_close(head);
    ring_file_close(&file);
    wire_end_fini(&end);
    tls_identity_free(id);
}

// ---- Two threads of one process may be given the same address for a ring of io_uring, one after
// the other; the sanitizer does not see that it was given back between.
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:io_uring_\n"          // liburing's own functions
           "race:reader_uring_open\n"; // which sets a ring up and tries it
}

// ---- What one node computes.

static int prepare(void **state)
{
    struct tiny_model t = {.n_layers = LAYERS, .seed = 5, .context = RING_CONTEXT};
    struct err e = {0};
    struct pipeline *p;
    (void)state;
    snprintf(model_path, sizeof model_path, "%s", test_file("tiny.gguf"));
    tiny_model_write(model_path, &t);
    for (int i = 0; i < 2 * TOKENS; i++)
        ids[i] = (i * 37 + 11) % 300;
    struct ring_file f = ring_file_open(model_path);
    struct local_options o = ring_engine(1);
    assert_ok(local_open(&p, f.model, &o, &e), &e);
    n_vocab = (size_t)p->info.hparams->n_vocab;
    want = calloc(2 * TOKENS * n_vocab, sizeof *want);
    got = calloc(2 * TOKENS * n_vocab, sizeof *got);
    assert_true(want && got);
    struct session *s = session_of(p, want);
    say(s, 2 * TOKENS);
    session_free(s);
    p->ops->free(p);
    ring_file_close(&f);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    free(want);
    free(got);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_says_what_it_can_do),
        cmocka_unit_test(a_planned_ring_computes_what_one_node_does),
        cmocka_unit_test(a_conversation_goes_on_under_another_plan),
        cmocka_unit_test(the_head_alone_answers_and_the_others_wait),
        cmocka_unit_test(a_ring_that_is_off_its_prediction_is_noticed),
        cmocka_unit_test(what_was_learned_moves_layers_where_it_is_worth_it),
        cmocka_unit_test(a_profile_that_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
