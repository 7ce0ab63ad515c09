// How a head makes a ring: see deploy.h.
#include "cluster/deploy.h"

#include "base/check.h"

void deploy_init(struct deploy *d, uint32_t epoch)
{
    *d = (struct deploy){.phase = DEPLOY_IDLE};
    membership_init(&d->members, epoch);
}

static void act(const struct deploy *d, struct deploy_actions *out, enum deploy_action_kind kind,
                int member, int node)
{
    CHECK(out->n < DEPLOY_MAX_ACTIONS);
    out->list[out->n++] = (struct deploy_action){kind, member, node, d->members.epoch};
}

static bool made(const struct deploy *d)
{
    return d->phase >= DEPLOY_LOADING;
}

int deploy_node(const struct deploy *d, int member)
{
    if (!made(d))
        return -1;
    for (int i = 0; i < d->n_workers; i++)
        if (d->ring[i] == member)
            return i;
    return -1;
}

// The ring is over for all of its members that are still there and willing.
static void dismiss(struct deploy *d, struct deploy_actions *out)
{
    for (int i = 0; i < d->n_workers; i++) {
        enum member_state state = membership_state(&d->members, d->ring[i]);
        if (state == MEMBER_GONE || state == MEMBER_UNFIT)
            continue;
        act(d, out, DEPLOY_DO_END, d->ring[i], i);
        membership_move(&d->members, d->ring[i], MEMBER_PAIRED);
    }
}

static void disband(struct deploy *d, enum deploy_phase then, struct deploy_actions *out)
{
    act(d, out, DEPLOY_DO_CLOSE, -1, -1);
    dismiss(d, out);
    d->phase = then;
    d->n_workers = d->n_wanted;
}

// Somebody or something that the ring needs is missing.
static void broken(struct deploy *d, struct deploy_actions *out)
{
    disband(d, d->phase == DEPLOY_RUNNING ? DEPLOY_IDLE : DEPLOY_GATHERING, out);
}

// Who could be which node: members that wait, the earliest first, and the node each is to be.
struct seating {
    const struct deploy *d;
    int n_members, members[MEMBERSHIP_MAX];
    int node[MEMBERSHIP_MAX]; // of members[i]; -1: none
};

// Finds a place for `node` at a member that is free, else at one whose own node can move (an
// augmenting path of bipartite matching). `seen`: members that were tried.
static bool seat(struct seating *s, int node, bool seen[MEMBERSHIP_MAX])
{
    const struct deploy *d = s->d;
    for (int moving = 0; moving < 2; moving++)
        for (int i = 0; i < s->n_members; i++) {
            if (seen[i] || (s->node[i] >= 0) != moving ||
                !layer_set_covers(&d->has[s->members[i]], &d->needs[node]))
                continue;
            seen[i] = true;
            if (!moving || seat(s, s->node[i], seen)) {
                s->node[i] = node;
                return true;
            }
        }
    return false;
}

// Seats as many nodes as can be; their number, and the first that found nobody.
static int seat_all(struct seating *s, const struct deploy *d, int *unserved)
{
    int waiting[MEMBERSHIP_MAX], seated = 0;
    int n = membership_list(&d->members, MEMBER_PAIRED, waiting, MEMBERSHIP_MAX);
    *s = (struct seating){.d = d};
    for (int i = 0; i < n; i++)
        if (d->told[waiting[i]]) {
            s->node[s->n_members] = -1;
            s->members[s->n_members++] = waiting[i];
        }
    *unserved = -1;
    for (int node = 0; node < d->n_workers; node++) {
        bool seen[MEMBERSHIP_MAX] = {false};
        if (seat(s, node, seen))
            seated++;
        else if (*unserved < 0)
            *unserved = node;
    }
    return seated;
}

int deploy_unserved(const struct deploy *d, int *node)
{
    struct seating s;
    if (d->phase != DEPLOY_GATHERING || d->planned)
        return 0;
    int seated = seat_all(&s, d, node);
    return s.n_members < d->n_workers ? 0 : d->n_workers - seated;
}

// Tells everybody in ring[] what the plan is; nobody but the head: the ring runs.
static void hand_out(struct deploy *d, struct deploy_actions *out)
{
    membership_next_epoch(&d->members);
    d->edge_open = false;
    act(d, out, DEPLOY_DO_MAKE, -1, -1);
    for (int i = 0; i < d->n_workers; i++) {
        membership_move(&d->members, d->ring[i], MEMBER_OFFERED);
        act(d, out, DEPLOY_DO_OFFER, d->ring[i], i);
    }
    d->phase = DEPLOY_LOADING;
    if (d->n_workers)
        return;
    d->phase = DEPLOY_RUNNING;
    act(d, out, DEPLOY_DO_START, -1, -1);
}

