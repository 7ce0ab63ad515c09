// Plans for more than one user's latency: the first token of a prompt, and all users together, are
// bound by the busiest node. So the search for the shortest period is repeated with fewer and fewer
// layers allowed where a node would be busiest, the objective says which of these rings is best,
// and single layers are moved as long as that helps. Little problems are searched through.
#include "plan/solve.h"

#include <math.h>

enum { STEPS = 8, LITTLE = 6000, SWEEPS = 6, FEW = 6 };

struct weighed {
    struct solve *s;
    const struct solve_task *task;
    struct solve_ring *best;
    double least; // objective
    struct plan plan;
};

static bool weigh(struct weighed *w, const struct solve_ring *r)
{
    double is = solve_foretell(&w->plan, w->s, r);
    if (!(is < w->least * (1 - 1e-9)))
        return false;
    w->least = is;
    *w->best = *r;
    return true;
}

// ---- the busiest -------------------------------------------------------------------------------

// Seconds that a machine with so many layers is busy with a chunk of a prompt, or with a token.
static double busy(const struct solve *s, int machine, int layers, int rounds, bool prompt)
{
    struct solve_part p = {.machine = machine, .layers = layers, .rounds = rounds};
    struct plan_node n;
    struct cost_share share;
    int chunk = s->n_chunks / 2;
    if (!(solve_node(&n, s, &p, INFINITY, 0) < INFINITY))
        return INFINITY;
    if (!prompt)
        return n.compute > n.disk ? n.compute : n.disk;
    solve_share(&share, s, &p, n.gpu_layers, chunk);
    return cost_stage(&n, s->c, &s->a, &share, rounds,
                      (s->a.prompt + s->tokens[chunk] - 1) / s->tokens[chunk]);
}

// The most layers with which no machine is busy longer than that; false: too few for the model.
static bool limit_layers(struct solve_task *t, const struct solve *s, double seconds, int rounds,
                         bool prompt)
{
    int sum = 0;
    for (int i = 0; i < s->n; i++) {
        int lo = 0, hi = t->most[i];
        while (lo < hi) {
            int mid = (lo + hi + 1) / 2;
            if (busy(s, i, mid, rounds, prompt) <= seconds)
                lo = mid;
            else
                hi = mid - 1;
        }
        t->most[i] = lo;
        sum += lo;
    }
    return sum >= s->n_layers;
}

static void balance(struct weighed *w, const struct solve_ring *from, bool prompt)
{
    double most = 0;
    for (int i = 0; i < from->n; i++) {
        double t = busy(w->s, from->at[i], from->layers[i], from->rounds, prompt);
        most = t > most ? t : most;
    }
    double lo = 0, hi = most; // of what is enough for all layers
    for (int i = 0; i < 20; i++) {
        struct solve_task t = *w->task;
        double mid = (lo + hi) / 2;
        if (limit_layers(&t, w->s, mid, from->rounds, prompt))
            hi = mid;
        else
            lo = mid;
    }
    for (int i = 0; i < STEPS && most < INFINITY; i++) {
        struct solve_task t = *w->task;
        struct solve_ring r;
        double period = INFINITY;
        if (limit_layers(&t, w->s, hi * pow(most / hi, (double)i / STEPS), from->rounds, prompt) &&
            solve_search(w->s, &t, &r, &period))
            weigh(w, &r);
    }
}

// ---- near and everywhere -----------------------------------------------------------------------

static struct solve_limits limits_of(const struct weighed *w, const int *order, int rounds)
{
    struct solve_limits l = {.rounds = rounds};
    for (int i = 0; i < w->s->n; i++) {
        l.order[i] = order[i];
        l.needed[i] = w->task->needed[i];
        l.most[i] = w->task->most[i];
    }
    return l;
}

static void move_layers(struct weighed *w)
{
    int order[PLAN_MAX_NODES];
    struct solve_ring r;
    solve_order_of(w->s, w->best, order);
    struct solve_limits l = limits_of(w, order, w->best->rounds);
    bool better = w->s->n <= FEW;
    for (int sweep = 0; better && sweep < SWEEPS; sweep++) {
        better = false;
        for (int i = 0; i < w->s->n; i++)
            for (int j = 0; j < w->s->n; j++)
                if (i != j && solve_move(&r, w->s, w->best, &l, i, j, 1) && weigh(w, &r))
                    better = true;
    }
}

static void try_counts(struct weighed *w, const struct solve_limits *l, struct solve_ring *r, int p,
                       int left)
{
    int at = l->order[p], first = l->needed[at], n = r->n;
    bool last = p == w->s->n - 1;
    for (int i = last ? left : first; i <= left && i <= l->most[at]; i++) {
        r->n = n;
        if (i || last) {
            r->at[r->n] = at;
            r->layers[r->n++] = i;
        }
        if (!last)
            try_counts(w, l, r, p + 1, left - i);
        else if (i >= first)
            weigh(w, r);
    }
    r->n = n;
}

bool solve_weigh(struct solve *s, const struct solve_task *task, struct solve_ring *best)
{
    struct weighed w = {.s = s, .task = task, .best = best, .least = INFINITY};
    struct solve_ring first;
    double period = INFINITY;
    if (!solve_search(s, task, &first, &period) || !weigh(&w, &first))
        return false;
    int orders[SOLVE_ORDERS][PLAN_MAX_NODES];
    int n = solve_orders(s, NULL, orders);
    if (solve_is_little(s, task, n, LITTLE)) {
        for (int k = task->min_rounds; k <= task->max_rounds; k++)
            for (int o = 0; o < n; o++) {
                struct solve_limits l = limits_of(&w, orders[o], k);
                struct solve_ring r = {.rounds = k};
                try_counts(&w, &l, &r, 0, s->n_layers);
            }
        return true;
    }
    if (s->a.first > 0)
        balance(&w, &first, true);
    if (s->a.throughput > 0)
        balance(&w, &first, false);
    move_layers(&w);
    return true;
}
