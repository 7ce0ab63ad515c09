// The best layer counts for a number of rounds, an order and a bound, by dynamic programming:
//
//     up[p][l]    least sum of machines order[0 .. p], of which p has a layer, for layers [0, l)
//     before[p]   the same of those before p, with the hop to p
//     up[p][l] = min over w of before[p][l - w] + cost of w layers on order[p]
//
// A machine without layers is passed over, and so is its hop. Where layers are placed, the cost is
// that of layers [l - w, l) on machine order[p].
#include "plan/solve.h"

#include <math.h>
#include <string.h>

static size_t row(const struct solve *s)
{
    return (size_t)s->n_layers + 1;
}

static bool by_place(const struct solve *s, int rounds)
{
    return s->by_place && rounds == 1;
}

// Cost of layers [lo, hi) on a machine, or of hi - lo of the mean.
static double *cost_at(const struct solve *s, int machine, int lo, int hi, int rounds)
{
    size_t m = (size_t)machine;
    if (by_place(s, rounds))
        return s->room + (m * row(s) + (size_t)lo) * row(s) + (size_t)hi;
    return s->room + m * row(s) + (size_t)(hi - lo);
}

static double *table(const struct solve *s, int which, int p)
{
    size_t all = (size_t)s->n * row(s);
    return s->room + all * (s->by_place ? row(s) : 1) + (size_t)which * all + (size_t)p * row(s);
}

static bool held(const struct solve *s, int machine, int lo, int hi, int rounds)
{
    const uint16_t *has = s->held + (size_t)machine * row(s);
    if (by_place(s, rounds))
        return has[hi] - has[lo] == hi - lo;
    return has[s->n_layers] >= hi - lo;
}

static bool are_there(const struct solve *s, const struct solve_limits *l)
{
    const struct solve_limits *was = &s->costs;
    return was->rounds == l->rounds && was->bound == l->bound && was->headroom == s->headroom &&
           !memcmp(was->price, l->price, sizeof l->price) &&
           !memcmp(was->most, l->most, sizeof l->most);
}

void solve_costs(struct solve *s, const struct solve_limits *l)
{
    if (are_there(s, l))
        return;
    s->costs = *l;
    s->costs.headroom = s->headroom;
    int places = by_place(s, l->rounds) ? s->n_layers : 0;
    for (int at = 0; at < s->n; at++)
        for (int lo = 0; lo <= places; lo++) {
            bool fits = true;
            for (int hi = lo; hi <= s->n_layers; hi++) {
                double *cost = cost_at(s, at, lo, hi, l->rounds);
                struct plan_node node;
                struct solve_part part = {.machine = at, .layers = hi - lo, .rounds = l->rounds};
                *cost = INFINITY;
                if (hi == lo && at != s->n - 1)
                    continue;
                fits = fits && hi - lo <= l->most[at] && held(s, at, lo, hi, l->rounds);
                if (!fits)
                    continue;
                if (places) {
                    part.windows = true;
                    part.lo[0] = (uint16_t)lo;
                    part.hi[0] = (uint16_t)hi;
                }
                *cost = solve_node(&node, s, &part, l->bound * s->headroom, l->price[at]);
                // What has no room has none with a layer more.
                fits = *cost < INFINITY || hi == lo || s->c->machines[at].vram;
            }
        }
}

// Whether the ring may go from order[j] (-1: the head, at the beginning) straight to order[p].
static bool may_pass(const struct solve *s, const struct solve_limits *l, int j, int p)
{
    (void)s;
    for (int i = j + 1; i < p; i++)
        if (l->needed[l->order[i]])
            return false;
    return true;
}

static double hop(const struct solve *s, const struct solve_limits *l, int j, int p)
{
    int from = j < 0 ? s->n - 1 : l->order[j];
    return from == l->order[p] ? 0 : l->rounds * s->hops[from][l->order[p]];
}

static void find_before(const struct solve *s, const struct solve_limits *l, int p)
{
    double *before = table(s, 1, p);
    for (int i = 0; i <= s->n_layers; i++)
        before[i] = INFINITY;
    if (may_pass(s, l, -1, p))
        before[0] = hop(s, l, -1, p);
    for (int j = 0; j < p; j++) {
        if (!may_pass(s, l, j, p))
            continue;
        const double *up = table(s, 0, j), way = hop(s, l, j, p);
        for (int i = 1; i <= s->n_layers; i++)
            before[i] = up[i] + way < before[i] ? up[i] + way : before[i];
    }
}

static void find_up(const struct solve *s, const struct solve_limits *l, int p)
{
    double *up = table(s, 0, p);
    const double *before = table(s, 1, p);
    int at = l->order[p], first = at == s->n - 1 && !l->needed[at] ? 0 : 1, most = s->n_layers;
    for (int i = 0; i <= s->n_layers; i++)
        up[i] = INFINITY;
    if (by_place(s, l->rounds)) {
        for (int lo = 0; lo <= s->n_layers; lo++) {
            const double *cost = cost_at(s, at, lo, lo, 1) - lo;
            for (int hi = lo + first; before[lo] < INFINITY && hi <= s->n_layers; hi++)
                up[hi] = before[lo] + cost[hi] < up[hi] ? before[lo] + cost[hi] : up[hi];
        }
        return;
    }
    const double *cost = cost_at(s, at, 0, 0, l->rounds);
    while (most > 0 && !(cost[most] < INFINITY))
        most--;
    for (int w = first; w <= most; w++)
        for (int i = w; i <= s->n_layers; i++)
            up[i] = before[i - w] + cost[w] < up[i] ? before[i - w] + cost[w] : up[i];
}

// The counts that led to up[p][all layers].
static void trace(const struct solve *s, const struct solve_limits *l, struct solve_ring *out)
{
    int counts[PLAN_MAX_NODES] = {0}, left = s->n_layers;
    for (int p = s->n - 1; p >= 0;) {
        int at = l->order[p], w = at == s->n - 1 && !l->needed[at] ? 0 : 1;
        const double *before = table(s, 1, p), up = table(s, 0, p)[left];
        while (w < left && !(before[left - w] + *cost_at(s, at, left - w, left, l->rounds) == up))
            w++;
        counts[p] = w;
        left -= w;
        double from = before[left];
        int j = p - 1;
        while (j >= 0 && !(may_pass(s, l, j, p) && left > 0 &&
                           table(s, 0, j)[left] + hop(s, l, j, p) == from))
            j--;
        p = j;
    }
    *out = (struct solve_ring){.rounds = l->rounds};
    for (int p = 0; p < s->n; p++)
        if (counts[p] || p == s->n - 1) {
            out->at[out->n] = l->order[p];
            out->layers[out->n++] = counts[p];
        }
}

double solve_split(struct solve *s, const struct solve_limits *l, struct solve_ring *out)
{
    for (int p = 0; p < s->n; p++) {
        find_before(s, l, p);
        find_up(s, l, p);
    }
    double sum = table(s, 0, s->n - 1)[s->n_layers];
    if (sum < INFINITY)
        trace(s, l, out);
    return sum;
}
