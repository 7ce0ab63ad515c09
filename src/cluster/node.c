// A head: see node.h. What to do is decided by cluster/deploy.c; here it is done.
#include "cluster/node.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "cluster/identity.h"
#include "cluster/liveness.h"
#include "cluster/offer.h"
#include "cluster/pairing.h"
#include "cluster/remote.h"
#include "ring/door.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CONTROL_FRAMES = 2 * MEMBERSHIP_MAX + 32 };

struct peer {
    struct node *node;
    struct link *link; // NULL: a free place; under lock until it is open
    bool closed;       // its end is on the way by mail
    // Set in `admit`, constant afterwards.
    char name[WIRE_NAME];
    struct digest fingerprint;
    struct net_address address;
    uint16_t port;
    struct liveness liveness; // the driving thread's
};

struct node {
    struct node_options o;
    char folder[IDENTITY_PATH], host[NET_ADDRESS_TEXT];
    struct tls_identity *identity;
    struct digest fingerprint;
    char name[WIRE_NAME];
    char token[TOKEN_TEXT_MAX];
    struct frame_pool *control;
    struct mailbox *mail;
    struct door *door;
    pthread_t thread;
    bool started;

    // Set by node_begin before the driving thread learns of it.
    struct node_ring ring;
    struct pipeline *pipeline;
    struct offer *offer;

    // The driving thread's.
    struct deploy deploy;
    struct err why; // of the event at hand: what is told when something ends
    bool connected; // the pipeline has the edges

    pthread_mutex_t lock; // all below
    pthread_cond_t changed;
    struct peer peers[MEMBERSHIP_MAX]; // by member
    struct edges *edges;
    bool begun, stop;
    uint32_t version; // of the status
    struct node_status status;
    char ring_names[WIRE_MAX_NODES][WIRE_NAME];
};

// ---- The links' threads.

static void peer_mail(struct peer *p, enum mail_kind kind, struct frame *f, const struct err *why)
{
    struct mail letter = {.kind = kind, .from = (int)(p - p->node->peers), .frame = f};
    if (why)
        letter.why = *why;
    mailbox_put(p->node->mail, &letter);
}

static void peer_opened(void *ctx, struct link *l, const struct wire_welcome *welcome)
{
    (void)l, (void)welcome;
    peer_mail(ctx, MAIL_OPENED, NULL, NULL);
}

static void peer_frame(void *ctx, struct link *l, struct frame *f)
{
    (void)l;
    peer_mail(ctx, MAIL_FRAME, f, NULL);
}

static void peer_closed(void *ctx, struct link *l, const struct err *why)
{
    (void)l;
    peer_mail(ctx, MAIL_CLOSED, NULL, why);
}

// Whether the dialler may join: it is known, or it proves a token's secret, and is remembered.
static int decide(struct node *n, struct link *l, const struct wire_header *header,
                  const struct wire_hello *hello, struct err *why)
{
    struct pairing_channel c = {.worker = link_peer(l), .head = n->fingerprint};
    struct pairing_book *b = calloc(1, sizeof *b);
    memcpy(c.exporter, link_exporter(l), sizeof c.exporter);
    if (!b)
        return err_set(why, ERR_NO_MEMORY, "this head has no memory for another worker");
    int rc = pairing_book_load(b, n->folder, why);
    if (!rc && pairing_decide(b, header, hello, &c, clock_wall_s(), why) == PAIRING_REFUSED)
        rc = why->code;
    free(b);
    return rc ? rc : pairing_remember(n->folder, &c.worker, hello->name, why);
}

static struct peer *claim(struct node *n, struct link *l, const struct wire_hello *hello)
{
    struct peer *p = NULL;
    pthread_mutex_lock(&n->lock);
    for (int i = 0; i < MEMBERSHIP_MAX && !p && !n->stop; i++)
        if (!n->peers[i].link)
            p = &n->peers[i];
    if (p) {
        *p = (struct peer){.node = n,
                           .link = l,
                           .fingerprint = link_peer(l),
                           .address = link_peer_address(l),
                           .port = hello->port};
        memcpy(p->name, hello->name, sizeof p->name);
    }
    pthread_mutex_unlock(&n->lock);
    return p;
}

