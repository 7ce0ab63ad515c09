// A ring of one: see local.h.
//
//   submit ──> slot QUEUED ──> compute thread: RUNNING ──> DONE ──> wait ──> release ──> slot FREE
//
// There are PIPELINE_MAX_PASSES slots, each with room for a batch and its results, all taken from
// one arena when the pipeline opens. `lock` guards the state of the slots; what a slot holds
// belongs to the compute thread while it is QUEUED or RUNNING and to the caller otherwise.
#include "engine/local.h"

#include "base/arena.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/guard.h"
#include "engine/stage.h"
#include "model/kv.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum slot_state { SLOT_FREE, SLOT_QUEUED, SLOT_RUNNING, SLOT_DONE };

struct slot {
    enum slot_state state;
    int64_t handle;
    bool cancelled, released;
    struct batch batch; // its arrays are the next two
    struct batch_token *tokens;
    struct session_op ops[BATCH_MAX_OPS];
    struct pass_result result;
    float *logits; // (max_outputs, n_vocab)
    float *states; // (max_outputs, n_embd)
    int rc;
    struct err error;
};

struct local {
    struct pipeline base;
    int max_outputs;
    int64_t next_handle;
    struct kv_map *mirror; // the caller's thread
    struct weights *weights;
    struct backend *backend;
    struct window all;         // layers
    struct window_table table; // one node, one round
    struct stage stage;        // the compute thread
    float *hidden;             // (max_batch, n_embd), the compute thread
    struct arena arena;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    bool stop;                              // under lock
    struct slot slots[PIPELINE_MAX_PASSES]; // states under lock
};

static int run_rounds(struct local *l, const struct batch *b, struct err *e)
{
    int rc = 0;
    for (int round = 0; !rc && round < l->table.n_rounds; round++)
        rc = stage_run(&l->stage, b, round, l->hidden, e);
    return rc;
}

// One pass through all layers. Of a cancelled one only what it does to sessions happens: their
// lengths, and copies of forked pages; its own positions hold nothing until they are truncated, as
// pipeline.h asks.
static int compute(struct local *l, struct slot *s, bool cancelled)
{
    struct shard *shard = l->stage.shard;
    struct err *e = &s->error;
    if (cancelled) {
        struct batch ops_only = s->batch;
        int rc = shard_begin(shard, &s->batch, e);
        ops_only.n_tokens = 0;
        if (!rc)
            rc = shard_run(shard, &ops_only, l->all, NULL, e);
        return rc ? rc : err_set(e, ERR_FAILED, "the pass was cancelled");
    }
    int rc = shard_embed(shard, &s->batch, l->hidden, e);
    if (!rc)
        rc = run_rounds(l, &s->batch, e);
    if (!rc)
        rc = shard_output(shard, &s->batch, l->hidden, s->logits, s->states, e);
    return rc;
}

static struct slot *next_queued(struct local *l)
{
    struct slot *first = NULL;
    for (int i = 0; i < PIPELINE_MAX_PASSES; i++) {
        struct slot *s = &l->slots[i];
        if (s->state == SLOT_QUEUED && (!first || s->handle < first->handle))
            first = s;
    }
    return first;
}

