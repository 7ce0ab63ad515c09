// Head and workers as pure state machines in a simulated network: a fake clock, messages with
// random delays that keep their order per connection, workers that die, are replaced or refuse, a
// head that dies and is followed by another. A seed replays a failure.
//
//      workers 0..5  --- connection (both directions, in order) --->  head
//      worker i      --- edge of an epoch ------------------------->  next node of that ring
#include "support.h"

#include "base/rng.h"
#include "cluster/deploy.h"
#include "cluster/follow.h"

#include <string.h>

enum { N_WORKERS = 6, MAX_EVENTS = 4096, MS = 1000000, TICK_MS = 50 };

enum to { TO_HEAD, TO_WORKER, TICKS, CONNECT, DIAL_EDGE };

struct sim_event {
    int64_t at_ns;
    uint64_t order;
    enum to to;
    int worker, kind, conn; // conn: number of the connection; what belongs to an old one is lost
    uint32_t epoch;
};

struct sim_worker {
    struct follow f;
    bool alive, refuses;
    int life;    // counts restarts
    int conn;    // its connection; 0: none
    int member;  // its place at the head
    int edge_to; // node index dialled, -1: none; N_WORKERS: the head
    uint32_t edge_epoch;
    int64_t up_ns, down_ns; // last deliveries in each direction, which keep the order
};

struct sim {
    struct rng rng;
    int64_t now_ns;
    uint64_t order;
    struct sim_event events[MAX_EVENTS];
    int n_events;
    struct sim_worker workers[N_WORKERS];
    struct deploy head;
    bool head_alive, chaos, planned;
    int n_in_ring; // as planned last
    int head_life, n_wanted, connections;
    int member_conn[MEMBERSHIP_MAX], member_worker[MEMBERSHIP_MAX];
    int starts;
};

static void post(struct sim *s, struct sim_event e)
{
    assert_true(s->n_events < MAX_EVENTS);
    e.order = s->order++;
    s->events[s->n_events++] = e;
}

static int64_t soon(struct sim *s, int max_ms)
{
    return s->now_ns + (int64_t)rng_below(&s->rng, (uint64_t)max_ms * MS + 1);
}

// Over a connection: later than everything sent before it in that direction.
static void send_ordered(struct sim *s, int w, enum to to, int kind, uint32_t epoch)
{
    struct sim_worker *k = &s->workers[w];
    int64_t *last = to == TO_HEAD ? &k->up_ns : &k->down_ns, at = soon(s, 300);
    *last = at > *last ? at : *last + 1;
    post(s, (struct sim_event){*last, 0, to, w, kind, k->conn, epoch});
}

static void edge_gone(struct sim *s, int w)
{
    s->workers[w].edge_to = -1;
}

static void head_event(struct sim *s, struct deploy_event e);
static void worker_event(struct sim *s, int w, enum follow_event_kind kind, uint32_t epoch);

// The far end of an edge went away: who dialled it and who is still there learn of it later.
static void lose_edges(struct sim *s, uint32_t epoch)
{
    for (int w = 0; w < N_WORKERS; w++)
        if (s->workers[w].alive && s->workers[w].f.epoch == epoch)
            post(s, (struct sim_event){soon(s, 200), 0, TO_WORKER, w, FOLLOW_EDGE_LOST, -1, epoch});
    if (s->head_alive)
        post(s, (struct sim_event){soon(s, 200), 0, TO_HEAD, -1, DEPLOY_EDGE_LOST, -1, epoch});
}

