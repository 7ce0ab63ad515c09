// A node's answers to a survey: see surveyor.h.
#include "cluster/surveyor.h"

#include "base/signals.h"
#include "cluster/plan_model.h"
#include "disk/io.h"
#include "measure/disk_rate.h"
#include "measure/survey_cache.h"
#include "weights/budget.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum question { QUESTION_NONE, QUESTION_PROFILE, QUESTION_LINK, QUESTION_DISK };

struct surveyor {
    struct surveyor_options o;
    pthread_t thread;
    bool started;
    atomic_bool stop;

    pthread_mutex_t lock; // all below
    pthread_cond_t asked;
    struct echo *echo; // of the present survey, or NULL
    uint32_t epoch;
    int index, n;
    struct wire_peer peers[PLAN_MAX_NODES];
    enum question question; // the next
    bool busy;              // with the one before it
    const struct model *model;
    struct wire_survey profile;
    struct wire_measure measure;
    bool answered; // and not yet taken
    struct surveyor_answer answer;
};

// ---- the thread --------------------------------------------------------------------------------

// Of a node's memory, for links, threads, and what lies between an estimate and the truth: layers
// that are planned to fit shall fit.
static const uint64_t own_bytes = 24 << 20;

// Of a slice from which nothing can be planned: the types of all its matrices.
static void ask_of_slice(struct survey_ask *out, uint32_t types[PLAN_TYPES], const struct model *m,
                         enum kv_type kv)
{
    struct plan_model nothing = {0};
    const struct gguf *g = model_gguf(m);
    bool there[PLAN_TYPES] = {false};
    plan_model_survey(out, types, &nothing, model_hparams(m), kv);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        if (t->n_dims > 1 && t->type < PLAN_TYPES && kernels_can(t->type))
            there[t->type] = true;
    }
    for (uint32_t t = 0; t < PLAN_TYPES; t++)
        if (there[t])
            types[out->n_types++] = t;
}

static int fill_ask(struct survey_ask *out, uint32_t types[PLAN_TYPES], const struct model *m,
                    enum kv_type kv, struct err *e)
{
    const struct plan_model_options o = {.kv_type = kv};
    struct plan_model *p = malloc(sizeof *p);
    struct err unseen = {0};
    if (!p)
        return err_set(e, ERR_NO_MEMORY, "no memory to measure this machine");
    if (plan_model_of(p, m, &o, &unseen))
        ask_of_slice(out, types, m, kv);
    else
        plan_model_survey(out, types, p, model_hparams(m), kv);
    free(p);
    return 0;
}

// Whether what this process may take is what the machine has, and no control group's share.
static bool no_group_limits(void)
{
    const struct budget_source *sources;
    struct budget_watch *w = budget_watch_open("");
    bool limited = false;
    if (!w)
        return false;
    budget_watch_poll(w);
    int n = budget_watch_sources(w, &sources);
    for (int i = 1; i < n; i++) // the first is the machine
        limited |= sources[i].limits;
    budget_watch_close(w);
    return !limited;
}

static void answer_profile(const struct surveyor *s, const struct model *m,
                           const struct wire_survey *asked, struct surveyor_answer *a)
{
    const struct survey_keep keep = {.folder = s->o.folder};
    uint32_t types[PLAN_TYPES];
    char path[SURVEY_PATH];
    struct survey_ask ask;
    bool fresh;
    a->rc = fill_ask(&ask, types, m, (enum kv_type)asked->kv, &a->why);
    if (a->rc)
        return;
    ask.backend =
        (struct backend_options){.n_threads = s->o.n_threads, .pin = s->o.pin, .isa = s->o.isa};
    ask.fd = disk_io->open(gguf_path(model_gguf(m)), O_RDONLY | O_CLOEXEC, 0);
    int64_t size = ask.fd < 0 ? 0 : disk_io->size(ask.fd);
    ask.size = size > 0 ? (uint64_t)size : 0;
    survey_path(path, &ask, &keep);
    a->known = !asked->known || access(path, R_OK) == 0;
    if (a->known)
        a->rc = survey_cached(&a->machine, &ask, &keep, &fresh, &a->why);
    a->machine.memory = s->o.weights.memory ? s->o.weights.memory : budget_automatic("");
    a->machine.base = own_bytes;
    a->shares = !s->o.weights.memory && no_group_limits();
    if (ask.fd >= 0)
        disk_io->close(ask.fd);
}

static void answer_link(const struct surveyor *s, const struct wire_measure *asked,
                        const struct wire_peer *to, struct surveyor_answer *a)
{
    struct probe_options o = {.identity = s->o.identity,
                              .epoch = a->epoch,
                              .index = s->index,
                              .small = asked->small,
                              .large = asked->large};
    struct link_target target = {.port = to->port, .n_addresses = to->n_addresses};
    memcpy(target.fingerprint.bytes, to->fingerprint, sizeof to->fingerprint);
    memcpy(target.addresses, to->addresses, sizeof to->addresses);
    if (probe_way(&a->link, &target, &o, &s->stop, &a->why))
        a->link = (struct plan_link){0}; // an answer, too
}

static void answer_disk(const struct model *m, int ms, struct surveyor_answer *a)
{
    struct disk_way way;
    struct err e = {0};
    int fd = disk_io->open(gguf_path(model_gguf(m)), O_RDONLY | O_CLOEXEC, 0);
    int64_t size = fd < 0 ? -1 : disk_io->size(fd);
    if (size > 0 && !disk_rate_together(&way, fd, (uint64_t)size, ms * INT64_C(1000000), &e))
        a->rate = way.gbps * 1e9;
    if (fd >= 0)
        disk_io->close(fd);
}