static void ask(struct deploy *d, struct deploy_actions *out)
{
    membership_next_epoch(&d->members);
    act(d, out, DEPLOY_DO_SURVEY, -1, -1);
    d->phase = DEPLOY_SURVEYING;
}

// Those who came first and have said what their files have are asked what they can do.
static void begin_survey(struct deploy *d, struct deploy_actions *out)
{
    int waiting[MEMBERSHIP_MAX], asked = 0;
    int n = membership_list(&d->members, MEMBER_PAIRED, waiting, MEMBERSHIP_MAX);
    for (int i = 0; i < n && asked < d->n_wanted; i++)
        if (d->told[waiting[i]])
            d->ring[asked++] = waiting[i];
    if (asked < d->n_wanted)
        return;
    ask(d, out);
}

static void gather(struct deploy *d, int64_t now_ns, struct deploy_actions *out)
{
    struct seating s;
    int unserved;
    if (d->phase != DEPLOY_GATHERING || now_ns < d->not_before_ns)
        return;
    if (d->planned) {
        begin_survey(d, out);
        return;
    }
    if (seat_all(&s, d, &unserved) < d->n_workers)
        return;
    for (int i = 0; i < s.n_members; i++)
        if (s.node[i] >= 0)
            d->ring[s.node[i]] = s.members[i];
    if (d->survey)
        ask(d, out);
    else
        hand_out(d, out);
}

// Whether a member takes part in the survey, or in its plan that is not yet there.
static bool is_asked(const struct deploy *d, int member)
{
    if (d->phase != DEPLOY_SURVEYING && d->phase != DEPLOY_PLANNING)
        return false;
    for (int i = 0; i < d->n_wanted; i++)
        if (d->ring[i] == member)
            return true;
    return false;
}

static void unfit(struct deploy *d, int member)
{
    if (membership_state(&d->members, member) != MEMBER_PAIRED)
        return;
    if (is_asked(d, member))
        d->phase = DEPLOY_GATHERING;
    membership_move(&d->members, member, MEMBER_UNFIT);
}

// Another ring than the one that runs, or the first. A plan for somebody who has left meanwhile
// comes too late: whoever left, or the next survey, has the last word.
static void planned(struct deploy *d, const struct deploy_event *event, struct deploy_actions *out)
{
    int n = event->table->n_nodes - 1;
    if (d->phase != DEPLOY_PLANNING && d->phase != DEPLOY_RUNNING)
        return;
    for (int i = 0; i < n; i++) {
        enum member_state state = membership_state(&d->members, event->members[i]);
        if (state != MEMBER_PAIRED && state != MEMBER_RUNNING)
            return;
    }
    if (d->phase == DEPLOY_RUNNING) {
        act(d, out, DEPLOY_DO_REST, -1, -1);
        dismiss(d, out);
    }
    d->n_workers = n;
    for (int i = 0; i < n; i++)
        d->ring[i] = event->members[i];
    hand_out(d, out);
}

static bool all(const struct deploy *d, enum member_state state)
{
    for (int i = 0; i < d->n_workers; i++)
        if (membership_state(&d->members, d->ring[i]) != state)
            return false;
    return true;
}

static void ready(struct deploy *d, int member, int64_t now_ns, struct deploy_actions *out)
{
    if (membership_state(&d->members, member) != MEMBER_OFFERED)
        return;
    membership_move(&d->members, member, MEMBER_READY);
    if (!all(d, MEMBER_READY))
        return;
    for (int i = 0; i < d->n_workers; i++)
        act(d, out, DEPLOY_DO_GO, d->ring[i], i);
    act(d, out, DEPLOY_DO_DIAL, -1, -1);
    d->link_deadline_ns = now_ns + DEPLOY_LINK_MS * INT64_C(1000000);
    d->phase = DEPLOY_LINKING;
}

static void link_failed(struct deploy *d, int64_t now_ns, struct deploy_actions *out)
{
    d->not_before_ns = now_ns + DEPLOY_PAUSE_MS * INT64_C(1000000);
    broken(d, out);
}