static int admit_worker(struct node *n, struct link *l, const struct wire_header *header,
                        const struct wire_hello *hello, struct err *why)
{
    struct link_events events = {.opened = peer_opened, .frame = peer_frame, .closed = peer_closed};
    int rc = decide(n, l, header, hello, why);
    if (rc)
        return rc;
    struct peer *p = claim(n, l, hello);
    if (!p)
        return err_set(why, ERR_UNREACHABLE, "this head has no place for another worker now");
    events.ctx = p;
    link_assign(l, &events, n->control, WIRE_MAX_CONTROL);
    return 0;
}

static int admit(void *ctx, struct link *l, const struct wire_header *header,
                 const struct wire_hello *hello, struct wire_welcome *welcome, struct err *why)
{
    struct node *n = ctx;
    int rc = pairing_same_version(header, hello, why);
    if (rc)
        return rc;
    frame_name(welcome->name, sizeof welcome->name, n->name);
    if (hello->purpose == WIRE_JOIN)
        return admit_worker(n, l, header, hello, why);
    pthread_mutex_lock(&n->lock);
    rc = n->edges ? edges_admit(n->edges, l, header, hello, why)
                  : err_set(why, ERR_UNREACHABLE, "this head has no ring now");
    pthread_mutex_unlock(&n->lock);
    return rc;
}

// ---- What is told to the user's thread.

static void publish(struct node *n)
{
    pthread_mutex_lock(&n->lock);
    struct node_status *s = &n->status;
    int order[MEMBERSHIP_MAX];
    s->phase = n->deploy.phase;
    s->n_wanted = n->deploy.n_workers;
    s->n_members = 0;
    for (int state = MEMBER_PAIRED; state < MEMBER_STATE_COUNT; state++) {
        int count =
            membership_list(&n->deploy.members, (enum member_state)state, order, MEMBERSHIP_MAX);
        for (int i = 0; i < count; i++) {
            struct node_member *m = &s->members[s->n_members++];
            memcpy(m->name, n->peers[order[i]].name, sizeof m->name);
            m->state = (enum member_state)state;
        }
    }
    n->version++;
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
}

static void note(struct node *n, const char *text)
{
    pthread_mutex_lock(&n->lock);
    struct node_status *s = &n->status;
    snprintf(s->notes[s->n_notes++ % NODE_NOTES], sizeof s->notes[0], "%s", text);
    pthread_mutex_unlock(&n->lock);
}

// ---- What deploy.c wants done.

static struct peer *peer_of(struct node *n, int member)
{
    return &n->peers[member];
}

// Gives up the pointer under the lock: nobody can be admitted to these edges any more.
static void close_edges(struct node *n)
{
    pthread_mutex_lock(&n->lock);
    struct edges *s = n->edges;
    n->edges = NULL;
    pthread_mutex_unlock(&n->lock);
    edges_close(s);
}

static void broken(void *ctx, const struct err *why)
{
    struct node *n = ctx;
    struct mail letter = {.kind = MAIL_PASS_FAILED, .why = *why};
    mailbox_put(n->mail, &letter);
}

static struct edges_node edge_of(const struct peer *p, int index)
{
    struct edges_node x = {.index = index, .fingerprint = p->fingerprint};
    memcpy(x.name, p->name, sizeof x.name);
    return x;
}

static void tell_self(struct node *n, enum mail_kind kind, const struct err *why)
{
    struct mail letter = {.kind = kind, .epoch = n->deploy.members.epoch, .why = *why};
    mailbox_put(n->mail, &letter);
}

