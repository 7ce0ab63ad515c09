// engine/local over tiny random models: the same bits whatever the chunks, threads and company, and
// a cache that survives cancellation, forks and refusals.
#include "support.h"

#include "rig.h"
#include "tiny_model.h"

#include "base/guard.h"
#include "base/rng.h"
#include "engine/local.h"
#include "engine/session.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 130, CONTEXT = 192, VOCAB_LIMIT = 300 };

struct engine {
    struct gguf *gguf;
    struct model *model;
    struct pipeline *pipeline;
    size_t n_vocab;
};

static void engine_open(struct engine *g, const char *path, const struct local_options *o)
{
    struct err e = {0};
    assert_ok(gguf_open(&g->gguf, path, &e), &e);
    assert_ok(model_open(&g->model, g->gguf, &e), &e);
    assert_ok(local_open(&g->pipeline, g->model, o, &e), &e);
    g->n_vocab = (size_t)model_hparams(g->model)->n_vocab;
}

static void engine_close(struct engine *g)
{
    g->pipeline->ops->free(g->pipeline);
    model_free(g->model);
    gguf_free(g->gguf);
}

static struct local_options options(void)
{
    return (struct local_options){.n_threads = 2,
                                  .isa = ISA_COUNT,
                                  .kv_type = KV_F32,
                                  .max_sessions = 3,
                                  .max_context = CONTEXT,
                                  .max_batch = TOKENS,
                                  .max_outputs = TOKENS};
}

static const int32_t *random_ids(int n)
{
    static int32_t ids[CONTEXT + 1];
    struct rng r;
    rng_init(&r, 42);
    for (int i = 0; i < n; i++)
        ids[i] = (int32_t)rng_below(&r, VOCAB_LIMIT);
    return ids;
}

// Rows of logits as a session hands them out.
struct rows_kept {
    float *rows; // (TOKENS, n_vocab)
    size_t n_vocab;
};

static void keep_row(void *arg, size_t position, const float *logits)
{
    struct rows_kept *k = arg;
    memcpy(k->rows + position * k->n_vocab, logits, k->n_vocab * sizeof *logits);
}

static struct session *open_session(struct engine *g, uint32_t id, int chunk, struct rows_kept *k)
{
    struct err e = {0};
    struct session *s;
    struct session_options o = {.id = id, .chunk = chunk, .depth = 4};
    if (k) {
        k->n_vocab = g->n_vocab;
        k->rows = calloc(TOKENS, g->n_vocab * sizeof *k->rows);
        assert_non_null(k->rows);
        o.rows = keep_row;
        o.rows_arg = k;
    }
    assert_ok(session_new(&s, g->pipeline, &o, &e), &e);
    return s;
}

static const char *tiny(const char *arch, uint32_t type)
{
    struct tiny_model t = {.arch = arch, .type = type, .seed = 5, .n_layers = 2};
    const char *path = test_file("tiny.gguf");
    tiny_model_write(path, &t);
    return path;
}

// All rows of one prompt, in chunks, against `want`; and again token by token behind a prefix.
static void check_rows(const char *path, const struct local_options *o, int chunk,
                       const float *want)
{
    struct engine g;
    struct err e = {0};
    struct rows_kept k;
    const int32_t *ids = random_ids(TOKENS);
    engine_open(&g, path, o);
    struct session *s = open_session(&g, 1, chunk, &k);
    assert_ok(session_prompt(s, ids, TOKENS, NULL, NULL, &e), &e);
    assert_memory_equal(k.rows, want, TOKENS * g.n_vocab * sizeof *want);
    session_truncate(s, TOKENS - 10);
    for (int i = TOKENS - 10; i < TOKENS; i++) {
        assert_ok(session_append(s, ids[i], &e), &e);
        assert_memory_equal(session_logits(s), want + (size_t)i * g.n_vocab,
                            g.n_vocab * sizeof *want);
    }
    free(k.rows);
    session_free(s);
    engine_close(&g);
}

static void chunks_and_threads_do_not_change_a_bit(void **state)
{
    (void)state;
    static const struct {
        const char *arch;
        uint32_t type;
        enum kv_type kv;
        int n_runs;
        struct {
            int chunk, threads;
        } runs[6];
    } cases[] = {
        {"llama", WT_F32, KV_F32, 6, {{1, 1}, {7, 1}, {64, 1}, {TOKENS, 1}, {7, 2}, {TOKENS, 2}}},
        {"qwen2", WT_Q8_0, KV_F16, 3, {{7, 1}, {64, 2}, {TOKENS, 1}}},
        {"llama", WT_Q8_0, KV_Q8_0, 3, {{1, 2}, {5, 1}, {TOKENS, 2}}},
    };
    long violations = guard_violations();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = tiny(cases[i].arch, cases[i].type);
        struct rig_options reference = {.isa = isa_detect(), .kv_type = cases[i].kv};
        int n_vocab;
        float *want = rig_logits(path, random_ids(TOKENS), TOKENS, &reference, &n_vocab);
        for (int r = 0; r < cases[i].n_runs; r++) {
            struct local_options o = options();
            o.kv_type = cases[i].kv;
            o.n_threads = cases[i].runs[r].threads;
            check_rows(path, &o, cases[i].runs[r].chunk, want);
        }
        free(want);
    }
    assert_int_equal(guard_violations(), violations);
}

