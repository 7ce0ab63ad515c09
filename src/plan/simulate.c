// The events of a simulated ring: the next thing that any resource finishes, again and again.
//
// Visits of windows are numbered: visit (c * rounds + r) * passes + g is pass g of the c-th group
// in round r, the same number on every node, and every node takes them in this order. Message v
// carries the state into visit v of the next node; the head's visit v becomes message v + passes
// of the first node, so that there the first group comes as messages of its own.
#include "plan/simulate.h"

#include "plan/cost.h"
#include "plan/simulate_tour.h"

#include <math.h>
#include <stdlib.h>

enum { LOOK_BACK = 4, MAX_PASSES = 4096 };

enum phase { IDLE, LOOKING, WAIT_PART, WAIT_DEMAND, COMPUTING };

struct actor { // a node
    struct sim_tour tour;
    const struct plan_machine *at;
    int64_t visit; // under way, or to come
    int step;
    enum phase phase;
    double left; // seconds of the step

    bool reading;
    int64_t read_visit;
    int read_step;
    double read_left, demand_left; // bytes
    double taken;                  // bytes of slots
    uint64_t n_read, n_used;

    int64_t finished, sent; // visits whose result may leave, and has left
    bool sending;
    double send_left;
    double *arrives; // (window of messages) of those on the way to this node

    double rate_compute, rate_disk, rate_send; // now
    struct simulate_node sum;
    double began, read_began; // for spans
    double level;             // bytes ahead at the end of the last group
};

struct sim {
    const struct plan_cluster *c;
    const struct plan_model *m;
    const struct plan_ask *a;
    const struct plan *p;
    struct actor nodes[PLAN_MAX_NODES];
    int n, rounds, passes;
    int64_t groups; // that are simulated at most
    int tokens;     // of a message
    bool prompt;
    double now;
    int64_t n_done; // groups
    int window;     // of messages
    struct simulate_span *spans;
    int max_spans, n_spans;
};

// ---- where things are --------------------------------------------------------------------------

static int round_of(const struct sim *s, int64_t visit)
{
    return (int)(visit / s->passes % s->rounds);
}

// Steps of a visit.
static void range(const struct sim *s, const struct actor *n, int64_t visit, int *lo, int *hi)
{
    int r = round_of(s, visit);
    *lo = n->tour.begin[r];
    *hi = n->tour.begin[r + 1];
    bool last = visit == s->groups * s->rounds * s->passes - 1;
    if (r == s->rounds - 1 && (!s->prompt || last))
        *hi = n->tour.begin[r + 2];
}

static void span(struct sim *s, const struct actor *n, enum simulate_kind kind, double begin)
{
    if (s->n_spans < s->max_spans && s->now > begin)
        s->spans[s->n_spans++] = (struct simulate_span){.kind = kind,
                                                        .node = (int)(n - s->nodes),
                                                        .round = round_of(s, n->visit),
                                                        .begin = begin,
                                                        .end = s->now};
}

// ---- what can go on at once ---------------------------------------------------------------------

// Whether the visit's step needs no reading because an earlier pass of the group left its part.
static bool lies_there(const struct sim *s, const struct sim_step *step, int64_t visit)
{
    return step->held && visit % s->passes > 0;
}

static bool start_read(struct sim *s, struct actor *n)
{
    if (n->reading || !(n->tour.part > 0))
        return false;
    while (n->read_visit < s->groups * s->rounds * s->passes) {
        int lo, hi;
        range(s, n, n->read_visit, &lo, &hi);
        for (; n->read_step < hi; n->read_step++) {
            const struct sim_step *step = &n->tour.steps[n->read_step];
            if (!(step->bytes > 0) || lies_there(s, step, n->read_visit))
                continue;
            if (n->taken + step->bytes > n->tour.slots * (1 + 1e-9))
                return false;
            n->taken += step->bytes;
            n->read_left = step->bytes;
            n->read_step++;
            n->read_began = s->now;
            return n->reading = true;
        }
        range(s, n, ++n->read_visit, &n->read_step, &hi);
    }
    return false; // all is read
}

