// Two links over loopback: one frame goes to and fro, and half of each round trip is a hop.
//
// Either the answer is given in the callback (link only), or the frame goes through a queue to a
// compute loop on a thread of its own and back (loops), as it does in a ring.
#include "ring/hop_bench.h"

#include "base/clock.h"
#include "ring/door.h"
#include "ring/queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    WARM_UP = 200,
    BENCH_FRAMES = 8,
};

struct side {
    struct bench *bench;
    struct link *link;
    struct frame_queue *queue; // loops: frames for the compute loop
    int hops_left;             // link only, the dialling side
};

struct bench {
    struct side dialled, accepted;
    struct frame_pool *pool;
    bool loops;
    double *us;
    int n;
    int64_t sent_ns;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int open, done;
    struct err why; // the first that a link closed for
};

static void tell(struct bench *b, int open, int done, const struct err *why)
{
    pthread_mutex_lock(&b->lock);
    b->open += open;
    b->done += done;
    if (why && why->code)
        err_set(&b->why, why->code, "%s", why->text);
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

static void greet(void *ctx, struct link *l, struct wire_header *h, struct wire_hello *hello)
{
    (void)ctx, (void)l, (void)h;
    hello->purpose = WIRE_EDGE;
}

static int admit(void *ctx, struct link *l, const struct wire_header *h,
                 const struct wire_hello *hello, struct wire_welcome *welcome, struct err *why)
{
    struct side *s = ctx;
    (void)h, (void)hello, (void)welcome, (void)why;
    s->link = l;
    return 0;
}

static void opened(void *ctx, struct link *l, const struct wire_welcome *welcome)
{
    struct side *s = ctx;
    (void)l, (void)welcome;
    tell(s->bench, 1, 0, NULL);
}

// The dialling side has its frame back: notes the time and sends it again.
static void back(struct side *s, struct frame *f)
{
    struct bench *b = s->bench;
    int64_t now_ns = clock_ns();
    int hop = b->n - s->hops_left;
    if (hop >= 0 && hop < b->n)
        b->us[hop] = (double)(now_ns - b->sent_ns) / 2000;
    if (--s->hops_left == 0) {
        frame_release(f);
        tell(b, 0, 1, NULL);
        return;
    }
    b->sent_ns = clock_ns();
    link_send(s->link, f);
}

static void arrived(void *ctx, struct link *l, struct frame *f)
{
    struct side *s = ctx;
    if (s->bench->loops) {
        if (!frame_queue_push(s->queue, f))
            frame_release(f);
    } else if (s == &s->bench->dialled) {
        back(s, f);
    } else {
        link_send(l, f);
    }
}

static void closed(void *ctx, struct link *l, const struct err *why)
{
    struct side *s = ctx;
    (void)l;
    tell(s->bench, 0, 1, why);
    frame_queue_close(s->queue);
}

// A compute loop without computation.
static void *loop(void *arg)
{
    struct side *s = arg;
    struct frame *f;
    while ((f = frame_queue_pop(s->queue, -1, 0)))
        if (s == &s->bench->dialled)
            back(s, f);
        else
            link_send(s->link, f);
    return NULL;
}

static int await(struct bench *b, const int *what, int count, struct err *e)
{
    pthread_mutex_lock(&b->lock);
    while (*what < count && !b->why.code)
        pthread_cond_wait(&b->changed, &b->lock);
    int rc = b->why.code ? err_set(e, b->why.code, "%s", b->why.text) : 0;
    pthread_mutex_unlock(&b->lock);
    return rc;
}

static int first_frame(struct bench *b, uint32_t payload, struct err *e)
{
    struct frame *f = frame_take(b->pool);
    struct wire_token token = {0};
    struct pass_view v = {.pass = {.n_tokens = 1, .activation = WIRE_F32}, .tokens = &token};
    if (!f)
        return err_set(e, ERR_FAILED, "no frame for the measurement");
    frame_write_pass(f, &v, payload / 4);
    memset(v.activations, 0x5a, v.activation_bytes);
    b->dialled.hops_left = b->n + WARM_UP;
    b->sent_ns = clock_ns();
    link_send(b->dialled.link, f);
    return await(b, &b->done, 1, e);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Both links open on a fresh door, the hops, everything down again.
static int measure(struct bench *b, const struct tls_identity *id, uint32_t payload, struct err *e)
{
    struct door *door = NULL;
    pthread_t loops[2];
    int n_loops = 0;
    size_t size = frame_pool_capacity(b->pool);
    struct link_events events = {.ctx = &b->accepted,
                                 .greet = greet,
                                 .admit = admit,
                                 .opened = opened,
                                 .frame = arrived,
                                 .closed = closed};
    struct door_options o = {
        .host = "127.0.0.1",
        .link = {.identity = id, .pool = b->pool, .max_frame = size, .events = events}};
    int rc = door_open(&door, &o, e);
    if (rc)
        return rc;
    struct link_target to = {.fingerprint = tls_identity_digest(id),
                             .port = door_port(door),
                             .n_addresses = 1,
                             .addresses = {{.family = 4, .bytes = {127, 0, 0, 1}}}};
    o.link.events.ctx = &b->dialled;
    rc = link_dial(&b->dialled.link, &to, &o.link, e);
    if (rc == 0)
        rc = await(b, &b->open, 2, e);
    struct side *sides[2] = {&b->dialled, &b->accepted};
    for (; rc == 0 && b->loops && n_loops < 2; n_loops++)
        if (pthread_create(&loops[n_loops], NULL, loop, sides[n_loops])) {
            rc = err_set(e, ERR_FAILED, "no thread for the measurement");
            break;
        }
    if (rc == 0)
        rc = first_frame(b, payload, e);
    door_close(door); // afterwards nobody is admitted any more
    link_free(b->dialled.link);
    link_free(b->accepted.link);
    for (int i = 0; i < n_loops; i++)
        pthread_join(loops[i], NULL);
    return rc;
}

static int figures(struct hop_figures *out, bool loops, const struct tls_identity *id,
                   uint32_t payload, int n, struct err *e)
{
    struct bench b = {.loops = loops, .n = n, .us = calloc((size_t)n, sizeof *b.us)};
    int rc = 0;
    b.dialled.bench = b.accepted.bench = &b;
    b.pool = frame_pool_new(BENCH_FRAMES, frame_pass_size(1, 0, payload / 4, WIRE_F32));
    b.dialled.queue = frame_queue_new(BENCH_FRAMES);
    b.accepted.queue = frame_queue_new(BENCH_FRAMES);
    pthread_mutex_init(&b.lock, NULL);
    pthread_cond_init(&b.changed, NULL);
    if (!b.us || !b.pool || !b.dialled.queue || !b.accepted.queue)
        rc = err_set(e, ERR_NO_MEMORY, "no memory for the measurement");
    else
        rc = measure(&b, id, payload, e);
    if (rc == 0) {
        qsort(b.us, (size_t)n, sizeof *b.us, ascending);
        *out = (struct hop_figures){b.us[n / 2], b.us[n * 9 / 10], b.us[n * 99 / 100], n};
    }
    pthread_cond_destroy(&b.changed);
    pthread_mutex_destroy(&b.lock);
    frame_queue_free(b.dialled.queue);
    frame_queue_free(b.accepted.queue);
    frame_pool_free(b.pool);
    free(b.us);
    return rc;
}

int hop_bench(struct hop_figures *link_only, struct hop_figures *loops, uint32_t payload, int n,
              struct err *e)
{
    char pem[TLS_PEM_MAX];
    struct tls_identity *id = NULL;
    if (n < 1 || payload < HOP_MIN_PAYLOAD || payload / 4 > WIRE_MAX_WIDTH)
        return err_set(e, ERR_USAGE, "a hop carries %d to %d bytes, at least once", HOP_MIN_PAYLOAD,
                       WIRE_MAX_WIDTH * 4);
    int rc = tls_identity_make(pem, e);
    if (rc == 0)
        rc = tls_identity_new(&id, pem, strlen(pem), e);
    if (rc == 0)
        rc = figures(link_only, false, id, payload, n, e);
    if (rc == 0)
        rc = figures(loops, true, id, payload, n, e);
    tls_identity_free(id);
    return rc;
}