// Two conversations by turns, chunks of both in flight, one of them another text.
static void company_does_not_change_a_bit(void **state)
{
    (void)state;
    const char *path = tiny("llama", WT_Q8_0);
    struct engine g;
    struct err e = {0};
    struct local_options o = options();
    struct rows_kept k[2];
    struct session *s[2];
    int32_t other[TOKENS];
    const int32_t *texts[2] = {random_ids(TOKENS), other};
    for (int i = 0; i < TOKENS; i++)
        other[i] = texts[0][TOKENS - 1 - i];
    engine_open(&g, path, &o);
    s[0] = open_session(&g, 2, 9, &k[0]);
    s[1] = open_session(&g, 0, 16, &k[1]);
    for (int i = 0; i < 2; i++)
        assert_ok(session_feed(s[i], texts[i], TOKENS, &e), &e);
    for (bool busy = true; busy;) {
        busy = false;
        for (int i = 0; i < 2; i++)
            while (session_submit(s[i], &e) > 0)
                busy = true;
        for (int i = 0; i < 2; i++)
            busy |= session_collect(s[i], &e) > 0;
        assert_ok(e.code, &e);
    }
    for (int i = 0; i < 2; i++) {
        struct rig_options reference = {.isa = isa_detect()};
        int n_vocab;
        float *want = rig_logits(path, texts[i], TOKENS, &reference, &n_vocab);
        assert_int_equal(session_length(s[i]), TOKENS);
        assert_memory_equal(k[i].rows, want, TOKENS * g.n_vocab * sizeof *want);
        free(want);
        free(k[i].rows);
        session_free(s[i]);
    }
    engine_close(&g);
}

static float *logits_of(struct engine *g, struct session *s, const int32_t *ids, size_t n)
{
    struct err e = {0};
    assert_ok(session_prompt(s, ids, n, NULL, NULL, &e), &e);
    float *copy = malloc(g->n_vocab * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, session_logits(s), g->n_vocab * sizeof *copy);
    return copy;
}

// Chunks cancelled in flight (skipped, or half done: that is up to the compute thread), with a fork
// whose copy of a page travels in the first of them.
static void cancelled_work_leaves_no_trace(void **state)
{
    (void)state;
    struct engine g;
    struct err e = {0};
    struct local_options o = options();
    const int32_t *ids = random_ids(TOKENS);
    engine_open(&g, tiny("llama", WT_F32), &o);
    struct session *a = open_session(&g, 0, 10, NULL), *b = open_session(&g, 1, 10, NULL);
    float *want = logits_of(&g, a, ids, TOKENS);
    assert_ok(session_fork(b, a, 70, &e), &e);
    session_truncate(b, 66); // within the page that a and b share no more
    for (int round = 0; round < 10; round++) {
        assert_ok(session_feed(b, ids, TOKENS, &e), &e);
        for (int i = 0; i < 4; i++)
            assert_int_equal(session_submit(b, &e), 1);
        if (round % 2)
            assert_int_equal(session_collect(b, &e), 1);
        session_cancel(b);
        assert_int_equal(session_length(b), 66 + (size_t)(round % 2) * 10);
        session_truncate(b, 66);
    }
    float *got = logits_of(&g, b, ids, TOKENS);
    assert_int_equal(session_reused(b), 66);
    assert_memory_equal(got, want, g.n_vocab * sizeof *got);
    session_truncate(a, 120); // a kept its own page
    free(got);
    got = logits_of(&g, a, ids, TOKENS);
    assert_int_equal(session_reused(a), 120);
    assert_memory_equal(got, want, g.n_vocab * sizeof *got);
    free(got);
    free(want);
    session_free(a);
    session_free(b);
    engine_close(&g);
}

static void a_full_context_and_a_full_cache_are_sentences(void **state)
{
    (void)state;
    struct engine g;
    struct err e = {0};
    struct local_options o = options();
    const int32_t *ids = random_ids(CONTEXT + 1);
    o.kv_pages = 4;
    engine_open(&g, tiny("llama", WT_F32), &o);
    struct session *a = open_session(&g, 0, 0, NULL), *b = open_session(&g, 1, 0, NULL);
    assert_int_equal(session_prompt(a, ids, CONTEXT + 1, NULL, NULL, &e), ERR_NO_MEMORY);
    e.code = 0;
    float *want = logits_of(&g, a, ids, CONTEXT);
    assert_int_equal(session_append(a, 1, &e), ERR_NO_MEMORY);
    e.code = 0;
    assert_int_equal(session_prompt(b, ids, 65, NULL, NULL, &e), ERR_NO_MEMORY);
    assert_non_null(strstr(e.text, "cache"));
    e.code = 0;
    assert_ok(session_prompt(b, ids, 64, NULL, NULL, &e), &e);
    session_free(a);
    float *got = logits_of(&g, b, ids, CONTEXT);
    assert_memory_equal(got, want, g.n_vocab * sizeof *got);
    free(got);
    free(want);
    session_free(b);
    engine_close(&g);
}

