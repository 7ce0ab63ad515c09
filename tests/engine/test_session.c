// engine/session over a pipeline that computes nothing: what it asks for, in which order, what it
// reuses, and that it is whole again after every refusal, failure and cancellation.
//
// The fake keeps the books of a real one (kv_map) and for each session the tokens that its cache
// would hold; the "logits" behind a token are a hash of everything before it.
#include "support.h"

#include "base/guard.h"
#include "base/rng.h"
#include "engine/session.h"
#include "model/kv.h"

#include <stdlib.h>
#include <string.h>

enum { VOCAB = 16, CONTEXT = 256, SESSIONS = 3, BATCH = 64 };

struct fake_pass {
    bool used, failed;
    int64_t handle;
    int n_logits;
    float logits[BATCH][VOCAB];
};

struct fake {
    struct pipeline base;
    struct hparams hparams;
    struct kv_map *map;
    int32_t cache[SESSIONS][CONTEXT];
    struct fake_pass passes[PIPELINE_MAX_PASSES];
    int64_t n_submitted;
    int n_out, most_out, n_cancelled;
    int64_t fail_at; // this pass fails in wait; -1: none
    long n_tokens;   // computed, over all passes
    uint32_t group[64], chunk[64], behind[64];
    int batch_size[64];
};

static void expected_logits(const int32_t *ids, size_t n, float *out)
{
    struct rng r;
    uint64_t seed = n;
    for (size_t i = 0; i < n; i++)
        seed = seed * 1000003 + (uint64_t)ids[i];
    rng_init(&r, seed);
    for (int i = 0; i < VOCAB; i++)
        out[i] = (float)rng_double(&r);
}

static int64_t fake_submit(struct pipeline *p, const struct batch *b, struct err *e)
{
    struct fake *f = (struct fake *)p;
    struct kv_copy copies[BATCH_MAX_OPS];
    int rc = kv_admit(f->map, b, e);
    if (rc)
        return rc;
    kv_apply(f->map, b, copies);
    struct fake_pass *pass = NULL;
    for (int i = 0; i < PIPELINE_MAX_PASSES && !pass; i++)
        pass = f->passes[i].used ? NULL : &f->passes[i];
    assert_non_null(pass);
    for (int i = 0; i < b->n_ops; i++)
        if (b->ops[i].kind == SESSION_FORK)
            memcpy(f->cache[b->ops[i].session], f->cache[b->ops[i].other],
                   b->ops[i].pos * sizeof(int32_t));
    pass->n_logits = 0;
    for (int i = 0; i < b->n_tokens; i++) {
        const struct batch_token *t = &b->tokens[i];
        f->cache[t->session][t->pos] = t->id;
        if (t->want == WANT_LOGITS)
            expected_logits(f->cache[t->session], t->pos + 1, pass->logits[pass->n_logits++]);
    }
    f->n_tokens += b->n_tokens;
    f->group[f->n_submitted % 64] = b->group;
    f->chunk[f->n_submitted % 64] = b->chunk;
    f->behind[f->n_submitted % 64] = b->behind;
    f->batch_size[f->n_submitted % 64] = b->n_tokens;
    pass->used = true;
    pass->failed = f->n_submitted == f->fail_at;
    f->n_out++;
    f->most_out = f->n_out > f->most_out ? f->n_out : f->most_out;
    return pass->handle = f->n_submitted++;
}

static struct fake_pass *fake_find(struct fake *f, int64_t handle)
{
    for (int i = 0; i < PIPELINE_MAX_PASSES; i++)
        if (f->passes[i].used && f->passes[i].handle == handle)
            return &f->passes[i];
    fail_msg("handle %lld is not out", (long long)handle);
    return NULL;
}

static int fake_wait(struct pipeline *p, int64_t handle, struct pass_result *out, struct err *e)
{
    struct fake_pass *pass = fake_find((struct fake *)p, handle);
    if (pass->failed)
        return err_set(e, ERR_UNREACHABLE, "the worker is gone");
    *out = (struct pass_result){.logits = pass->logits[0], .n_logits = pass->n_logits};
    return 0;
}

static void fake_release(struct pipeline *p, int64_t handle)
{
    struct fake *f = (struct fake *)p;
    fake_find(f, handle)->used = false;
    f->n_out--;
}

static void fake_cancel(struct pipeline *p, int64_t handle)
{
    struct fake *f = (struct fake *)p;
    fake_find(f, handle);
    f->n_cancelled++;
}

static void fake_free(struct pipeline *p)
{
    struct fake *f = (struct fake *)p;
    kv_map_free(f->map);
    free(f);
}

