// The thread that drives a head: it reads the letters of links and compute loop, watches over all
// workers, and passes on what happened.
#include "base/clock.h"
#include "cluster/node_state.h"
#include "cluster/remote.h"

#include <stdio.h>
#include <string.h>

static void lose(struct node *n, int member)
{
    node_step(n, &(struct deploy_event){.kind = DEPLOY_LOST, .member = member});
}

// The end of a link: whoever waits for its worker hears why.
static void closed(struct node *n, int member, const struct err *why)
{
    struct peer *p = &n->peers[member];
    struct err e = {0};
    char text[NET_ADDRESS_TEXT];
    err_set(&e, ERR_UNREACHABLE, "worker %s (%s) is gone: %s", p->name,
            net_address_text(&p->address, text), why->code ? why->text : "its link was closed");
    n->why = e;
    if (membership_state(&n->deploy.members, member) != MEMBER_GONE) {
        node_note(n, e.text);
        lose(n, member);
    }
    link_free(p->link);
    pthread_mutex_lock(&n->lock);
    p->link = NULL;
    pthread_mutex_unlock(&n->lock);
}

static void opened(struct node *n, int member)
{
    liveness_init(&n->peers[member].liveness, clock_ns());
    node_step(n, &(struct deploy_event){.kind = DEPLOY_JOINED, .member = member});
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
            n->peers[member].name, text);
    if (h->epoch == n->deploy.members.epoch)
        node_note(n, n->why.text);
    bool asked = n->deploy.phase == DEPLOY_SURVEYING || n->deploy.phase == DEPLOY_PLANNING;
    node_step(n, &(struct deploy_event){.kind = !refuses ? DEPLOY_FAILED
                                                : asked  ? DEPLOY_UNFIT
                                                         : DEPLOY_NOT_READY,
                                        .member = member,
                                        .epoch = h->epoch});
    return 0;
}

// Whether what tokens take is still what was foretold, for the positions that they are at.
static void watch_drift(struct node *n)
{
    struct timings_report latest;
    pthread_mutex_lock(&n->lock);
    bool anew = n->foretells;
    if (anew) {
        n->plan.foretold = n->foretell;
        n->drifted = (struct node_drift){0};
    }
    n->foretells = false;
    pthread_mutex_unlock(&n->lock);
    if (anew) {
        foretold_at(&n->plan.foretold, remote_position(n->pipeline), &n->drift.predicted);
        const struct timings_report expected = n->drift.predicted;
        drift_begin(&n->drift, &expected, n->plan.table.n_nodes, clock_ns());
    }
    if (n->deploy.phase != DEPLOY_RUNNING || !n->plan.foretold.n)
        return;
    timings_latest(remote_timings(n->pipeline), &latest);
    if (latest.n_passes <= n->drift_passes)
        return;
    n->drift_passes = latest.n_passes;
    int position = remote_position(n->pipeline);
    foretold_at(&n->plan.foretold, position, &n->drift.predicted);
    if (drift_token(&n->drift, &latest, clock_ns()) != DRIFT_DRIFTED)
        return;
    struct node_drift d = {
        .drifted = true, .position = position, .worst = n->drift.worst, .ratio = n->drift.ratio};
    drift_seen(&n->drift, &d.seen);
    pthread_mutex_lock(&n->lock);
    n->drifted = d;
    pthread_mutex_unlock(&n->lock);
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
    watch_drift(n); // of the token before
    return 0;
}

static void note_memory(struct node *n, int member, const struct wire_header *h,
                        const struct wire_ready *ready)
{
    int node = deploy_node(&n->deploy, member);
    if (node < 0 || h->epoch != n->deploy.members.epoch)
        return;
    pthread_mutex_lock(&n->lock);
    n->ring_memory[node] =
        (struct node_memory){ready->resident_bytes, ready->streamed_bytes, ready->slot_bytes};
    pthread_mutex_unlock(&n->lock);
}

// Every instruction set gives the same bits (kernels.h), so this is news and no warning.
static void compare_isa(struct node *n, int member, const struct wire_ready *ready)
{
    char text[256];
    if (!strcmp(ready->isa, remote_isa(n->pipeline)))
        return;
    snprintf(text, sizeof text, "worker %s computes with %s, this head with %s",
             n->peers[member].name, ready->isa, remote_isa(n->pipeline));
    node_note(n, text);
}

