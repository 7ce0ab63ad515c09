// The four steps before a link is open. They are written as if they blocked; each wait ends at the
// one deadline, or when the link is closed, so a peer that sends one byte a second gains nothing.
#include "base/clock.h"
#include "net/net_io.h"
#include "ring/link_state.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define EXPORTER_LABEL "EXPORTER-rondo-pairing"

static int given_up(struct err *e)
{
    return err_set(e, ERR_UNREACHABLE, "the connection was given up");
}

// Until one of `events`; 0, or what ended the waiting.
static int await(struct link *l, short events, struct err *e)
{
    for (;;) {
        int64_t left_ns = l->open_deadline_ns - clock_ns();
        if (link_ending(l))
            return given_up(e);
        if (left_ns <= 0)
            return err_set(e, ERR_UNREACHABLE,
                           "the other side did not introduce itself within %d ms", l->open_ms);
        struct pollfd p[2] = {{.fd = l->fd, .events = events},
                              {.fd = l->wake_fd, .events = POLLIN}};
        int n = net_io->poll(p, 2, (int)(left_ns / 1000000) + 1);
        if (n < 0 && errno != EINTR)
            return err_errno(e, ERR_FAILED, "waiting for a connection");
        if (n > 0 && p[1].revents)
            link_drain_wake(l);
        if (n > 0 && p[0].revents)
            return 0;
    }
}

static int handshake(struct link *l, const struct digest *expected, struct err *e)
{
    int rc =
        tls_new(&l->tls, l->identity, l->fd, l->dialled ? TLS_DIALLED : TLS_ACCEPTED, expected, e);
    while (rc == 0) {
        rc = tls_handshake(l->tls, e);
        if (rc == TLS_AGAIN)
            rc = await(l, tls_wants(l->tls), e);
    }
    if (rc < 0)
        return rc;
    l->peer = tls_peer(l->tls);
    return tls_export(l->tls, EXPORTER_LABEL, l->exporter, e);
}

static int write_all(struct link *l, const struct frame *f, struct err *e)
{
    for (size_t done = 0; done < f->size;) {
        ssize_t n = tls_write(l->tls, f->bytes + done, f->size - done, e);
        int rc = n == TLS_AGAIN ? await(l, tls_wants(l->tls), e) : n < 0 ? (int)n : 0;
        if (rc)
            return rc;
        done += (size_t)n;
    }
    return 0;
}

