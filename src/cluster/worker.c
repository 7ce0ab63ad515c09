// A worker: see worker.h. What to do is decided by cluster/follow.c; here it is done.
#include "cluster/worker.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "cluster/duty.h"
#include "cluster/follow.h"
#include "cluster/given_back.h"
#include "cluster/identity.h"
#include "cluster/liveness.h"
#include "cluster/offer.h"
#include "cluster/pairing.h"
#include "cluster/profile_wire.h"
#include "cluster/surveyor.h"
#include "cluster/whereabouts.h"
#include "ring/door.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONTROL_FRAMES = 32 };

struct worker {
    struct worker_options o;
    struct tls_identity *identity;
    char name[WIRE_NAME];
    struct frame_pool *control;
    struct mailbox *mail;
    struct door *door;
    uint16_t port;
    struct link_pulse pulse; // the duty's
    struct duty_model model;
    struct surveyor *surveyor;

    struct follow follow;
    struct link *head; // the control link, or NULL
    char head_name[WIRE_NAME];
    bool was_in; // a head has let us in before
    bool open;   // the present link
    struct liveness liveness;
    struct duty *duty;
    struct given_back given_back;        // of the duty's memory: what was said
    struct frame *offer, *plan, *roster; // of the next duty
    struct err why;                      // of the event at hand: what SAY_* tell
    char said[512];                      // the last line
    struct err fatal;                    // ends the worker

    pthread_mutex_t lock;
    struct edges *edges; // under lock: who may dial us
};

__attribute__((format(printf, 2, 3))) static void say(struct worker *w, const char *format, ...)
{
    char line[sizeof w->said];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (!strcmp(line, w->said))
        return; // waiting goes on
    memcpy(w->said, line, sizeof line);
    w->o.say(w->o.ctx, line);
}

// ---- The links' threads.

static void greet(void *ctx, struct link *l, struct wire_header *header, struct wire_hello *hello)
{
    const struct worker *w = ctx;
    struct pairing_channel c = {.worker = tls_identity_digest(w->identity), .head = link_peer(l)};
    (void)header;
    memcpy(c.exporter, link_exporter(l), sizeof c.exporter);
    hello->purpose = WIRE_JOIN;
    hello->port = w->port;
    hello->token_id = w->o.token->id;
    frame_name(hello->name, sizeof hello->name, w->name);
    pairing_proof(hello->proof, w->o.token->secret, PAIRING_WORKER, &c);
}

static void head_mail(struct worker *w, enum mail_kind kind, struct frame *f, const struct err *why)
{
    struct mail letter = {.kind = kind, .frame = f};
    if (why)
        letter.why = *why;
    mailbox_put(w->mail, &letter);
}

static void head_opened(void *ctx, struct link *l, const struct wire_welcome *welcome)
{
    struct worker *w = ctx;
    (void)l;
    memcpy(w->head_name, welcome->name, sizeof w->head_name); // read after this letter
    head_mail(w, MAIL_OPENED, NULL, NULL);
}

static void head_frame(void *ctx, struct link *l, struct frame *f)
{
    (void)l;
    head_mail(ctx, MAIL_FRAME, f, NULL);
}

static void head_closed(void *ctx, struct link *l, const struct err *why)
{
    (void)l;
    head_mail(ctx, MAIL_CLOSED, NULL, why);
}

static int admit(void *ctx, struct link *l, const struct wire_header *header,
                 const struct wire_hello *hello, struct wire_welcome *welcome, struct err *why)
{
    struct worker *w = ctx;
    int rc = pairing_same_version(header, hello, why);
    if (rc)
        return rc;
    if (hello->purpose == WIRE_JOIN)
        return err_set(why, ERR_DENIED, "this node is a worker; join its head instead");
    frame_name(welcome->name, sizeof welcome->name, w->name);
    if (hello->purpose == WIRE_PROBE)
        return surveyor_admit(w->surveyor, l, header, hello, why);
    pthread_mutex_lock(&w->lock);
    rc = w->edges ? edges_admit(w->edges, l, header, hello, why)
                  : err_set(why, ERR_UNREACHABLE, "this worker is in no ring now");
    pthread_mutex_unlock(&w->lock);
    return rc;
}

// ---- What follow.c wants done.