static int take_have(struct node *n, int member, const struct frame *f, struct err *e)
{
    struct wire_have m;
    struct layer_set layers;
    int node, rc = frame_read_have(&m, f->bytes, f->size, e);
    if (rc)
        return rc;
    memcpy(layers.bits, m.layers, sizeof layers.bits);
    n->peers[member].have = m;
    node_step(n, &(struct deploy_event){.kind = DEPLOY_HAS, .member = member, .layers = &layers});
    if (deploy_unserved(&n->deploy, &node)) {
        char text[480], needed[LAYER_SET_TEXT], has[LAYER_SET_TEXT];
        layer_set_text(&n->deploy.needs[node], needed);
        layer_set_text(&layers, has);
        snprintf(text, sizeof text,
                 "no worker has layers %s, which one of them is to run (%s has %s); give one the "
                 "whole model or a slice with them",
                 needed, n->peers[member].name, has);
        node_note(n, text);
    }
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
        if (!rc) {
            note_memory(n, member, &h, &ready);
            compare_isa(n, member, &ready);
        }
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
    case WIRE_HAVE:
        return take_have(n, member, f, e);
    case WIRE_PROFILE:
    case WIRE_MEASURED:
        return node_ask_frame(n, member, f, e);
    default:
        return err_set(e, ERR_FAILED, "it sent a message of type %u, which is not a head's",
                       h.type);
    }
    if (!rc)
        node_step(n, &event);
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
            link_close(n->peers[m->from].link, &e);
        frame_release(m->frame);
        break;
    case MAIL_CLOSED:
        closed(n, m->from, &m->why);
        break;
    case MAIL_EDGE_OPEN:
        node_step(n, &(struct deploy_event){.kind = DEPLOY_EDGE_OPEN, .epoch = m->epoch});
        break;
    case MAIL_PASS_FAILED: // our own compute loop: the ring that runs
        m->epoch = n->deploy.members.epoch;
        // fall through
    case MAIL_EDGE_LOST:
        node_step(n, &(struct deploy_event){.kind = DEPLOY_EDGE_LOST, .epoch = m->epoch});
        break;
    case MAIL_SURVEYED:
        node_ask_own(n);
        break;
    default:
        break;
    }
}

// ---- Watching.

static void watch(struct node *n, int member, int64_t now_ns)
{
    struct peer *p = &n->peers[member];
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
    node_note(n, n->why.text);
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
    node_ask_watch(n, now_ns);
    watch_drift(n);
    n->why.code = 0;
    if (n->deploy.phase == DEPLOY_LINKING)
        err_set(&n->why, ERR_UNREACHABLE, "the nodes did not find each other within %d s",
                DEPLOY_LINK_MS / 1000);
    node_step(n, &(struct deploy_event){.kind = DEPLOY_TICK});
}

// The user's thread waits for the answer: 1 when it comes too late.
static void take_plan(struct node *n, const struct node_plan *next)
{
    n->next_rc = 1;
    node_step(n, &(struct deploy_event){
                     .kind = DEPLOY_PLANNED, .table = &next->table, .members = next->members});
    pthread_mutex_lock(&n->lock);
    n->next = NULL;
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
}

static bool look_around(struct node *n)
{
    pthread_mutex_lock(&n->lock);
    bool stop = n->stop, begin = n->begun && !n->deploy.n_wanted;
    const struct node_plan *next = n->next;
    pthread_mutex_unlock(&n->lock);
    n->why.code = 0;
    if (begin)
        node_step(n, &(struct deploy_event){.kind = DEPLOY_BEGIN,
                                            .n_workers = n->ring.n_workers,
                                            .planned = !n->ring.table.n_nodes,
                                            .survey = n->ring.survey,
                                            .table = &n->ring.table});
    if (next)
        take_plan(n, next);
    if (stop)
        node_step(n, &(struct deploy_event){.kind = DEPLOY_STOP});
    return !stop;
}

void *node_drive(void *node)
{
    struct node *n = node;
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