static void not_ready(struct deploy *d, int member, int64_t now_ns, struct deploy_actions *out)
{
    if (d->phase == DEPLOY_LINKING) {
        link_failed(d, now_ns, out);
    } else if (membership_state(&d->members, member) == MEMBER_OFFERED) {
        membership_move(&d->members, member, MEMBER_UNFIT);
        broken(d, out);
    }
}

static void start_when_linked(struct deploy *d, struct deploy_actions *out)
{
    if (d->phase != DEPLOY_LINKING || !d->edge_open || !all(d, MEMBER_LINKED))
        return;
    for (int i = 0; i < d->n_workers; i++)
        membership_move(&d->members, d->ring[i], MEMBER_RUNNING);
    d->phase = DEPLOY_RUNNING;
    act(d, out, DEPLOY_DO_START, -1, -1);
}

static void lost(struct deploy *d, int member, struct deploy_actions *out)
{
    if (membership_state(&d->members, member) == MEMBER_GONE)
        return;
    bool needed = deploy_node(d, member) >= 0;
    if (is_asked(d, member))
        d->phase = DEPLOY_GATHERING;
    membership_move(&d->members, member, MEMBER_GONE);
    if (needed)
        broken(d, out);
}

// What a member or an edge of the present plan says.
static void step_ring(struct deploy *d, const struct deploy_event *event, int64_t now_ns,
                      struct deploy_actions *out)
{
    bool from_edge = event->kind == DEPLOY_EDGE_OPEN || event->kind == DEPLOY_EDGE_LOST;
    if (!made(d) || event->epoch != d->members.epoch)
        return;
    if (!from_edge && deploy_node(d, event->member) < 0)
        return;
    switch (event->kind) {
    case DEPLOY_READY:
        ready(d, event->member, now_ns, out);
        break;
    case DEPLOY_NOT_READY:
        not_ready(d, event->member, now_ns, out);
        break;
    case DEPLOY_LINKED:
        if (d->phase == DEPLOY_LINKING &&
            membership_state(&d->members, event->member) == MEMBER_READY)
            membership_move(&d->members, event->member, MEMBER_LINKED);
        break;
    case DEPLOY_EDGE_OPEN:
        d->edge_open = true;
        break;
    case DEPLOY_FAILED:
    case DEPLOY_EDGE_LOST:
        link_failed(d, now_ns, out);
        break;
    default:
        CHECK(!"not an event of a ring");
    }
    start_when_linked(d, out);
}

void deploy_step(struct deploy *d, const struct deploy_event *event, int64_t now_ns,
                 struct deploy_actions *out)
{
    out->n = 0;
    switch (event->kind) {
    case DEPLOY_BEGIN:
        CHECK(d->phase == DEPLOY_IDLE);
        CHECK(event->n_workers >= 1 && event->n_workers < PLAN_MAX_NODES);
        d->planned = event->planned;
        d->survey = event->survey;
        d->n_wanted = d->n_workers = event->n_workers;
        for (int i = 0; i < d->n_workers; i++)
            d->needs[i] =
                event->table ? layer_set_of_node(event->table, i) : (struct layer_set){{0}};
        d->not_before_ns = now_ns;
        d->phase = DEPLOY_GATHERING;
        break;
    case DEPLOY_JOINED:
        membership_join(&d->members, event->member);
        d->told[event->member] = false;
        break;
    case DEPLOY_HAS:
        if (membership_state(&d->members, event->member) == MEMBER_GONE)
            break;
        d->has[event->member] = *event->layers;
        d->told[event->member] = true;
        break;
    case DEPLOY_UNFIT:
        unfit(d, event->member);
        break;
    case DEPLOY_SURVEYED:
        if (d->phase != DEPLOY_SURVEYING || event->epoch != d->members.epoch)
            break;
        d->phase = DEPLOY_PLANNING;
        if (!d->planned)
            hand_out(d, out);
        break;
    case DEPLOY_PLANNED:
        planned(d, event, out);
        break;
    case DEPLOY_LOST:
        lost(d, event->member, out);
        break;
    case DEPLOY_TICK:
        if (d->phase == DEPLOY_LINKING && now_ns > d->link_deadline_ns)
            link_failed(d, now_ns, out);
        break;
    case DEPLOY_STOP:
        if (made(d))
            disband(d, DEPLOY_IDLE, out);
        d->phase = DEPLOY_IDLE;
        break;
    default:
        step_ring(d, event, now_ns, out);
        break;
    }
    // A ring that was just disbanded is made anew by the next event: first its members are told.
    if (!out->n)
        gather(d, now_ns, out);
}
