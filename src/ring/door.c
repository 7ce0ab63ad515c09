// The listening thread. Links that have not been admitted stand in `waiting` and are freed here;
// their threads report through settled().
#include "ring/door.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "net/net_io.h"
#include "ring/link_state.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { DOOR_LINES_PER_SECOND = 5, DOOR_RETRY_MS = 100 };

struct door {
    struct link_options link;
    pthread_t thread;
    int listener, wake_fd, max_unknown;
    uint16_t port;

    pthread_mutex_t lock;
    struct link *waiting[LINK_MAX_UNKNOWN]; // oldest first
    struct link *gone[LINK_MAX_UNKNOWN];    // their threads are ending
    int n_waiting, n_gone;
    bool closing;
    int64_t second; // of the lines below
    int lines, suppressed;
};

static void wake(struct door *d)
{
    const uint64_t one = 1;
    while (write(d->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

// With the lock held. A flood of strangers must not become a flood of lines.
static void log_stranger(struct door *d, const struct link *l, const struct err *why)
{
    char text[NET_ADDRESS_TEXT];
    int64_t second = clock_ms() / 1000;
    struct net_address from = link_peer_address(l);
    if (second != d->second) {
        if (d->suppressed)
            log_warn("%d more connections were refused", d->suppressed);
        d->second = second;
        d->lines = d->suppressed = 0;
    }
    if (d->lines++ < DOOR_LINES_PER_SECOND)
        log_warn("connection from %s refused: %s", net_address_text(&from, text), why->text);
    else
        d->suppressed++;
}

static void settled(void *door, struct link *l, bool admitted, const struct err *why)
{
    struct door *d = door;
    pthread_mutex_lock(&d->lock);
    for (int i = 0; i < d->n_waiting; i++)
        if (d->waiting[i] == l) {
            d->n_waiting--;
            for (; i < d->n_waiting; i++)
                d->waiting[i] = d->waiting[i + 1];
        }
    if (!admitted) {
        d->gone[d->n_gone++] = l;
        if (!d->closing)
            log_stranger(d, l, why);
    }
    wake(d); // with the lock: once it is free, the door may be gone
    pthread_mutex_unlock(&d->lock);
}

// Joins the threads that have ended. The number of links that are still the door's.
static int reap(struct door *d)
{
    struct link *gone[LINK_MAX_UNKNOWN];
    pthread_mutex_lock(&d->lock);
    int n = d->n_gone, left = d->n_waiting;
    for (int i = 0; i < n; i++)
        gone[i] = d->gone[i];
    d->n_gone = 0;
    pthread_mutex_unlock(&d->lock);
    for (int i = 0; i < n; i++)
        link_free(gone[i]);
    return left;
}

// true: there is room for one more; otherwise the oldest is asked to go.
static bool make_room(struct door *d)
{
    struct err why = {0};
    err_set(&why, ERR_UNREACHABLE,
            "too many connections at once, and this one had not introduced itself");
    pthread_mutex_lock(&d->lock);
    bool room = d->n_waiting + d->n_gone < d->max_unknown;
    if (!room && d->n_waiting)
        link_close(d->waiting[0], &why);
    pthread_mutex_unlock(&d->lock);
    return room;
}

// One connection. The lock is held over the start, so that settled() finds the link in `waiting`.
// false: none waits, or the system has no room for one.
static bool let_in(struct door *d)
{
    struct net_address from;
    struct link *l;
    struct err e = {0};
    const struct link_door hook = {d, settled};
    int fd = net_accept(d->listener, &from);
    if (fd < 0)
        return errno == ECONNABORTED || errno == EINTR;
    pthread_mutex_lock(&d->lock);
    if (link_accept(&l, fd, &from, &d->link, &hook, &e) == 0)
        d->waiting[d->n_waiting++] = l;
    pthread_mutex_unlock(&d->lock);
    if (e.code)
        log_warn("a connection could not be taken: %s", e.text);
    return !e.code;
}

static bool is_closing(struct door *d)
{
    pthread_mutex_lock(&d->lock);
    bool closing = d->closing;
    pthread_mutex_unlock(&d->lock);
    return closing;
}

static void *door_main(void *arg)
{
    struct door *d = arg;
    while (!is_closing(d)) {
        bool room = make_room(d), hurt = false;
        struct pollfd p[2] = {{.fd = room ? d->listener : -1, .events = POLLIN},
                              {.fd = d->wake_fd, .events = POLLIN}};
        int n = net_io->poll(p, 2, -1);
        uint64_t ignored;
        if (n > 0 && p[1].revents && read(d->wake_fd, &ignored, sizeof ignored) < 0)
            continue;
        reap(d);
        if (n > 0 && p[0].revents && make_room(d))
            hurt = !let_in(d);
        if (n < 0 || hurt) // out of descriptors, or a caller that went again: not in a hurry
            net_io->poll(&p[1], 1, DOOR_RETRY_MS);
    }
    return NULL;
}

int door_open(struct door **out, const struct door_options *o, struct err *e)
{
    *out = NULL;
    struct door *d = calloc(1, sizeof *d);
    if (!d)
        return err_set(e, ERR_NO_MEMORY, "no memory for a listening socket");
    pthread_mutex_init(&d->lock, NULL);
    d->link = o->link;
    d->max_unknown =
        o->max_unknown > 0 && o->max_unknown < LINK_MAX_UNKNOWN ? o->max_unknown : LINK_MAX_UNKNOWN;
    d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    d->listener = d->wake_fd < 0 ? err_errno(e, ERR_FAILED, "cannot make an eventfd")
                                 : net_listen(o->host, o->port, &d->port, e);
    int rc = d->listener < 0 ? d->listener : 0;
    if (rc == 0) {
        sigset_t before;
        signals_block(&before);
        if ((errno = pthread_create(&d->thread, NULL, door_main, d)))
            rc = err_errno(e, ERR_FAILED, "cannot start the listening thread");
        signals_restore(&before);
    }
    if (rc) {
        if (d->listener >= 0)
            net_io->close(d->listener);
        if (d->wake_fd >= 0)
            close(d->wake_fd);
        pthread_mutex_destroy(&d->lock);
        free(d);
        return rc;
    }
    *out = d;
    return 0;
}

uint16_t door_port(const struct door *d)
{
    return d->port;
}

void door_close(struct door *d)
{
    if (!d)
        return;
    struct err why = {0};
    err_set(&why, ERR_UNREACHABLE, "this node is about to stop");
    pthread_mutex_lock(&d->lock);
    d->closing = true;
    for (int i = 0; i < d->n_waiting; i++)
        link_close(d->waiting[i], &why);
    pthread_mutex_unlock(&d->lock);
    wake(d);
    pthread_join(d->thread, NULL);
    net_io->close(d->listener);
    while (reap(d) > 0) { // the threads report, each within its deadline
        struct pollfd p = {.fd = d->wake_fd, .events = POLLIN};
        uint64_t ignored;
        if (net_io->poll(&p, 1, DOOR_RETRY_MS) > 0 &&
            read(d->wake_fd, &ignored, sizeof ignored) < 0)
            continue;
    }
    reap(d);
    close(d->wake_fd);
    pthread_mutex_destroy(&d->lock);
    free(d);
}
