// A head asks what everybody can do, itself too: inquiry.h says in which order, here it is sent and
// taken. On the driving thread.
#include "base/clock.h"
#include "base/log.h"
#include "cluster/node_state.h"
#include "cluster/profile_wire.h"
#include "cluster/whereabouts.h"
#include "plan/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ANSWER_MS = 30000, // for one question, however slow the machine
    TOGETHER_MS = 100, // that disks are read all at once
    LARGE = 256 << 10, // bytes by which a rate is measured, at most
};

static int head_of(const struct node *n)
{
    return n->inquiry.n - 1;
}

static struct inquiry_seat seat_of(const struct wire_have *have, const char *name)
{
    struct inquiry_seat s = {.processors = have->processors, .of_processors = have->of_processors};
    snprintf(s.name, sizeof s.name, "%.*s", PLAN_NAME - 1, name);
    memcpy(s.machine, have->machine, sizeof s.machine);
    memcpy(s.disk, have->disk, sizeof s.disk);
    return s;
}

// ---- questions ---------------------------------------------------------------------------------

static void ask_profile(struct node *n, int node)
{
    struct wire_survey m;
    struct wire_peer peers[PLAN_MAX_NODES];
    offer_ask(n->offer, &m);
    m.known = n->ring.known;
    m.node = (uint32_t)node;
    m.n_nodes = (uint32_t)n->inquiry.n;
    if (node == head_of(n)) {
        surveyor_profile(n->surveyor, n->ring.model, &m);
        return;
    }
    const struct peer *p = &n->peers[n->asked[node]];
    struct frame *f = frame_take(n->control);
    if (!f)
        return; // nobody answers, which is noticed
    node_write_peers(n, peers, n->asked, n->inquiry.n - 1, &p->address);
    frame_write_survey(f, n->survey_epoch, &m, peers);
    link_send(p->link, f);
}

static uint32_t bytes_of(const struct node *n, uint32_t tokens)
{
    size_t size =
        frame_pass_size(tokens, 0, (uint32_t)n->pipeline->info.hparams->n_embd, n->ring.activation);
    return size < LARGE ? (uint32_t)size : LARGE;
}

static void measure(struct node *n, int node, const struct wire_measure *m)
{
    if (node == head_of(n)) {
        if (m->what == WIRE_LINK_RATE)
            surveyor_link(n->surveyor, m);
        else
            surveyor_disk(n->surveyor, n->ring.model, (int)m->ms);
        return;
    }
    struct frame *f = frame_take(n->control);
    if (!f)
        return;
    frame_write_measure(f, n->survey_epoch, m);
    link_send(n->peers[n->asked[node]].link, f);
}

static void ask(struct node *n, const struct inquiry_questions *q)
{
    n->survey_deadline_ns = clock_ns() + ANSWER_MS * INT64_C(1000000);
    for (int i = 0; i < q->n; i++) {
        int node = q->list[i].node;
        if (n->inquiry.stage == INQUIRY_PROFILES)
            ask_profile(n, node);
        else if (n->inquiry.stage == INQUIRY_LINKS)
            measure(n, node,
                    &(struct wire_measure){.what = WIRE_LINK_RATE,
                                           .node = (uint32_t)q->list[i].to,
                                           .small = bytes_of(n, 1),
                                           .large = bytes_of(n, PLAN_CHUNK)});
        else
            measure(n, node, &(struct wire_measure){.what = WIRE_DISK_RATE, .ms = TOGETHER_MS});
    }
}

// ---- what was found before ---------------------------------------------------------------------

static const struct digest *fingerprint_of(const struct node *n, int node)
{
    return node == head_of(n) ? &n->fingerprint : &n->peers[n->asked[node]].fingerprint;
}

static void key_of_way(const struct node *n, int from, int to, uint8_t key[FINDINGS_KEY])
{
    struct {
        char what[8];
        struct digest from, to;
        uint32_t small, large;
    } k = {"way", *fingerprint_of(n, from), *fingerprint_of(n, to), bytes_of(n, 1),
           bytes_of(n, PLAN_CHUNK)};
    findings_key(key, &k, sizeof k);
}

static int ascending(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct digest));
}