static void dial_head(struct worker *w)
{
    struct link_target to = {.fingerprint = w->o.token->fingerprint, .port = w->o.token->port};
    struct link_options o = {
        .identity = w->identity,
        .pool = w->control,
        .max_frame = WIRE_MAX_CONTROL,
        .pulse = &w->pulse,
        .events = {.ctx = w,
                   .greet = greet,
                   .opened = head_opened,
                   .frame = head_frame,
                   .closed = head_closed},
    };
    struct err e = {0};
    for (int i = 0; i < w->o.token->n_addresses && i < WIRE_MAX_ADDRESSES; i++)
        to.addresses[to.n_addresses++] = w->o.token->addresses[i];
    if (link_dial(&w->head, &to, &o, &e))
        head_mail(w, MAIL_CLOSED, NULL, &e);
}

static void send_head(struct worker *w, struct frame *f)
{
    if (f && w->head)
        link_send(w->head, f);
    else
        frame_release(f);
}

// The pool serves the link's own arrivals as well; without a free frame the head is told nothing
// and its own watch ends the ring.
static struct frame *take_frame(struct worker *w)
{
    struct frame *f = frame_take(w->control);
    if (!f)
        log_error("no free frame for an answer to the head");
    return f;
}

static void say_sentence(struct worker *w, enum wire_type type)
{
    struct frame *f = take_frame(w);
    int code = w->why.code ? w->why.code : ERR_FAILED;
    if (type == WIRE_FAILED && code == ERR_UNREACHABLE)
        log_info("%s", w->why.text); // the head will say what became of the ring
    else
        say(w, type == WIRE_NOT_READY ? "cannot take part: %s" : "this ring broke: %s",
            w->why.text);
    if (f)
        frame_write_sentence(f, type, w->follow.epoch, 0, code, w->why.text);
    send_head(w, f);
}

static void say_empty(struct worker *w, enum wire_type type)
{
    struct frame *f = take_frame(w);
    if (f)
        frame_write_empty(f, type, w->follow.epoch);
    send_head(w, f);
}

static void say_ready(struct worker *w)
{
    struct frame *f = take_frame(w);
    struct wire_ready m = duty_ready(w->duty);
    given_back_init(&w->given_back, clock_ns());
    say(w, "ready: %s, %.1f MiB, %s", duty_describe(w->duty), (double)m.weight_bytes / (1 << 20),
        duty_weights(w->duty));
    pthread_mutex_lock(&w->lock);
    w->edges = duty_edges(w->duty);
    pthread_mutex_unlock(&w->lock);
    if (f)
        frame_write_ready(f, w->follow.epoch, &m);
    send_head(w, f);
}

static void forget_offer(struct worker *w)
{
    frame_release(w->offer);
    frame_release(w->plan);
    frame_release(w->roster);
    w->offer = w->plan = w->roster = NULL;
}

static void tell_self(struct worker *w, enum mail_kind kind, const struct err *why)
{
    struct mail letter = {.kind = kind, .epoch = w->follow.epoch, .why = *why};
    mailbox_put(w->mail, &letter);
}

static void load(struct worker *w)
{
    struct duty_options o = {
        .identity = w->identity,
        .model = &w->model,
        .n_threads = w->o.n_threads,
        .pin = w->o.pin,
        .isa = w->o.isa,
        .weights = w->o.weights,
        .mail = w->mail,
        .pulse = &w->pulse,
        .head = w->head,
        .control = w->control,
        .head_address = link_peer_address(w->head),
    };
    struct duty_frames frames = {w->offer, w->plan, w->roster};
    struct err e = {0};
    surveyor_end(w->surveyor);
    surveyor_settle(w->surveyor); // the model may be opened anew
    if (duty_new(&w->duty, &o, w->follow.epoch, &frames, &e))
        tell_self(w, MAIL_LOAD_FAILED, &e);
    else
        say(w, "loading %s", duty_describe(w->duty));
    forget_offer(w);
}

static void dial_edge(struct worker *w)
{
    struct err e = {0};
    if (edges_dial(duty_edges(w->duty), &e))
        tell_self(w, MAIL_EDGE_LOST, &e);
}

static void drop(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->edges = NULL;
    pthread_mutex_unlock(&w->lock);
    duty_free(w->duty);
    w->duty = NULL;
}

