// A worker's part in one ring: see duty.h.
#include "cluster/duty.h"

#include "base/arena.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/guard.h"
#include "base/signals.h"
#include "cluster/activations.h"
#include "cluster/offer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FRAMES = RING_MAX_PASSES + 4, // those under way, and those just sent and not yet released
    TIMED = 2 * RING_MAX_PASSES,  // passes whose times are being collected
};

struct timed {
    uint64_t pass;
    struct wire_time rounds[WIRE_MAX_ROUNDS];
};

struct duty {
    struct duty_options o;
    uint32_t epoch;
    struct wire_offer offer;
    struct wire_layer *layers; // (offer.n_digests)
    struct window_table table;
    int node;
    enum wire_activation activation;
    uint64_t slots, memory; // as planned; 0: as is found right
    struct edges_options edges_options;
    char description[96];
    pthread_t thread;
    bool started;

    // Made by the thread before it tells that it has loaded.
    struct frame_pool *pool;
    struct frame_queue *queue;
    struct edges *edges;
    struct wire_ready ready;
    char lie[112]; // weights_describe

    // The thread's own.
    struct stage stage;
    const struct kernels *kernels;
    struct arena arena;
    float *hidden; // (max_batch, n_embd), where the wire's type is another
    struct batch_token *tokens;
    bool failed;

    pthread_mutex_t lock;
    struct timed timed[TIMED]; // under lock: the compute thread and the outgoing edge's
};

// ---- The file.

void duty_model_close(struct duty_model *m)
{
    model_free(m->model);
    gguf_free(m->gguf);
    m->model = NULL;
    m->gguf = NULL;
}

// A file that changed since the last ring is opened anew: its owner may have put it right.
int duty_model_have(struct duty_model *m, struct err *e)
{
    if (m->gguf && gguf_unchanged(m->gguf, NULL))
        duty_model_close(m);
    int rc = m->gguf ? 0 : gguf_open(&m->gguf, m->path, e);
    if (!rc && !m->model)
        rc = model_open(&m->model, m->gguf, e);
    return rc;
}

// ---- Times.

// With the lock held: the entry of this pass, emptied when it was another's.
static struct timed *timed_of(struct duty *d, uint64_t pass)
{
    struct timed *t = &d->timed[pass % TIMED];
    if (t->pass != pass) {
        memset(t, 0, sizeof *t);
        t->pass = pass;
    }
    return t;
}

// On the outgoing edge's thread. The last round's frame takes the report of the whole pass along.
static void sent(void *ctx, const struct frame *f, int64_t now_ns)
{
    struct duty *d = ctx;
    struct wire_header h;
    struct wire_timing m = {.n_times = (uint32_t)d->table.n_rounds};
    memcpy(&h, f->bytes, sizeof h);
    if (h.round >= d->table.n_rounds)
        return;
    pthread_mutex_lock(&d->lock);
    struct timed *t = timed_of(d, h.pass);
    t->rounds[h.round].sent_ns = now_ns;
    bool last = h.round == d->table.n_rounds - 1;
    struct frame *report = last ? frame_take(d->o.control) : NULL; // none free: no report
    if (report)
        frame_write_timing(report, d->epoch, &m, t->rounds);
    pthread_mutex_unlock(&d->lock);
    if (report)
        link_send(d->o.head, report);
}

// ---- The thread.

static void tell(struct duty *d, enum mail_kind kind, const struct err *why)
{
    struct mail letter = {.kind = kind, .epoch = d->epoch};
    if (why)
        letter.why = *why;
    mailbox_put(d->o.mail, &letter);
}