// Of what this node gets while all on its disk read: others there, another key.
static void key_of_disk(const struct node *n, int node, uint8_t key[FINDINGS_KEY])
{
    struct {
        char what[8];
        uint8_t disk[16];
        struct digest node, all[PLAN_MAX_NODES];
    } k = {.what = "disk", .node = *fingerprint_of(n, node)};
    int count = 0;
    memcpy(k.disk, n->inquiry.seats[node].disk, sizeof k.disk);
    for (int i = 0; i < n->inquiry.n; i++)
        if (i == node || inquiry_share_disk(&n->inquiry, i, node))
            k.all[count++] = *fingerprint_of(n, i);
    qsort(k.all, (size_t)count, sizeof k.all[0], ascending);
    findings_key(key, &k, sizeof k);
}

static void recall(struct node *n)
{
    uint8_t key[FINDINGS_KEY];
    int64_t now_s = clock_wall_s();
    const struct finding *x;
    findings_load(&n->findings, n->folder);
    for (int i = 0; i < n->inquiry.n; i++) {
        key_of_disk(n, i, key);
        if ((x = findings_find(&n->findings, key, now_s)))
            inquiry_recall_disk(&n->inquiry, i, x->a);
        for (int j = 0; j < n->inquiry.n; j++) {
            key_of_way(n, i, j, key);
            if (i != j && (x = findings_find(&n->findings, key, now_s)) && x->b > 0)
                inquiry_recall_link(&n->inquiry, i, j, &(struct plan_link){x->a, x->b});
        }
    }
}

static void take_way(struct node *n, int from, int to, const struct plan_link *way,
                     struct inquiry_questions *q)
{
    uint8_t key[FINDINGS_KEY];
    bool asked = n->inquiry.stage == INQUIRY_LINKS && from != to && to < n->inquiry.n;
    if (asked && way->rate > 0) {
        key_of_way(n, from, to, key);
        findings_put(&n->findings, key, way->latency, way->rate, clock_wall_s());
    }
    inquiry_link(&n->inquiry, from, to, way, q);
}

static void take_disk(struct node *n, int node, double rate, struct inquiry_questions *q)
{
    uint8_t key[FINDINGS_KEY];
    if (n->inquiry.stage == INQUIRY_DISKS) {
        key_of_disk(n, node, key);
        findings_put(&n->findings, key, rate, 0, clock_wall_s());
    }
    inquiry_disk(&n->inquiry, node, rate, q);
}

// ---- the end -----------------------------------------------------------------------------------

static void finish(struct node *n)
{
    struct node_survey *s = calloc(1, sizeof *s);
    uint32_t epoch = n->survey_epoch;
    if (s) {
        s->known = !n->inquiry.unknown;
        s->cluster = n->inquiry.cluster;
        s->cluster.n = n->inquiry.n;
        for (int i = 0; i < head_of(n); i++) {
            s->members[i] = n->asked[i];
            s->has[i] = n->deploy.has[n->asked[i]];
        }
        for (int i = 0; i < n->pipeline->info.hparams->n_layers; i++)
            if (model_has_layer(n->ring.model, i))
                layer_set_add(&s->has[head_of(n)], i, i + 1);
    }
    pthread_mutex_lock(&n->lock);
    free(n->surveyed);
    n->surveyed = s;
    pthread_mutex_unlock(&n->lock);
    n->survey_epoch = 0;
    findings_store(&n->findings, n->folder);
    node_step(n, &(struct deploy_event){.kind = DEPLOY_SURVEYED, .epoch = epoch});
}

static void go_on(struct node *n, const struct inquiry_questions *q)
{
    if (n->inquiry.stage == INQUIRY_DONE)
        finish(n);
    else
        ask(n, q);
}