static void passes_complete_in_order_and_may_be_released_early(void **state)
{
    (void)state;
    struct engine g;
    struct err e = {0};
    struct local_options o = options();
    int64_t handles[PIPELINE_MAX_PASSES];
    struct pass_result result;
    engine_open(&g, tiny("llama", WT_F32), &o);
    const struct pipeline_ops *ops = g.pipeline->ops;
    for (uint32_t i = 0; i < 40; i++) { // nobody waits: places become free by themselves
        struct batch_token t = {.id = 1, .pos = i};
        struct batch b = {.n_tokens = 1, .tokens = &t};
        int64_t h = ops->submit(g.pipeline, &b, &e);
        assert_true(h >= 0);
        ops->release(g.pipeline, h);
    }
    for (uint32_t i = 0; i < PIPELINE_MAX_PASSES; i++) {
        struct batch_token t = {.id = 2, .pos = 40 + i, .want = i % 2 ? WANT_LOGITS : WANT_HIDDEN};
        struct batch b = {.n_tokens = 1, .tokens = &t};
        handles[i] = ops->submit(g.pipeline, &b, &e);
        assert_true(handles[i] >= 0 && (i == 0 || handles[i] > handles[i - 1]));
    }
    int64_t before = 0;
    for (int i = PIPELINE_MAX_PASSES - 1; i >= 0; i--) // asked for in any order
        assert_ok(ops->wait(g.pipeline, handles[i], &result, &e), &e);
    for (int i = 0; i < PIPELINE_MAX_PASSES; i++) {
        assert_ok(ops->wait(g.pipeline, handles[i], &result, &e), &e);
        assert_int_equal(result.n_logits, i % 2);
        assert_int_equal(result.n_states, 1 - i % 2);
        assert_true(result.timing.completed_ns >= before && result.timing.compute_ns > 0);
        before = result.timing.completed_ns;
        ops->release(g.pipeline, handles[i]);
    }
    struct batch_token gap = {.id = 1, .pos = 100}, unknown = {.id = 1 << 20, .pos = 48};
    struct batch wrong[] = {{.n_tokens = 1, .tokens = &gap}, {.n_tokens = 1, .tokens = &unknown}};
    for (int i = 0; i < 2; i++) {
        e.code = 0;
        assert_int_equal(ops->submit(g.pipeline, &wrong[i], &e), ERR_FAILED);
    }
    engine_close(&g);
}

static atomic_int asked, stop_at; // by the compute thread; when it is to stop

static bool stop(void)
{
    return atomic_fetch_add(&asked, 1) >= atomic_load(&stop_at);
}

static void a_pass_can_be_stopped_before_any_layer(void **state)
{
    (void)state;
    struct engine g;
    struct local_options o = options();
    struct tiny_model t = {.seed = 9, .n_layers = 3};
    const char *path = test_file("stopped.gguf");
    const int32_t *ids = random_ids(TOKENS);
    tiny_model_write(path, &t);
    o.stop = stop;
    engine_open(&g, path, &o);
    struct session *s = open_session(&g, 0, 0, NULL);
    float *whole = malloc(g.n_vocab * sizeof *whole);
    atomic_store(&stop_at, INT_MAX);
    atomic_store(&asked, 0);
    struct err e = {0};
    assert_ok(session_prompt(s, ids, TOKENS, NULL, NULL, &e), &e);
    memcpy(whole, session_logits(s), g.n_vocab * sizeof *whole);
    int all = atomic_load(&asked);
    assert_true(all > t.n_layers); // every layer asks, and what is before and behind them
    for (int n = 0; n < all; n++) {
        struct err stopped = {0};
        session_truncate(s, 0);
        atomic_store(&asked, 0);
        atomic_store(&stop_at, n);
        assert_int_equal(session_prompt(s, ids, TOKENS, NULL, NULL, &stopped), ERR_FAILED);
        assert_string_equal(stopped.text, "interrupted");
        atomic_store(&stop_at, INT_MAX); // the session can be fed again
        assert_ok(session_prompt(s, ids, TOKENS, NULL, NULL, &e), &e);
        assert_memory_equal(whole, session_logits(s), g.n_vocab * sizeof *whole);
    }
    session_free(s);
    engine_close(&g);
    free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_and_threads_do_not_change_a_bit),
        cmocka_unit_test(company_does_not_change_a_bit),
        cmocka_unit_test(cancelled_work_leaves_no_trace),
        cmocka_unit_test(a_full_context_and_a_full_cache_are_sentences),
        cmocka_unit_test(passes_complete_in_order_and_may_be_released_early),
        cmocka_unit_test(a_pass_can_be_stopped_before_any_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