static int make_frames(struct duty *d, struct err *e)
{
    const struct hparams *h = model_hparams(d->o.model->model);
    size_t hidden = (size_t)d->offer.max_batch * (size_t)h->n_embd * sizeof(float);
    size_t tokens = d->offer.max_batch * sizeof *d->tokens;
    size_t frame =
        frame_pass_size(d->offer.max_batch, WIRE_MAX_OPS, (uint32_t)h->n_embd, d->activation);
    if (!frame)
        return err_set(e, ERR_FAILED,
                       "the model's hidden state of %d numbers is beyond what a frame can carry",
                       h->n_embd);
    d->pool = frame_pool_new(FRAMES, frame);
    if (!d->pool || arena_init(&d->arena, arena_plan(arena_plan(0, hidden), tokens)))
        return err_set(e, ERR_NO_MEMORY, "no memory for %d frames of %zu KiB", FRAMES, frame >> 10);
    d->hidden = arena_take(&d->arena, hidden);
    d->tokens = arena_take(&d->arena, tokens);
    return 0;
}

static int load(struct duty *d, struct err *e)
{
    struct stage_options stage = {
        .n_threads = d->o.n_threads,
        .pin = d->o.pin,
        .isa = d->o.isa,
        .weights = d->o.weights,
        .kv_type = (enum kv_type)d->offer.kv,
        .kv_pages = (int)d->offer.kv_pages,
        .max_sessions = (int)d->offer.max_sessions,
        .max_context = (int)d->offer.max_context,
        .max_batch = (int)d->offer.max_batch,
    };
    if (d->slots)
        stage.weights.slots = d->slots;
    if (d->memory && !stage.weights.memory)
        stage.weights.memory = d->memory;
    int64_t start = clock_ns();
    int rc = duty_model_have(d->o.model, e);
    if (!rc)
        rc = offer_check(&d->offer, d->layers, d->o.model->model, &d->table, d->node, e);
    if (!rc)
        rc = make_frames(d, e);
    if (!rc)
        stage.reserved = d->arena.size + frame_pool_bytes(d->pool);
    if (!rc)
        rc = stage_open(&d->stage, d->o.model->model, &d->table, d->node, &stage, e);
    if (rc)
        return rc;
    d->kernels = backend_kernels(d->stage.backend);
    backend_count_progress(d->stage.backend, &d->o.pulse->progress);
    for (uint32_t i = 0; i < d->offer.n_digests; i++)
        d->ready.weight_bytes += model_layer_bytes(d->o.model->model, (int)d->layers[i].layer);
    struct weights_status kept = weights_status(d->stage.weights);
    d->ready.resident_bytes = kept.resident;
    d->ready.streamed_bytes = kept.streamed;
    d->ready.slot_bytes = kept.slots;
    weights_describe(d->stage.weights, d->lie, sizeof d->lie);
    d->ready.load_ns = (uint64_t)(clock_ns() - start);
    frame_name(d->ready.isa, sizeof d->ready.isa, d->kernels->isa);
    d->edges_options.pool = d->pool;
    d->edges_options.queue = d->queue;
    return edges_open(&d->edges, &d->edges_options, e);
}

// Whether the frame is one that this node is to have now; fills the batch.
static int understand(struct duty *d, const struct pass_view *v, struct batch *b, struct err *e)
{
    if (v->header.node != d->edges_options.previous.index || v->header.round >= d->table.n_rounds ||
        v->pass.n_tokens > d->offer.max_batch)
        return err_set(e, ERR_FAILED,
                       "a pass from node %u in round %u with %u tokens cannot be; the nodes have "
                       "lost count of each other",
                       v->header.node, v->header.round, v->pass.n_tokens);
    for (uint32_t i = 0; i < v->pass.n_tokens; i++)
        d->tokens[i] =
            (struct batch_token){.session = v->tokens[i].session, .pos = v->tokens[i].pos};
    *b = (struct batch){
        .n_tokens = (int)v->pass.n_tokens,
        .n_ops = (int)v->pass.n_ops,
        .tokens = d->tokens,
        .ops = (const struct session_op *)v->ops,
        .pass = v->header.pass,
        .group = v->pass.group,
        .chunk = v->pass.chunk,
        .behind = v->pass.behind,
    };
    return 0;
}

