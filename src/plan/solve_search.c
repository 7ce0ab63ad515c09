// The search for the shortest period: rounds from few to many, orders, and the bound. More rounds
// and other orders than the listed one are taken only for a gain that is worth it, so that noise in
// the profile does not change the plan.
#include "plan/solve.h"

#include <math.h>
#include <string.h>

enum { LITTLE = 40000, SWEEPS = 50, FEW = 6 }; // distributions, rounds of moves, machines

struct best {
    struct solve_ring *ring;
    double t; // of *ring, or what must be beaten
    bool found;
};

// What is looked for further, as a share of the period.
static double least_gain(const struct solve *s)
{
    return s->a.exact ? 1e-9 : 1e-3;
}

static bool take(const struct solve *s, struct best *b, const struct solve_ring *r, double below)
{
    if (!solve_keeps(s, r, below) && below < INFINITY)
        return false;
    double t = solve_period(s, r, NULL);
    if (!(t < INFINITY) || t > below)
        return false;
    *b->ring = *r;
    b->t = t;
    return b->found = true;
}

// ---- moves -------------------------------------------------------------------------------------

bool solve_move(struct solve_ring *out, const struct solve *s, const struct solve_ring *r,
                const struct solve_limits *l, int i, int j, int by)
{
    int counts[PLAN_MAX_NODES] = {0};
    for (int k = 0; k < r->n; k++)
        counts[r->at[k]] = r->layers[k];
    int from = l->order[i], to = l->order[j];
    counts[from] -= by;
    counts[to] += by;
    if (counts[from] < 0 || counts[to] > l->most[to] || (l->needed[from] && !counts[from]))
        return false;
    *out = (struct solve_ring){.rounds = r->rounds};
    for (int k = 0; k < s->n; k++)
        if (counts[l->order[k]] || k == s->n - 1) {
            out->at[out->n] = l->order[k];
            out->layers[out->n++] = counts[l->order[k]];
        }
    return true;
}

// Moves layers as long as that saves time.
static void move_layers(const struct solve *s, struct best *b, const struct solve_limits *l)
{
    struct solve_ring r;
    int sweeps = s->a.exact    ? SWEEPS
                 : s->n <= FEW ? 2
                               : 1,
        most = s->a.exact || s->n <= FEW ? 2 : 1;
    for (bool better = true; better && sweeps > 0; sweeps--) {
        better = false;
        for (int by = 1; by <= most; by++)
            for (int i = 0; i < s->n; i++)
                for (int j = 0; j < s->n; j++)
                    if (i != j && solve_move(&r, s, b->ring, l, i, j, by) &&
                        take(s, b, &r, b->t * (1 - least_gain(s))))
                        better = true;
    }
}

// ---- one number of rounds ----------------------------------------------------------------------

// What takes longest in the ring: the group whose disk is busy longer than all nodes in turn, or
// -1.
static int find_busiest(const struct solve *s, const struct solve_ring *r,
                        const struct plan_node *nodes)
{
    double busy[PLAN_GROUPS] = {0}, most = 0;
    int worst = -1;
    for (int i = 0; i < r->n; i++) {
        int g = s->c->machines[r->at[i]].disk_group;
        most += nodes[i].compute + nodes[i].wait;
        if (g >= 0)
            busy[g] += (double)nodes[i].streamed / (s->c->disk_rates[g] * s->headroom);
    }
    for (int g = 0; g < PLAN_GROUPS; g++)
        if (busy[g] > 0 && busy[g] >= most) {
            most = busy[g];
            worst = g;
        }
    return worst;
}

// With prices on what the members of disk groups stream, so that these keep the bound together:
// what takes longest becomes dearer, in smaller and smaller steps.
static bool split_grouped(struct solve *s, struct best *b, struct solve_limits *l, double below)
{
    double weight[PLAN_GROUPS] = {0}, own = 1;
    bool found = false;
    for (int it = 0; it < (s->a.exact ? 24 : 10) && !found; it++) {
        struct solve_ring r;
        struct plan_node nodes[PLAN_MAX_NODES];
        for (int i = 0; i < s->n; i++) {
            int g = s->c->machines[i].disk_group;
            l->price[i] = g >= 0 ? weight[g] / own / (s->c->disk_rates[g] * s->headroom) : 0;
        }
        solve_costs(s, l);
        double sum = solve_split(s, l, &r), share = 0;
        for (int g = 0; g < PLAN_GROUPS; g++)
            share += weight[g];
        // What all prices together leave to be saved is too little.
        if (!(own * sum <= below * (own + share)))
            break;
        found = take(s, b, &r, below);
        if (found || !(solve_period(s, &r, nodes) < INFINITY))
            break;
        int worst = find_busiest(s, &r, nodes);
        double step = 1.0 / (it + 2);
        own *= 1 - step;
        for (int g = 0; g < PLAN_GROUPS; g++)
            weight[g] *= 1 - step;
        if (worst >= 0)
            weight[worst] += step;
        else
            own += step;
    }
    memset(l->price, 0, sizeof l->price);
    return found;
}