static void worker_act(struct sim *s, int w, const struct follow_actions *a)
{
    struct sim_worker *k = &s->workers[w];
    for (int i = 0; i < a->n; i++) {
        switch (a->list[i]) {
        case FOLLOW_DO_DIAL_HEAD:
            post(s, (struct sim_event){soon(s, 300), 0, CONNECT, w, k->life, 0, 0});
            break;
        case FOLLOW_DO_LOAD: {
            bool fails = k->refuses;
            post(s, (struct sim_event){soon(s, 1000), 0, TO_WORKER, w,
                                       fails ? FOLLOW_LOAD_FAILED : FOLLOW_LOADED, -1, k->f.epoch});
            break;
        }
        case FOLLOW_DO_SAY_READY:
            send_ordered(s, w, TO_HEAD, DEPLOY_READY, k->f.epoch);
            break;
        case FOLLOW_DO_SAY_NOT_READY:
            send_ordered(s, w, TO_HEAD, DEPLOY_NOT_READY, k->f.epoch);
            break;
        case FOLLOW_DO_DIAL_EDGE:
            post(s, (struct sim_event){soon(s, 300), 0, DIAL_EDGE, w, k->life, 0, k->f.epoch});
            break;
        case FOLLOW_DO_SAY_LINKED:
            send_ordered(s, w, TO_HEAD, DEPLOY_LINKED, k->f.epoch);
            break;
        case FOLLOW_DO_SAY_FAILED:
            send_ordered(s, w, TO_HEAD, DEPLOY_FAILED, k->f.epoch);
            break;
        case FOLLOW_DO_DROP:
            edge_gone(s, w);
            lose_edges(s, k->f.epoch);
            break;
        }
    }
}

static void worker_event(struct sim *s, int w, enum follow_event_kind kind, uint32_t epoch)
{
    struct follow_actions a;
    struct follow_event e = {kind, epoch};
    follow_step(&s->workers[w].f, &e, s->now_ns, &a);
    worker_act(s, w, &a);
}

// Everybody whom the head believes to run has come that far in this very epoch, or is gone and the
// head does not know it yet.
static void check_start(struct sim *s)
{
    uint32_t epoch = s->head.members.epoch;
    for (int i = 0; i < s->head.n_workers; i++) {
        int member = s->head.ring[i], w = s->member_worker[member];
        const struct sim_worker *k = &s->workers[w];
        assert_int_equal(membership_state(&s->head.members, member), MEMBER_RUNNING);
        if (!k->alive || k->conn != s->member_conn[member])
            continue;
        assert_true(k->f.state == FOLLOW_RUNNING || k->f.state == FOLLOW_BROKEN);
        assert_int_equal(k->f.epoch, epoch);
    }
    s->starts++;
}

static void head_act(struct sim *s, const struct deploy_actions *a)
{
    for (int i = 0; i < a->n; i++) {
        uint32_t epoch = a->list[i].epoch;
        int member = a->list[i].member, w = member < 0 ? -1 : s->member_worker[member];
        // A worker that died stays with its member until the head learns of it.
        bool there = w >= 0 && s->workers[w].alive && s->workers[w].conn == s->member_conn[member];
        switch (a->list[i].kind) {
        case DEPLOY_DO_SURVEY:
            post(s, (struct sim_event){soon(s, 2000), 0, TO_HEAD, -1, DEPLOY_SURVEYED, -1, epoch});
            break;
        case DEPLOY_DO_MAKE:
            break;
        case DEPLOY_DO_REST:
        case DEPLOY_DO_CLOSE:
            lose_edges(s, epoch);
            break;
        case DEPLOY_DO_OFFER:
            if (there)
                send_ordered(s, w, TO_WORKER, FOLLOW_OFFERED, epoch);
            break;
        case DEPLOY_DO_GO:
            if (there)
                send_ordered(s, w, TO_WORKER, FOLLOW_GO, epoch);
            break;
        case DEPLOY_DO_DIAL:
            post(s, (struct sim_event){soon(s, 300), 0, TO_HEAD, -1, DEPLOY_EDGE_OPEN, -1, epoch});
            break;
        case DEPLOY_DO_START:
            check_start(s);
            break;
        case DEPLOY_DO_END:
            if (there)
                send_ordered(s, w, TO_WORKER, FOLLOW_END, epoch);
            break;
        }
    }
}

static void head_event(struct sim *s, struct deploy_event e)
{
    struct deploy_actions a;
    uint32_t before = s->head.members.epoch;
    deploy_step(&s->head, &e, s->now_ns, &a);
    assert_true(s->head.members.epoch == before || s->head.members.epoch == before + 1);
    head_act(s, &a);
}