static void make(struct node *n)
{
    int last = n->deploy.n_workers - 1;
    const struct peer *first_peer = peer_of(n, n->deploy.ring[0]);
    struct edges_options o = {
        .identity = n->identity,
        .epoch = n->deploy.members.epoch,
        .index = last + 1,
        .previous = edge_of(peer_of(n, n->deploy.ring[last]), last),
        .next = edge_of(first_peer, 0),
        .next_target = {.fingerprint = first_peer->fingerprint,
                        .port = first_peer->port,
                        .n_addresses = 1,
                        .addresses = {first_peer->address}},
        .pool = remote_pool(n->pipeline),
        .queue = remote_queue(n->pipeline),
        .mail = n->mail,
    };
    struct err e = {0};
    struct edges *s;
    if (edges_open(&s, &o, &e)) {
        tell_self(n, MAIL_EDGE_LOST, &e);
        return;
    }
    pthread_mutex_lock(&n->lock);
    n->edges = s;
    for (int i = 0; i <= last; i++)
        memcpy(n->ring_names[i], peer_of(n, n->deploy.ring[i])->name, WIRE_NAME);
    memcpy(n->ring_names[last + 1], n->name, WIRE_NAME);
    pthread_mutex_unlock(&n->lock);
}

// The addresses of a node on this machine mean nothing to nodes elsewhere, who get this machine's.
static void add_addresses(const struct node *n, struct wire_peer *out,
                          const struct net_address *known, bool receiver_is_here)
{
    struct net_address own[WIRE_MAX_ADDRESSES];
    bool here = !known || net_address_loopback(known);
    if (known)
        out->addresses[out->n_addresses++] = *known;
    int count =
        here && !receiver_is_here ? net_own_addresses(n->o.host, own, WIRE_MAX_ADDRESSES) : 0;
    for (int i = 0; i < count && out->n_addresses < WIRE_MAX_ADDRESSES; i++)
        out->addresses[out->n_addresses++] = own[i];
}

static void write_roster(struct node *n, struct frame *f, const struct peer *receiver)
{
    struct wire_peer peers[WIRE_MAX_NODES] = {0};
    struct wire_roster m = {.n_nodes = (uint32_t)n->deploy.n_workers + 1};
    bool here = net_address_loopback(&receiver->address);
    for (int i = 0; i < n->deploy.n_workers; i++) {
        const struct peer *p = peer_of(n, n->deploy.ring[i]);
        memcpy(peers[i].fingerprint, p->fingerprint.bytes, sizeof peers[i].fingerprint);
        memcpy(peers[i].name, p->name, sizeof peers[i].name);
        peers[i].port = p->port;
        add_addresses(n, &peers[i], &p->address, here);
    }
    struct wire_peer *head = &peers[n->deploy.n_workers];
    memcpy(head->fingerprint, n->fingerprint.bytes, sizeof head->fingerprint);
    memcpy(head->name, n->name, sizeof head->name);
    head->port = door_port(n->door);
    add_addresses(n, head, NULL, false);
    frame_write_roster(f, n->deploy.members.epoch, &m, peers);
}

// A frame to fill; the pool has room for all that a head says at once. NULL: a worker that does not
// read fills it up, and its silence will be noticed.
static struct frame *take_frame(struct node *n)
{
    struct frame *f = frame_take(n->control);
    if (!f)
        log_error("no free frame for a worker");
    return f;
}

static void offer(struct node *n, int member, int node)
{
    struct peer *p = peer_of(n, member);
    uint32_t epoch = n->deploy.members.epoch;
    struct frame *f = take_frame(n);
    if (f) {
        offer_write(n->offer, f, epoch, &n->ring.table, node);
        link_send(p->link, f);
    }
    if ((f = take_frame(n))) {
        offer_write_plan(f, epoch, &n->ring.table, node, n->ring.activation);
        link_send(p->link, f);
    }
    if ((f = take_frame(n))) {
        write_roster(n, f, p);
        link_send(p->link, f);
    }
}

static void go(struct node *n, int member)
{
    struct frame *f = take_frame(n);
    if (!f)
        return;
    frame_write_empty(f, WIRE_GO, n->deploy.members.epoch);
    link_send(peer_of(n, member)->link, f);
}