// Tries to find a ring that keeps `below`. *sum: no ring that does takes less.
static bool split(struct solve *s, struct best *b, struct solve_limits *l, double below,
                  double *sum)
{
    struct solve_ring r;
    l->bound = below;
    solve_costs(s, l);
    *sum = solve_split(s, l, &r);
    // Of unlike layers in several rounds the sum is that of mean ones.
    const bool exact = !s->placed || (s->by_place && l->rounds == 1);
    const double near_sum = exact ? 1 : s->a.exact ? 1.1 : 1.01;
    if (!(*sum < INFINITY) || *sum > below * near_sum)
        return false;
    if (take(s, b, &r, below))
        return true;
    if (s->grouped && below < INFINITY && split_grouped(s, b, l, below))
        return true;
    // Near enough for real layers to make up for it?
    struct solve_ring near = r;
    struct best other = {&near, solve_period(s, &r, NULL), false};
    if (!(other.t < below * 1.1))
        return false;
    move_layers(s, &other, l);
    return other.found && take(s, b, &near, below);
}

// Rings of `rounds` that are faster than b->t by the gain.
static void try_rounds(struct solve *s, struct best *b, struct solve_limits *l, double gain)
{
    const double fine = least_gain(s);
    double lo = 0, sum, below = b->t * (1 - gain);
    if (!split(s, b, l, below, &sum))
        return;
    for (int i = 0; i < 60; i++) {
        lo = sum > lo ? sum : lo;
        if (b->t - lo <= b->t * fine)
            break;
        double mid = i % 2 ? b->t * (1 - fine) : (lo + b->t) / 2;
        if (split(s, b, l, mid, &sum))
            continue;
        if (i % 2)
            break;
        lo = mid;
    }
    if (s->placed || s->grouped)
        move_layers(s, b, l);
}

// ---- everything, where that is little -----------------------------------------------------------

// Distributions of the layers over the machines, times rounds and orders; what is few is searched
// through, as unlike layers in several rounds have no better way.
bool solve_is_little(const struct solve *s, const struct solve_task *task, int n_orders,
                     double most)
{
    double n = (double)n_orders * (task->max_rounds - task->min_rounds + 1);
    for (int i = 1; i < s->n; i++)
        n *= (double)(s->n_layers + i) / i;
    return n <= most;
}

static void try_counts(const struct solve *s, struct best *b, const struct solve_limits *l,
                       struct solve_ring *r, int p, int left)
{
    int at = l->order[p], first = l->needed[at];
    if (p == s->n - 1) {
        r->at[r->n] = at;
        r->layers[r->n] = left;
        r->n++;
        if (left >= first && left <= l->most[at])
            take(s, b, r, b->t * (1 - 1e-9));
        r->n--;
        return;
    }
    for (int w = first; w <= left && w <= l->most[at]; w++) {
        int n = r->n;
        if (w) {
            r->at[r->n] = at;
            r->layers[r->n++] = w;
        }
        try_counts(s, b, l, r, p + 1, left - w);
        r->n = n;
    }
}

static void try_all(const struct solve *s, struct best *b, const struct solve_limits *l,
                    double gain)
{
    struct solve_ring ring, r = {.rounds = l->rounds};
    struct best other = {&ring, b->t * (1 - gain), false};
    try_counts(s, &other, l, &r, 0, s->n_layers);
    if (other.found) {
        *b->ring = ring;
        b->t = other.t;
        b->found = true;
    }
}

// ---- all rounds --------------------------------------------------------------------------------

static void accept(const struct solve *s, struct best *b, const struct solve_ring *r, double gain)
{
    struct plan_node nodes[PLAN_MAX_NODES];
    double t = solve_time(s, r, nodes);
    if (t < b->t * (1 - gain)) {
        *b->ring = *r;
        b->t = t;
        b->found = true;
    }
}