static void finish_visit(struct sim *s, struct actor *n)
{
    if (n == &s->nodes[s->n - 1] && (n->visit + 1) % (s->rounds * s->passes) == 0)
        s->n_done++;
    n->visit++;
    n->finished++;
    n->phase = IDLE;
}

static bool has_arrived(const struct sim *s, const struct actor *n)
{
    const struct actor *from = &s->nodes[(n - s->nodes + s->n - 1) % s->n];
    if (n->visit >= s->groups * s->rounds * s->passes)
        return false;
    return n->visit < from->sent && n->arrives[n->visit % s->window] <= s->now;
}

static bool look(struct sim *s, struct actor *n)
{
    int lo, hi;
    range(s, n, n->visit, &lo, &hi);
    if (n->step == hi) {
        finish_visit(s, n);
        return true;
    }
    const struct sim_step *step = &n->tour.steps[n->step];
    if (step->bytes > 0 && !lies_there(s, step, n->visit)) {
        if (n->n_read <= n->n_used) {
            if (n->phase != WAIT_PART)
                n->began = s->now;
            n->phase = WAIT_PART;
            return false;
        }
        n->n_used++;
    }
    if (n->phase == WAIT_PART)
        span(s, n, SIMULATE_WAIT, n->began);
    n->began = s->now;
    n->left = step->seconds;
    n->demand_left = step->demand;
    n->phase = step->demand > 0 ? WAIT_DEMAND : COMPUTING;
    return true;
}

static bool compute_goes_on(struct sim *s, struct actor *n)
{
    int lo, hi;
    switch (n->phase) {
    case IDLE:
        if (!has_arrived(s, n))
            return false;
        range(s, n, n->visit, &lo, &hi);
        n->step = lo;
        n->phase = LOOKING;
        return true;
    case LOOKING:
    case WAIT_PART:
        return look(s, n);
    case WAIT_DEMAND:
        if (n->demand_left > 0)
            return false;
        span(s, n, SIMULATE_WAIT, n->began);
        n->began = s->now;
        n->phase = COMPUTING;
        return true;
    case COMPUTING:
        break;
    }
    if (n->left > 0)
        return false;
    const struct sim_step *step = &n->tour.steps[n->step++];
    if (!step->held || n->visit % s->passes == s->passes - 1)
        n->taken -= step->bytes;
    span(s, n, SIMULATE_COMPUTE, n->began);
    n->phase = LOOKING;
    return true;
}

static bool disk_goes_on(struct sim *s, struct actor *n)
{
    if (n->reading && !(n->read_left > 0)) {
        n->reading = false;
        n->n_read++;
        span(s, n, SIMULATE_READ, n->read_began);
        start_read(s, n);
        return true;
    }
    return start_read(s, n);
}

static bool way_goes_on(struct sim *s, struct actor *n)
{
    int i = (int)(n - s->nodes), next = (i + 1) % s->n;
    struct actor *to = &s->nodes[next];
    const struct plan_link *l = &s->c->links[s->p->nodes[i].machine][s->p->nodes[next].machine];
    if (n->sending && !(n->send_left > 0)) {
        n->sending = false;
        to->arrives[n->sent++ % s->window] = s->now + l->latency;
        to->sum.hop += l->latency;
        return true;
    }
    if (n->sending || n->sent == n->finished)
        return false;
    if (s->n == 1) { // nothing is sent
        n->arrives[n->sent++ % s->window] = s->now;
        return true;
    }
    n->sending = true;
    n->send_left = (double)s->tokens * s->m->width * s->a->activation;
    return true;
}

static void settle(struct sim *s)
{
    bool any = true;
    while (any) {
        any = false;
        for (int i = 0; i < s->n; i++) {
            struct actor *n = &s->nodes[i];
            any |= disk_goes_on(s, n);
            any |= compute_goes_on(s, n);
            any |= way_goes_on(s, n);
        }
    }
}