static void end(struct node *n, int member)
{
    struct frame *f = take_frame(n);
    if (!f)
        return;
    frame_write_sentence(f, WIRE_END, n->deploy.members.epoch, 0,
                         n->why.code ? n->why.code : ERR_FAILED,
                         n->why.code ? n->why.text : "the head has finished");
    link_send(peer_of(n, member)->link, f);
}

static void dial(struct node *n)
{
    struct err e = {0};
    if (n->edges && edges_dial(n->edges, &e))
        tell_self(n, MAIL_EDGE_LOST, &e);
}

static void start(struct node *n)
{
    remote_connect(n->pipeline, n->edges, n->deploy.members.epoch);
    n->connected = true;
}

static void finish_ring(struct node *n)
{
    if (n->connected) {
        struct err why = n->why;
        err_set(&why, ERR_UNREACHABLE, "the ring was ended");
        remote_fail(n->pipeline, &why);
        pthread_mutex_lock(&n->lock);
        n->status.ended = why;
        pthread_mutex_unlock(&n->lock);
    }
    n->connected = false;
    close_edges(n);
}

static void step(struct node *n, const struct deploy_event *event)
{
    struct deploy_actions a;
    deploy_step(&n->deploy, event, clock_ns(), &a);
    for (int i = 0; i < a.n; i++) {
        int member = a.list[i].member;
        switch (a.list[i].kind) {
        case DEPLOY_DO_MAKE:
            make(n);
            break;
        case DEPLOY_DO_OFFER:
            offer(n, member, a.list[i].node);
            break;
        case DEPLOY_DO_GO:
            go(n, member);
            break;
        case DEPLOY_DO_DIAL:
            dial(n);
            break;
        case DEPLOY_DO_START:
            start(n);
            break;
        case DEPLOY_DO_CLOSE:
            finish_ring(n);
            break;
        case DEPLOY_DO_END:
            end(n, member);
            break;
        }
    }
    if (a.n || event->kind != DEPLOY_TICK)
        publish(n);
}

// ---- Letters.

static void lose(struct node *n, int member)
{
    step(n, &(struct deploy_event){.kind = DEPLOY_LOST, .member = member});
}

// The end of a link: whoever waits for its worker hears why.
static void closed(struct node *n, int member, const struct err *why)
{
    struct peer *p = peer_of(n, member);
    struct err e = {0};
    char text[NET_ADDRESS_TEXT];
    err_set(&e, ERR_UNREACHABLE, "worker %s (%s) is gone: %s", p->name,
            net_address_text(&p->address, text), why->code ? why->text : "its link was closed");
    n->why = e;
    if (membership_state(&n->deploy.members, member) != MEMBER_GONE) {
        note(n, e.text);
        lose(n, member);
    }
    link_free(p->link);
    pthread_mutex_lock(&n->lock);
    p->link = NULL;
    pthread_mutex_unlock(&n->lock);
}

static void opened(struct node *n, int member)
{
    liveness_init(&peer_of(n, member)->liveness, clock_ns());
    step(n, &(struct deploy_event){.kind = DEPLOY_JOINED, .member = member});
}

// A worker's sentence: NOT_READY or FAILED.
static int take_sentence(struct node *n, int member, const struct frame *f,
                         const struct wire_header *h, struct err *e)
{
    char text[WIRE_MAX_TEXT + 1];
    int code, rc = frame_read_sentence(&code, text, f->bytes, f->size, e);
    if (rc)
        return rc;
    bool refuses = h->type == WIRE_NOT_READY;
    err_set(&n->why, code, refuses ? "worker %s cannot take part: %s" : "worker %s: %s",
            peer_of(n, member)->name, text);
    if (h->epoch == n->deploy.members.epoch)
        note(n, n->why.text);
    step(n, &(struct deploy_event){.kind = refuses ? DEPLOY_NOT_READY : DEPLOY_FAILED,
                                   .member = member,
                                   .epoch = h->epoch});
    return 0;
}