static void step(struct worker *w, enum follow_event_kind kind, uint32_t epoch)
{
    struct follow_event event = {kind, epoch};
    struct follow_actions actions;
    follow_step(&w->follow, &event, clock_ns(), &actions);
    for (int i = 0; i < actions.n; i++) {
        switch (actions.list[i]) {
        case FOLLOW_DO_DIAL_HEAD:
            dial_head(w);
            break;
        case FOLLOW_DO_LOAD:
            load(w);
            break;
        case FOLLOW_DO_SAY_READY:
            say_ready(w);
            break;
        case FOLLOW_DO_SAY_NOT_READY:
            say_sentence(w, WIRE_NOT_READY);
            break;
        case FOLLOW_DO_DIAL_EDGE:
            dial_edge(w);
            break;
        case FOLLOW_DO_SAY_LINKED:
            say(w, "running in a ring: %s", duty_describe(w->duty));
            say_empty(w, WIRE_LINKED);
            break;
        case FOLLOW_DO_SAY_FAILED:
            say_sentence(w, WIRE_FAILED);
            break;
        case FOLLOW_DO_DROP:
            drop(w);
            break;
        }
    }
}

// ---- Letters.

static void take_sentence(struct worker *w, const struct frame *f, uint32_t epoch)
{
    char text[WIRE_MAX_TEXT + 1];
    struct err e = {0};
    int code;
    if (frame_read_sentence(&code, text, f->bytes, f->size, &e)) {
        link_close(w->head, &e);
        return;
    }
    say(w, "this ring is over: %s; waiting for %s", text, w->head_name);
    step(w, FOLLOW_END, epoch);
}

// Keeps a part of an offer. The roster completes it.
static void keep(struct frame **place, struct frame *f)
{
    frame_release(*place);
    *place = f;
}

static uint32_t epoch_of(const struct frame *f)
{
    struct wire_header h;
    memcpy(&h, f->bytes, sizeof h);
    return h.epoch;
}

static void take_roster(struct worker *w, struct frame *f)
{
    struct err e = {0};
    keep(&w->roster, f);
    if (!w->offer || !w->plan || epoch_of(w->offer) != epoch_of(f) ||
        epoch_of(w->plan) != epoch_of(f)) {
        err_set(&e, ERR_FAILED, "the head sent a roster without its offer and plan");
        link_close(w->head, &e);
        return;
    }
    step(w, FOLLOW_OFFERED, epoch_of(f));
}

// ---- What the head wants to know before it plans.

static void say_profile(struct worker *w, const struct surveyor_answer *a)
{
    struct frame *f = take_frame(w);
    struct wire_profile m = {0};
    if (a->known)
        profile_to_wire(&m, &a->machine);
    m.shares = a->shares;
    if (f)
        frame_write_profile(f, a->epoch, &m);
    send_head(w, f);
}

static void say_result(struct worker *w, const struct surveyor_answer *a)
{
    struct frame *f = take_frame(w);
    struct wire_result m = {.what = WIRE_DISK_RATE, .rate = a->rate};
    if (a->what == SURVEYED_LINK)
        m = (struct wire_result){.what = WIRE_LINK_RATE,
                                 .node = (uint32_t)a->node,
                                 .latency = a->link.latency,
                                 .rate = a->link.rate};
    if (f)
        frame_write_result(f, a->epoch, &m);
    send_head(w, f);
}

static void cannot_tell(struct worker *w, uint32_t epoch, const struct err *why)
{
    struct frame *f = take_frame(w);
    say(w, "cannot take part: %s", why->text);
    if (f)
        frame_write_sentence(f, WIRE_NOT_READY, epoch, 0, why->code, why->text);
    send_head(w, f);
}

static void surveyed(struct worker *w)
{
    struct surveyor_answer a;
    if (!surveyor_answer(w->surveyor, &a))
        return;
    if (a.rc)
        cannot_tell(w, a.epoch, &a.why);
    else if (a.what == SURVEYED_PROFILE)
        say_profile(w, &a);
    else
        say_result(w, &a);
}

static int take_survey(struct worker *w, const struct frame *f, uint32_t epoch, struct err *e)
{
    struct wire_survey m;
    const struct wire_peer *peers;
    struct err why = {0};
    int rc = frame_read_survey(&m, &peers, f->bytes, f->size, e);
    if (rc)
        return rc;
    surveyor_settle(w->surveyor);
    rc = w->duty ? err_set(&why, ERR_FAILED, "it is in a ring") : 0;
    if (!rc)
        rc = duty_model_have(&w->model, &why);
    if (!rc)
        rc = offer_check_asked(&m, w->model.model, &why);
    if (!rc)
        rc = surveyor_begin(w->surveyor, epoch, (int)m.node, peers, (int)m.n_nodes, &why);
    if (rc)
        cannot_tell(w, epoch, &why);
    else
        surveyor_profile(w->surveyor, w->model.model, &m);
    return 0;
}