// Files that are slices were made for some plan: every machine with all of its own, the head with
// what is left. Mean layers say nothing of where the windows would lie.
static void try_files(const struct solve *s, struct best *b, const struct solve_limits *l,
                      double gain)
{
    struct solve_ring r = {.rounds = l->rounds};
    int left = s->n_layers;
    for (int p = 0; p < s->n - 1; p++) {
        int at = l->order[p];
        int held = s->held[(size_t)(at + 1) * (size_t)(s->n_layers + 1) - 1];
        if (held > l->most[at] || held == s->n_layers)
            held = 0;
        if (held) {
            r.at[r.n] = at;
            r.layers[r.n++] = held;
        } else if (l->needed[at])
            return;
        left -= held;
    }
    r.at[r.n] = s->n - 1;
    r.layers[r.n++] = left;
    if (left >= l->needed[s->n - 1] && left <= l->most[s->n - 1])
        accept(s, b, &r, gain);
}

// The best of one number of rounds and an order becomes the best of all when it gains enough.
static void try_one(struct solve *s, struct best *b, struct solve_limits *l,
                    const struct solve_task *task, bool little)
{
    static const double headrooms[] = {1, 0.9, 0.75};
    const size_t n = s->a.exact ? 1 : sizeof headrooms / sizeof *headrooms;
    if (s->a.has_given && l->rounds > 1)
        try_files(s, b, l, task->gain);
    for (size_t i = 0; i < n; i++) {
        struct solve_ring ring;
        struct best c = {&ring, b->t, false};
        s->headroom = headrooms[i];
        try_rounds(s, &c, l, task->gain);
        if (little && l->rounds > 1)
            try_all(s, &c, l, task->gain);
        s->headroom = 1;
        if (!c.found)
            break;
        accept(s, b, &ring, task->gain);
        if (b->t < c.t * (1 + least_gain(s)))
            break; // as good as rounds that are alike
    }
}

// Moves of single layers by what is foretold, in rings that are small enough for all of them.
static void move_foretold(const struct solve *s, struct best *b, const struct solve_limits *l)
{
    struct solve_ring r;
    struct plan_node nodes[PLAN_MAX_NODES];
    bool better = true;
    for (int sweep = 0; better && sweep < 3; sweep++) {
        better = false;
        for (int i = 0; i < s->n; i++)
            for (int j = 0; j < s->n; j++) {
                double below = b->t * (1 - least_gain(s));
                if (i == j || !solve_move(&r, s, b->ring, l, i, j, 1) || !solve_keeps(s, &r, below))
                    continue;
                double t = solve_time(s, &r, nodes);
                if (!(t < below))
                    continue;
                *b->ring = r;
                b->t = t;
                better = true;
            }
    }
}

static struct solve_limits limits_of(const struct solve *s, const struct solve_task *task,
                                     const int *order, int rounds)
{
    struct solve_limits l = {.rounds = rounds};
    for (int i = 0; i < s->n; i++) {
        l.order[i] = order[i];
        l.needed[i] = task->needed[i];
        l.most[i] = task->most[i];
    }
    return l;
}

bool solve_search(struct solve *s, const struct solve_task *task, struct solve_ring *best,
                  double *t)
{
    struct best b = {best, *t, false};
    int orders[SOLVE_ORDERS][PLAN_MAX_NODES];
    int n = solve_orders(s, NULL, orders), from = 0;
    const bool little = s->placed && solve_is_little(s, task, n, LITTLE);
    for (int pass = 0; pass < 8; pass++) {
        double before = b.t;
        for (int k = task->min_rounds; k <= task->max_rounds; k++)
            for (int o = from; o < n; o++) {
                struct solve_limits l = limits_of(s, task, orders[o], k);
                try_one(s, &b, &l, task, little);
            }
        // Machines that are left over may have a shorter way among themselves.
        if (!b.found || (pass && !(b.t < before)) || solve_orders(s, b.ring, orders) < 3 ||
            s->n <= SOLVE_FEW)
            break;
        from = 2;
        n = 3;
    }
    if (b.found && !s->a.exact && s->n <= FEW) {
        int order[PLAN_MAX_NODES];
        solve_order_of(s, best, order);
        struct solve_limits l = limits_of(s, task, order, best->rounds);
        move_foretold(s, &b, &l);
    }
    *t = b.t;
    return b.found;
}
