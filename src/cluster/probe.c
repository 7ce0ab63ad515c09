// Measuring a way between nodes: see probe.h.
#include "cluster/probe.h"

#include "base/clock.h"
#include "base/signals.h"
#include "cluster/edges.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    CALLS = 24,       // small messages, at most
    CALLS_LEAST = 3,  // and at least
    CALLS_MS = 60,    // for all of them, when there are enough
    ANSWER_MS = 3000, // a call that takes longer is a way of no use
    PIECE = 60000,    // bytes of a large message that go in one frame
    FRAMES = WIRE_MAX_PROBE / PIECE + 3,
};

// ---- the side that asks ------------------------------------------------------------------------

struct probe {
    const struct probe_options *o;
    struct frame_pool *pool;
    struct frame_queue *queue;
    struct link *link;
    pthread_mutex_t lock;
    struct err why; // under lock: for which the link ended
    uint32_t number;
};

static void greet(void *ctx, struct link *l, struct wire_header *header, struct wire_hello *hello)
{
    const struct probe *p = ctx;
    (void)l;
    header->epoch = p->o->epoch;
    header->node = (uint16_t)p->o->index;
    hello->purpose = WIRE_PROBE;
}

static void opened(void *ctx, struct link *l, const struct wire_welcome *welcome)
{
    const struct probe *p = ctx;
    (void)l, (void)welcome;
    frame_queue_wake(p->queue);
}

static void answered(void *ctx, struct link *l, struct frame *f)
{
    const struct probe *p = ctx;
    (void)l;
    if (!frame_queue_push(p->queue, f))
        frame_release(f);
}

static void closed(void *ctx, struct link *l, const struct err *why)
{
    struct probe *p = ctx;
    (void)l;
    pthread_mutex_lock(&p->lock);
    err_set(&p->why, ERR_UNREACHABLE, "%s", why->code ? why->text : "it was closed");
    pthread_mutex_unlock(&p->lock);
    frame_queue_close(p->queue);
}

static int ended(struct probe *p, struct err *e)
{
    pthread_mutex_lock(&p->lock);
    struct err why = p->why;
    pthread_mutex_unlock(&p->lock);
    return why.code ? err_set(e, why.code, "%s", why.text)
                    : err_set(e, ERR_UNREACHABLE, "no answer within %d s", ANSWER_MS / 1000);
}

static int await_open(struct probe *p, const atomic_bool *stop, struct err *e)
{
    int64_t end = clock_ms() + LINK_OPEN_MS;
    while (!link_is_open(p->link)) {
        frame_release(frame_queue_pop(p->queue, 20000000, 0));
        if (frame_queue_closed(p->queue) || clock_ms() > end || atomic_load(stop))
            return ended(p, e);
    }
    return 0;
}

static void ping(struct probe *p, enum wire_ping_kind kind, uint32_t bytes)
{
    struct wire_ping m = {.kind = kind, .number = p->number, .bytes = bytes};
    struct frame *f = frame_take(p->pool); // there is one for each that is under way
    if (!f)
        return;
    frame_write_ping(f, &m);
    link_send(p->link, f);
}

// Seconds until the answer to the present call is here.
static int await(struct probe *p, int64_t start_ns, double *s, struct err *e)
{
    int64_t end_ns = start_ns + ANSWER_MS * INT64_C(1000000);
    for (int64_t now = start_ns; now < end_ns; now = clock_ns()) {
        struct frame *f = frame_queue_pop(p->queue, end_ns - now, EDGES_SPIN_NS);
        struct wire_ping m;
        if (!f)
            break;
        int rc = frame_read_ping(&m, f->bytes, f->size, e);
        frame_release(f);
        if (rc)
            return rc;
        if (m.kind == WIRE_PING_ANSWER && m.number == p->number) {
            *s = (double)(clock_ns() - start_ns) / 1e9;
            return 0;
        }
    }
    return ended(p, e);
}