static const struct pipeline_ops fake_ops = {.submit = fake_submit,
                                             .wait = fake_wait,
                                             .release = fake_release,
                                             .cancel = fake_cancel,
                                             .free = fake_free};

static struct fake *fake_new(int n_pages)
{
    struct err e = {0};
    struct fake *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->hparams.n_vocab = VOCAB;
    f->fail_at = -1;
    f->base = (struct pipeline){.ops = &fake_ops,
                                .info = {.hparams = &f->hparams,
                                         .max_sessions = SESSIONS,
                                         .max_context = CONTEXT,
                                         .max_batch = BATCH,
                                         .kv_pages = n_pages}};
    assert_ok(kv_map_new(&f->map, n_pages, SESSIONS, CONTEXT, &e), &e);
    return f;
}

static struct session *open_session(struct fake *f, uint32_t id, int chunk, int depth)
{
    struct err e = {0};
    struct session *s;
    struct session_options o = {.id = id, .chunk = chunk, .depth = depth};
    assert_ok(session_new(&s, &f->base, &o, &e), &e);
    return s;
}

static int32_t *make_ids(int32_t *ids, size_t n, uint64_t seed)
{
    struct rng r;
    rng_init(&r, seed);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)rng_below(&r, VOCAB);
    return ids;
}

// The session has exactly these tokens, computed, and the logits that belong to them.
static void check_session(struct session *s, const int32_t *ids, size_t n)
{
    float want[VOCAB];
    assert_int_equal(session_length(s), n);
    assert_memory_equal(session_tokens(s), ids, n * sizeof *ids);
    expected_logits(ids, n, want);
    assert_non_null(session_logits(s));
    assert_memory_equal(session_logits(s), want, sizeof want);
}

static void prompt(struct session *s, const int32_t *ids, size_t n)
{
    struct err e = {0};
    assert_ok(session_prompt(s, ids, n, NULL, NULL, &e), &e);
    check_session(s, ids, n);
}

static void only_what_is_new_is_computed(void **state)
{
    (void)state;
    struct fake *f = fake_new(8);
    struct session *s = open_session(f, 0, 0, 0);
    struct err e = {0};
    int32_t ids[200];
    make_ids(ids, 200, 1);
    prompt(s, ids, 100);
    assert_int_equal(f->n_tokens, 100);
    prompt(s, ids, 150); // goes on
    assert_int_equal(f->n_tokens, 150);
    assert_int_equal(session_reused(s), 100);
    ids[120] ^= 1; // another turn from there
    prompt(s, ids, 150);
    assert_int_equal(f->n_tokens, 180);
    prompt(s, ids, 150); // nothing new
    assert_int_equal(f->n_tokens, 180);
    prompt(s, ids, 90); // the last one again, for its logits
    assert_int_equal(f->n_tokens, 181);
    assert_int_equal(kv_length(f->map, 0), 90);
    for (int i = 0; i < 5; i++)
        assert_ok(session_append(s, ids[90 + i], &e), &e);
    check_session(s, ids, 95);
    assert_int_equal(f->n_tokens, 186);
    session_free(s);
    assert_int_equal(kv_pages_free(f->map), 8);
    fake_free(&f->base);
}

static void a_prompt_goes_in_chunks_of_one_group(void **state)
{
    (void)state;
    struct fake *f = fake_new(8);
    struct session *s = open_session(f, 2, 7, 3);
    struct err e = {0};
    int32_t ids[60];
    prompt(s, make_ids(ids, 60, 2), 60);
    assert_int_equal(f->n_submitted, 9);
    assert_int_equal(f->most_out, 3);
    for (uint32_t i = 0; i < 9; i++) {
        assert_int_equal(f->group[i], f->group[0]);
        assert_int_equal(f->chunk[i], i);
        assert_int_equal(f->batch_size[i], i < 6 ? 7 : 6);
        assert_int_equal(f->behind[i], 8 - i);
    }
    assert_ok(session_append(s, 3, &e), &e);
    assert_int_equal(f->group[9], 0);
    assert_int_equal(f->chunk[9], 0);
    assert_int_equal(f->behind[9], 0);
    ids[0] ^= 1;
    prompt(s, ids, 60);
    assert_int_not_equal(f->group[10], f->group[0]);
    assert_int_not_equal(f->group[10], 0);
    session_free(s);
    fake_free(&f->base);
}