static int take_measure(struct worker *w, const struct frame *f, struct err *e)
{
    struct wire_measure m;
    int rc = frame_read_measure(&m, f->bytes, f->size, e);
    if (rc)
        return rc;
    if (m.what == WIRE_LINK_RATE)
        surveyor_link(w->surveyor, &m);
    else if (w->model.model)
        surveyor_disk(w->surveyor, w->model.model, (int)m.ms);
    return 0;
}

static void take_frame_of_head(struct worker *w, struct frame *f)
{
    struct wire_header h;
    struct err e = {0};
    memcpy(&h, f->bytes, sizeof h);
    switch (h.type) {
    case WIRE_OFFER:
        keep(&w->offer, f);
        return;
    case WIRE_PLAN:
        keep(&w->plan, f);
        return;
    case WIRE_ROSTER:
        take_roster(w, f);
        return;
    case WIRE_GO:
        step(w, FOLLOW_GO, h.epoch);
        break;
    case WIRE_END:
        take_sentence(w, f, h.epoch);
        break;
    case WIRE_SURVEY:
        if (take_survey(w, f, h.epoch, &e))
            link_close(w->head, &e);
        break;
    case WIRE_MEASURE:
        if (take_measure(w, f, &e))
            link_close(w->head, &e);
        break;
    default:
        err_set(&e, ERR_FAILED, "the head sent a message of type %u, which is not a worker's",
                h.type);
        link_close(w->head, &e);
    }
    frame_release(f);
}

// What the head asks before it gives out layers.
static void say_have(struct worker *w)
{
    struct frame *f = take_frame(w);
    struct wire_have m = {0};
    struct whereabouts here;
    whereabouts_find(&here, w->o.model_path, w->o.n_threads);
    memcpy(m.machine, here.machine, sizeof m.machine);
    memcpy(m.disk, here.disk, sizeof m.disk);
    m.processors = here.processors;
    m.of_processors = here.of_processors;
    memset(m.layers, 0xff, sizeof m.layers);
    if (w->o.layers)
        memcpy(m.layers, w->o.layers->bits, sizeof m.layers);
    if (f)
        frame_write_have(f, &m);
    send_head(w, f);
}

static void opened(struct worker *w)
{
    liveness_init(&w->liveness, clock_ns());
    w->open = w->was_in = true;
    step(w, FOLLOW_HEAD_OPEN, 0);
    say_have(w);
    say(w, "joined %s; waiting for work", w->head_name);
}

// The first time everything but "not there yet" is for good; later only being refused is.
static void closed(struct worker *w, const struct err *why)
{
    bool refused = !w->open && (why->code == ERR_DENIED ||
                                (!w->was_in && why->code && why->code != ERR_UNREACHABLE));
    const char *text = why->code ? why->text : "it ended";
    if (refused)
        err_set(&w->fatal, why->code, "cannot join: %s", text);
    else if (w->open)
        say(w, "lost %s (%s); waiting for the next head", w->head_name, text);
    else
        say(w, "waiting for the head (%s)", text);
    step(w, FOLLOW_HEAD_LOST, 0);
    forget_offer(w);
    surveyor_end(w->surveyor);
    link_free(w->head);
    w->head = NULL;
    w->open = false;
}

static void take_letter(struct worker *w, struct mail *m)
{
    w->why = m->why;
    switch (m->kind) {
    case MAIL_OPENED:
        opened(w);
        break;
    case MAIL_FRAME:
        take_frame_of_head(w, m->frame);
        break;
    case MAIL_CLOSED:
        closed(w, &m->why);
        break;
    case MAIL_EDGE_OPEN:
        step(w, FOLLOW_EDGE_OPEN, m->epoch);
        break;
    case MAIL_EDGE_LOST:
        step(w, FOLLOW_EDGE_LOST, m->epoch);
        break;
    case MAIL_LOADED:
        step(w, FOLLOW_LOADED, m->epoch);
        break;
    case MAIL_LOAD_FAILED:
        step(w, FOLLOW_LOAD_FAILED, m->epoch);
        break;
    case MAIL_PASS_FAILED:
        step(w, FOLLOW_PASS_FAILED, m->epoch);
        break;
    case MAIL_SURVEYED:
        surveyed(w);
        break;
    case MAIL_WOKEN:
        break;
    }
}

