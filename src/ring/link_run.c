// An open link: read what is there, write what is queued, sleep in poll.
//
// A frame is read straight into a frame of the pool; heartbeats and last words stay in the link.
// When the pool is empty the link stops reading until one is released. Heartbeats go before what is
// queued, but never into the middle of a frame.
#include "base/check.h"
#include "base/clock.h"
#include "net/net_io.h"
#include "ring/link_state.h"

#include <errno.h>
#include <string.h>

enum {
    HEADER = sizeof(struct wire_header),
    FRAMES_PER_TURN = 16, // then the other direction gets its turn
};

// ---- Heartbeats.

static void beat_write(struct link *l)
{
    struct wire_heartbeat m = {
        .echo_sent_ns = l->peer_sent_ns,
        .echo_received_ns = l->peer_heard_ns,
    };
    if (l->pulse) {
        m.progress = atomic_load_explicit(&l->pulse->progress, memory_order_relaxed);
        m.busy = atomic_load_explicit(&l->pulse->busy, memory_order_relaxed) != 0;
    }
    m.sent_ns = clock_ns();
    frame_write_heartbeat(&l->beat, &m);
    l->beat_due = false;
}

static int beat_heard(struct link *l, int64_t now_ns, struct err *e)
{
    struct wire_heartbeat m;
    int rc = frame_read_heartbeat(&m, l->small_bytes, l->small.size, e);
    if (rc)
        return rc;
    l->peer_sent_ns = m.sent_ns;
    l->peer_heard_ns = now_ns;
    if (m.echo_sent_ns)
        clock_offset_add(&l->clock, m.echo_sent_ns, m.echo_received_ns, m.sent_ns, now_ns);
    // The first ones are answered at once, so that the clocks are known within milliseconds.
    if (l->n_heard++ < CLOCK_OFFSET_WINDOW)
        l->beat_due = true;
    struct link_peer_state s = {.heard_ns = now_ns, .progress = m.progress, .busy = m.busy};
    clock_offset_best(&l->clock, &s.offset_ns, &s.round_trip_ns);
    pthread_mutex_lock(&l->lock);
    l->peer_state = s;
    pthread_mutex_unlock(&l->lock);
    return 0;
}

// ---- Receiving.

// The header is here: finds the frame for the body. false: none is free.
static bool find_room(struct link *l)
{
    if (l->header.type == WIRE_HEARTBEAT || l->header.type == WIRE_LEAVE)
        l->in = &l->small;
    else
        l->in = frame_take_or_wake(l->pool, l->wake_fd);
    l->starved = !l->in;
    if (l->starved)
        return false;
    memcpy(l->in->bytes, &l->header, HEADER);
    l->in->size = HEADER + l->header.size;
    return true;
}

static int header_arrived(struct link *l, struct err *e)
{
    struct wire_header raw = l->header;
    int rc = frame_header_read(&l->header, &raw, l->max_frame, e);
    if (rc)
        return rc;
    unsigned type = l->header.type;
    if (type == WIRE_HELLO || type == WIRE_WELCOME || type == WIRE_REFUSE)
        return err_set(e, ERR_FAILED, "the other node introduced itself twice");
    if ((type == WIRE_HEARTBEAT || type == WIRE_LEAVE) && l->header.size > LINK_SMALL - HEADER)
        return err_set(e, ERR_FAILED, "a short message of another node was too long");
    return 0;
}

static int frame_arrived(struct link *l, struct err *e)
{
    struct frame *f = l->in;
    f->arrived_ns = clock_ns();
    l->in = NULL;
    l->got = 0;
    if (f != &l->small) {
        l->events.frame(l->events.ctx, l, f);
        return 0;
    }
    if (l->header.type == WIRE_HEARTBEAT)
        return beat_heard(l, f->arrived_ns, e);
    char text[WIRE_MAX_TEXT + 1];
    int code, rc = frame_read_sentence(&code, text, f->bytes, f->size, e);
    return rc ? rc : err_set(e, code, "%s", text);
}

// One read. 1: got on; 0: nothing there, or no room; < 0: the end.
static int receive_some(struct link *l, struct err *e)
{
    bool in_header = l->got < HEADER;
    if (!in_header && !l->in && !find_room(l))
        return 0;
    uint8_t *at = in_header ? (uint8_t *)&l->header : l->in->bytes;
    size_t end = in_header ? HEADER : l->in->size;
    if (l->got < end) {
        ssize_t n = tls_read(l->tls, at + l->got, end - l->got, e);
        if (n == TLS_AGAIN) {
            l->read_wants = tls_wants(l->tls);
            return 0;
        }
        if (n == TLS_CLOSED)
            return err_set(e, ERR_UNREACHABLE, "the other side closed the connection");
        if (n < 0)
            return (int)n;
        l->got += (size_t)n;
        atomic_store_explicit(&l->last_heard_ns, clock_ns(), memory_order_relaxed);
    }
    if (l->got < end)
        return 1;
    int rc = in_header ? header_arrived(l, e) : frame_arrived(l, e);
    return rc ? rc : 1;
}