static void *compute_main(void *arg)
{
    struct local *l = arg;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        struct slot *s = next_queued(l);
        if (!s) {
            pthread_cond_wait(&l->work, &l->lock);
            continue;
        }
        s->state = SLOT_RUNNING;
        bool cancelled = s->cancelled;
        pthread_mutex_unlock(&l->lock);
        guard_enter();
        int64_t start = clock_ns();
        s->rc = compute(l, s, cancelled);
        s->result.timing.completed_ns = clock_ns();
        s->result.timing.compute_ns = s->result.timing.completed_ns - start;
        guard_leave();
        pthread_mutex_lock(&l->lock);
        s->state = s->released ? SLOT_FREE : SLOT_DONE;
        pthread_cond_broadcast(&l->done);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static struct slot *find(struct local *l, int64_t handle)
{
    for (int i = 0; i < PIPELINE_MAX_PASSES; i++)
        if (l->slots[i].state != SLOT_FREE && l->slots[i].handle == handle)
            return &l->slots[i];
    CHECK(!"a handle that was never given out, or is released");
    return NULL;
}

// A slot to fill. Waiting helps only while a pass is still to be computed: a caller that holds all
// results and asks for more would wait for itself.
static struct slot *claim(struct local *l)
{
    pthread_mutex_lock(&l->lock);
    for (;;) {
        bool pending = false;
        for (int i = 0; i < PIPELINE_MAX_PASSES; i++) {
            struct slot *s = &l->slots[i];
            if (s->state == SLOT_FREE) {
                pthread_mutex_unlock(&l->lock);
                return s;
            }
            pending |= s->released;
        }
        CHECK(pending);
        pthread_cond_wait(&l->done, &l->lock);
    }
}

static int check_batch(const struct local *l, const struct batch *b, int *n_logits, int *n_states,
                       struct err *e)
{
    const struct pipeline_info *info = &l->base.info;
    CHECK(b->n_tokens >= 0 && b->n_ops >= 0 && b->n_ops <= BATCH_MAX_OPS);
    CHECK(b->n_tokens <= info->max_batch);
    *n_logits = *n_states = 0;
    for (int i = 0; i < b->n_tokens; i++) {
        const struct batch_token *t = &b->tokens[i];
        if (t->id < 0 || t->id >= info->hparams->n_vocab)
            return err_set(e, ERR_FAILED,
                           "token %d is not one of the model's %d; its vocabulary and its "
                           "embedding do not belong together",
                           t->id, info->hparams->n_vocab);
        *n_logits += t->want == WANT_LOGITS;
        *n_states += t->want == WANT_HIDDEN;
    }
    CHECK(*n_logits <= l->max_outputs && *n_states <= l->max_outputs);
    return kv_admit(l->mirror, b, e);
}

static int64_t local_submit(struct pipeline *p, const struct batch *b, struct err *e)
{
    struct local *l = (struct local *)p;
    struct kv_copy copies[BATCH_MAX_OPS]; // the shard's own books make them
    int n_logits, n_states;
    guard_enter();
    int rc = check_batch(l, b, &n_logits, &n_states, e);
    if (rc) {
        guard_leave();
        return rc;
    }
    struct slot *s = claim(l);
    kv_apply(l->mirror, b, copies);
    s->batch = *b;
    for (int i = 0; i < b->n_tokens; i++)
        s->tokens[i] = b->tokens[i];
    for (int i = 0; i < b->n_ops; i++)
        s->ops[i] = b->ops[i];
    s->batch.tokens = s->tokens;
    s->batch.ops = s->ops;
    s->result = (struct pass_result){.logits = s->logits,
                                     .n_logits = n_logits,
                                     .states = s->states,
                                     .n_states = n_states,
                                     .timing.submitted_ns = clock_ns()};
    s->rc = 0;
    s->error.code = 0;
    s->cancelled = s->released = false;
    pthread_mutex_lock(&l->lock);
    s->handle = l->next_handle++;
    s->batch.pass = (uint64_t)s->handle;
    s->state = SLOT_QUEUED;
    pthread_cond_signal(&l->work);
    pthread_mutex_unlock(&l->lock);
    guard_leave();
    return s->handle;
}

static int local_wait(struct pipeline *p, int64_t handle, struct pass_result *out, struct err *e)
{
    struct local *l = (struct local *)p;
    pthread_mutex_lock(&l->lock);
    struct slot *s = find(l, handle);
    while (s->state != SLOT_DONE)
        pthread_cond_wait(&l->done, &l->lock);
    pthread_mutex_unlock(&l->lock);
    if (s->rc)
        return err_set(e, s->rc, "%s", s->error.text);
    *out = s->result;
    return 0;
}

static void local_cancel(struct pipeline *p, int64_t handle)
{
    struct local *l = (struct local *)p;
    pthread_mutex_lock(&l->lock);
    find(l, handle)->cancelled = true;
    pthread_mutex_unlock(&l->lock);
}

static void local_release(struct pipeline *p, int64_t handle)
{
    struct local *l = (struct local *)p;
    pthread_mutex_lock(&l->lock);
    struct slot *s = find(l, handle);
    s->released = true;
    if (s->state == SLOT_DONE)
        s->state = SLOT_FREE;
    pthread_mutex_unlock(&l->lock);
}

static void local_free(struct pipeline *p)
{
    struct local *l = (struct local *)p;
    if (l->started) {
        pthread_mutex_lock(&l->lock);
        l->stop = true;
        pthread_cond_signal(&l->work);
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->thread, NULL);
    }
    pthread_cond_destroy(&l->done);
    pthread_cond_destroy(&l->work);
    pthread_mutex_destroy(&l->lock);
    shard_free(l->stage.shard);
    backend_free(l->backend);
    weights_free(l->weights);
    kv_map_free(l->mirror);
    arena_fini(&l->arena);
    free(l);
}