// ---- how fast
// ------------------------------------------------------------------------------------

static bool disk_works(const struct actor *n)
{
    return n->reading || n->demand_left > 0;
}

// Equal shares of `rate` for the n whose own limits are `most`; nobody gets more than that.
static void share_rate(double rate, int n, double **most)
{
    for (bool again = true; again && n > 0;) {
        again = false;
        for (int i = 0; i < n; i++) {
            if (*most[i] > rate / n)
                continue;
            rate -= *most[i];
            most[i] = most[--n];
            again = true;
            break;
        }
    }
    for (int i = 0; i < n; i++)
        *most[i] = rate / n;
}

static void share_groups(struct sim *s)
{
    double *disks[PLAN_MAX_NODES], *ways[PLAN_MAX_NODES];
    for (int g = 0; g < PLAN_GROUPS; g++) {
        int n_disks = 0, n_ways = 0, n_cores = 0;
        for (int i = 0; i < s->n; i++) {
            struct actor *n = &s->nodes[i];
            if (n->at->disk_group == g && disk_works(n))
                disks[n_disks++] = &n->rate_disk;
            if (n->at->net_group == g && n->sending)
                ways[n_ways++] = &n->rate_send;
            n_cores += n->at->core_group == g && n->phase == COMPUTING;
        }
        share_rate(s->c->disk_rates[g], n_disks, disks);
        share_rate(s->c->net_rates[g], n_ways, ways);
        for (int i = 0; i < s->n && n_cores > 1; i++) {
            struct actor *n = &s->nodes[i];
            if (n->at->core_group == g && n->phase == COMPUTING && !n->tour.steps[n->step].gpu)
                n->rate_compute = 1.0 / n_cores;
        }
    }
}

static void find_rates(struct sim *s)
{
    bool groups = false;
    for (int i = 0; i < s->n; i++) {
        struct actor *n = &s->nodes[i];
        int next = s->p->nodes[(i + 1) % s->n].machine;
        n->rate_compute = 1;
        n->rate_disk = n->at->disk;
        n->rate_send = s->c->links[s->p->nodes[i].machine][next].rate;
        groups |= n->at->disk_group >= 0 || n->at->net_group >= 0 || n->at->core_group >= 0;
    }
    if (groups)
        share_groups(s);
}

// ---- time ---------------------------------------------------------------------------------------

static double until_next(const struct sim *s)
{
    double t = INFINITY;
    for (int i = 0; i < s->n; i++) {
        const struct actor *n = &s->nodes[i], *from = &s->nodes[(i + s->n - 1) % s->n];
        if (n->phase == COMPUTING)
            t = fmin(t, n->left / n->rate_compute);
        if (n->demand_left > 0)
            t = fmin(t, n->demand_left / n->rate_disk);
        else if (n->reading)
            t = fmin(t, n->read_left / n->rate_disk);
        if (n->sending)
            t = fmin(t, n->send_left / n->rate_send);
        if (n->phase == IDLE && n->visit < from->sent && n->arrives[n->visit % s->window] > s->now)
            t = fmin(t, n->arrives[n->visit % s->window] - s->now);
    }
    return t;
}

// Takes `by` off `*left`; what would be left by rounding alone is nothing.
static void take(double *left, double by)
{
    *left = *left - by > *left * 1e-9 ? *left - by : 0;
}

