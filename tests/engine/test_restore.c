// A session that is kept and goes on in another process: its tokens and the pages of its cache, put
// into a new pipeline where other pages are free, give the bits that it would have had without the
// break.
#include "support.h"

#include "tiny_model.h"

#include "base/guard.h"
#include "base/rng.h"
#include "engine/local.h"
#include "engine/session.h"

#include <stdlib.h>
#include <string.h>

enum { CONTEXT = 256, KEPT = 150, MORE = 20 };

struct engine {
    struct gguf *gguf;
    struct model *model;
    struct pipeline *pipeline;
    size_t n_vocab;
};

static void engine_open(struct engine *g, const char *path, enum kv_type kv)
{
    struct err e = {0};
    struct local_options o = {.n_threads = 2,
                              .isa = ISA_COUNT,
                              .kv_type = kv,
                              .max_sessions = 2,
                              .max_context = CONTEXT,
                              .max_batch = 64,
                              .max_outputs = 1};
    assert_ok(gguf_open(&g->gguf, path, &e), &e);
    assert_ok(model_open(&g->model, g->gguf, &e), &e);
    assert_ok(local_open(&g->pipeline, g->model, &o, &e), &e);
    g->n_vocab = (size_t)model_hparams(g->model)->n_vocab;
}

static void engine_close(struct engine *g)
{
    g->pipeline->ops->free(g->pipeline);
    model_free(g->model);
    gguf_free(g->gguf);
}

static struct session *open_session(struct engine *g, uint32_t id)
{
    struct err e = {0};
    struct session *s;
    assert_ok(session_new(&s, g->pipeline, &(struct session_options){.id = id}, &e), &e);
    return s;
}

static void random_ids(int32_t *ids, int n, uint64_t seed)
{
    struct rng r;
    rng_init(&r, seed);
    for (int i = 0; i < n; i++)
        ids[i] = (int32_t)rng_below(&r, 300);
}

struct kept {
    size_t page_bytes, n_pages, fail_at;
    uint8_t *pages;
};