// In several rounds, those that are under way together.
static void a_chunk_says_how_many_come_right_behind_it(void **state)
{
    (void)state;
    static const uint32_t behind[] = {2, 1, 0, 2, 1, 0, 1, 0};
    struct fake *f = fake_new(8);
    f->base.info.rounds = 2;
    struct session *s = open_session(f, 2, 7, 3);
    int32_t ids[56];
    prompt(s, make_ids(ids, 56, 2), 56);
    assert_int_equal(f->n_submitted, 8);
    for (int i = 0; i < 8; i++)
        assert_int_equal(f->behind[i], behind[i]);
    session_free(s);
    fake_free(&f->base);
}

static void chunks_are_as_large_as_the_plan_wants(void **state)
{
    (void)state;
    static const struct {
        int planned, asked, chunks;
    } cases[] = {{0, 0, 60 / BATCH + 1}, {20, 0, 3}, {20, 15, 4}, {BATCH + 1, 0, 60 / BATCH + 1}};
    _Static_assert(60 % BATCH, "the last chunk is a smaller one");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fake *f = fake_new(8);
        f->base.info.chunk = cases[i].planned;
        struct session *s = open_session(f, 2, cases[i].asked, 3);
        int32_t ids[60];
        prompt(s, make_ids(ids, 60, 2), 60);
        assert_int_equal(f->n_submitted, cases[i].chunks);
        session_free(s);
        fake_free(&f->base);
    }
}

static void two_conversations_take_turns(void **state)
{
    (void)state;
    struct fake *f = fake_new(12);
    struct session *s[2] = {open_session(f, 0, 10, 4), open_session(f, 1, 16, 4)};
    struct err e = {0};
    int32_t ids[2][100];
    for (int i = 0; i < 2; i++)
        assert_ok(session_feed(s[i], make_ids(ids[i], 100, (uint64_t)i + 3), 100, &e), &e);
    for (int busy = 1; busy;) {
        busy = 0;
        for (int i = 0; i < 2; i++)
            while (session_submit(s[i], &e) > 0)
                busy = 1;
        for (int i = 0; i < 2; i++)
            busy |= session_collect(s[i], &e);
        assert_ok(e.code, &e);
    }
    assert_int_equal(f->most_out, 8);
    for (int i = 0; i < 2; i++)
        check_session(s[i], ids[i], 100);
    for (int i = 0; i < 2; i++)
        session_free(s[i]);
    fake_free(&f->base);
}

struct counting {
    size_t calls, stop_after;
};

static bool count_progress(void *arg, size_t done, size_t total)
{
    struct counting *c = arg;
    assert_true(done <= total);
    return ++c->calls != c->stop_after;
}

static void a_cancelled_prompt_leaves_its_beginning(void **state)
{
    (void)state;
    struct fake *f = fake_new(8);
    struct session *s = open_session(f, 0, 10, 0);
    struct err e = {0};
    struct counting c = {.stop_after = 3};
    int32_t ids[100];
    make_ids(ids, 100, 5);
    assert_int_equal(session_prompt(s, ids, 100, count_progress, &c, &e), SESSION_CANCELLED);
    assert_int_equal(session_length(s), 30);
    assert_int_equal(f->n_out, 0);
    assert_true(f->n_cancelled > 0);
    assert_null(session_logits(s));
    prompt(s, ids, 100);
    assert_int_equal(session_reused(s), 30);
    assert_int_equal(kv_length(f->map, 0), 100);
    session_free(s);
    fake_free(&f->base);
}

static void a_failed_pass_ends_the_prompt_there(void **state)
{
    (void)state;
    struct fake *f = fake_new(8);
    struct session *s = open_session(f, 0, 10, 4);
    struct err e = {0};
    int32_t ids[100];
    make_ids(ids, 100, 6);
    f->fail_at = 5;
    assert_int_equal(session_prompt(s, ids, 100, NULL, NULL, &e), ERR_UNREACHABLE);
    assert_string_equal(e.text, "the worker is gone");
    assert_int_equal(session_length(s), 50);
    assert_int_equal(f->n_out, 0);
    prompt(s, ids, 100);
    assert_int_equal(session_reused(s), 50);
    f->fail_at = f->n_submitted;
    e.code = 0;
    assert_int_equal(session_append(s, 1, &e), ERR_UNREACHABLE);
    assert_int_equal(session_length(s), 100);
    e.code = 0;
    ids[99] ^= 1;
    prompt(s, ids, 100);
    session_free(s);
    fake_free(&f->base);
}