// Runs this node's window on the frame and gives it to the next node. Owns the frame.
static int take_up(struct duty *d, struct frame *f, struct err *e)
{
    struct pass_view v;
    struct batch b;
    int width = model_hparams(d->o.model->model)->n_embd;
    int64_t start = clock_ns(), waited = weights_waited_ns(d->stage.weights);
    int rc = frame_read_pass(&v, f->bytes, f->size, (uint32_t)width, d->activation, e);
    if (rc || v.header.epoch != d->epoch) {
        frame_release(f);
        return rc;
    }
    rc = understand(d, &v, &b, e);
    if (!rc) {
        size_t n = (size_t)b.n_tokens * (size_t)width;
        float *hidden = activations_get(d->kernels, d->activation, v.activations, d->hidden, n);
        rc = stage_run(&d->stage, &b, v.header.round, hidden, e);
        if (!rc && d->table.lo[v.header.round][d->node] < d->table.hi[v.header.round][d->node])
            activations_put(d->kernels, d->activation, v.activations, hidden, n);
    }
    if (rc) {
        frame_release(f);
        return rc;
    }
    pthread_mutex_lock(&d->lock);
    timed_of(d, v.header.pass)->rounds[v.header.round] = (struct wire_time){
        .pass = v.header.pass,
        .round = v.header.round,
        .received_ns = f->arrived_ns,
        .started_ns = start,
        .computed_ns = clock_ns(),
        .waited_ns = weights_waited_ns(d->stage.weights) - waited,
    };
    pthread_mutex_unlock(&d->lock);
    frame_forward_pass(f, v.header.round, (uint16_t)d->node);
    edges_send(d->edges, f); // a lost edge is told by mail
    return 0;
}

static void compute(struct duty *d)
{
    struct link_pulse *pulse = d->o.pulse;
    guard_enter();
    while (!frame_queue_closed(d->queue)) {
        struct frame *f = frame_queue_pop(d->queue, -1, EDGES_SPIN_NS);
        struct err e = {0};
        if (!f)
            continue;
        if (d->failed) { // until this ring is dropped
            frame_release(f);
            continue;
        }
        atomic_store(&pulse->busy, 1);
        take_up(d, f, &e);
        atomic_fetch_add(&pulse->progress, 1);
        atomic_store(&pulse->busy, 0);
        if (e.code) {
            d->failed = true;
            guard_leave();
            tell(d, MAIL_PASS_FAILED, &e);
            guard_enter();
        }
    }
    guard_leave();
}

static void *duty_main(void *arg)
{
    struct duty *d = arg;
    struct err e = {0};
    if (load(d, &e)) {
        tell(d, MAIL_LOAD_FAILED, &e);
        return NULL;
    }
    tell(d, MAIL_LOADED, NULL);
    compute(d);
    return NULL;
}

// ---- The driving thread.

static void describe(struct duty *d)
{
    size_t n = 0, size = sizeof d->description;
    int layers = windows_layers(&d->table, d->node);
    for (int r = 0; r < d->table.n_rounds && n < size; r++) {
        int lo = d->table.lo[r][d->node], hi = d->table.hi[r][d->node];
        if (lo < hi)
            n += (size_t)snprintf(d->description + n, size - n, hi - lo > 1 ? "%s%d-%d" : "%s%d",
                                  n ? ", " : "layers ", lo, hi - 1);
    }
    if (n < size)
        snprintf(d->description + n, size - n, "%s of %d, node %d of %d", layers ? "" : "no layer",
                 d->table.n_layers, d->node + 1, d->table.n_nodes);
}

static struct edges_node node_of(const struct wire_peer *p, int index)
{
    struct edges_node n = {.index = index};
    memcpy(n.fingerprint.bytes, p->fingerprint, sizeof p->fingerprint);
    memcpy(n.name, p->name, sizeof p->name);
    return n;
}