static void advance(struct sim *s, double dt)
{
    for (int i = 0; i < s->n; i++) {
        struct actor *n = &s->nodes[i];
        struct simulate_node *to = &s->nodes[(i + 1) % s->n].sum;
        if (disk_works(n)) {
            n->sum.disk += dt;
            n->sum.read += dt * n->rate_disk;
        }
        if (n->phase == COMPUTING) {
            take(&n->left, dt * n->rate_compute);
            n->sum.compute += dt;
        }
        if (n->phase == WAIT_PART || n->phase == WAIT_DEMAND)
            n->sum.wait += dt;
        if (n->demand_left > 0)
            take(&n->demand_left, dt * n->rate_disk);
        else if (n->reading)
            take(&n->read_left, dt * n->rate_disk);
        if (n->sending) {
            take(&n->send_left, dt * n->rate_send);
            to->hop += dt;
        }
    }
    s->now += dt;
    for (int i = 0; i < s->n; i++) { // those that were waited for are there, whatever now + dt is
        struct actor *n = &s->nodes[i], *from = &s->nodes[(i + s->n - 1) % s->n];
        double *at = &n->arrives[n->visit % s->window];
        if (n->phase == IDLE && n->visit < from->sent && *at - s->now <= 1e-12 * s->now)
            *at = s->now;
    }
}

// Until the group under way is through. False: nothing goes on.
static bool run_group(struct sim *s)
{
    for (int64_t before = s->n_done;;) {
        settle(s);
        if (s->n_done > before)
            return true;
        find_rates(s);
        double dt = until_next(s);
        if (!isfinite(dt))
            return false;
        advance(s, dt);
    }
}

// ---- beginning and end --------------------------------------------------------------------------

static void sim_fini(struct sim *s)
{
    for (int i = 0; i < s->n; i++) {
        sim_tour_free(&s->nodes[i].tour);
        free(s->nodes[i].arrives);
    }
}

static int sim_init(struct sim *s, const struct sim_what *w, int64_t groups, struct err *e)
{
    *s = (struct sim){.c = w->c, .m = w->m, .a = w->a, .p = w->p};
    s->n = w->p->n_nodes;
    s->rounds = w->p->table.n_rounds;
    s->passes = w->passes;
    s->prompt = w->prompt;
    s->tokens = w->prompt ? w->a->chunk : 1;
    s->groups = groups;
    s->window = 2 * s->passes * (s->rounds + 1);
    for (int i = 0; i < s->n; i++) {
        struct actor *n = &s->nodes[i];
        n->at = &w->c->machines[w->p->nodes[i].machine];
        int rc = sim_tour_new(&n->tour, w, i, e);
        if (rc)
            return rc;
        n->arrives = calloc((size_t)s->window, sizeof *n->arrives);
        if (!n->arrives)
            return err_set(e, ERR_NO_MEMORY, "no memory to simulate a ring of %d nodes", s->n);
        n->read_step = n->tour.begin[0];
    }
    s->nodes[s->n - 1].finished = s->passes; // the head's first messages
    return 0;
}

static double bytes_ahead(const struct actor *n)
{
    return n->taken - n->read_left;
}

// How far the slots are from where they were some groups ago, as a part of a slot.
static double moved(const struct sim *s, double levels[][PLAN_MAX_NODES], int64_t group)
{
    double most = 0;
    for (int i = 0; i < s->n; i++) {
        const struct actor *n = &s->nodes[i];
        double by = fabs(bytes_ahead(n) - levels[group % LOOK_BACK][i]);
        if (n->tour.part > 0)
            most = fmax(most, by / n->tour.part);
    }
    return most;
}

static void clear_sums(struct sim *s)
{
    for (int i = 0; i < s->n; i++)
        s->nodes[i].sum = (struct simulate_node){0};
}

static int stuck(struct err *e)
{
    return err_set(e, ERR_FAILED,
                   "the ring that was planned stands still in its simulation; "
                   "please report the profile that it was planned for");
}