static void new_head(struct sim *s)
{
    deploy_init(&s->head, (uint32_t)rng_u64(&s->rng) | 1);
    s->head_alive = true;
    s->head_life++;
    s->n_wanted = 1 + (int)rng_below(&s->rng, s->chaos ? N_WORKERS : N_WORKERS - 1);
    s->n_in_ring = s->n_wanted;
    s->planned = rng_below(&s->rng, 2);
    memset(s->member_conn, 0, sizeof s->member_conn);
}

static void kill_head(struct sim *s)
{
    s->head_alive = false;
    for (int w = 0; w < N_WORKERS; w++)
        if (s->workers[w].conn)
            send_ordered(s, w, TO_WORKER, FOLLOW_HEAD_LOST, 0);
}

static void kill_worker(struct sim *s, int w)
{
    struct sim_worker *k = &s->workers[w];
    if (k->conn && s->head_alive)
        post(s, (struct sim_event){soon(s, 3100), 0, TO_HEAD, w, DEPLOY_LOST, k->conn, 0});
    if (k->f.state >= FOLLOW_LOADING)
        lose_edges(s, k->f.epoch);
    k->alive = false;
    k->conn = 0;
    k->life++;
    edge_gone(s, w);
}

static void start_worker(struct sim *s, int w)
{
    struct sim_worker *k = &s->workers[w];
    k->alive = true;
    k->refuses = s->chaos && rng_below(&s->rng, 8) == 0;
    k->up_ns = k->down_ns = 0;
    follow_init(&k->f, s->now_ns);
}

static void connect_worker(struct sim *s, int w)
{
    struct sim_worker *k = &s->workers[w];
    int member = 0;
    while (member < MEMBERSHIP_MAX && s->member_conn[member])
        member++;
    if (!s->head_alive || member == MEMBERSHIP_MAX) {
        worker_event(s, w, FOLLOW_HEAD_LOST, 0);
        return;
    }
    k->conn = ++s->connections;
    k->up_ns = k->down_ns = s->now_ns;
    k->member = member;
    s->member_conn[member] = k->conn;
    s->member_worker[member] = w;
    worker_event(s, w, FOLLOW_HEAD_OPEN, 0);
    head_event(s, (struct deploy_event){.kind = DEPLOY_JOINED, .member = member});
    head_event(s, (struct deploy_event){
                      .kind = DEPLOY_HAS, .member = member, .layers = &(struct layer_set){{0}}});
}

// An edge opens when the next node of the ring is there and has the same ring.
static void dial_edge(struct sim *s, int w, uint32_t epoch)
{
    struct sim_worker *k = &s->workers[w];
    bool opens = false;
    if (s->head_alive && s->head.members.epoch == epoch && s->head.phase == DEPLOY_LINKING) {
        int node = deploy_node(&s->head, k->member);
        if (node == s->head.n_workers - 1) {
            opens = true;
        } else if (node >= 0) {
            const struct sim_worker *next = &s->workers[s->member_worker[s->head.ring[node + 1]]];
            opens = next->alive && next->f.state >= FOLLOW_READY && next->f.epoch == epoch;
        }
    }
    worker_event(s, w, opens ? FOLLOW_EDGE_OPEN : FOLLOW_EDGE_LOST, epoch);
}

static void deliver_to_head(struct sim *s, const struct sim_event *e)
{
    if (!s->head_alive)
        return;
    struct deploy_event d = {.kind = (enum deploy_event_kind)e->kind, .epoch = e->epoch};
    if (e->worker >= 0) {
        int member = 0;
        while (member < MEMBERSHIP_MAX && s->member_conn[member] != e->conn)
            member++;
        if (member == MEMBERSHIP_MAX)
            return;
        d.member = member;
        if (d.kind == DEPLOY_LOST)
            s->member_conn[member] = 0;
    }
    head_event(s, d);
}

static void deliver_to_worker(struct sim *s, const struct sim_event *e)
{
    struct sim_worker *k = &s->workers[e->worker];
    if (!k->alive || (e->conn >= 0 && e->conn != k->conn))
        return;
    if (e->kind == FOLLOW_HEAD_LOST)
        k->conn = 0;
    worker_event(s, e->worker, (enum follow_event_kind)e->kind, e->epoch);
}