static void set_edges(struct duty *d, const struct wire_peer *peers)
{
    int n = d->table.n_nodes, next = d->node + 1, previous = (d->node + n - 1) % n;
    struct link_target to = {.port = peers[next].port};
    d->edges_options = (struct edges_options){
        .identity = d->o.identity,
        .epoch = d->epoch,
        .index = d->node,
        .previous = node_of(&peers[previous], previous),
        .next = node_of(&peers[next], next),
        .mail = d->o.mail,
        .pulse = d->o.pulse,
        .sent = sent,
        .ctx = d,
    };
    to.fingerprint = d->edges_options.next.fingerprint;
    if (next == n - 1) // the head: the way that is known to work first
        to.addresses[to.n_addresses++] = d->o.head_address;
    for (int i = 0; i < peers[next].n_addresses && to.n_addresses < WIRE_MAX_ADDRESSES; i++)
        to.addresses[to.n_addresses++] = peers[next].addresses[i];
    d->edges_options.next_target = to;
}

static int read_frames(struct duty *d, const struct duty_frames *f, struct err *e)
{
    const struct wire_layer *layers;
    const struct wire_window *windows;
    const struct wire_peer *peers;
    struct wire_plan plan;
    struct wire_roster roster;
    int rc = frame_read_offer(&d->offer, &layers, f->offer->bytes, f->offer->size, e);
    if (!rc)
        rc = frame_read_plan(&plan, &windows, f->plan->bytes, f->plan->size, e);
    if (!rc)
        rc = frame_read_roster(&roster, &peers, f->roster->bytes, f->roster->size, e);
    if (!rc)
        rc = offer_read_plan(&d->table, &plan, windows, e);
    if (rc)
        return rc;
    if (roster.n_nodes != plan.n_nodes || plan.node >= plan.n_nodes - 1)
        return err_set(e, ERR_FAILED, "the head's plan has no place for this worker");
    d->node = (int)plan.node;
    d->activation = (enum wire_activation)plan.activation;
    d->slots = plan.slots;
    d->memory = plan.memory;
    d->layers = calloc(d->offer.n_digests + 1, sizeof *d->layers);
    if (!d->layers)
        return err_set(e, ERR_NO_MEMORY, "no memory for the head's offer");
    memcpy(d->layers, layers, d->offer.n_digests * sizeof *layers);
    set_edges(d, peers);
    describe(d);
    return 0;
}

static int start(struct duty *d, struct err *e)
{
    sigset_t before;
    signals_block(&before);
    d->started = pthread_create(&d->thread, NULL, duty_main, d) == 0;
    signals_restore(&before);
    return d->started ? 0 : err_set(e, ERR_NO_MEMORY, "cannot start the compute thread");
}

int duty_new(struct duty **out, const struct duty_options *o, uint32_t epoch,
             const struct duty_frames *frames, struct err *e)
{
    struct duty *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d)
        return err_set(e, ERR_NO_MEMORY, "no memory for a place in the ring");
    d->o = *o;
    d->epoch = epoch;
    pthread_mutex_init(&d->lock, NULL);
    d->queue = frame_queue_new(FRAMES);
    int rc = d->queue ? read_frames(d, frames, e)
                      : err_set(e, ERR_NO_MEMORY, "no memory for a place in the ring");
    if (!rc)
        rc = start(d, e);
    if (rc) {
        duty_free(d);
        return rc;
    }
    *out = d;
    return 0;
}

void duty_free(struct duty *d)
{
    if (!d)
        return;
    if (d->queue)
        frame_queue_close(d->queue);
    if (d->started)
        pthread_join(d->thread, NULL);
    edges_close(d->edges);
    frame_queue_free(d->queue);
    frame_pool_free(d->pool);
    stage_close(&d->stage);
    arena_fini(&d->arena);
    pthread_mutex_destroy(&d->lock);
    free(d->layers);
    free(d);
}

struct edges *duty_edges(struct duty *d)
{
    return d->edges;
}

struct wire_ready duty_ready(const struct duty *d)
{
    return d->ready;
}

const char *duty_weights(const struct duty *d)
{
    return d->lie;
}

struct weights_status duty_status(const struct duty *d)
{
    return weights_status(d->stage.weights);
}

const char *duty_describe(const struct duty *d)
{
    return d->description;
}