static int read_all(struct link *l, uint8_t *at, size_t size, struct err *e)
{
    while (size) {
        ssize_t n = tls_read(l->tls, at, size, e);
        if (n == TLS_CLOSED)
            return err_set(e, ERR_UNREACHABLE, "the other side closed the connection");
        int rc = n == TLS_AGAIN ? await(l, tls_wants(l->tls), e) : n < 0 ? (int)n : 0;
        if (rc)
            return rc;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

// One frame of the opening, which is never larger than LINK_SMALL.
static int read_small(struct link *l, struct wire_header *h, struct err *e)
{
    int rc = read_all(l, l->small_bytes, sizeof *h, e);
    if (rc == 0)
        rc = frame_header_read(h, l->small_bytes, LINK_SMALL, e);
    if (rc == 0)
        rc = read_all(l, l->small_bytes + sizeof *h, h->size, e);
    if (rc == 0)
        l->small.size = sizeof *h + h->size;
    return rc;
}

// ---- The dialler.

static int dial_one(struct link *l, const struct net_address *to, int64_t deadline_ns,
                    struct err *e)
{
    int64_t left_ms = (deadline_ns - clock_ns()) / 1000000;
    l->address = *to;
    l->fd = net_connect(to, l->target.port, left_ms > 0 ? (int)left_ms : 1, l->wake_fd, e);
    if (l->fd < 0)
        return l->fd;
    int64_t whole_ns = l->open_deadline_ns;
    l->open_deadline_ns = deadline_ns;
    int rc = handshake(l, &l->target.fingerprint, e);
    l->open_deadline_ns = whole_ns;
    if (rc) {
        tls_free(l->tls);
        l->tls = NULL;
        net_io->close(l->fd);
        l->fd = -1;
    }
    return rc;
}

// Each address gets its share of the time that is left. Another machine may live at one of them
// (every home has a 172.17.0.1), so a wrong certificate is no reason to stop.
static int dial(struct link *l, struct err *e)
{
    struct err first = {0};
    for (int i = 0; i < l->target.n_addresses; i++) {
        struct err why = {0};
        int64_t now_ns = clock_ns(), left_ns = l->open_deadline_ns - now_ns;
        if (link_ending(l))
            return given_up(e);
        if (dial_one(l, &l->target.addresses[i], now_ns + left_ns / (l->target.n_addresses - i),
                     &why) == 0)
            return 0;
        if (!first.code || (first.code != ERR_DENIED && why.code == ERR_DENIED))
            first = why;
    }
    if (!first.code)
        return err_set(e, ERR_UNREACHABLE, "the other node gave no address to reach it at");
    return err_set(e, first.code, "%s", first.text);
}

static int introduce(struct link *l, struct wire_welcome *welcome, struct err *e)
{
    struct wire_header h = {.version = WIRE_VERSION};
    struct wire_hello hello = {0};
    frame_name(hello.build, sizeof hello.build, RONDO_VERSION);
    l->events.greet(l->events.ctx, l, &h, &hello);
    frame_write_hello(&l->small, &h, &hello);
    int rc = write_all(l, &l->small, e);
    if (rc == 0)
        rc = read_small(l, &h, e);
    return rc ? rc : frame_read_answer(welcome, l->small_bytes, l->small.size, e);
}

// ---- The listener.

static int judge(struct link *l, struct wire_welcome *welcome, struct err *e)
{
    struct wire_header h;
    struct wire_hello hello;
    int rc = read_all(l, l->small_bytes, sizeof h, e);
    if (rc)
        return rc;
    rc = frame_header_read(&h, l->small_bytes, LINK_SMALL, e);
    if (rc == 0 && (h.type != WIRE_HELLO || h.size != sizeof hello))
        rc = err_set(e, ERR_FAILED, "the first message was not a HELLO");
    if (rc == 0) {
        rc = read_all(l, l->small_bytes + sizeof h, sizeof hello, e);
        if (rc)
            return rc;
        rc = frame_read_hello(&h, &hello, l->small_bytes, sizeof h + sizeof hello, e);
    }
    frame_name(welcome->build, sizeof welcome->build, RONDO_VERSION);
    if (rc == 0)
        rc = l->events.admit(l->events.ctx, l, &h, &hello, welcome, e);
    if (rc == 0) {
        l->admitted = true;
        l->door.settled(l->door.door, l, true, NULL);
        frame_write_welcome(&l->small, welcome);
        return write_all(l, &l->small, e);
    }
    frame_write_sentence(&l->small, WIRE_REFUSE, 0, 0, rc, e->text);
    if (write_all(l, &l->small, NULL) == 0)
        link_linger(l);
    return rc;
}

void link_linger(struct link *l)
{
    uint8_t ignored[4096];
    int64_t deadline_ns = clock_ns() + LINK_LINGER_MS * INT64_C(1000000), left_ns;
    tls_shutdown(l->tls);
    shutdown(l->fd, SHUT_WR);
    while ((left_ns = deadline_ns - clock_ns()) > 0) {
        struct pollfd p = {.fd = l->fd, .events = POLLIN};
        if (net_io->poll(&p, 1, (int)(left_ns / 1000000) + 1) < 0 && errno != EINTR)
            return;
        ssize_t n = net_io->recv(l->fd, ignored, sizeof ignored);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return;
    }
}

int link_open_steps(struct link *l, struct err *e)
{
    struct wire_welcome welcome = {0};
    int rc;
    l->open_deadline_ns = clock_ns() + l->open_ms * INT64_C(1000000);
    if (l->dialled) {
        rc = dial(l, e);
        if (rc == 0)
            rc = introduce(l, &welcome, e);
    } else {
        rc = handshake(l, NULL, e);
        if (rc == 0)
            rc = judge(l, &welcome, e);
    }
    if (rc)
        return rc;
    atomic_store(&l->last_heard_ns, clock_ns());
    atomic_store(&l->open, true);
    l->events.opened(l->events.ctx, l, &welcome);
    l->may_assign = false;
    return 0;
}