// Some of those who were asked, in another order; nobody but the head at times.
static void plan(struct sim *s)
{
    static struct window_table t;
    struct membership *m = &s->head.members;
    int members[MEMBERSHIP_MAX], n = 0, most = 0;
    for (int state = MEMBER_PAIRED; state <= MEMBER_RUNNING;
         state += MEMBER_RUNNING - MEMBER_PAIRED)
        most += membership_list(m, (enum member_state)state, members + most, MEMBERSHIP_MAX - most);
    most = most < s->n_wanted ? most : s->n_wanted;
    n = (int)rng_below(&s->rng, (uint64_t)most + 1);
    for (int i = 0; i < n / 2; i++) {
        int other = members[i];
        members[i] = members[n - 1 - i];
        members[n - 1 - i] = other;
    }
    t.n_nodes = n + 1;
    uint32_t before = m->epoch;
    head_event(s, (struct deploy_event){.kind = DEPLOY_PLANNED, .table = &t, .members = members});
    assert_int_equal(m->epoch, before + 1); // nobody has left between the question and the answer
    s->n_in_ring = n;
}

static void misfortune(struct sim *s)
{
    int w = (int)rng_below(&s->rng, N_WORKERS);
    uint64_t dice = rng_below(&s->rng, 400);
    if (dice < 4 && s->workers[w].alive)
        kill_worker(s, w);
    else if (dice < 30 && !s->workers[w].alive)
        start_worker(s, w);
    else if (dice == 30 && s->head_alive)
        kill_head(s);
    else if (dice < 40 && !s->head_alive)
        new_head(s);
    else if (dice < 44 && s->workers[w].alive && s->workers[w].f.state == FOLLOW_RUNNING)
        worker_event(s, w, FOLLOW_PASS_FAILED, s->workers[w].f.epoch);
    else if (dice < 50 && dice > 45 && s->head_alive && s->planned &&
             s->head.phase == DEPLOY_RUNNING)
        plan(s); // anew
    else if (dice == 45 && s->head_alive)
        head_event(s, (struct deploy_event){.kind = DEPLOY_STOP});
}

static void tick(struct sim *s)
{
    if (s->chaos)
        misfortune(s);
    for (int w = 0; w < N_WORKERS; w++)
        if (s->workers[w].alive)
            worker_event(s, w, FOLLOW_TICK, 0);
    if (s->head_alive && s->head.phase == DEPLOY_IDLE)
        head_event(s, (struct deploy_event){.kind = DEPLOY_BEGIN,
                                            .n_workers = s->n_wanted,
                                            .planned = s->planned,
                                            .survey = s->planned || rng_below(&s->rng, 2)});
    if (s->head_alive && s->head.phase == DEPLOY_PLANNING)
        plan(s);
    if (s->head_alive)
        head_event(s, (struct deploy_event){.kind = DEPLOY_TICK});
    post(s, (struct sim_event){s->now_ns + TICK_MS * (int64_t)MS, 0, TICKS, 0, 0, 0, 0});
}

static void run_until(struct sim *s, int64_t end_ns)
{
    while (s->n_events) {
        int next = 0;
        for (int i = 1; i < s->n_events; i++) {
            const struct sim_event *a = &s->events[i], *b = &s->events[next];
            if (a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order))
                next = i;
        }
        if (s->events[next].at_ns > end_ns)
            break;
        struct sim_event e = s->events[next];
        s->events[next] = s->events[--s->n_events];
        s->now_ns = e.at_ns;
        const struct sim_worker *k = &s->workers[e.worker < 0 ? 0 : e.worker];
        if (e.to == TICKS)
            tick(s);
        else if (e.to == TO_HEAD)
            deliver_to_head(s, &e);
        else if (e.to == TO_WORKER)
            deliver_to_worker(s, &e);
        else if (k->alive && k->life == e.kind && e.to == CONNECT)
            connect_worker(s, e.worker);
        else if (k->alive && k->life == e.kind && e.to == DIAL_EDGE)
            dial_edge(s, e.worker, e.epoch);
    }
    s->now_ns = end_ns;
}