static int take_timing(struct node *n, int member, const struct frame *f,
                       const struct wire_header *h, struct err *e)
{
    const struct wire_time *times;
    struct wire_timing m;
    int rc = frame_read_timing(&m, &times, f->bytes, f->size, e);
    int node = deploy_node(&n->deploy, member);
    if (rc || node < 0 || h->epoch != n->deploy.members.epoch)
        return rc;
    for (uint32_t i = 0; i < m.n_times; i++)
        timings_ran(remote_timings(n->pipeline), node, &times[i]);
    return 0;
}

static int take_frame_of(struct node *n, int member, const struct frame *f, struct err *e)
{
    struct wire_header h;
    struct wire_ready ready;
    struct deploy_event event = {.member = member};
    int rc = 0;
    memcpy(&h, f->bytes, sizeof h);
    event.epoch = h.epoch;
    switch (h.type) {
    case WIRE_READY:
        event.kind = DEPLOY_READY;
        rc = frame_read_ready(&ready, f->bytes, f->size, e);
        break;
    case WIRE_LINKED:
        event.kind = DEPLOY_LINKED;
        rc = frame_read_empty(WIRE_LINKED, f->bytes, f->size, e);
        break;
    case WIRE_NOT_READY:
    case WIRE_FAILED:
        return take_sentence(n, member, f, &h, e);
    case WIRE_TIMING:
        return take_timing(n, member, f, &h, e);
    default:
        return err_set(e, ERR_FAILED, "it sent a message of type %u, which is not a head's",
                       h.type);
    }
    if (!rc)
        step(n, &event);
    return rc;
}

static void take_letter(struct node *n, struct mail *m)
{
    struct err e = {0};
    n->why = m->why;
    switch (m->kind) {
    case MAIL_OPENED:
        opened(n, m->from);
        break;
    case MAIL_FRAME:
        // After an end nothing that came before it counts.
        if (membership_state(&n->deploy.members, m->from) != MEMBER_GONE &&
            take_frame_of(n, m->from, m->frame, &e))
            link_close(peer_of(n, m->from)->link, &e);
        frame_release(m->frame);
        break;
    case MAIL_CLOSED:
        closed(n, m->from, &m->why);
        break;
    case MAIL_EDGE_OPEN:
        step(n, &(struct deploy_event){.kind = DEPLOY_EDGE_OPEN, .epoch = m->epoch});
        break;
    case MAIL_PASS_FAILED: // our own compute loop: the ring that runs
        m->epoch = n->deploy.members.epoch;
        // fall through
    case MAIL_EDGE_LOST:
        step(n, &(struct deploy_event){.kind = DEPLOY_EDGE_LOST, .epoch = m->epoch});
        break;
    default:
        break;
    }
}

// ---- Watching.

static void watch(struct node *n, int member, int64_t now_ns)
{
    struct peer *p = peer_of(n, member);
    struct link_peer_state state = link_peer_state(p->link);
    struct liveness_report r = {
        .heard_ns = link_last_heard_ns(p->link), .progress = state.progress, .busy = state.busy};
    enum liveness_verdict v = liveness_check(&p->liveness, &r, now_ns);
    int node = deploy_node(&n->deploy, member);
    if (node >= 0) // on this machine there is but one clock
        timings_offset(remote_timings(n->pipeline), node,
                       net_address_loopback(&p->address) ? 0 : state.offset_ns);
    if (v == LIVENESS_ALIVE)
        return;
    n->why.code = 0;
    if (v == LIVENESS_SILENT)
        err_set(&n->why, ERR_UNREACHABLE,
                "worker %s has not been heard from for %.0f s; it was stopped, or the way to it "
                "is down",
                p->name, LIVENESS_SILENT_MS / 1e3);
    else
        err_set(&n->why, ERR_UNREACHABLE, "worker %s hangs: it has been at one step for %.1f s",
                p->name, LIVENESS_HUNG_MS / 1e3);
    note(n, n->why.text);
    link_close(p->link, &n->why); // its end comes by mail, but nobody waits for it
    lose(n, member);
}