// Groups of tokens until they are alike: seconds of one.
static int run_tokens(struct sim *s, struct simulated *out, double *period, struct err *e)
{
    double levels[LOOK_BACK][PLAN_MAX_NODES] = {{0}}, ends[LOOK_BACK] = {0}, last = 0;
    out->steady = false;
    for (int64_t g = 0; g < s->groups; g++) {
        int at = (int)(g % LOOK_BACK);
        clear_sums(s);
        s->n_spans = 0;
        if (!run_group(s))
            return stuck(e);
        double now = (s->now - ends[at]) / LOOK_BACK;
        bool still = g >= 2 * LOOK_BACK && moved(s, levels, g) <= 0.1;
        out->steady = still && fabs(now - last) <= 1e-4 * now;
        *period = now;
        out->tokens = (int)g + 1;
        if (at == LOOK_BACK - 1)
            last = now;
        ends[at] = s->now;
        for (int i = 0; i < s->n; i++)
            levels[at][i] = bytes_ahead(&s->nodes[i]);
        if (out->steady)
            break;
    }
    return 0;
}

static int of_tokens(struct simulated *out, struct sim_what *w, const struct simulate_options *o,
                     double *period, struct err *e)
{
    struct sim *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NO_MEMORY, "no memory to simulate a ring");
    int rc = sim_init(s, w, o->tokens > 0 ? o->tokens : 400, e);
    if (!rc && w->passes == 1) {
        s->spans = o->spans;
        s->max_spans = o->max_spans;
    }
    rc = rc ? rc : run_tokens(s, out, period, e);
    for (int i = 0; i < s->n && w->passes == 1; i++)
        out->nodes[i] = s->nodes[i].sum;
    if (w->passes == 1)
        out->n_spans = s->n_spans;
    sim_fini(s);
    free(s);
    return rc;
}

// Chunks in groups, as equal as can be; slots are full when the prompt comes.
static int of_prompt(struct simulated *out, struct sim_what *w, struct plan_ask *a,
                     const struct simulate_options *o, struct err *e)
{
    int chunk = w->p->chunk > 0 ? w->p->chunk : a->chunk;
    int chunks = (a->prompt + chunk - 1) / chunk;
    int most = w->p->table.n_rounds == 1 ? chunks : o->group > 0 ? o->group : 8;
    most = most > MAX_PASSES ? MAX_PASSES : most;
    int groups = (chunks + most - 1) / most;
    w->passes = (chunks + groups - 1) / groups;
    a->chunk = (a->prompt + groups * w->passes - 1) / (groups * w->passes);
    w->prompt = true;
    struct sim *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NO_MEMORY, "no memory to simulate a ring");
    int rc = sim_init(s, w, groups, e);
    for (int i = 0; !rc && i < s->n; i++) {
        struct actor *n = &s->nodes[i];
        while (start_read(s, n)) {
            n->reading = false;
            n->n_read++;
            n->read_left = 0;
        }
    }
    for (int g = 0; !rc && g < groups; g++)
        rc = run_group(s) ? 0 : stuck(e);
    out->ttft = s->now;
    sim_fini(s);
    free(s);
    return rc;
}

int simulate(struct simulated *out, const struct plan *p, const struct plan_cluster *c,
             const struct plan_model *m, const struct plan_ask *a, const struct simulate_options *o,
             struct err *e)
{
    struct plan_ask ask = *a;
    double period = 0;
    *out = (struct simulated){0};
    cost_defaults(&ask);
    struct sim_what w = {.p = p, .c = c, .m = m, .a = &ask, .parts = o->parts, .passes = 1};
    int rc = windows_check(&p->table, e);
    rc = rc ? rc : of_tokens(out, &w, o, &out->tpot, e);
    out->throughput = out->tpot > 0 ? 1 / out->tpot : 0;
    w.passes = ask.users > MAX_PASSES ? MAX_PASSES : ask.users;
    if (!rc && !o->no_users && w.passes > 1) {
        bool steady = out->steady;
        int tokens = out->tokens;
        rc = of_tokens(out, &w, o, &period, e);
        out->throughput = period > 0 ? w.passes / period : 0;
        out->steady = out->steady && steady;
        out->tokens += tokens;
    }
    return rc || o->no_prompt ? rc : of_prompt(out, &w, &ask, o, e);
}