// With everybody well for a while, the ring runs and who is not in it waits.
static void check_settled(struct sim *s, uint64_t seed)
{
    int running = 0;
    if (s->head.phase != DEPLOY_RUNNING)
        fail_msg("seed %llu: the head is stuck in phase %d", (unsigned long long)seed,
                 (int)s->head.phase);
    for (int w = 0; w < N_WORKERS; w++) {
        const struct follow *f = &s->workers[w].f;
        if (f->state == FOLLOW_RUNNING) {
            running++;
            assert_int_equal(f->epoch, s->head.members.epoch);
        } else if (f->state != FOLLOW_WAITING) {
            fail_msg("seed %llu: worker %d is stuck in state %d", (unsigned long long)seed, w,
                     (int)f->state);
        }
    }
    assert_int_equal(running, s->planned ? s->n_in_ring : s->n_wanted);
}

static int simulate(uint64_t seed)
{
    static struct sim s;
    memset(&s, 0, sizeof s);
    rng_init(&s.rng, seed);
    s.chaos = true;
    new_head(&s);
    for (int w = 0; w < N_WORKERS; w++)
        start_worker(&s, w);
    tick(&s);
    run_until(&s, 60000 * (int64_t)MS);
    s.chaos = false;
    for (int w = 0; w < N_WORKERS; w++) {
        if (s.workers[w].alive && s.workers[w].refuses)
            kill_worker(&s, w); // somebody gives it the right model
        if (!s.workers[w].alive)
            start_worker(&s, w);
    }
    if (!s.head_alive)
        new_head(&s);
    run_until(&s, 120000 * (int64_t)MS);
    check_settled(&s, seed);
    // This head ends; whoever is left is ready for the next one.
    kill_head(&s);
    run_until(&s, 121000 * (int64_t)MS);
    new_head(&s);
    run_until(&s, 150000 * (int64_t)MS);
    check_settled(&s, seed);
    return s.starts;
}

static void no_misfortune_leaves_anybody_stuck(void **state)
{
    (void)state;
    int starts = 0;
    for (uint64_t seed = 1; seed <= 1000; seed++)
        starts += simulate(seed);
    assert_true(starts >= 2 * 1000);
}

// ---- single steps ------------------------------------------------------------------------------

static struct deploy_actions step(struct deploy *d, enum deploy_event_kind kind, int member)
{
    struct deploy_actions a;
    struct deploy_event e = {
        .kind = kind, .member = member, .n_workers = 2, .epoch = d->members.epoch};
    deploy_step(d, &e, 0, &a);
    if (kind == DEPLOY_JOINED) { // nobody is given anything before it has said what it has
        static const struct layer_set nothing;
        assert_int_equal(a.n, 0);
        e.kind = DEPLOY_HAS;
        e.layers = &nothing;
        deploy_step(d, &e, 0, &a);
    }
    return a;
}

static void a_ring_is_offered_when_enough_workers_are_there(void **state)
{
    (void)state;
    struct deploy d;
    deploy_init(&d, 7);
    assert_int_equal(step(&d, DEPLOY_BEGIN, 0).n, 0);
    assert_int_equal(step(&d, DEPLOY_JOINED, 4).n, 0);
    struct deploy_actions a = step(&d, DEPLOY_JOINED, 2);
    assert_int_equal(a.n, 3);
    assert_int_equal(a.list[0].kind, DEPLOY_DO_MAKE);
    // In the order of joining.
    assert_int_equal(a.list[1].member, 4);
    assert_int_equal(a.list[1].node, 0);
    assert_int_equal(a.list[2].member, 2);
    assert_int_equal(d.members.epoch, 8);
}

static void an_unfit_worker_is_not_asked_again(void **state)
{
    (void)state;
    struct deploy d;
    deploy_init(&d, 0);
    step(&d, DEPLOY_BEGIN, 0);
    step(&d, DEPLOY_JOINED, 0);
    step(&d, DEPLOY_JOINED, 1);
    struct deploy_actions a = step(&d, DEPLOY_NOT_READY, 0);
    assert_int_equal(a.n, 2); // close, and END to the other one
    assert_int_equal(a.list[1].kind, DEPLOY_DO_END);
    assert_int_equal(a.list[1].member, 1);
    assert_int_equal(membership_state(&d.members, 0), MEMBER_UNFIT);
    assert_int_equal(step(&d, DEPLOY_TICK, 0).n, 0);
    a = step(&d, DEPLOY_JOINED, 5);
    assert_int_equal(a.n, 3);
    assert_int_equal(a.list[2].member, 5);
}

