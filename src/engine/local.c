// A ring of one: see local.h. One pass after the other goes through all layers: in the thread that
// waits for it, or, while nobody waits, in a thread of this pipeline.
#include "engine/local.h"

#include "base/arena.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/guard.h"
#include "engine/passes.h"
#include "engine/stage.h"
#include "model/shard_state.h"

#include <stdio.h>
#include <stdlib.h>

struct local {
    struct pipeline base;
    struct passes passes;
    struct window_table table; // one node, one round
    struct stage stage;        // whoever took a pass, as the next two
    struct arena arena;
    float *hidden; // (max_batch, n_embd)
    pthread_t thread;
    bool started;
};

// One pass through all layers. Of a cancelled one only what it does to sessions happens: their
// lengths, and copies of forked pages; its own positions hold nothing until they are truncated, as
// pipeline.h asks.
static int compute(struct local *l, struct pass *s, struct err *e)
{
    struct batch b = s->batch;
    if (passes_cancelled(&l->passes, s)) {
        struct window all = {0, l->table.n_layers};
        int rc = shard_begin(l->stage.shard, &b, e);
        b.n_tokens = 0;
        if (!rc)
            rc = shard_run(l->stage.shard, &b, all, NULL, e);
        return rc ? rc : err_set(e, ERR_FAILED, "the pass was cancelled");
    }
    int rc = shard_embed(l->stage.shard, &b, l->hidden, e);
    if (!rc)
        rc = stage_run(&l->stage, &b, 0, l->hidden, e);
    if (!rc)
        rc = shard_output(l->stage.shard, &b, l->hidden, s->logits, s->states, e);
    return rc;
}

static void complete(struct local *l, struct pass *s)
{
    struct err e = {0};
    guard_enter();
    int64_t start = clock_ns();
    int rc = compute(l, s, &e);
    passes_complete(&l->passes, s, clock_ns() - start, rc, &e);
    guard_leave();
}

static void *compute_main(void *arg)
{
    struct local *l = arg;
    for (struct pass *s; (s = passes_take(&l->passes, -1));)
        complete(l, s);
    return NULL;
}

static int64_t local_submit(struct pipeline *p, const struct batch *b, struct err *e)
{
    return passes_submit(&((struct local *)p)->passes, b, e);
}

static int local_wait(struct pipeline *p, int64_t handle, struct pass_result *out, struct err *e)
{
    struct local *l = (struct local *)p;
    for (struct pass *s; (s = passes_take(&l->passes, handle));)
        complete(l, s);
    return passes_wait(&l->passes, handle, out, e);
}

static void local_cancel(struct pipeline *p, int64_t handle)
{
    passes_cancel(&((struct local *)p)->passes, handle);
}

static void local_release(struct pipeline *p, int64_t handle)
{
    passes_release(&((struct local *)p)->passes, handle);
}

static size_t local_page_bytes(struct pipeline *p)
{
    return shard_page_bytes(((struct local *)p)->stage.shard);
}

static struct digest local_page_kind(struct pipeline *p)
{
    return shard_page_kind(((struct local *)p)->stage.shard);
}

static void local_page_read(struct pipeline *p, uint32_t session, int page, void *out)
{
    struct local *l = (struct local *)p;
    passes_settle(&l->passes);
    shard_page_read(l->stage.shard, session, page, out);
}

static void local_page_write(struct pipeline *p, uint32_t session, int page, const void *data)
{
    struct local *l = (struct local *)p;
    passes_settle(&l->passes);
    shard_page_write(l->stage.shard, session, page, data);
}

static struct weights_status local_residency(struct pipeline *p)
{
    return weights_status(((struct local *)p)->stage.weights);
}

static void local_free(struct pipeline *p)
{
    struct local *l = (struct local *)p;
    if (l->started) {
        passes_stop(&l->passes);
        pthread_join(l->thread, NULL);
    }
    stage_close(&l->stage);
    passes_fini(&l->passes);
    arena_fini(&l->arena);
    free(l);
}

static const struct pipeline_ops local_ops = {
    .submit = local_submit,
    .wait = local_wait,
    .release = local_release,
    .cancel = local_cancel,
    .page_bytes = local_page_bytes,
    .page_kind = local_page_kind,
    .page_read = local_page_read,
    .page_write = local_page_write,
    .residency = local_residency,
    .free = local_free,
};

static int open_parts(struct local *l, const struct model *m, const struct local_options *o,
                      struct err *e)
{
    const struct hparams *h = model_hparams(m);
    struct stage_options stage = {
        .n_threads = o->n_threads,
        .pin = o->pin,
        .isa = o->isa,
        .observer = o->observer,
        .kv_type = o->kv_type,
        .kv_pages = l->base.info.kv_pages,
        .max_sessions = o->max_sessions,
        .max_context = o->max_context,
        .max_batch = o->max_batch,
        .max_outputs = o->max_outputs,
        .weights = o->weights,
    };
    size_t hidden = (size_t)o->max_batch * (size_t)h->n_embd * sizeof(float);
    int rc = passes_init(&l->passes, &l->base.info, o->max_outputs, e);
    if (!rc && arena_init(&l->arena, arena_plan(0, hidden)))
        rc = err_set(e, ERR_NO_MEMORY, "no memory for activations; use a smaller --batch");
    if (!rc)
        l->hidden = arena_take(&l->arena, hidden);
    if (!rc)
        rc = windows_split(&l->table, h->n_layers, 1, &h->n_layers, 1, e);
    stage.reserved = l->passes.arena.size + l->arena.size;
    if (!rc)
        rc = stage_open(&l->stage, m, &l->table, 0, &stage, e);
    if (!rc)
        backend_stop_when(l->stage.backend, o->stop);
    return rc;
}

int local_open(struct pipeline **out, const struct model *m, const struct local_options *o,
               struct err *e)
{
    int pages = (o->max_context + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS * o->max_sessions;
    struct local *l = calloc(1, sizeof *l);
    *out = NULL;
    if (!l)
        return err_set(e, ERR_NO_MEMORY, "no memory to start the engine");
    l->base.ops = &local_ops;
    l->base.info = (struct pipeline_info){
        .hparams = model_hparams(m),
        .max_sessions = o->max_sessions,
        .max_context = o->max_context,
        .max_batch = o->max_batch,
        .rounds = 1,
        .kv_pages = o->kv_pages ? o->kv_pages : pages,
    };
    int rc = open_parts(l, m, o, e);
    if (!rc && pthread_create(&l->thread, NULL, compute_main, l))
        rc = err_set(e, ERR_NO_MEMORY, "cannot start the compute thread");
    if (rc) {
        local_free(&l->base);
        return rc;
    }
    l->started = true;
    char lie[112];
    weights_describe(l->stage.weights, lie, sizeof lie);
    snprintf(l->base.info.description, sizeof l->base.info.description, "%s, %s",
             backend_describe(l->stage.backend), lie);
    *out = &l->base;
    return 0;
}
