// The pipeline of a head: see remote.h.
#include "cluster/remote.h"

#include "base/arena.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/guard.h"
#include "cluster/activations.h"
#include "engine/passes.h"
#include "engine/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FRAMES = RING_MAX_PASSES + 4, // those under way, and those just sent and not yet released
    NO_FRAME_NS = 1000000,        // how long to wait before looking again for a free one
};

_Static_assert((int)PIPELINE_MAX_PASSES <= (int)RING_MAX_PASSES, "passes in flight");
_Static_assert(sizeof(struct session_op) == sizeof(struct wire_op), "session operations");
_Static_assert((int)SESSION_OP_COUNT == (int)WIRE_OP_COUNT, "session operations");

struct remote {
    struct pipeline base;
    struct remote_options o;
    struct passes passes;
    struct window_table table;
    struct frame_pool *pool;
    struct frame_queue *queue;
    struct timings *timings;
    pthread_t thread;
    bool started;
    atomic_bool resting; // the compute thread ends, another will follow
    atomic_int position; // of the last token that was sent alone

    pthread_mutex_t lock;
    struct edges *edges; // under lock, as the next three; NULL in a ring of one
    uint32_t epoch;
    bool connected, stop, loaded;

    // The compute thread.
    struct stage stage;
    const struct kernels *kernels;
    struct arena arena;
    float *hidden; // (max_batch, n_embd), where the wire's type is another
    struct wire_token *tokens;
    struct pass *held; // taken, but no frame was free
    struct progress {  // of the pass in this place of `passes`
        int round;     // that it is in
        int64_t compute_ns;
    } progress[PIPELINE_MAX_PASSES];
};

static struct remote *of(struct pipeline *p)
{
    return (struct remote *)p;
}

static struct progress *progress_of(struct remote *r, const struct pass *s)
{
    return &r->progress[s - r->passes.slots];
}

static size_t hidden_size(const struct remote *r, const struct batch *b)
{
    return (size_t)b->n_tokens * (size_t)r->base.info.hparams->n_embd;
}

static void broken(struct remote *r, const struct err *why)
{
    passes_fail(&r->passes, why);
    if (r->o.broken)
        r->o.broken(r->o.ctx, why);
}

// Gives the frame to the next node. A lost edge is the driver's business: it will fail the passes.
// Under the lock, so that remote_fail can wait for the last use of the edges.
static void send(struct remote *r, struct frame *f, uint64_t pass, int round)
{
    pthread_mutex_lock(&r->lock);
    bool gone = !r->connected, alone = !r->edges;
    timings_entered(r->timings, pass, round, clock_ns());
    if (!gone && !alone)
        edges_send(r->edges, f);
    pthread_mutex_unlock(&r->lock);
    if (gone) {
        frame_release(f);
    } else if (alone) {
        f->arrived_ns = clock_ns();
        CHECK(frame_queue_push(r->queue, f));
    }
}

static bool may_launch(struct remote *r, uint32_t *epoch)
{
    pthread_mutex_lock(&r->lock);
    bool may = r->connected && !r->stop;
    *epoch = r->epoch;
    pthread_mutex_unlock(&r->lock);
    return may;
}

// Looks the tokens up and sends the pass on its way.
static void launch(struct remote *r, struct pass *s, struct frame *f, uint32_t epoch)
{
    const struct batch *b = &s->batch;
    struct pass_view v = {
        .header = {.epoch = epoch, .pass = b->pass, .node = (uint16_t)r->stage.node},
        .pass = {.n_tokens = (uint32_t)b->n_tokens,
                 .n_ops = (uint32_t)b->n_ops,
                 .group = b->group,
                 .chunk = b->chunk,
                 .behind = b->behind,
                 .activation = r->o.activation},
        .ops = (const struct wire_op *)b->ops,
        .tokens = r->tokens,
    };
    struct err e = {0};
    int64_t start = clock_ns();
    for (int i = 0; i < b->n_tokens; i++)
        r->tokens[i] = (struct wire_token){b->tokens[i].session, b->tokens[i].pos};
    if (b->n_tokens == 1)
        atomic_store(&r->position, (int)b->tokens[0].pos);
    frame_write_pass(f, &v, (uint32_t)r->base.info.hparams->n_embd);
    timings_begin(r->timings, b->pass, b->n_tokens, start);
    float *hidden = activations_get(r->kernels, r->o.activation, v.activations, r->hidden, 0);
    if (shard_embed(r->stage.shard, b, hidden, &e)) {
        frame_release(f);
        broken(r, &e);
        return;
    }
    activations_put(r->kernels, r->o.activation, v.activations, hidden, hidden_size(r, b));
    *progress_of(r, s) = (struct progress){.compute_ns = clock_ns() - start};
    send(r, f, b->pass, 0);
}

