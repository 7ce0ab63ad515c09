// model/kv: pages follow sessions. A random walk compares the map with a model that copies whole
// sessions: each page has a content, forks and truncations must never let one session see
// another's.
#include "support.h"

#include "backend/backend.h"
#include "base/rng.h"
#include "model/kv.h"

#include <stdlib.h>
#include <string.h>

enum { PAGES = 11, SESSIONS = 5, CONTEXT = 6 * KV_PAGE_TOKENS };

struct world {
    struct kv_map *map;
    uint32_t memory[PAGES][KV_PAGE_TOKENS];     // what lies in each page
    uint32_t expected[SESSIONS][CONTEXT], next; // what each session wrote
    int length[SESSIONS];
};

static void apply(struct world *w, const struct batch *b)
{
    struct kv_copy copies[BATCH_MAX_OPS];
    int n = kv_apply(w->map, b, copies);
    for (int i = 0; i < n; i++)
        memcpy(w->memory[copies[i].to], w->memory[copies[i].from], sizeof w->memory[0]);
    for (int i = 0; i < b->n_ops; i++) {
        const struct session_op *op = &b->ops[i];
        if (op->kind == SESSION_DROP)
            w->length[op->session] = 0;
        else if (op->kind == SESSION_TRUNCATE && (int)op->pos < w->length[op->session])
            w->length[op->session] = (int)op->pos;
        else if (op->kind == SESSION_FORK) {
            memcpy(w->expected[op->session], w->expected[op->other], sizeof w->expected[0]);
            w->length[op->session] = (int)op->pos;
        }
    }
    for (int i = 0; i < b->n_tokens; i++) {
        const struct batch_token *t = &b->tokens[i];
        int32_t page = kv_pages(w->map, t->session)[t->pos / KV_PAGE_TOKENS];
        w->memory[page][t->pos % KV_PAGE_TOKENS] = w->next;
        w->expected[t->session][t->pos] = w->next++;
        w->length[t->session]++;
    }
}

static void compare(struct world *w)
{
    for (uint32_t s = 0; s < SESSIONS; s++) {
        assert_int_equal(kv_length(w->map, s), w->length[s]);
        for (int i = 0; i < w->length[s]; i++)
            assert_int_equal(w->memory[kv_pages(w->map, s)[i / KV_PAGE_TOKENS]][i % KV_PAGE_TOKENS],
                             w->expected[s][i]);
    }
}

static void random_ops(struct rng *r, struct session_op *ops, int *n_ops, int *length)
{
    *n_ops = (int)rng_below(r, 4);
    for (int i = 0; i < *n_ops; i++) {
        struct session_op *op = &ops[i];
        *op = (struct session_op){.kind = (uint32_t)rng_below(r, SESSION_OP_COUNT),
                                  .session = (uint32_t)rng_below(r, SESSIONS)};
        op->other = (op->session + 1 + (uint32_t)rng_below(r, SESSIONS - 1)) % SESSIONS;
        int of = length[op->kind == SESSION_FORK ? op->other : op->session];
        op->pos = (uint32_t)rng_below(r, (uint64_t)of + 1);
        length[op->session] = op->kind == SESSION_DROP ? 0 : (int)op->pos;
    }
}

static void sessions_never_see_each_other(void **state)
{
    (void)state;
    struct world *w = calloc(1, sizeof *w);
    struct err e = {0};
    struct rng r;
    rng_init(&r, 7);
    assert_ok(kv_map_new(&w->map, PAGES, SESSIONS, CONTEXT, &e), &e);
    int refused = 0;
    for (int step = 0; step < 20000; step++) {
        struct session_op ops[4];
        struct batch_token tokens[BATCH_MAX_TOKENS];
        struct batch b = {.ops = ops, .tokens = tokens};
        int length[SESSIONS];
        memcpy(length, w->length, sizeof length);
        random_ops(&r, ops, &b.n_ops, length);
        int runs = (int)rng_below(&r, 3);
        for (int i = 0; i < runs; i++) {
            uint32_t s = (uint32_t)rng_below(&r, SESSIONS);
            for (int n = (int)rng_below(&r, 100); n && length[s] < CONTEXT; n--)
                tokens[b.n_tokens++] =
                    (struct batch_token){.session = s, .pos = (uint32_t)length[s]++};
        }
        int free_before = kv_pages_free(w->map);
        e = (struct err){0};
        if (kv_admit(w->map, &b, &e)) {
            assert_int_equal(e.code, ERR_NO_MEMORY);
            assert_int_equal(kv_pages_free(w->map), free_before);
            refused++;
        } else {
            apply(w, &b);
        }
        compare(w);
    }
    assert_true(refused > 100 && refused < 19000);
    struct session_op drop[SESSIONS];
    for (uint32_t s = 0; s < SESSIONS; s++)
        drop[s] = (struct session_op){.kind = SESSION_DROP, .session = s};
    apply(w, &(struct batch){.n_ops = SESSIONS, .ops = drop});
    assert_int_equal(kv_pages_free(w->map), PAGES); // no page is lost
    kv_map_free(w->map);
    free(w);
}

static void refuse(struct kv_map *m, struct batch b, int code, const char *part)
{
    struct err e = {0};
    assert_int_equal(kv_admit(m, &b, &e), code);
    if (!strstr(e.text, part))
        fail_msg("'%s' lacks '%s'", e.text, part);
}

static void damaged_batches_get_a_sentence(void **state)
{
    (void)state;
    struct kv_map *m;
    struct err e = {0};
    assert_ok(kv_map_new(&m, 4, 2, 100, &e), &e);
    struct batch_token t = {.session = 2}, gap = {.session = 0, .pos = 1};
    refuse(m, (struct batch){.n_tokens = 1, .tokens = &t}, ERR_FAILED, "session 2 does not exist");
    refuse(m, (struct batch){.n_tokens = 1, .tokens = &gap}, ERR_FAILED, "claims position 1");
    refuse(m, (struct batch){.n_tokens = -1}, ERR_FAILED, "too large");
    refuse(m, (struct batch){.n_tokens = BATCH_MAX_TOKENS + 1}, ERR_FAILED, "too large");
    struct session_op unknown = {.kind = 9}, self = {.kind = SESSION_FORK};
    struct session_op far = {.kind = SESSION_FORK, .session = 0, .other = 1, .pos = 1};
    refuse(m, (struct batch){.n_ops = 1, .ops = &unknown}, ERR_FAILED, "unknown");
    refuse(m, (struct batch){.n_ops = 1, .ops = &self}, ERR_FAILED, "cannot be forked");
    refuse(m, (struct batch){.n_ops = 1, .ops = &far}, ERR_FAILED, "cannot be forked");
    struct batch_token many[101];
    for (uint32_t i = 0; i < 101; i++)
        many[i] = (struct batch_token){.pos = i};
    refuse(m, (struct batch){.n_tokens = 101, .tokens = many}, ERR_NO_MEMORY, "context of 100");
    kv_map_free(m);
    assert_int_equal(kv_map_new(&m, 0, 1, 1, &e), ERR_USAGE);
    assert_null(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_never_see_each_other),
        cmocka_unit_test(damaged_batches_get_a_sentence),
    };
    return cmocka_run_group_tests_name("kv", tests, NULL, NULL);
}
