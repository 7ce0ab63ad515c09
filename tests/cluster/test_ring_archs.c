// Every architecture round a ring of three nodes: the logits of one node, bit for bit, in one round
// a token or two.
#include "support.h"

#include "ring_rig.h"
#include "tiny_model.h"

#include "engine/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kept {
    size_t n_vocab, n;
    float *at; // (TINY_IDS, n_vocab)
};

static void keep(void *arg, size_t position, const float *logits)
{
    struct kept *r = arg;
    assert_true(position < TINY_IDS);
    memcpy(r->at + position * r->n_vocab, logits, r->n_vocab * sizeof *logits);
    r->n++;
}

// Logits of all tokens, in chunks of which several are in flight.
static struct kept logits_of(struct pipeline *p, int chunk)
{
    struct err e = {0};
    struct session *s;
    int32_t ids[TINY_IDS];
    struct kept r = {.n_vocab = (size_t)p->info.hparams->n_vocab};
    r.at = calloc(TINY_IDS, r.n_vocab * sizeof *r.at);
    assert_non_null(r.at);
    tiny_ids(ids, TINY_IDS);
    struct session_options o = {.chunk = chunk, .depth = 3, .rows = keep, .rows_arg = &r};
    assert_ok(session_new(&s, p, &o, &e), &e);
    assert_int_equal(session_prompt(s, ids, TINY_IDS, NULL, NULL, &e), 0);
    session_free(s);
    assert_int_equal(r.n, TINY_IDS);
    return r;
}

static struct kept alone(const char *path, int *n_layers)
{
    struct err e = {0};
    struct pipeline *p;
    struct ring_file f = ring_file_open(path);
    struct local_options o = ring_engine(1);
    assert_ok(local_open(&p, f.model, &o, &e), &e);
    *n_layers = p->info.hparams->n_layers;
    struct kept r = logits_of(p, TINY_IDS);
    p->ops->free(p);
    ring_file_close(&f);
    return r;
}

static void check_ring(const char *name, const char *path)
{
    static struct ring r;
    int n_layers;
    struct kept want = alone(path, &n_layers);
    struct window_table t = ring_split(n_layers, 3, n_layers < 6 ? 1 : 2, NULL);
    ring_open(&r, path, &t, 2, WIRE_F32);
    struct kept got = logits_of(node_pipeline(r.head), 16);
    if (memcmp(got.at, want.at, TINY_IDS * want.n_vocab * sizeof *want.at))
        fail_msg("%s round a ring has other logits than on one node", name);
    free(got.at);
    free(want.at);
    ring_close(&r);
}

static void every_architecture_has_the_logits_of_one_node(void **state)
{
    (void)state;
    static char path[256]; // test_file's own is soon another's
    snprintf(path, sizeof path, "%s", test_file("arch.gguf"));
    for (size_t i = 0; i < n_tiny_archs; i++) {
        tiny_model_write(path, &tiny_archs[i].model);
        check_ring(tiny_archs[i].name, path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_architecture_has_the_logits_of_one_node),
    };
    return cmocka_run_group_tests_name("rings of every architecture", tests, NULL, NULL);
}