// Says when memory was given back in need, and when it is all there again.
static void look_at_memory(struct worker *w, int64_t now_ns)
{
    char line[GIVEN_BACK_TEXT];
    if (!given_back_due(&w->given_back, now_ns))
        return;
    struct weights_status s = duty_status(w->duty);
    if (given_back_news(&w->given_back, &s, line))
        say(w, "%s", line);
}

static void tick(struct worker *w)
{
    int64_t now_ns = clock_ns();
    struct err why = {0};
    w->why = why;
    if (w->open) {
        struct liveness_report r = {.heard_ns = link_last_heard_ns(w->head)};
        if (liveness_check(&w->liveness, &r, now_ns) == LIVENESS_SILENT) {
            err_set(&why, ERR_UNREACHABLE, "nothing was heard from it for %.0f s",
                    LIVENESS_SILENT_MS / 1e3);
            link_close(w->head, &why); // `closed` comes by mail
        }
    }
    if (w->duty && w->edges) { // it has loaded
        edges_check(w->edges, now_ns);
        look_at_memory(w, now_ns);
    }
    step(w, FOLLOW_TICK, 0);
}

static void drive(struct worker *w)
{
    int64_t next_tick_ns = clock_ns();
    while (!w->fatal.code && !w->o.stop(w->o.ctx)) {
        int64_t left_ns = next_tick_ns - clock_ns();
        struct mail m;
        if (left_ns > 0 && mailbox_take(w->mail, (int)(left_ns / 1000000) + 1, &m))
            take_letter(w, &m);
        if (clock_ns() < next_tick_ns)
            continue;
        tick(w);
        next_tick_ns = clock_ns() + LIVENESS_TICK_MS * INT64_C(1000000);
    }
}

static int prepare(struct worker *w, struct err *e)
{
    int rc = identity_open(&w->identity, w->o.folder, e);
    if (rc)
        return rc;
    if (w->o.name)
        err_quote(w->name, sizeof w->name, w->o.name, (int)strnlen(w->o.name, sizeof w->name));
    else
        identity_name(w->name, sizeof w->name);
    w->control = frame_pool_new(CONTROL_FRAMES, WIRE_MAX_CONTROL);
    w->mail = mailbox_new();
    if (!w->control || !w->mail)
        return err_set(e, ERR_NO_MEMORY, "no memory to talk to a head");
    struct door_options d = {
        .host = w->o.host,
        .port = w->o.port,
        .link = {.identity = w->identity,
                 .pool = w->control,
                 .max_frame = WIRE_MAX_CONTROL,
                 .pulse = &w->pulse,
                 .events = {.ctx = w, .admit = admit}},
    };
    struct surveyor_options s = {
        .identity = w->identity,
        .mail = w->mail,
        .folder = w->o.folder,
        .pool = w->control,
        .n_threads = w->o.n_threads,
        .isa = w->o.isa,
        .pin = w->o.pin,
        .weights = w->o.weights,
    };
    rc = surveyor_new(&w->surveyor, &s, e);
    if (!rc)
        rc = door_open(&w->door, &d, e);
    if (!rc)
        w->port = door_port(w->door);
    return rc;
}

static void finish(struct worker *w)
{
    struct err why = {0};
    drop(w);
    door_close(w->door);
    if (w->head) {
        err_set(&why, ERR_UNREACHABLE, "it was stopped");
        link_close(w->head, &why);
        link_free(w->head);
    }
    forget_offer(w);
    surveyor_free(w->surveyor);
    mailbox_free(w->mail);
    frame_pool_free(w->control);
    duty_model_close(&w->model);
    tls_identity_free(w->identity);
    pthread_mutex_destroy(&w->lock);
}

int worker_run(const struct worker_options *o, struct err *e)
{
    struct worker w = {.o = *o, .model.path = o->model_path};
    pthread_mutex_init(&w.lock, NULL);
    follow_init(&w.follow, clock_ns());
    int rc = prepare(&w, e);
    if (!rc)
        drive(&w);
    if (!rc && w.fatal.code)
        rc = err_set(e, w.fatal.code, "%s", w.fatal.text);
    finish(&w);
    return rc;
}