static struct kept keep(const struct session *s)
{
    struct kept k = {.page_bytes = session_page_bytes(s), .fail_at = SIZE_MAX};
    k.n_pages = (session_length(s) + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
    k.pages = malloc(k.n_pages * k.page_bytes);
    assert_non_null(k.pages);
    for (size_t i = 0; i < k.n_pages; i++)
        session_read_page(s, i, k.pages + i * k.page_bytes);
    return k;
}

static int load(void *arg, size_t index, void *page, struct err *e)
{
    const struct kept *k = arg;
    assert_true(index < k->n_pages);
    if (index == k->fail_at)
        return err_set(e, ERR_FAILED, "page %zu cannot be read", index);
    memcpy(page, k->pages + index * k->page_bytes, k->page_bytes);
    return 0;
}

// Logits (MORE, n_vocab) behind the tokens ids[KEPT, KEPT + MORE).
static float *go_on(struct session *s, const int32_t *ids, size_t n_vocab)
{
    struct err e = {0};
    float *rows = malloc(MORE * n_vocab * sizeof *rows);
    assert_non_null(rows);
    for (int i = 0; i < MORE; i++) {
        assert_ok(session_append(s, ids[KEPT + i], &e), &e);
        memcpy(rows + (size_t)i * n_vocab, session_logits(s), n_vocab * sizeof *rows);
    }
    return rows;
}

static void check_model(const char *path, enum kv_type kv)
{
    struct engine g;
    struct err e = {0};
    int32_t ids[KEPT + MORE], other[100];
    random_ids(ids, KEPT + MORE, 7);
    random_ids(other, 100, 8);

    engine_open(&g, path, kv);
    struct session *s = open_session(&g, 0);
    assert_ok(session_prompt(s, ids, KEPT, NULL, NULL, &e), &e);
    struct kept k = keep(s);
    float *want = go_on(s, ids, g.n_vocab);
    session_free(s);
    engine_close(&g);

    engine_open(&g, path, kv);
    struct session *first = open_session(&g, 1); // has the pages that were free there
    assert_ok(session_prompt(first, other, 100, NULL, NULL, &e), &e);
    s = open_session(&g, 0);
    assert_ok(session_prompt(s, other, 80, NULL, NULL, &e), &e); // is forgotten
    uint8_t *page = malloc(k.page_bytes);
    assert_int_equal(session_page_bytes(s), k.page_bytes);
    long violations = guard_violations();
    assert_ok(session_restore(s, ids, KEPT, load, &k, page, &e), &e);
    assert_int_equal(session_length(s), KEPT);
    assert_memory_equal(session_tokens(s), ids, KEPT * sizeof *ids);
    assert_null(session_logits(s)); // nobody computed any
    float *got = go_on(s, ids, g.n_vocab);
    assert_memory_equal(got, want, MORE * g.n_vocab * sizeof *want);
    assert_int_equal(guard_violations(), violations);

    // And as the beginning of a longer prompt: all of it is found in the cache.
    session_truncate(s, 0);
    assert_ok(session_restore(s, ids, KEPT, load, &k, page, &e), &e);
    assert_ok(session_prompt(s, ids, KEPT + MORE, NULL, NULL, &e), &e);
    assert_int_equal(session_reused(s), KEPT);
    assert_memory_equal(session_logits(s), want + (size_t)(MORE - 1) * g.n_vocab,
                        g.n_vocab * sizeof *want);
    free(page);
    free(got);
    free(want);
    free(k.pages);
    session_free(s);
    session_free(first);
    engine_close(&g);
}

static void a_kept_session_goes_on_with_the_same_bits(void **state)
{
    (void)state;
    const char *path = test_file("tiny.gguf");
    struct tiny_model shapes[] = {
        {.arch = "llama", .seed = 5, .n_layers = 3},
        {.arch = "llama", .seed = 6, .n_layers = 2, .window = 70},
        {.arch = "qwen2", .seed = 7, .n_layers = 2, .type = WT_Q8_0},
        {.arch = "gemma3", .seed = 8},    // windows in some layers only
        {.arch = "deepseek2", .seed = 9}, // keys are the values too
        {.arch = "gpt-oss", .seed = 10},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        tiny_model_write(path, &shapes[i]);
        for (int kv = 0; kv < KV_TYPE_COUNT; kv++)
            check_model(path, (enum kv_type)kv);
    }
}

static void a_page_that_cannot_be_loaded_leaves_an_empty_session(void **state)
{
    (void)state;
    struct engine g;
    struct err e = {0};
    int32_t ids[KEPT + MORE];
    const char *path = test_file("tiny.gguf");
    tiny_model_write(path, &(struct tiny_model){.seed = 5, .n_layers = 2});
    random_ids(ids, KEPT + MORE, 7);
    engine_open(&g, path, KV_F16);
    struct session *s = open_session(&g, 0);
    assert_ok(session_prompt(s, ids, KEPT, NULL, NULL, &e), &e);
    struct kept k = keep(s);
    float *want = go_on(s, ids, g.n_vocab);
    uint8_t *page = malloc(k.page_bytes);
    k.fail_at = 1;
    assert_int_equal(session_restore(s, ids, KEPT, load, &k, page, &e), ERR_FAILED);
    assert_string_equal(e.text, "page 1 cannot be read");
    assert_int_equal(session_length(s), 0);
    // What could not be loaded is computed, as if nothing had been there.
    e = (struct err){0};
    assert_ok(session_prompt(s, ids, KEPT, NULL, NULL, &e), &e);
    assert_int_equal(session_reused(s), 0);
    float *got = go_on(s, ids, g.n_vocab);
    assert_memory_equal(got, want, MORE * g.n_vocab * sizeof *want);
    free(page);
    free(got);
    free(want);
    free(k.pages);
    session_free(s);
    engine_close(&g);
}

static void what_the_context_cannot_hold_is_refused(void **state)
{
    (void)state;
    struct engine g;
    struct err e = {0};
    int32_t ids[CONTEXT + 1];
    const char *path = test_file("tiny.gguf");
    tiny_model_write(path, &(struct tiny_model){.seed = 5, .n_layers = 1});
    random_ids(ids, CONTEXT + 1, 7);
    engine_open(&g, path, KV_F16);
    struct session *s = open_session(&g, 0);
    struct kept k = {.fail_at = 0};
    uint8_t *page = malloc(session_page_bytes(s));
    assert_int_equal(session_restore(s, ids, CONTEXT + 1, load, &k, page, &e), ERR_NO_MEMORY);
    e = (struct err){0};
    ids[3] = 1 << 20; // not one of the model's
    assert_int_equal(session_restore(s, ids, KEPT, load, &k, page, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "not one of the model's"));
    assert_int_equal(session_length(s), 0);
    free(page);
    session_free(s);
    engine_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kept_session_goes_on_with_the_same_bits),
        cmocka_unit_test(a_page_that_cannot_be_loaded_leaves_an_empty_session),
        cmocka_unit_test(what_the_context_cannot_hold_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