static void tick(struct node *n)
{
    int64_t now_ns = clock_ns();
    for (int i = 0; i < MEMBERSHIP_MAX; i++)
        if (membership_state(&n->deploy.members, i) != MEMBER_GONE)
            watch(n, i, now_ns);
    if (n->edges)
        edges_check(n->edges, now_ns);
    n->why.code = 0;
    if (n->deploy.phase == DEPLOY_LINKING)
        err_set(&n->why, ERR_UNREACHABLE, "the nodes did not find each other within %d s",
                DEPLOY_LINK_MS / 1000);
    step(n, &(struct deploy_event){.kind = DEPLOY_TICK});
}

static bool look_around(struct node *n)
{
    pthread_mutex_lock(&n->lock);
    bool stop = n->stop, begin = n->begun && !n->deploy.n_workers;
    pthread_mutex_unlock(&n->lock);
    n->why.code = 0;
    if (begin)
        step(n,
             &(struct deploy_event){.kind = DEPLOY_BEGIN, .n_workers = n->ring.table.n_nodes - 1});
    if (stop)
        step(n, &(struct deploy_event){.kind = DEPLOY_STOP});
    return !stop;
}

static void *drive(void *arg)
{
    struct node *n = arg;
    int64_t next_tick_ns = clock_ns();
    while (look_around(n)) {
        int64_t left_ns = next_tick_ns - clock_ns();
        struct mail m;
        if (left_ns > 0 && mailbox_take(n->mail, (int)(left_ns / 1000000) + 1, &m))
            take_letter(n, &m);
        if (clock_ns() < next_tick_ns)
            continue;
        tick(n);
        next_tick_ns = clock_ns() + LIVENESS_TICK_MS * INT64_C(1000000);
    }
    return NULL;
}

// ---- The user's thread.

static int make_token(struct node *n, struct err *e)
{
    struct token t = {.fingerprint = n->fingerprint, .port = door_port(n->door)};
    t.n_addresses = net_own_addresses(n->o.host, t.addresses, TOKEN_MAX_ADDRESSES);
    int rc = pairing_issue(n->folder, &t, NODE_TOKEN_S, e);
    if (!rc)
        token_write(&t, n->token);
    return rc;
}

static int prepare(struct node *n, struct err *e)
{
    uint32_t epoch;
    int rc = identity_open(&n->identity, n->folder, e);
    if (rc)
        return rc;
    n->fingerprint = tls_identity_digest(n->identity);
    if (n->o.name)
        err_quote(n->name, sizeof n->name, n->o.name, (int)strnlen(n->o.name, sizeof n->name));
    else
        identity_name(n->name, sizeof n->name);
    if (RAND_bytes((uint8_t *)&epoch, sizeof epoch) != 1)
        return err_set(e, ERR_FAILED, "this machine gives no random numbers");
    deploy_init(&n->deploy, epoch);
    n->control = frame_pool_new(CONTROL_FRAMES, WIRE_MAX_CONTROL);
    n->mail = mailbox_new();
    if (!n->control || !n->mail)
        return err_set(e, ERR_NO_MEMORY, "no memory to talk to workers");
    struct door_options d = {
        .host = n->o.host,
        .port = n->o.port,
        .link = {.identity = n->identity,
                 .pool = n->control,
                 .max_frame = WIRE_MAX_CONTROL,
                 .events = {.ctx = n, .admit = admit}},
    };
    rc = door_open(&n->door, &d, e);
    if (!rc)
        rc = make_token(n, e);
    return rc;
}

static int start_thread(struct node *n, struct err *e)
{
    sigset_t all, before;
    sigfillset(&all); // signals are the main thread's
    pthread_sigmask(SIG_SETMASK, &all, &before);
    n->started = pthread_create(&n->thread, NULL, drive, n) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return n->started ? 0 : err_set(e, ERR_NO_MEMORY, "cannot start the node's thread");
}

