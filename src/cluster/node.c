// A head: see node.h. This is the user's thread; node_drive.c does the work.
#include "cluster/node.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/signals.h"
#include "cluster/node_state.h"
#include "cluster/pairing_book.h"
#include "cluster/remote.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CONTROL_FRAMES = 2 * MEMBERSHIP_MAX + 32 };

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
                 .events = {.ctx = n, .admit = node_admit}},
    };
    rc = door_open(&n->door, &d, e);
    if (!rc)
        rc = make_token(n, e);
    return rc;
}

static int start_thread(struct node *n, struct err *e)
{
    sigset_t before;
    signals_block(&before);
    n->started = pthread_create(&n->thread, NULL, node_drive, n) == 0;
    signals_restore(&before);
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
    surveyor_free(n->surveyor);
    free(n->surveyed);
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

static void broken(void *ctx, const struct err *why)
{
    struct node *n = ctx;
    struct mail letter = {.kind = MAIL_PASS_FAILED, .why = *why};
    mailbox_put(n->mail, &letter);
}

static int begin_surveyor(struct node *n, const struct node_ring *r, struct err *e)
{
    struct surveyor_options o = {
        .identity = n->identity,
        .mail = n->mail,
        .folder = n->folder,
        .pool = n->control,
        .n_threads = r->engine.n_threads,
        .isa = r->engine.isa,
        .pin = r->engine.pin,
        .weights = r->engine.weights,
    };
    return surveyor_new(&n->surveyor, &o, e);
}

int node_begin(struct node *n, const struct node_ring *r, struct err *e)
{
    struct remote_options o = {
        .engine = r->engine,
        .table = r->table.n_nodes ? &r->table : NULL,
        .activation = r->activation,
        .broken = broken,
        .ctx = n,
    };
    CHECK(!n->pipeline);
    n->ring = *r;
    n->plan.table = r->table;
    if (r->table.n_nodes)
        n->ring.n_workers = r->table.n_nodes - 1;
    if (r->predicted.pass_ms > 0)
        n->plan.foretold = (struct foretold){.n = 1, .knots = {r->predicted}};
    drift_init(&n->drift);
    if (r->drift_ms)
        n->drift.long_ms = r->drift_ms;
    int rc = remote_open(&n->pipeline, r->model, &o, e);
    if (!rc)
        rc = offer_new(&n->offer, r->model, &n->pipeline->info, r->engine.kv_type, e);
    if (!rc && r->survey)
        rc = begin_surveyor(n, r, e);
    if (rc)
        return rc;
    struct mail wake = {.kind = MAIL_WOKEN};
    pthread_mutex_lock(&n->lock);
    n->begun = true;
    pthread_mutex_unlock(&n->lock);
    mailbox_put(n->mail, &wake);
    if (!r->table.n_nodes)
        return 0;                                                            // node_plan
    return remote_load(n->pipeline, r->model, &(struct remote_share){0}, e); // while workers do
}

int node_survey(struct node *n, struct node_survey *out)
{
    pthread_mutex_lock(&n->lock);
    bool there = n->surveyed;
    if (there)
        *out = *n->surveyed;
    pthread_mutex_unlock(&n->lock);
    return there ? 0 : 1;
}

int node_plan(struct node *n, const struct node_plan *p, struct err *e)
{
    struct mail wake = {.kind = MAIL_WOKEN};
    int head = p->table.n_nodes - 1;
    CHECK(n->pipeline && n->surveyor);
    pthread_mutex_lock(&n->lock);
    bool runs = n->status.phase == DEPLOY_RUNNING;
    pthread_mutex_unlock(&n->lock);
    if (runs)
        remote_settle(n->pipeline);
    pthread_mutex_lock(&n->lock);
    n->next = p;
    mailbox_put(n->mail, &wake);
    while (n->next)
        pthread_cond_wait(&n->changed, &n->lock);
    int rc = n->next_rc;
    struct err why = n->next_why;
    pthread_mutex_unlock(&n->lock);
    if (rc < 0)
        return err_set(e, rc, "%s", why.text);
    const struct remote_share share = {p->slots[head], p->memory[head]};
    return rc ? rc : remote_load(n->pipeline, n->ring.model, &share, e);
}

void node_foretell(struct node *n, const struct foretold *f)
{
    pthread_mutex_lock(&n->lock);
    n->foretell = *f;
    n->foretells = true;
    pthread_mutex_unlock(&n->lock);
}

void node_drift(struct node *n, struct node_drift *out)
{
    pthread_mutex_lock(&n->lock);
    *out = n->drifted;
    pthread_mutex_unlock(&n->lock);
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
    while (n->status.version == out->version &&
           pthread_cond_timedwait(&n->changed, &n->lock, &until) == 0)
        ;
    *out = n->status;
    pthread_mutex_unlock(&n->lock);
}

// With the lock held: of a ring that is there, or was.
static void report_times(struct node *n, struct node_report *out)
{
    struct timings *t = remote_timings(n->pipeline);
    if (!t)
        return;
    timings_read(t, false, &out->decode);
    timings_read(t, true, &out->prompts);
    int seen = out->decode.n_passes < TIMINGS_SAMPLES ? out->decode.n_passes : TIMINGS_SAMPLES;
    foretold_at(&n->plan.foretold, remote_position(n->pipeline) - seen / 2, &out->predicted);
}

void node_report(struct node *n, struct node_report *out)
{
    CHECK(n->pipeline);
    struct weights_status own = n->pipeline->ops->residency(n->pipeline);
    *out = (struct node_report){.activation = n->ring.activation};
    pthread_mutex_lock(&n->lock);
    out->table = n->plan.table;
    memcpy(out->names, n->ring_names, sizeof out->names);
    memcpy(out->memory, n->ring_memory, sizeof out->memory);
    report_times(n, out);
    pthread_mutex_unlock(&n->lock);
    if (out->table.n_nodes)
        out->memory[out->table.n_nodes - 1] =
            (struct node_memory){own.resident, own.streamed, own.slots};
}

int node_last(struct node *n, struct timings_trace *out, struct err *e)
{
    pthread_mutex_lock(&n->lock);
    struct timings *t = remote_timings(n->pipeline);
    int rc = t ? timings_last(t, out, e) : timings_trace_new(out, 0, 0, 0, e);
    pthread_mutex_unlock(&n->lock);
    return rc;
}

int node_recent(struct node *n, struct timings_trace *out, struct err *e)
{
    pthread_mutex_lock(&n->lock);
    struct timings *t = remote_timings(n->pipeline);
    int rc = t ? timings_recent(t, out, e) : timings_trace_new(out, 0, 0, 0, e);
    pthread_mutex_unlock(&n->lock);
    return rc;
}