static const struct pipeline_ops local_ops = {
    .submit = local_submit,
    .wait = local_wait,
    .release = local_release,
    .cancel = local_cancel,
    .free = local_free,
};

static int allocate(struct local *l, const struct hparams *h, const struct local_options *o,
                    struct err *e)
{
    size_t batch = (size_t)o->max_batch, outputs = (size_t)o->max_outputs;
    size_t tokens = batch * sizeof(struct batch_token);
    size_t hidden = batch * (size_t)h->n_embd * sizeof(float);
    size_t logits = outputs * (size_t)h->n_vocab * sizeof(float);
    size_t states = outputs * (size_t)h->n_embd * sizeof(float), total = arena_plan(0, hidden);
    for (int i = 0; i < PIPELINE_MAX_PASSES; i++)
        total = arena_plan(arena_plan(arena_plan(total, tokens), logits), states);
    if (arena_init(&l->arena, total))
        return err_set(e, ERR_NO_MEMORY,
                       "no memory for %zu MiB of activations and logits; use a smaller --batch",
                       total >> 20);
    l->hidden = arena_take(&l->arena, hidden);
    for (int i = 0; i < PIPELINE_MAX_PASSES; i++) {
        struct slot *s = &l->slots[i];
        s->tokens = arena_take(&l->arena, tokens);
        s->logits = arena_take(&l->arena, logits);
        s->states = arena_take(&l->arena, states);
    }
    return 0;
}

static int open_stage(struct local *l, const struct model *m, const struct local_options *o,
                      struct err *e)
{
    const struct hparams *h = model_hparams(m);
    struct backend_options backend = {.n_threads = o->n_threads, .isa = o->isa};
    struct shard_options shard = {
        .windows = &l->all,
        .n_windows = 1,
        .ends = true,
        .kv_type = o->kv_type,
        .kv_pages = l->base.info.kv_pages,
        .max_sessions = o->max_sessions,
        .max_context = o->max_context,
        .max_batch = o->max_batch,
    };
    l->all = (struct window){0, h->n_layers};
    int rc = windows_split(&l->table, h->n_layers, 1, &h->n_layers, 1, e);
    if (!rc)
        rc = weights_open(&l->weights, model_gguf(m), e);
    if (!rc)
        rc = backend_open_cpu(&l->backend, &backend, e);
    if (!rc)
        rc = shard_new(&l->stage.shard, m, l->weights, l->backend, &shard, e);
    l->stage.table = &l->table;
    return rc;
}

int local_open(struct pipeline **out, const struct model *m, const struct local_options *o,
               struct err *e)
{
    const struct hparams *h = model_hparams(m);
    int pages = (o->max_context + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS * o->max_sessions;
    struct local *l = calloc(1, sizeof *l);
    *out = NULL;
    CHECK(o->max_batch >= 1 && o->max_batch <= BATCH_MAX_TOKENS && o->max_outputs >= 1);
    if (!l)
        return err_set(e, ERR_NO_MEMORY, "no memory to start the engine");
    l->base.ops = &local_ops;
    l->base.info = (struct pipeline_info){
        .hparams = h,
        .max_sessions = o->max_sessions,
        .max_context = o->max_context,
        .max_batch = o->max_batch,
        .kv_pages = o->kv_pages ? o->kv_pages : pages,
    };
    l->max_outputs = o->max_outputs;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->done, NULL);
    int rc = kv_map_new(&l->mirror, l->base.info.kv_pages, o->max_sessions, o->max_context, e);
    if (!rc)
        rc = allocate(l, h, o, e);
    if (!rc)
        rc = open_stage(l, m, o, e);
    if (!rc && pthread_create(&l->thread, NULL, compute_main, l))
        rc = err_set(e, ERR_NO_MEMORY, "cannot start the compute thread");
    if (rc) {
        local_free(&l->base);
        return rc;
    }
    l->started = true;
    snprintf(l->base.info.description, sizeof l->base.info.description, "%s",
             backend_describe(l->backend));
    *out = &l->base;
    return 0;
}
