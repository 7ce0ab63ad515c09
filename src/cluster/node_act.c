// What a head does when deploy.c has decided: frames to workers, edges, the pipeline.
#include "base/clock.h"
#include "base/log.h"
#include "cluster/node_state.h"
#include "cluster/remote.h"

#include <stdio.h>
#include <string.h>

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
    s->version++;
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
}

void node_note(struct node *n, const char *text)
{
    pthread_mutex_lock(&n->lock);
    struct node_status *s = &n->status;
    snprintf(s->notes[s->n_notes++ % NODE_NOTES], sizeof s->notes[0], "%s", text);
    pthread_mutex_unlock(&n->lock);
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

// On the outgoing edge's thread.
static void sent(void *ctx, const struct frame *f, int64_t now_ns)
{
    const struct node *n = ctx;
    struct wire_header h;
    memcpy(&h, f->bytes, sizeof h);
    timings_left(remote_timings(n->pipeline), h.pass, h.round, now_ns);
}

// What node_plan wants, with the ring before it at rest. Under the lock because of those who read
// the times of that one.
static int adopt(struct node *n)
{
    pthread_mutex_lock(&n->lock);
    n->plan = *n->next;
    n->next_rc = remote_shape(n->pipeline, &n->plan.table, n->plan.chunk, &n->next_why);
    pthread_mutex_unlock(&n->lock);
    return n->next_rc;
}

static void make(struct node *n)
{
    if (n->next && adopt(n)) {
        tell_self(n, MAIL_EDGE_LOST, &n->next_why);
        return;
    }
    int last = n->deploy.n_workers - 1;
    pthread_mutex_lock(&n->lock);
    for (int i = 0; i <= last; i++)
        memcpy(n->ring_names[i], n->peers[n->deploy.ring[i]].name, WIRE_NAME);
    memcpy(n->ring_names[last + 1], n->name, WIRE_NAME);
    memset(n->ring_memory, 0, sizeof n->ring_memory);
    pthread_mutex_unlock(&n->lock);
    if (last < 0)
        return; // nobody but this node
    const struct peer *first_peer = &n->peers[n->deploy.ring[0]];
    struct edges_options o = {
        .identity = n->identity,
        .epoch = n->deploy.members.epoch,
        .index = last + 1,
        .previous = edge_of(&n->peers[n->deploy.ring[last]], last),
        .next = edge_of(first_peer, 0),
        .next_target = {.fingerprint = first_peer->fingerprint,
                        .port = first_peer->port,
                        .n_addresses = 1,
                        .addresses = {first_peer->address}},
        .pool = remote_pool(n->pipeline),
        .queue = remote_queue(n->pipeline),
        .mail = n->mail,
        .sent = sent,
        .ctx = n,
    };
    struct err e = {0};
    struct edges *s;
    if (edges_open(&s, &o, &e)) {
        tell_self(n, MAIL_EDGE_LOST, &e);
        return;
    }
    pthread_mutex_lock(&n->lock);
    n->edges = s;
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

void node_write_peers(struct node *n, struct wire_peer *out, const int *members, int n_workers,
                      const struct net_address *receiver)
{
    bool here = net_address_loopback(receiver);
    memset(out, 0, ((size_t)n_workers + 1) * sizeof *out);
    for (int i = 0; i < n_workers; i++) {
        const struct peer *p = &n->peers[members[i]];
        memcpy(out[i].fingerprint, p->fingerprint.bytes, sizeof out[i].fingerprint);
        memcpy(out[i].name, p->name, sizeof out[i].name);
        out[i].port = p->port;
        add_addresses(n, &out[i], &p->address, here);
    }
    struct wire_peer *head = &out[n_workers];
    memcpy(head->fingerprint, n->fingerprint.bytes, sizeof head->fingerprint);
    memcpy(head->name, n->name, sizeof head->name);
    head->port = door_port(n->door);
    add_addresses(n, head, NULL, false);
}

static void write_roster(struct node *n, struct frame *f, const struct peer *receiver)
{
    struct wire_peer peers[WIRE_MAX_NODES];
    struct wire_roster m = {.n_nodes = (uint32_t)n->deploy.n_workers + 1};
    node_write_peers(n, peers, n->deploy.ring, n->deploy.n_workers, &receiver->address);
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
    struct peer *p = &n->peers[member];
    uint32_t epoch = n->deploy.members.epoch;
    struct frame *f = take_frame(n);
    if (f) {
        offer_write(n->offer, f, epoch, &n->plan.table, node);
        link_send(p->link, f);
    }
    if ((f = take_frame(n))) {
        const struct offer_share share = {n->plan.slots[node], n->plan.memory[node]};
        offer_write_plan(f, epoch, &n->plan.table, node, n->ring.activation, &share);
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
    link_send(n->peers[member].link, f);
}

static void end(struct node *n, int member, uint32_t epoch)
{
    struct frame *f = take_frame(n);
    if (!f)
        return;
    frame_write_sentence(f, WIRE_END, epoch, 0, n->why.code ? n->why.code : ERR_FAILED,
                         n->why.code ? n->why.text : "the head has finished");
    link_send(n->peers[member].link, f);
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
    n->drift_passes = 0;
    struct timings_report expected;
    foretold_at(&n->plan.foretold, 0, &expected);
    drift_begin(&n->drift, &expected, n->plan.table.n_nodes, clock_ns());
    pthread_mutex_lock(&n->lock);
    n->drifted = (struct node_drift){0};
    pthread_mutex_unlock(&n->lock);
}

// Another ring follows.
static void rest(struct node *n)
{
    remote_disconnect(n->pipeline);
    n->connected = false;
    close_edges(n);
    err_set(&n->why, ERR_UNREACHABLE, "the head has planned anew");
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

void node_step(struct node *n, const struct deploy_event *event)
{
    struct deploy_actions a;
    deploy_step(&n->deploy, event, clock_ns(), &a);
    for (int i = 0; i < a.n; i++) {
        int member = a.list[i].member;
        switch (a.list[i].kind) {
        case DEPLOY_DO_SURVEY:
            node_ask_begin(n);
            break;
        case DEPLOY_DO_REST:
            rest(n);
            break;
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
            end(n, member, a.list[i].epoch);
            break;
        }
    }
    if (a.n || event->kind != DEPLOY_TICK)
        publish(n);
}