// There and back: `data` bytes in frames of their own, then a call of `bytes`.
static int call(struct probe *p, uint32_t data, uint32_t bytes, double *s, struct err *e)
{
    int64_t start_ns = clock_ns();
    p->number++;
    for (uint32_t left = data; left;) {
        uint32_t n = left < PIECE ? left : PIECE;
        ping(p, WIRE_PING_DATA, n);
        left -= n;
    }
    ping(p, WIRE_PING_CALL, bytes);
    return await(p, start_ns, s, e);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// A round trip of the small message is 2 latency + 2 small / rate; one whose way there is large and
// whose way back is next to nothing 2 latency + large / rate.
static int measure(struct probe *p, struct plan_link *out, const atomic_bool *stop, struct err *e)
{
    const double most = 1e11;
    double small[CALLS], large[2], warm;
    uint32_t bytes = p->o->small < PIECE ? p->o->small : PIECE;
    int n = 0, rc = call(p, 0, bytes, &warm, e);
    int64_t end = clock_ms() + CALLS_MS;
    for (; !rc && n < CALLS && (n < CALLS_LEAST || clock_ms() < end) && !atomic_load(stop); n++)
        rc = call(p, 0, bytes, &small[n], e);
    for (int i = 0; i < 2 && !rc; i++)
        rc = call(p, p->o->large, 0, &large[i], e);
    if (rc || !n)
        return rc ? rc : ended(p, e);
    qsort(small, (size_t)n, sizeof *small, ascending);
    double trip = small[n / 2], longer = fmin(large[0], large[1]) - trip;
    double more = (double)p->o->large - 2.0 * bytes;
    out->rate = more > 0 && longer > more / most ? more / longer : most;
    out->latency = fmax(trip / 2 - bytes / out->rate, 1e-6);
    return 0;
}

int probe_way(struct plan_link *out, const struct link_target *to, const struct probe_options *o,
              const atomic_bool *stop, struct err *e)
{
    struct probe p = {.o = o};
    struct link_options l = {
        .identity = o->identity,
        .max_frame = WIRE_MAX_CONTROL,
        .events =
            {.ctx = &p, .greet = greet, .opened = opened, .frame = answered, .closed = closed},
    };
    *out = (struct plan_link){0};
    pthread_mutex_init(&p.lock, NULL);
    l.pool = p.pool = frame_pool_new(FRAMES, WIRE_MAX_CONTROL);
    p.queue = frame_queue_new(FRAMES);
    int rc = p.pool && p.queue ? 0 : err_set(e, ERR_NO_MEMORY, "no memory to measure a link");
    if (!rc)
        rc = link_dial(&p.link, to, &l, e);
    if (!rc)
        rc = await_open(&p, stop, e);
    if (!rc)
        rc = measure(&p, out, stop, e);
    link_free(p.link);
    frame_queue_free(p.queue);
    frame_pool_free(p.pool);
    pthread_mutex_destroy(&p.lock);
    return rc;
}

// ---- the side that answers ---------------------------------------------------------------------

struct echo {
    struct echo_options o;
    struct frame_queue *queue;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    struct link *links[PLAN_MAX_NODES]; // under lock, as the next: by node; they stay to the end
    struct link *current;
};

static void called(void *ctx, struct link *l, struct frame *f)
{
    struct echo *x = ctx;
    struct wire_ping m;
    struct err e = {0};
    if (frame_read_ping(&m, f->bytes, f->size, &e)) {
        frame_release(f);
        link_close(l, &e);
        return;
    }
    pthread_mutex_lock(&x->lock);
    x->current = l;
    pthread_mutex_unlock(&x->lock);
    if (m.kind != WIRE_PING_CALL || !frame_queue_push(x->queue, f))
        frame_release(f);
}

static void let_in(void *ctx, struct link *l, const struct wire_welcome *welcome)
{
    (void)ctx, (void)l, (void)welcome;
}

// The link stays until echo_free.
static void hung_up(void *ctx, struct link *l, const struct err *why)
{
    (void)ctx, (void)l, (void)why;
}

static void *echo_main(void *arg)
{
    struct echo *x = arg;
    while (!frame_queue_closed(x->queue)) {
        struct frame *f = frame_queue_pop(x->queue, -1, EDGES_SPIN_NS);
        const uint32_t kind = WIRE_PING_ANSWER;
        if (!f)
            continue;
        memcpy(f->bytes + sizeof(struct wire_header) + offsetof(struct wire_ping, kind), &kind,
               sizeof kind);
        pthread_mutex_lock(&x->lock);
        link_send(x->current, f);
        pthread_mutex_unlock(&x->lock);
    }
    return NULL;
}

int echo_new(struct echo **out, const struct echo_options *o, struct err *e)
{
    struct echo *x = calloc(1, sizeof *x);
    *out = NULL;
    if (!x)
        return err_set(e, ERR_NO_MEMORY, "no memory to measure links");
    x->o = *o;
    pthread_mutex_init(&x->lock, NULL);
    x->queue = frame_queue_new(FRAMES);
    if (x->queue) {
        sigset_t before;
        signals_block(&before);
        x->started = pthread_create(&x->thread, NULL, echo_main, x) == 0;
        signals_restore(&before);
    }
    if (!x->started) {
        echo_free(x);
        return err_set(e, ERR_NO_MEMORY, "no memory to measure links");
    }
    *out = x;
    return 0;
}

void echo_free(struct echo *x)
{
    if (!x)
        return;
    if (x->queue)
        frame_queue_close(x->queue);
    if (x->started)
        pthread_join(x->thread, NULL);
    for (int i = 0; i < PLAN_MAX_NODES; i++)
        link_free(x->links[i]);
    frame_queue_free(x->queue);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

int echo_admit(struct echo *x, struct link *l, const struct wire_header *header,
               const struct wire_hello *hello, struct err *why)
{
    struct link_events events = {.ctx = x, .opened = let_in, .frame = called, .closed = hung_up};
    struct digest peer = link_peer(l);
    int node = header->node;
    if (hello->purpose != WIRE_PROBE || header->epoch != x->o.epoch || node >= x->o.n)
        return err_set(why, ERR_UNREACHABLE, "this node does not measure that link now");
    if (memcmp(peer.bytes, x->o.fingerprints[node].bytes, sizeof peer.bytes))
        return err_set(why, ERR_DENIED, "this is not the node that was to measure the link");
    pthread_mutex_lock(&x->lock);
    bool first = !x->links[node];
    if (first)
        x->links[node] = l;
    pthread_mutex_unlock(&x->lock);
    if (!first)
        return err_set(why, ERR_DENIED, "that link was measured already");
    link_assign(l, &events, x->o.pool, WIRE_MAX_CONTROL);
    return 0;
}
