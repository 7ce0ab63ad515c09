// What other threads may do with a link, and the life of its thread from the first to the last
// line.
#include "base/check.h"
#include "base/clock.h"
#include "base/signals.h"
#include "net/net_io.h"
#include "ring/link_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { LINK_STACK = 512 * 1024 };

static _Thread_local const struct link *running; // the link whose thread this is

static void wake(struct link *l)
{
    const uint64_t one = 1;
    while (write(l->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void link_drain_wake(struct link *l)
{
    uint64_t n;
    while (read(l->wake_fd, &n, sizeof n) < 0 && errno == EINTR)
        ;
}

bool link_ending(struct link *l)
{
    pthread_mutex_lock(&l->lock);
    bool closing = l->closing;
    pthread_mutex_unlock(&l->lock);
    return closing;
}

// Nothing more can be queued; what was queued goes back.
static void bury(struct link *l)
{
    atomic_store(&l->open, false);
    pthread_mutex_lock(&l->lock);
    l->dead = true;
    struct frame *f = l->first;
    l->first = l->last = NULL;
    pthread_mutex_unlock(&l->lock);
    for (struct frame *next; f; f = next) {
        next = f->next;
        frame_release(f);
    }
    frame_release(l->in);
    frame_release(l->out);
    l->in = l->out = NULL;
    frame_pool_forget(l->pool, l->wake_fd);
}

static void *link_main(void *arg)
{
    struct link *l = arg;
    struct err why = {0};
    running = l;
    pthread_mutex_lock(&l->lock); // until start() has stored l->thread
    pthread_mutex_unlock(&l->lock);
    if (link_open_steps(l, &why) == 0)
        link_run_open(l, &why);
    tls_free(l->tls);
    l->tls = NULL;
    if (l->fd >= 0)
        net_io->close(l->fd);
    l->fd = -1;
    bury(l);
    pthread_mutex_lock(&l->lock);
    if (l->closing) // ours was the first word
        why = l->reason;
    pthread_mutex_unlock(&l->lock);
    if (l->dialled || l->admitted)
        l->events.closed(l->events.ctx, l, &why);
    else
        l->door.settled(l->door.door, l, false, &why);
    return NULL;
}

static void storage_free(struct link *l)
{
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static struct link *storage_new(const struct link_options *o, struct err *e)
{
    struct link *l = aligned_alloc(64, (sizeof *l + 63) / 64 * 64);
    if (!l) {
        err_set(e, ERR_NO_MEMORY, "no memory for a connection");
        return NULL;
    }
    memset(l, 0, sizeof *l);
    CHECK(o->max_frame <= frame_pool_capacity(o->pool) && o->max_frame >= LINK_SMALL);
    pthread_mutex_init(&l->lock, NULL);
    l->fd = -1;
    l->identity = o->identity;
    l->pulse = o->pulse;
    l->open_ms = o->open_ms ? o->open_ms : LINK_OPEN_MS;
    l->heartbeat_ms = o->heartbeat_ms ? o->heartbeat_ms : LINK_HEARTBEAT_MS;
    l->events = o->events;
    l->pool = o->pool;
    l->max_frame = o->max_frame;
    l->may_assign = true;
    l->read_wants = POLLIN;
    l->beat = (struct frame){.bytes = l->beat_bytes, .capacity = sizeof l->beat_bytes};
    l->leave = (struct frame){.bytes = l->leave_bytes, .capacity = sizeof l->leave_bytes};
    l->small = (struct frame){.bytes = l->small_bytes, .capacity = sizeof l->small_bytes};
    atomic_store(&l->last_heard_ns, clock_ns());
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wake_fd < 0) {
        err_errno(e, ERR_FAILED, "cannot make an eventfd");
        storage_free(l);
        return NULL;
    }
    return l;
}

// The thread gets no signals: they belong to the program's main thread.
static int start(struct link *l, struct err *e)
{
    pthread_attr_t attributes;
    sigset_t before;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, LINK_STACK);
    signals_block(&before);
    pthread_mutex_lock(&l->lock);
    int cause = pthread_create(&l->thread, &attributes, link_main, l);
    pthread_mutex_unlock(&l->lock);
    errno = cause;
    int rc = cause ? err_errno(e, ERR_FAILED, "cannot start a thread for a connection") : 0;
    signals_restore(&before);
    pthread_attr_destroy(&attributes);
    return rc;
}

int link_dial(struct link **out, const struct link_target *to, const struct link_options *o,
              struct err *e)
{
    *out = NULL;
    struct link *l = storage_new(o, e);
    if (!l)
        return ERR_NO_MEMORY;
    l->dialled = true;
    l->target = *to;
    // Set before the start, because a callback may come before this returns.
    *out = l;
    int rc = start(l, e);
    if (rc) {
        storage_free(l);
        *out = NULL;
    }
    return rc;
}

int link_accept(struct link **out, int fd, const struct net_address *from,
                const struct link_options *o, const struct link_door *door, struct err *e)
{
    *out = NULL;
    struct link *l = storage_new(o, e);
    if (!l) {
        net_io->close(fd);
        return ERR_NO_MEMORY;
    }
    l->fd = fd;
    l->address = *from;
    l->door = *door;
    *out = l;
    int rc = start(l, e);
    if (rc) {
        net_io->close(fd);
        storage_free(l);
        *out = NULL;
    }
    return rc;
}

void link_assign(struct link *l, const struct link_events *events, struct frame_pool *pool,
                 size_t max_frame)
{
    CHECK(running == l && l->may_assign);
    CHECK(max_frame <= frame_pool_capacity(pool) && max_frame >= LINK_SMALL);
    l->events = *events;
    l->pool = pool;
    l->max_frame = max_frame;
}

bool link_send(struct link *l, struct frame *f)
{
    pthread_mutex_lock(&l->lock);
    bool taken = !l->dead && !l->closing, waken = false;
    if (taken) {
        f->next = NULL;
        if (l->last)
            l->last->next = f;
        else
            l->first = f;
        l->last = f;
        waken = l->asleep;
        l->asleep = false;
    }
    pthread_mutex_unlock(&l->lock);
    if (waken && running != l)
        wake(l);
    if (!taken)
        frame_release(f);
    return taken;
}

static void begin_closing(struct link *l, const struct err *why, bool abandon)
{
    pthread_mutex_lock(&l->lock);
    if (!l->closing) {
        l->closing = true;
        l->abandoned = abandon;
        if (why)
            l->reason = *why;
    }
    pthread_mutex_unlock(&l->lock);
    wake(l);
}

void link_close(struct link *l, const struct err *why)
{
    begin_closing(l, why, false);
}

void link_free(struct link *l)
{
    if (!l)
        return;
    CHECK(running != l);
    begin_closing(l, NULL, true);
    pthread_join(l->thread, NULL);
    storage_free(l);
}

bool link_is_open(const struct link *l)
{
    return atomic_load(&l->open);
}

int64_t link_last_heard_ns(const struct link *l)
{
    return atomic_load(&l->last_heard_ns);
}

struct link_peer_state link_peer_state(struct link *l)
{
    pthread_mutex_lock(&l->lock);
    struct link_peer_state s = l->peer_state;
    pthread_mutex_unlock(&l->lock);
    return s;
}

struct digest link_peer(const struct link *l)
{
    return l->peer;
}

const uint8_t *link_exporter(const struct link *l)
{
    return l->exporter;
}

struct net_address link_peer_address(const struct link *l)
{
    return l->address;
}
