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
    return remote_load(n->pipeline, r->model, e); // while workers load theirs
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

void node_report(struct node *n, struct node_report *out)
{
    CHECK(n->pipeline);
    out->table = n->ring.table;
    out->activation = n->ring.activation;
    out->predicted = n->ring.predicted;
    pthread_mutex_lock(&n->lock);
    memcpy(out->names, n->ring_names, sizeof out->names);
    memcpy(out->memory, n->ring_memory, sizeof out->memory);
    pthread_mutex_unlock(&n->lock);
    struct weights_status own = n->pipeline->ops->residency(n->pipeline);
    out->memory[n->ring.table.n_nodes - 1] =
        (struct node_memory){own.resident, own.streamed, own.slots};
    timings_read(remote_timings(n->pipeline), false, &out->decode);
    timings_read(remote_timings(n->pipeline), true, &out->prompts);
}

int node_last(struct node *n, struct timings_trace *out, struct err *e)
{
    return timings_last(remote_timings(n->pipeline), out, e);
}

int node_recent(struct node *n, struct timings_trace *out, struct err *e)
{
    return timings_recent(remote_timings(n->pipeline), out, e);
}