static void *surveyor_main(void *arg)
{
    struct surveyor *s = arg;
    struct mail letter = {.kind = MAIL_SURVEYED};
    pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->stop)) {
        if (s->question == QUESTION_NONE) {
            pthread_cond_wait(&s->asked, &s->lock);
            continue;
        }
        enum question question = s->question;
        const struct model *m = s->model;
        struct wire_survey profile = s->profile;
        struct wire_measure measure = s->measure;
        struct wire_peer to = s->peers[measure.node];
        struct surveyor_answer a = {.epoch = s->epoch, .node = (int)measure.node};
        s->question = QUESTION_NONE;
        s->busy = true;
        pthread_mutex_unlock(&s->lock);
        if (question == QUESTION_PROFILE) {
            a.what = SURVEYED_PROFILE;
            answer_profile(s, m, &profile, &a);
        } else if (question == QUESTION_LINK) {
            a.what = SURVEYED_LINK;
            answer_link(s, &measure, &to, &a);
        } else {
            a.what = SURVEYED_DISK;
            answer_disk(m, (int)measure.ms, &a);
        }
        pthread_mutex_lock(&s->lock);
        s->answer = a;
        s->answered = true;
        s->busy = false;
        pthread_cond_broadcast(&s->asked);
        pthread_mutex_unlock(&s->lock);
        mailbox_put(s->o.mail, &letter);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

// ---- the driving thread ------------------------------------------------------------------------

int surveyor_new(struct surveyor **out, const struct surveyor_options *o, struct err *e)
{
    struct surveyor *s = calloc(1, sizeof *s);
    sigset_t before;
    *out = NULL;
    if (!s)
        return err_set(e, ERR_NO_MEMORY, "no memory to measure this machine");
    s->o = *o;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->asked, NULL);
    signals_block(&before);
    s->started = pthread_create(&s->thread, NULL, surveyor_main, s) == 0;
    signals_restore(&before);
    if (!s->started) {
        surveyor_free(s);
        return err_set(e, ERR_NO_MEMORY, "cannot start the thread that measures");
    }
    *out = s;
    return 0;
}

void surveyor_free(struct surveyor *s)
{
    if (!s)
        return;
    if (s->started) {
        pthread_mutex_lock(&s->lock);
        atomic_store(&s->stop, true);
        pthread_cond_signal(&s->asked);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
    }
    surveyor_end(s);
    pthread_cond_destroy(&s->asked);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int surveyor_begin(struct surveyor *s, uint32_t epoch, int index, const struct wire_peer *peers,
                   int n, struct err *e)
{
    struct echo_options o = {.pool = s->o.pool, .epoch = epoch, .n = n};
    struct echo *echo;
    for (int i = 0; i < n; i++)
        memcpy(o.fingerprints[i].bytes, peers[i].fingerprint, sizeof peers[i].fingerprint);
    surveyor_end(s);
    int rc = echo_new(&echo, &o, e);
    if (rc)
        return rc;
    pthread_mutex_lock(&s->lock);
    s->echo = echo;
    s->epoch = epoch;
    s->index = index;
    s->n = n;
    memcpy(s->peers, peers, (size_t)n * sizeof *peers);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

void surveyor_end(struct surveyor *s)
{
    pthread_mutex_lock(&s->lock);
    struct echo *echo = s->echo;
    s->echo = NULL;
    s->answered = false;
    pthread_mutex_unlock(&s->lock);
    echo_free(echo);
}

void surveyor_settle(struct surveyor *s)
{
    pthread_mutex_lock(&s->lock);
    s->question = QUESTION_NONE;
    while (s->busy)
        pthread_cond_wait(&s->asked, &s->lock);
    s->answered = false;
    pthread_mutex_unlock(&s->lock);
}

int surveyor_admit(struct surveyor *s, struct link *l, const struct wire_header *header,
                   const struct wire_hello *hello, struct err *why)
{
    pthread_mutex_lock(&s->lock);
    int rc = s->echo ? echo_admit(s->echo, l, header, hello, why)
                     : err_set(why, ERR_UNREACHABLE, "this node measures no links now");
    pthread_mutex_unlock(&s->lock);
    return rc;
}

// With the lock held.
static void put(struct surveyor *s, enum question question)
{
    s->question = question;
    s->answered = false;
    pthread_cond_broadcast(&s->asked);
}

void surveyor_profile(struct surveyor *s, const struct model *m, const struct wire_survey *asked)
{
    pthread_mutex_lock(&s->lock);
    put(s, QUESTION_PROFILE);
    s->model = m;
    s->profile = *asked;
    pthread_mutex_unlock(&s->lock);
}

void surveyor_link(struct surveyor *s, const struct wire_measure *asked)
{
    pthread_mutex_lock(&s->lock);
    if (asked->node < (uint32_t)s->n) {
        put(s, QUESTION_LINK);
        s->measure = *asked;
    }
    pthread_mutex_unlock(&s->lock);
}

void surveyor_disk(struct surveyor *s, const struct model *m, int ms)
{
    pthread_mutex_lock(&s->lock);
    put(s, QUESTION_DISK);
    s->model = m;
    s->measure = (struct wire_measure){.ms = (uint32_t)ms};
    pthread_mutex_unlock(&s->lock);
}

bool surveyor_answer(struct surveyor *s, struct surveyor_answer *out)
{
    pthread_mutex_lock(&s->lock);
    bool answered = s->answered && s->answer.epoch == s->epoch;
    *out = s->answer;
    s->answered = false;
    pthread_mutex_unlock(&s->lock);
    return answered;
}