static void late_answers_to_an_earlier_plan_are_ignored(void **state)
{
    (void)state;
    struct deploy d;
    deploy_init(&d, 0);
    step(&d, DEPLOY_BEGIN, 0);
    step(&d, DEPLOY_JOINED, 0);
    step(&d, DEPLOY_JOINED, 1);
    uint32_t old = d.members.epoch;
    step(&d, DEPLOY_LOST, 1);
    step(&d, DEPLOY_JOINED, 1);
    assert_int_equal(d.phase, DEPLOY_LOADING);
    struct deploy_event late = {.kind = DEPLOY_READY, .member = 0, .epoch = old};
    struct deploy_actions a;
    deploy_step(&d, &late, 0, &a);
    assert_int_equal(membership_state(&d.members, 0), MEMBER_OFFERED);
}

// Whether nodes [node, n) find members among those that are not taken.
static bool can_seat(const struct layer_set *needs, int node, int n, const struct layer_set *has,
                     int n_members, unsigned taken)
{
    if (node == n)
        return true;
    for (int i = 0; i < n_members; i++)
        if (!(taken >> i & 1) && layer_set_covers(&has[i], &needs[node]) &&
            can_seat(needs, node + 1, n, has, n_members, taken | 1u << i))
            return true;
    return false;
}

static void members_get_the_layers_that_they_have(void **state)
{
    (void)state;
    struct rng r;
    int made = 0, refused = 0;
    rng_init(&r, 5);
    for (int round = 0; round < 3000; round++) {
        int layers[5] = {2, 2, 2, 2, 2}, n = 1 + (int)rng_below(&r, 4), n_members = 0;
        struct window_table t;
        struct err e = {0};
        struct deploy d;
        struct layer_set has[6], needs[5];
        struct deploy_actions a = {0};
        assert_ok(windows_split(&t, 2 * (n + 1), n + 1, layers, 1 + (int)rng_below(&r, 2), &e), &e);
        for (int i = 0; i < n; i++)
            needs[i] = layer_set_of_node(&t, i);
        deploy_init(&d, 0);
        deploy_step(&d, &(struct deploy_event){.kind = DEPLOY_BEGIN, .n_workers = n, .table = &t},
                    0, &a);
        while (d.phase == DEPLOY_GATHERING && n_members < 6) {
            struct deploy_event event = {.kind = DEPLOY_JOINED, .member = n_members};
            has[n_members] = (struct layer_set){{0}};
            for (int i = 0; i <= n; i++) // of some nodes, by chance
                if (!rng_below(&r, 3))
                    for (int y = 0; y < t.n_layers; y++) {
                        struct layer_set node = layer_set_of_node(&t, i);
                        if (layer_set_has(&node, y))
                            layer_set_add(&has[n_members], y, y + 1);
                    }
            deploy_step(&d, &event, 0, &a);
            assert_int_equal(a.n, 0);
            event.kind = DEPLOY_HAS;
            event.layers = &has[n_members++];
            deploy_step(&d, &event, 0, &a);
            bool can = can_seat(needs, 0, n, has, n_members, 0);
            int node, unserved = deploy_unserved(&d, &node);
            assert_int_equal(can, d.phase == DEPLOY_LOADING);
            assert_int_equal(unserved > 0, !can && n_members >= n);
        }
        refused += d.phase == DEPLOY_GATHERING;
        made += d.phase == DEPLOY_LOADING;
        for (int i = 0; i < n && d.phase == DEPLOY_LOADING; i++) {
            assert_true(layer_set_covers(&has[d.ring[i]], &needs[i]));
            for (int j = 0; j < i; j++)
                assert_int_not_equal(d.ring[i], d.ring[j]);
        }
    }
    assert_true(made > 100 && refused > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ring_is_offered_when_enough_workers_are_there),
        cmocka_unit_test(members_get_the_layers_that_they_have),
        cmocka_unit_test(an_unfit_worker_is_not_asked_again),
        cmocka_unit_test(late_answers_to_an_earlier_plan_are_ignored),
        cmocka_unit_test(no_misfortune_leaves_anybody_stuck),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