static void a_full_context_is_a_sentence(void **state)
{
    (void)state;
    struct fake *f = fake_new(8);
    struct session *s = open_session(f, 0, 0, 0);
    struct err e = {0};
    int32_t ids[CONTEXT + 1];
    make_ids(ids, CONTEXT + 1, 7);
    f->hparams.context_length = CONTEXT + 1; // as many, but then none is left for an answer
    assert_int_equal(session_feed(s, ids, CONTEXT + 1, &e), ERR_NO_MEMORY);
    assert_non_null(strstr(e.text, "trained for 257; shorten it"));
    f->hparams.context_length = CONTEXT + 2;
    e.code = 0;
    assert_int_equal(session_feed(s, ids, CONTEXT + 1, &e), ERR_NO_MEMORY);
    assert_non_null(strstr(e.text, "--ctx of more than 257"));
    prompt(s, ids, CONTEXT - 1);
    assert_int_equal(session_room(s), 1);
    e.code = 0;
    assert_ok(session_append(s, ids[CONTEXT - 1], &e), &e);
    check_session(s, ids, CONTEXT);
    assert_int_equal(session_append(s, 1, &e), ERR_NO_MEMORY);
    assert_non_null(strstr(e.text, "--ctx"));
    check_session(s, ids, CONTEXT); // as it was
    session_free(s);
    fake_free(&f->base);
}

static void a_full_cache_refuses_and_can_be_used_on(void **state)
{
    (void)state;
    struct fake *f = fake_new(3); // 192 tokens for everybody
    struct session *a = open_session(f, 0, 64, 0), *b = open_session(f, 1, 64, 0);
    struct err e = {0};
    int32_t ids[150];
    make_ids(ids, 150, 8);
    prompt(a, ids, 100);
    assert_int_equal(session_prompt(b, ids, 100, NULL, NULL, &e), ERR_NO_MEMORY);
    assert_int_equal(f->n_out, 0);
    session_free(a);
    prompt(b, ids, 150);
    session_free(b);
    fake_free(&f->base);
}

static void truncation_and_forks_travel_with_the_passes(void **state)
{
    (void)state;
    struct fake *f = fake_new(10);
    struct session *a = open_session(f, 0, 0, 0), *b = open_session(f, 1, 0, 0);
    struct err e = {0};
    int32_t ids[160];
    make_ids(ids, 160, 9);
    prompt(a, ids, 150);
    assert_ok(session_fork(b, a, 140, &e), &e);
    assert_int_equal(kv_length(f->map, 1), 140);
    assert_int_equal(session_length(b), 140);
    assert_null(session_logits(b));
    prompt(b, ids, 160);
    assert_int_equal(session_reused(b), 140);
    check_session(a, ids, 150);
    session_truncate(a, 20);
    assert_int_equal(session_length(a), 20);
    assert_null(session_logits(a));
    assert_ok(session_append(a, ids[20], &e), &e);
    check_session(a, ids, 21);
    assert_int_equal(kv_length(f->map, 0), 21);
    session_truncate(a, 0);
    prompt(a, ids + 1, 10);
    assert_int_equal(session_reused(a), 0);
    session_free(a);
    session_free(b);
    assert_int_equal(kv_pages_free(f->map), 10);
    fake_free(&f->base);
}

struct rows_seen {
    const int32_t *ids;
    size_t n;
};

static void see_row(void *arg, size_t position, const float *logits)
{
    struct rows_seen *seen = arg;
    float want[VOCAB];
    assert_int_equal(position, seen->n++);
    expected_logits(seen->ids, position + 1, want);
    assert_memory_equal(logits, want, sizeof want);
}

static void every_row_is_seen_in_order(void **state)
{
    (void)state;
    struct fake *f = fake_new(8);
    int32_t ids[90];
    struct rows_seen seen = {.ids = make_ids(ids, 90, 10)};
    struct session_options o = {.chunk = 11, .rows = see_row, .rows_arg = &seen};
    struct err e = {0};
    struct session *s;
    assert_ok(session_new(&s, &f->base, &o, &e), &e);
    long before = guard_violations();
    prompt(s, ids, 90);
    assert_int_equal(seen.n, 90);
    assert_int_equal(guard_violations(), before);
    session_free(s);
    fake_free(&f->base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_new_is_computed),
        cmocka_unit_test(a_prompt_goes_in_chunks_of_one_group),
        cmocka_unit_test(a_chunk_says_how_many_come_right_behind_it),
        cmocka_unit_test(chunks_are_as_large_as_the_plan_wants),
        cmocka_unit_test(two_conversations_take_turns),
        cmocka_unit_test(a_cancelled_prompt_leaves_its_beginning),
        cmocka_unit_test(a_failed_pass_ends_the_prompt_there),
        cmocka_unit_test(a_full_context_is_a_sentence),
        cmocka_unit_test(a_full_cache_refuses_and_can_be_used_on),
        cmocka_unit_test(truncation_and_forks_travel_with_the_passes),
        cmocka_unit_test(every_row_is_seen_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