void node_ask_begin(struct node *n)
{
    struct inquiry_seat seats[PLAN_MAX_NODES];
    struct wire_peer peers[PLAN_MAX_NODES];
    struct inquiry_questions q;
    struct whereabouts here;
    struct err e = {0};
    const struct net_address anywhere = {.family = 4, .bytes = {127, 0, 0, 1}};
    int n_workers = n->deploy.planned ? n->deploy.n_wanted : n->deploy.n_workers;
    for (int i = 0; i < n_workers; i++) {
        const struct peer *p = &n->peers[n->deploy.ring[i]];
        n->asked[i] = n->deploy.ring[i];
        seats[i] = seat_of(&p->have, p->name);
    }
    struct wire_have own = {0};
    whereabouts_find(&here, gguf_path(model_gguf(n->ring.model)), n->ring.engine.n_threads);
    memcpy(own.machine, here.machine, sizeof own.machine);
    memcpy(own.disk, here.disk, sizeof own.disk);
    own.processors = here.processors;
    own.of_processors = here.of_processors;
    seats[n_workers] = seat_of(&own, n->name);
    n->survey_epoch = n->deploy.members.epoch;
    node_write_peers(n, peers, n->asked, n_workers, &anywhere);
    if (surveyor_begin(n->surveyor, n->survey_epoch, n_workers, peers, n_workers + 1, &e))
        log_warn("no way to this node can be measured: %s", e.text);
    inquiry_begin(&n->inquiry, seats, n_workers + 1, &q);
    recall(n);
    go_on(n, &q);
}

// ---- answers -----------------------------------------------------------------------------------

static int node_of(const struct node *n, int member)
{
    for (int i = 0; i < head_of(n); i++)
        if (n->asked[i] == member)
            return i;
    return -1;
}

int node_ask_frame(struct node *n, int member, const struct frame *f, struct err *e)
{
    struct wire_header h;
    struct wire_profile profile;
    struct wire_result r;
    struct inquiry_questions q = {0};
    struct plan_machine m;
    memcpy(&h, f->bytes, sizeof h);
    bool tells = h.type == WIRE_PROFILE;
    int rc = tells ? frame_read_profile(&profile, f->bytes, f->size, e)
                   : frame_read_result(&r, f->bytes, f->size, e);
    int node = n->survey_epoch && h.epoch == n->survey_epoch ? node_of(n, member) : -1;
    if (rc || node < 0)
        return rc;
    if (tells) {
        profile_from_wire(&m, &profile);
        if (profile.shares)
            inquiry_shares_memory(&n->inquiry, node);
        inquiry_profile(&n->inquiry, node, profile.known ? &m : NULL, &q);
    } else if (r.what == WIRE_LINK_RATE) {
        take_way(n, node, (int)r.node, &(struct plan_link){r.latency, r.rate}, &q);
    } else {
        take_disk(n, node, r.rate, &q);
    }
    go_on(n, &q);
    return 0;
}

void node_ask_own(struct node *n)
{
    struct surveyor_answer a;
    struct inquiry_questions q = {0};
    int head = head_of(n);
    if (!surveyor_answer(n->surveyor, &a) || !n->survey_epoch || a.epoch != n->survey_epoch)
        return;
    if (a.rc)
        log_warn("this machine cannot be measured: %s", a.why.text);
    if (a.what == SURVEYED_PROFILE && a.shares)
        inquiry_shares_memory(&n->inquiry, head);
    if (a.what == SURVEYED_PROFILE)
        inquiry_profile(&n->inquiry, head, a.rc || !a.known ? NULL : &a.machine, &q);
    else if (a.what == SURVEYED_LINK)
        take_way(n, head, a.node, &a.link, &q);
    else
        take_disk(n, head, a.rate, &q);
    go_on(n, &q);
}

// Somebody who never answers takes no part; without the head's own answer there is no plan.
void node_ask_watch(struct node *n, int64_t now_ns)
{
    int node = n->survey_epoch ? inquiry_waits_for(&n->inquiry) : -1;
    char text[256];
    if (node < 0 || now_ns < n->survey_deadline_ns)
        return;
    if (node == head_of(n)) {
        n->inquiry.unknown = true;
        finish(n);
        return;
    }
    snprintf(text, sizeof text,
             "worker %s did not say within %d s what it can do; it takes no part until it joins "
             "again",
             n->peers[n->asked[node]].name, ANSWER_MS / 1000);
    node_note(n, text);
    n->survey_epoch = 0;
    node_step(n, &(struct deploy_event){.kind = DEPLOY_UNFIT, .member = n->asked[node]});
}