static void launch_waiting(struct remote *r)
{
    uint32_t epoch;
    while (may_launch(r, &epoch)) {
        struct pass *s = r->held ? r->held : passes_next(&r->passes);
        struct frame *f = s ? frame_take(r->pool) : NULL;
        r->held = f ? NULL : s;
        if (!f)
            return;
        launch(r, s, f, epoch);
    }
}

// Whether what came back is the pass that was sent. NULL: not ours any more; `e` when it cannot be.
static struct pass *identify(struct remote *r, struct frame *f, struct pass_view *v, struct err *e)
{
    uint32_t epoch, width = (uint32_t)r->base.info.hparams->n_embd;
    bool connected = may_launch(r, &epoch);
    if (frame_read_pass(v, f->bytes, f->size, width, r->o.activation, e))
        return NULL;
    if (!connected || v->header.epoch != epoch)
        return NULL;
    struct pass *s = passes_find(&r->passes, v->header.pass);
    if (!s)
        return NULL; // it has failed meanwhile
    int last = r->table.n_nodes > 1 ? r->table.n_nodes - 2 : 0;
    if (v->header.node != last || v->header.round != progress_of(r, s)->round ||
        v->pass.n_tokens != (uint32_t)s->batch.n_tokens) {
        err_set(e, ERR_FAILED,
                "pass %llu came back from node %u, round %u with %u tokens where node %d, round "
                "%d, %d tokens was due; the nodes have lost count of each other",
                (unsigned long long)v->header.pass, v->header.node, v->header.round,
                v->pass.n_tokens, last, progress_of(r, s)->round, s->batch.n_tokens);
        return NULL;
    }
    return s;
}

// Own window; then on to the next round, or the end. Owns the frame.
static int take_up(struct remote *r, struct pass *s, struct frame *f, struct pass_view *v,
                   struct err *e)
{
    struct progress *at = progress_of(r, s);
    const struct batch *b = &s->batch;
    size_t n = hidden_size(r, b);
    int round = at->round;
    struct wire_time time = {
        .pass = b->pass,
        .round = (uint32_t)round,
        .received_ns = f->arrived_ns,
        .started_ns = clock_ns(),
    };
    int64_t waited = weights_waited_ns(r->stage.weights);
    float *hidden = activations_get(r->kernels, r->o.activation, v->activations, r->hidden, n);
    int rc = stage_run(&r->stage, b, round, hidden, e);
    bool last = round == r->table.n_rounds - 1;
    if (!rc && last)
        rc = shard_output(r->stage.shard, b, hidden, s->logits, s->states, e);
    time.computed_ns = clock_ns();
    time.waited_ns = weights_waited_ns(r->stage.weights) - waited;
    at->compute_ns += time.computed_ns - time.started_ns;
    timings_ran(r->timings, r->stage.node, &time);
    if (rc || last) {
        frame_release(f);
        if (!rc)
            passes_complete(&r->passes, s, at->compute_ns, 0, NULL);
        return rc;
    }
    activations_put(r->kernels, r->o.activation, v->activations, hidden, n);
    launch_waiting(r); // chunks of a prompt go through each window one right behind the other
    at->round++;
    frame_forward_pass(f, (uint16_t)at->round, (uint16_t)r->stage.node);
    send(r, f, b->pass, at->round);
    return 0;
}

static void *compute_main(void *arg)
{
    struct remote *r = arg;
    guard_enter();
    while (!frame_queue_closed(r->queue) && !atomic_load(&r->resting)) {
        struct frame *f = frame_queue_pop(r->queue, r->held ? NO_FRAME_NS : -1, EDGES_SPIN_NS);
        struct pass_view v;
        struct err e = {0};
        struct pass *s = f ? identify(r, f, &v, &e) : NULL;
        if (s)
            take_up(r, s, f, &v, &e);
        else
            frame_release(f);
        if (e.code)
            broken(r, &e);
        launch_waiting(r);
    }
    guard_leave();
    return NULL;
}