int node_open(struct node **out, const struct node_options *o, struct err *e)
{
    struct node *n = calloc(1, sizeof *n);
    *out = NULL;
    if (!n)
        return err_set(e, ERR_NO_MEMORY, "no memory for a node");
    snprintf(n->folder, sizeof n->folder, "%s", o->folder);
    snprintf(n->host, sizeof n->host, "%s", o->host ? o->host : "");
    n->o = *o;
    n->o.folder = n->folder;
    n->o.host = o->host ? n->host : NULL;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int rc = prepare(n, e);
    if (!rc)
        rc = start_thread(n, e);
    if (rc) {
        node_close(n);
        return rc;
    }
    *out = n;
    return 0;
}

// Every link says goodbye, then all are waited for.
static void close_links(struct node *n)
{
    struct err why = {0};
    err_set(&why, ERR_UNREACHABLE, "the head has finished");
    for (int i = 0; i < MEMBERSHIP_MAX; i++)
        if (n->peers[i].link)
            link_close(n->peers[i].link, &why);
    for (int i = 0; i < MEMBERSHIP_MAX; i++)
        link_free(n->peers[i].link);
}

void node_close(struct node *n)
{
    if (!n)
        return;
    if (n->started) {
        struct mail wake = {.kind = MAIL_WOKEN};
        pthread_mutex_lock(&n->lock);
        n->stop = true;
        pthread_mutex_unlock(&n->lock);
        mailbox_put(n->mail, &wake);
        pthread_join(n->thread, NULL); // has ended the ring
    }
    door_close(n->door);
    close_links(n);
    if (n->pipeline)
        n->pipeline->ops->free(n->pipeline);
    offer_free(n->offer);
    mailbox_free(n->mail);
    frame_pool_free(n->control);
    tls_identity_free(n->identity);
    pthread_cond_destroy(&n->changed);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

const char *node_token(const struct node *n)
{
    return n->token;
}

uint16_t node_port(const struct node *n)
{
    return door_port(n->door);
}

int node_begin(struct node *n, const struct node_ring *r, struct err *e)
{
    struct remote_options o = {
        .engine = r->engine,
        .table = &n->ring.table,
        .activation = r->activation,
        .broken = broken,
        .ctx = n,
    };
    CHECK(!n->pipeline);
    n->ring = *r;
    int rc = remote_open(&n->pipeline, r->model, &o, e);
    if (!rc)
        rc = offer_new(&n->offer, r->model, &n->pipeline->info, r->engine.kv_type, e);
    if (rc)
        return rc;
    struct mail wake = {.kind = MAIL_WOKEN};
    pthread_mutex_lock(&n->lock);
    n->begun = true;
    pthread_mutex_unlock(&n->lock);
    mailbox_put(n->mail, &wake);
    return 0;
}

struct pipeline *node_pipeline(struct node *n)
{
    return n->pipeline;
}

void node_wait(struct node *n, int timeout_ms, struct node_status *out)
{
    int64_t end_ns = clock_ns() + timeout_ms * INT64_C(1000000);
    struct timespec until = {end_ns / 1000000000, end_ns % 1000000000};
    pthread_mutex_lock(&n->lock);
    uint32_t version = n->version;
    while (n->version == version && pthread_cond_timedwait(&n->changed, &n->lock, &until) == 0)
        ;
    *out = n->status;
    pthread_mutex_unlock(&n->lock);
}

void node_report(struct node *n, struct node_report *out)
{
    CHECK(n->pipeline);
    out->table = n->ring.table;
    pthread_mutex_lock(&n->lock);
    memcpy(out->names, n->ring_names, sizeof out->names);
    pthread_mutex_unlock(&n->lock);
    timings_read(remote_timings(n->pipeline), false, &out->decode);
    timings_read(remote_timings(n->pipeline), true, &out->prompts);
}