// 1: there may be more; 0: not now; < 0: the end.
static int receive(struct link *l, struct err *e)
{
    for (int steps = 0; steps < 2 * FRAMES_PER_TURN; steps++) {
        int rc = receive_some(l, e);
        if (rc <= 0)
            return rc;
    }
    return 1;
}

// ---- Sending.

// What goes out next, or NULL. When the link is being closed, the reason is the last word.
static struct frame *next_out(struct link *l)
{
    if (l->beat_due) {
        beat_write(l);
        return &l->beat;
    }
    pthread_mutex_lock(&l->lock);
    struct frame *f = l->first;
    if (f) {
        l->first = f->next;
        if (!l->first)
            l->last = NULL;
        f->next = NULL;
    }
    bool last_word = !f && l->closing && l->reason.code && !l->leave_queued;
    pthread_mutex_unlock(&l->lock);
    if (last_word) {
        l->leave_queued = true;
        frame_write_sentence(&l->leave, WIRE_LEAVE, 0, 0, l->reason.code, l->reason.text);
        return &l->leave;
    }
    return f;
}

static void frame_gone(struct link *l)
{
    struct frame *f = l->out;
    l->out = NULL;
    l->out_done = 0;
    if (f->pool && l->events.sent)
        l->events.sent(l->events.ctx, l, f, clock_ns());
    frame_release(f);
}

// 1: there may be more; 0: all is sent, or the socket is full; < 0: the end.
static int transmit(struct link *l, struct err *e)
{
    l->write_wants = 0;
    for (int i = 0; i < FRAMES_PER_TURN; i++) {
        if (!l->out && !(l->out = next_out(l)))
            return 0;
        while (l->out_done < l->out->size) {
            ssize_t n =
                tls_write(l->tls, l->out->bytes + l->out_done, l->out->size - l->out_done, e);
            if (n == TLS_AGAIN) {
                l->write_wants = tls_wants(l->tls);
                return 0;
            }
            if (n < 0)
                return (int)n;
            l->out_done += (size_t)n;
        }
        frame_gone(l);
    }
    return 1;
}

// ---- The loop.

// Whether the link is over: closed by us, and said what there was to say.
static bool finished(struct link *l, int64_t now_ns)
{
    pthread_mutex_lock(&l->lock);
    bool closing = l->closing, abandoned = l->abandoned, empty = !l->first;
    pthread_mutex_unlock(&l->lock);
    if (!closing)
        return false;
    if (!l->flush_deadline_ns)
        l->flush_deadline_ns = now_ns + LINK_FLUSH_MS * INT64_C(1000000);
    bool said = empty && !l->out && (l->leave_queued || !l->reason.code);
    return abandoned || said || now_ns >= l->flush_deadline_ns;
}

// Until there is something to do. The flag is set only when nothing is queued, so link_send knows
// whether to wake.
static int doze(struct link *l, struct err *e)
{
    int64_t now_ns = clock_ns(), until_ns = l->next_beat_ns;
    if (l->flush_deadline_ns && l->flush_deadline_ns < until_ns)
        until_ns = l->flush_deadline_ns;
    pthread_mutex_lock(&l->lock);
    bool work = !l->write_wants && l->first;
    bool newly_closing = l->closing && !l->flush_deadline_ns;
    l->asleep = !work;
    pthread_mutex_unlock(&l->lock);
    if (work || newly_closing || until_ns <= now_ns)
        return 0;
    short events = (short)((l->starved ? 0 : l->read_wants) | l->write_wants);
    // Without an interest in the socket it is left out, or its hang-up would wake us for ever.
    struct pollfd p[2] = {{.fd = events ? l->fd : -1, .events = events},
                          {.fd = l->wake_fd, .events = POLLIN}};
    int n = net_io->poll(p, 2, (int)((until_ns - now_ns) / 1000000) + 1);
    if (n < 0 && errno != EINTR)
        return err_errno(e, ERR_FAILED, "waiting for a connection");
    if (n > 0 && p[1].revents)
        link_drain_wake(l);
    pthread_mutex_lock(&l->lock);
    l->asleep = false;
    pthread_mutex_unlock(&l->lock);
    return 0;
}

int link_run_open(struct link *l, struct err *e)
{
    for (;;) { // the first heartbeat is due at once
        int more_in = receive(l, e);
        if (more_in < 0)
            return more_in;
        int64_t now_ns = clock_ns();
        if (now_ns >= l->next_beat_ns) {
            l->beat_due = true;
            l->next_beat_ns = now_ns + l->heartbeat_ms * INT64_C(1000000);
        }
        int more_out = transmit(l, e);
        if (more_out < 0)
            return more_out;
        if (finished(l, now_ns)) {
            if (!l->abandoned)
                link_linger(l);
            return 0;
        }
        int rc = more_in || more_out ? 0 : doze(l, e);
        if (rc)
            return rc;
    }
}
