// How a worker follows its head: see follow.h.
#include "cluster/follow.h"

#include "base/check.h"

void follow_init(struct follow *f, int64_t now_ns)
{
    *f = (struct follow){
        .state = FOLLOW_AWAY, .retry_ns = now_ns, .backoff_ms = FOLLOW_RETRY_MIN_MS};
}

static void act(struct follow_actions *out, enum follow_action action)
{
    CHECK(out->n < FOLLOW_MAX_ACTIONS);
    out->list[out->n++] = action;
}

static bool has_ring(const struct follow *f)
{
    return f->state >= FOLLOW_LOADING;
}

static void head_lost(struct follow *f, int64_t now_ns, struct follow_actions *out)
{
    if (f->state == FOLLOW_AWAY)
        return;
    if (has_ring(f))
        act(out, FOLLOW_DO_DROP);
    if (f->state != FOLLOW_DIALLING)
        f->backoff_ms = FOLLOW_RETRY_MIN_MS;
    f->state = FOLLOW_AWAY;
    f->retry_ns = now_ns + f->backoff_ms * INT64_C(1000000);
    f->backoff_ms =
        f->backoff_ms * 2 < FOLLOW_RETRY_MAX_MS ? f->backoff_ms * 2 : FOLLOW_RETRY_MAX_MS;
}

static void offered(struct follow *f, uint32_t epoch, struct follow_actions *out)
{
    if (f->state < FOLLOW_WAITING)
        return;
    if (has_ring(f))
        act(out, FOLLOW_DO_DROP);
    f->state = FOLLOW_LOADING;
    f->epoch = epoch;
    act(out, FOLLOW_DO_LOAD);
}

static void load_failed(struct follow *f, struct follow_actions *out)
{
    if (f->state != FOLLOW_LOADING)
        return;
    act(out, FOLLOW_DO_SAY_NOT_READY);
    act(out, FOLLOW_DO_DROP);
    f->state = FOLLOW_WAITING;
}

static void broken(struct follow *f, struct follow_actions *out)
{
    if (f->state == FOLLOW_RUNNING)
        act(out, FOLLOW_DO_SAY_FAILED);
    else if (f->state == FOLLOW_LINKING)
        act(out, FOLLOW_DO_SAY_NOT_READY);
    else
        return; // not linking yet, or said already
    f->state = FOLLOW_BROKEN;
}

// Events of the ring that this worker has.
static void step_ring(struct follow *f, enum follow_event_kind kind, struct follow_actions *out)
{
    switch (kind) {
    case FOLLOW_LOADED:
        if (f->state == FOLLOW_LOADING) {
            f->state = FOLLOW_READY;
            act(out, FOLLOW_DO_SAY_READY);
        }
        break;
    case FOLLOW_GO:
        if (f->state == FOLLOW_READY) {
            f->state = FOLLOW_LINKING;
            act(out, FOLLOW_DO_DIAL_EDGE);
        }
        break;
    case FOLLOW_EDGE_OPEN:
        if (f->state == FOLLOW_LINKING) {
            f->state = FOLLOW_RUNNING;
            act(out, FOLLOW_DO_SAY_LINKED);
        }
        break;
    case FOLLOW_LOAD_FAILED:
        load_failed(f, out);
        break;
    case FOLLOW_EDGE_LOST:
    case FOLLOW_PASS_FAILED:
        broken(f, out);
        break;
    case FOLLOW_END:
        f->state = FOLLOW_WAITING;
        act(out, FOLLOW_DO_DROP);
        break;
    default:
        CHECK(!"not an event of a ring");
    }
}

void follow_step(struct follow *f, const struct follow_event *event, int64_t now_ns,
                 struct follow_actions *out)
{
    out->n = 0;
    switch (event->kind) {
    case FOLLOW_TICK:
        if (f->state == FOLLOW_AWAY && now_ns >= f->retry_ns) {
            f->state = FOLLOW_DIALLING;
            act(out, FOLLOW_DO_DIAL_HEAD);
        }
        break;
    case FOLLOW_HEAD_OPEN:
        CHECK(f->state == FOLLOW_DIALLING);
        f->state = FOLLOW_WAITING;
        break;
    case FOLLOW_HEAD_LOST:
        head_lost(f, now_ns, out);
        break;
    case FOLLOW_OFFERED:
        offered(f, event->epoch, out);
        break;
    default:
        if (has_ring(f) && event->epoch == f->epoch)
            step_ring(f, event->kind, out);
        break;
    }
}