// ---- The pipeline.

static int64_t remote_submit(struct pipeline *p, const struct batch *b, struct err *e)
{
    int64_t handle = passes_submit(&of(p)->passes, b, e);
    frame_queue_wake(of(p)->queue);
    return handle;
}

static int remote_wait(struct pipeline *p, int64_t handle, struct pass_result *out, struct err *e)
{
    return passes_wait(&of(p)->passes, handle, out, e);
}

static void remote_cancel(struct pipeline *p, int64_t handle)
{
    passes_cancel(&of(p)->passes, handle);
}

static void remote_release(struct pipeline *p, int64_t handle)
{
    passes_release(&of(p)->passes, handle);
}

static struct weights_status remote_residency(struct pipeline *p)
{
    struct remote *r = of(p);
    struct weights_status s = {0};
    pthread_mutex_lock(&r->lock);
    if (r->loaded)
        s = weights_status(r->stage.weights);
    pthread_mutex_unlock(&r->lock);
    return s;
}

static void remote_free(struct pipeline *p)
{
    struct remote *r = of(p);
    if (r->started) {
        passes_stop(&r->passes);
        frame_queue_close(r->queue);
        pthread_join(r->thread, NULL);
    }
    frame_queue_free(r->queue);
    frame_pool_free(r->pool);
    stage_close(&r->stage);
    passes_fini(&r->passes);
    timings_free(r->timings);
    arena_fini(&r->arena);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static const struct pipeline_ops remote_ops = {
    .submit = remote_submit,
    .wait = remote_wait,
    .release = remote_release,
    .cancel = remote_cancel,
    .residency = remote_residency,
    .free = remote_free,
};

static int allocate(struct remote *r, struct err *e)
{
    const struct pipeline_info *info = &r->base.info;
    size_t hidden = (size_t)info->max_batch * (size_t)info->hparams->n_embd * sizeof(float);
    size_t tokens = (size_t)info->max_batch * sizeof *r->tokens;
    size_t frame = frame_pass_size((uint32_t)info->max_batch, WIRE_MAX_OPS,
                                   (uint32_t)info->hparams->n_embd, r->o.activation);
    if (!frame)
        return err_set(e, ERR_FAILED,
                       "the model's hidden state of %d numbers is beyond what a frame can carry",
                       info->hparams->n_embd);
    r->pool = frame_pool_new(FRAMES, frame);
    r->queue = frame_queue_new(FRAMES);
    if (!r->pool || !r->queue || arena_init(&r->arena, arena_plan(arena_plan(0, hidden), tokens)))
        return err_set(e, ERR_NO_MEMORY,
                       "no memory for %d frames of %zu KiB; use a smaller --batch", FRAMES,
                       frame >> 10);
    r->hidden = arena_take(&r->arena, hidden);
    r->tokens = arena_take(&r->arena, tokens);
    return 0;
}

static void describe(struct remote *r)
{
    char lie[112];
    weights_describe(r->stage.weights, lie, sizeof lie);
    snprintf(r->base.info.description, sizeof r->base.info.description,
             "ring of %d, k = %d; %s, %s", r->table.n_nodes, r->table.n_rounds,
             backend_describe(r->stage.backend), lie);
}

int remote_shape(struct pipeline *p, const struct window_table *table, int chunk, struct err *e)
{
    struct remote *r = of(p);
    struct timings *t;
    int rc = timings_new(&t, table->n_nodes, table->n_rounds, e);
    if (rc)
        return rc;
    timings_free(r->timings);
    r->timings = t;
    r->table = *table;
    r->base.info.rounds = table->n_rounds;
    r->base.info.chunk = chunk;
    return 0;
}

// The windows that are loaded go, and with them what the sessions had in the cache.
static void unload(struct remote *r)
{
    if (r->started) {
        atomic_store(&r->resting, true);
        frame_queue_wake(r->queue);
        pthread_join(r->thread, NULL);
        atomic_store(&r->resting, false);
        r->started = false;
    }
    pthread_mutex_lock(&r->lock);
    r->loaded = false;
    pthread_mutex_unlock(&r->lock);
    stage_close(&r->stage);
    passes_forget(&r->passes);
    r->base.info.generation++;
}

int remote_load(struct pipeline *p, const struct model *m, const struct remote_share *share,
                struct err *e)
{
    struct remote *r = of(p);
    const struct local_options *o = &r->o.engine;
    if (r->stage.shard)
        unload(r);
    struct stage_options stage = {
        .n_threads = o->n_threads,
        .pin = o->pin,
        .isa = o->isa,
        .kv_type = o->kv_type,
        .kv_pages = r->base.info.kv_pages,
        .max_sessions = o->max_sessions,
        .max_context = o->max_context,
        .max_batch = o->max_batch,
        .max_outputs = o->max_outputs,
        .weights = o->weights,
        .reserved = r->passes.arena.size + r->arena.size + frame_pool_bytes(r->pool),
    };
    if (share->slots)
        stage.weights.slots = share->slots;
    if (share->memory && !stage.weights.memory)
        stage.weights.memory = share->memory;
    CHECK(!r->started && r->table.n_nodes);
    int rc = stage_open(&r->stage, m, &r->table, r->table.n_nodes - 1, &stage, e);
    if (rc)
        return rc;
    describe(r);
    pthread_mutex_lock(&r->lock);
    r->loaded = true;
    pthread_mutex_unlock(&r->lock);
    if (pthread_create(&r->thread, NULL, compute_main, r))
        return err_set(e, ERR_NO_MEMORY, "cannot start the compute thread");
    r->started = true;
    return 0;
}

int remote_open(struct pipeline **out, const struct model *m, const struct remote_options *o,
                struct err *e)
{
    const struct local_options *engine = &o->engine;
    struct remote *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r)
        return err_set(e, ERR_NO_MEMORY, "no memory to start the engine");
    r->o = *o;
    r->kernels = kernels_for(engine->isa == ISA_COUNT ? isa_detect() : engine->isa);
    r->base.ops = &remote_ops;
    r->base.info = (struct pipeline_info){
        .hparams = model_hparams(m),
        .max_sessions = engine->max_sessions,
        .max_context = engine->max_context,
        .max_batch = engine->max_batch,
        .kv_pages = engine->kv_pages ? engine->kv_pages
                                     : (engine->max_context + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS *
                                           engine->max_sessions,
    };
    pthread_mutex_init(&r->lock, NULL);
    int rc = passes_init(&r->passes, &r->base.info, engine->max_outputs, e);
    if (!rc)
        rc = allocate(r, e);
    if (!rc && o->table)
        rc = remote_shape(&r->base, o->table, 0, e);
    snprintf(r->base.info.description, sizeof r->base.info.description, "a ring");
    if (rc) {
        remote_free(&r->base);
        return rc;
    }
    *out = &r->base;
    return 0;
}

// ---- The driving thread.

struct frame_pool *remote_pool(struct pipeline *p)
{
    return of(p)->pool;
}

struct frame_queue *remote_queue(struct pipeline *p)
{
    return of(p)->queue;
}

struct timings *remote_timings(struct pipeline *p)
{
    return of(p)->timings;
}

void remote_settle(struct pipeline *p)
{
    passes_settle(&of(p)->passes);
}

int remote_position(struct pipeline *p)
{
    return atomic_load(&of(p)->position);
}

const char *remote_isa(const struct pipeline *p)
{
    return ((const struct remote *)p)->kernels->isa;
}

void remote_connect(struct pipeline *p, struct edges *edges, uint32_t epoch)
{
    struct remote *r = of(p);
    pthread_mutex_lock(&r->lock);
    r->edges = edges;
    r->epoch = epoch;
    r->connected = true;
    pthread_mutex_unlock(&r->lock);
    frame_queue_wake(r->queue);
}

void remote_disconnect(struct pipeline *p)
{
    struct remote *r = of(p);
    pthread_mutex_lock(&r->lock);
    r->connected = false;
    r->edges = NULL;
    pthread_mutex_unlock(&r->lock);
}

void remote_fail(struct pipeline *p, const struct err *why)
{
    struct remote *r = of(p);
    remote_disconnect(p);
    passes_fail(&r->passes, why);
}
