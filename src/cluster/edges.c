// The two edges of a node: see edges.h.
#include "cluster/edges.h"

#include "base/check.h"
#include "base/clock.h"
#include "cluster/liveness.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct edge {
    struct link *link;
    struct liveness liveness;
    bool open, lost; // lost: told so
};

struct edges {
    struct edges_options o;
    pthread_mutex_t lock;
    struct edge in, out; // under lock
};

static void tell(struct edges *s, enum mail_kind kind, const struct err *why)
{
    struct mail letter = {.kind = kind, .epoch = s->o.epoch};
    if (why)
        letter.why = *why;
    mailbox_put(s->o.mail, &letter);
}

// Tells of a lost edge, once.
static void lose(struct edges *s, struct edge *g, const struct err *why)
{
    pthread_mutex_lock(&s->lock);
    bool first = !g->lost;
    g->lost = true;
    g->open = false;
    pthread_mutex_unlock(&s->lock);
    if (first)
        tell(s, MAIL_EDGE_LOST, why);
}

// ---- The links' threads.

static void greet(void *ctx, struct link *l, struct wire_header *header, struct wire_hello *hello)
{
    struct edges *s = ctx;
    (void)l;
    header->epoch = s->o.epoch;
    header->node = (uint16_t)s->o.index;
    hello->purpose = WIRE_EDGE;
}

static void opened(struct edges *s, struct edge *g)
{
    pthread_mutex_lock(&s->lock);
    g->open = true;
    liveness_init(&g->liveness, clock_ns());
    pthread_mutex_unlock(&s->lock);
}

static void out_opened(void *ctx, struct link *l, const struct wire_welcome *welcome)
{
    struct edges *s = ctx;
    (void)l, (void)welcome;
    opened(s, &s->out);
    tell(s, MAIL_EDGE_OPEN, NULL);
}

static void in_opened(void *ctx, struct link *l, const struct wire_welcome *welcome)
{
    struct edges *s = ctx;
    (void)l, (void)welcome;
    opened(s, &s->in);
}

static void in_frame(void *ctx, struct link *l, struct frame *f)
{
    struct edges *s = ctx;
    struct err why = {0};
    if (frame_queue_push(s->o.queue, f))
        return;
    frame_release(f);
    if (frame_queue_closed(s->o.queue))
        return; // this ring is over here
    err_set(&why, ERR_FAILED, "%s sent more passes than may be under way", s->o.previous.name);
    link_close(l, &why);
}

// Nothing travels backwards but heartbeats.
static void out_frame(void *ctx, struct link *l, struct frame *f)
{
    struct edges *s = ctx;
    struct err why = {0};
    frame_release(f);
    err_set(&why, ERR_FAILED, "%s sent a pass backwards", s->o.next.name);
    link_close(l, &why);
}

static void out_sent(void *ctx, struct link *l, const struct frame *f, int64_t now_ns)
{
    struct edges *s = ctx;
    (void)l;
    if (s->o.sent)
        s->o.sent(s->o.ctx, f, now_ns);
}

static void out_closed(void *ctx, struct link *l, const struct err *why)
{
    struct edges *s = ctx;
    struct err e = {0};
    (void)l;
    pthread_mutex_lock(&s->lock);
    bool was_open = s->out.open;
    pthread_mutex_unlock(&s->lock);
    err_set(&e, ERR_UNREACHABLE, was_open ? "the link to %s broke: %s" : "%s is out of reach: %s",
            s->o.next.name, why->code ? why->text : "it was closed");
    lose(s, &s->out, &e);
}

static void in_closed(void *ctx, struct link *l, const struct err *why)
{
    struct edges *s = ctx;
    struct err e = {0};
    (void)l;
    err_set(&e, ERR_UNREACHABLE, "the link from %s broke: %s", s->o.previous.name,
            why->code ? why->text : "it was closed");
    lose(s, &s->in, &e);
}

// ---- The driving thread.

int edges_open(struct edges **out, const struct edges_options *o, struct err *e)
{
    struct edges *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return err_set(e, ERR_NO_MEMORY, "no memory for the links of a ring");
    s->o = *o;
    pthread_mutex_init(&s->lock, NULL);
    *out = s;
    return 0;
}

void edges_close(struct edges *s)
{
    if (!s)
        return;
    // Not under the lock: the links' last calls take it.
    link_free(s->out.link);
    link_free(s->in.link);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int edges_dial(struct edges *s, struct err *e)
{
    struct link_options o = {
        .identity = s->o.identity,
        .pool = s->o.pool,
        .max_frame = frame_pool_capacity(s->o.pool),
        .pulse = s->o.pulse,
        .events = {.ctx = s,
                   .greet = greet,
                   .opened = out_opened,
                   .frame = out_frame,
                   .sent = out_sent,
                   .closed = out_closed},
    };
    struct link *l;
    CHECK(!s->out.link);
    int rc = link_dial(&l, &s->o.next_target, &o, e);
    pthread_mutex_lock(&s->lock);
    s->out.link = l;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static void check(struct edges *s, struct edge *g, const char *name, int64_t now_ns)
{
    struct err why = {0};
    pthread_mutex_lock(&s->lock);
    if (g->open) {
        struct liveness_report r = {.heard_ns = link_last_heard_ns(g->link)};
        if (liveness_check(&g->liveness, &r, now_ns) == LIVENESS_SILENT)
            err_set(&why, ERR_UNREACHABLE, "nothing was heard on the link with %s for %.1f s", name,
                    LIVENESS_SILENT_MS / 1e3);
    }
    pthread_mutex_unlock(&s->lock);
    if (why.code)
        lose(s, g, &why);
}

void edges_check(struct edges *s, int64_t now_ns)
{
    check(s, &s->in, s->o.previous.name, now_ns);
    check(s, &s->out, s->o.next.name, now_ns);
}

int edges_admit(struct edges *s, struct link *l, const struct wire_header *header,
                const struct wire_hello *hello, struct err *why)
{
    struct link_events events = {
        .ctx = s, .opened = in_opened, .frame = in_frame, .closed = in_closed};
    struct digest peer = link_peer(l);
    if (header->version != WIRE_VERSION || hello->purpose != WIRE_EDGE)
        return err_set(why, ERR_FAILED, "this is no edge of a ring that this node speaks");
    if (header->epoch != s->o.epoch || header->node != s->o.previous.index)
        return err_set(why, ERR_UNREACHABLE,
                       "the edge belongs to another ring than the one this node is in");
    if (memcmp(peer.bytes, s->o.previous.fingerprint.bytes, sizeof peer.bytes))
        return err_set(why, ERR_DENIED, "this is not the node that comes before in the ring");
    pthread_mutex_lock(&s->lock);
    bool first = !s->in.link;
    if (first)
        s->in.link = l;
    pthread_mutex_unlock(&s->lock);
    if (!first)
        return err_set(why, ERR_DENIED, "the node that comes before in the ring is here already");
    link_assign(l, &events, s->o.pool, frame_pool_capacity(s->o.pool));
    return 0;
}

bool edges_send(struct edges *s, struct frame *f)
{
    pthread_mutex_lock(&s->lock);
    struct link *l = s->out.link; // stays until edges_close
    pthread_mutex_unlock(&s->lock);
    if (l)
        return link_send(l, f);
    frame_release(f);
    return false;
}
