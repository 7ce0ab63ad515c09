// A model file and everything that runs it: see rig.h.
#include "rig.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

void rig_open(struct rig *r, const char *path, const struct rig_options *o)
{
    struct err why = {0};
    assert_ok(rig_open_if(r, path, o, &why), &why);
}

int rig_open_if(struct rig *r, const char *path, const struct rig_options *o, struct err *why)
{
    struct err e = {0};
    *r = (struct rig){0};
    assert_ok(gguf_open(&r->g, path, &e), &e);
    assert_ok(model_open(&r->model, r->g, &e), &e);
    assert_ok(weights_open(&r->weights, r->g, &o->weights, &e), &e);
    r->h = model_hparams(r->model);
    struct backend_options b = {.n_threads = o->n_threads ? o->n_threads : 1, .isa = o->isa};
    assert_ok(backend_open_cpu(&r->backend, &b, &e), &e);
    r->n_windows = o->windows ? o->n_windows : 1;
    assert_true(r->n_windows <= (int)(sizeof r->windows / sizeof *r->windows));
    if (o->windows)
        memcpy(r->windows, o->windows, (size_t)o->n_windows * sizeof *o->windows);
    else
        r->windows[0] = (struct window){0, r->h->n_layers};
    int max_context = o->max_context ? o->max_context : 512;
    struct shard_options s = {
        .windows = r->windows,
        .n_windows = r->n_windows,
        .ends = true,
        .kv_type = o->kv_type,
        .kv_pages = 4 * (max_context / KV_PAGE_TOKENS + 1),
        .max_sessions = 4,
        .max_context = max_context,
        .max_batch = BATCH_MAX_TOKENS,
    };
    return shard_new(&r->shard, r->model, r->weights, r->backend, &s, why);
}

void rig_close(struct rig *r)
{
    shard_free(r->shard);
    backend_free(r->backend);
    weights_free(r->weights);
    model_free(r->model);
    gguf_free(r->g);
}

static int any_size(void *arg, size_t n_matrices, uint64_t bytes, struct err *e)
{
    (void)arg, (void)e;
    assert_true(n_matrices > 0 && bytes > 0);
    return 0;
}

static bool go_on(void *arg, uint64_t done)
{
    (void)arg, (void)done;
    return true;
}

void rig_prepack(const char *path, const char *lanes)
{
    struct err e = {0};
    struct rig r = {0};
    struct prepack what = {.path = lanes, .begin = any_size, .told = go_on};
    assert_ok(gguf_open(&r.g, path, &e), &e);
    assert_ok(model_open(&r.model, r.g, &e), &e);
    assert_ok(weights_open(&r.weights, r.g, NULL, &e), &e);
    assert_ok(backend_open_cpu(&r.backend, &(struct backend_options){.n_threads = 2}, &e), &e);
    struct window all = {0, model_hparams(r.model)->n_layers};
    shard_need(r.model, r.weights, &all, 1, true);
    assert_ok(weights_prepack(r.weights, r.backend, &what, &e), &e);
    rig_close(&r);
}

int rig_try(struct rig *r, const struct batch *b, float *logits, struct err *e)
{
    struct batch mine = *b;
    mine.pass = ++r->pass;
    float *hidden = malloc(((size_t)b->n_tokens + 1) * (size_t)r->h->n_embd * sizeof *hidden);
    assert_non_null(hidden);
    int rc = shard_begin(r->shard, &mine, e);
    if (!rc)
        rc = shard_embed(r->shard, &mine, hidden, e);
    for (int i = 0; i < r->n_windows && !rc; i++)
        rc = shard_run(r->shard, &mine, r->windows[i], hidden, e);
    if (!rc)
        rc = shard_output(r->shard, &mine, hidden, logits, NULL, e);
    free(hidden);
    return rc;
}

void rig_pass(struct rig *r, const struct batch *b, float *logits)
{
    struct err e = {0};
    assert_ok(rig_try(r, b, logits, &e), &e);
}

float *rig_logits(const char *path, const int32_t *ids, int n, const struct rig_options *o,
                  int *n_vocab)
{
    struct rig r;
    rig_open(&r, path, o);
    int chunk = o->chunk ? o->chunk : BATCH_MAX_TOKENS;
    size_t width = (size_t)r.h->n_vocab;
    float *logits = malloc((size_t)n * width * sizeof *logits);
    struct batch_token *tokens = malloc((size_t)n * sizeof *tokens);
    assert_true(logits && tokens);
    for (int i = 0; i < n; i++)
        tokens[i] = (struct batch_token){.id = ids[i], .pos = (uint32_t)i, .want = WANT_LOGITS};
    for (int at = 0; at < n; at += chunk) {
        struct batch b = {.tokens = tokens + at, .n_tokens = n - at < chunk ? n - at : chunk};
        rig_pass(&r, &b, logits + (size_t)at * width);
    }
    free(tokens);
    *n_vocab = r.h->n_vocab;
    rig_close(&r);
    return logits;
}
