// The period of a ring: the smallest bound that its own time keeps. What nodes that share a disk
// stream is limited together: slots, which only bring forward what is read, are given up first
// where that costs least.
#include "plan/solve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct look {
    const struct solve *s;
    const struct solve_ring *r;
    struct solve_part parts[PLAN_MAX_NODES];
    struct plan_node nodes[PLAN_MAX_NODES];
    double hops;
};

struct solve_part solve_part_of(const struct solve *s, const struct solve_ring *r,
                                const struct window_table *t, int node)
{
    struct solve_part p = {.machine = r->at[node],
                           .layers = r->layers[node],
                           .rounds = r->rounds,
                           .windows = s->placed};
    for (int k = 0; k < r->rounds; k++) {
        p.lo[k] = t->lo[k][node];
        p.hi[k] = t->hi[k][node];
    }
    solve_share(&p.plain, s, &p, 0, -1);
    p.most_on_gpu = solve_most_on_gpu(s, &p);
    p.summed = true;
    return p;
}

static bool has_all(const struct solve *s, const struct solve_part *p)
{
    const uint16_t *held = s->held + (size_t)p->machine * (size_t)(s->n_layers + 1);
    for (int k = 0; k < p->rounds; k++)
        if (held[p->hi[k]] - held[p->lo[k]] != p->hi[k] - p->lo[k])
            return false;
    return true;
}

static bool look_at(struct look *l, const struct solve *s, const struct solve_ring *r)
{
    struct window_table t;
    l->s = s;
    l->r = r;
    l->hops = 0;
    if (windows_split(&t, s->n_layers, r->n, r->layers, r->rounds, NULL))
        return false;
    for (int i = 0; i < r->n; i++) {
        l->parts[i] = solve_part_of(s, r, &t, i);
        if (!has_all(s, &l->parts[i]))
            return false;
        if (r->n > 1)
            l->hops += r->rounds * s->hops[r->at[i]][r->at[(i + 1) % r->n]];
    }
    return true;
}

// ---- disks that several share ------------------------------------------------------------------

static double beyond(const struct look *l, int group, double bound)
{
    double sum = 0;
    for (int i = 0; i < l->r->n; i++)
        if (l->s->c->machines[l->r->at[i]].disk_group == group)
            sum += (double)l->nodes[i].streamed;
    double may = bound * l->s->c->disk_rates[group] * (1 + 1e-12);
    return sum > may ? sum - may : 0;
}

// A stretch of a node's slots, and what a byte of it saves.
struct stretch {
    int node;
    double bytes, saves;
};

static int by_savings(const void *a, const void *b)
{
    const struct stretch *x = a, *y = b;
    if (x->saves != y->saves)
        return x->saves < y->saves ? -1 : 1;
    return x->node - y->node;
}

static bool set_slots(struct look *l, int i, double slots)
{
    const struct solve *s = l->s;
    struct cost_share share;
    solve_share(&share, s, &l->parts[i], l->nodes[i].gpu_layers, -1);
    return !cost_node_with(&l->nodes[i], s->c, l->r->at[i], s->m, &s->a, &share, l->r->rounds,
                           slots, NULL);
}

static int find_stretches(struct stretch *out, struct look *l, int i)
{
    const struct plan_node node = l->nodes[i];
    double slots[COST_SLOTS], own = 0;
    struct cost_share share;
    solve_share(&share, l->s, &l->parts[i], node.gpu_layers, -1);
    int n =
        cost_slots(slots, l->s->c, l->r->at[i], l->s->m, &share, l->r->rounds, (double)node.slots);
    for (int k = 0; k < n; k++) {
        set_slots(l, i, slots[k]);
        double less = l->nodes[i].compute + l->nodes[i].wait;
        if (k)
            out[k - 1] = (struct stretch){i, slots[k] - slots[k - 1],
                                          (own - less) / (slots[k] - slots[k - 1])};
        own = less;
    }
    l->nodes[i] = node;
    return n ? n - 1 : 0;
}

// Takes slots from the members where they save least. A node's own time is convex in its slots, so
// its stretches go from the last to the first.
static bool give_up_slots(struct look *l, int group, double bound)
{
    double over = beyond(l, group, bound);
    if (!(over > 0))
        return true;
    struct stretch all[PLAN_MAX_NODES * COST_SLOTS];
    double slots[PLAN_MAX_NODES];
    int n = 0;
    for (int i = 0; i < l->r->n; i++) {
        slots[i] = (double)l->nodes[i].slots;
        if (l->s->c->machines[l->r->at[i]].disk_group == group)
            n += find_stretches(&all[n], l, i);
    }
    qsort(all, (size_t)n, sizeof *all, by_savings);
    over += 1.0 * l->r->n; // streamed bytes are cut to whole ones
    for (int k = 0; k < n && over > 0; k++) {
        double take = all[k].bytes < over ? all[k].bytes : over;
        slots[all[k].node] -= take;
        over -= take;
    }
    for (int i = 0; i < l->r->n; i++)
        if (slots[i] < (double)l->nodes[i].slots && !set_slots(l, i, slots[i]))
            return false;
    return !(beyond(l, group, bound) > 0);
}

// A GPU that is slow may still spare the shared disk.
static bool spare_disk(struct look *l, int group, double bound)
{
    const struct solve *s = l->s;
    for (int i = 0; i < l->r->n; i++) {
        const struct plan_machine *at = &s->c->machines[l->r->at[i]];
        if (at->disk_group == group && at->vram &&
            !(solve_node(&l->nodes[i], s, &l->parts[i], bound, 1e3 / at->disk) < INFINITY))
            return false;
    }
    return give_up_slots(l, group, bound);
}

// ---- the period --------------------------------------------------------------------------------

// A token's time when no disk may be busy beyond the bound.
static double within(struct look *l, double bound)
{
    double sum = l->hops;
    bound *= l->s->headroom;
    for (int i = 0; i < l->r->n; i++)
        if (!(solve_node(&l->nodes[i], l->s, &l->parts[i], bound, 0) < INFINITY))
            return INFINITY;
    for (int i = 0; i < l->r->n && bound < INFINITY && l->s->grouped; i++) {
        int group = l->s->c->machines[l->r->at[i]].disk_group;
        if (group >= 0 && !give_up_slots(l, group, bound) && !spare_disk(l, group, bound))
            return INFINITY;
    }
    for (int i = 0; i < l->r->n; i++)
        sum += l->nodes[i].compute + l->nodes[i].wait;
    return sum;
}

bool solve_keeps(const struct solve *s, const struct solve_ring *r, double bound)
{
    struct look l;
    return look_at(&l, s, r) && within(&l, bound) <= bound;
}

static double period(struct look *l)
{
    double lo = within(l, INFINITY), hi = lo;
    if (!(lo < INFINITY))
        return INFINITY;
    // Rounding of bytes must not look like a disk that is late.
    while (within(l, hi * (1 + 1e-10)) > hi * (1 + 1e-10)) {
        lo = hi;
        hi *= 2;
        if (!(hi < 1e30))
            return INFINITY;
    }
    const double fine = l->s->a.exact ? 1e-12 : 1e-6;
    for (int i = 0; i < 60 && hi - lo > hi * fine; i++) {
        double mid = (lo + hi) / 2;
        if (within(l, mid) <= mid)
            hi = mid;
        else
            lo = mid;
    }
    within(l, hi * (1 + 1e-10));
    return hi;
}

double solve_period(const struct solve *s, const struct solve_ring *r, struct plan_node *nodes)
{
    struct look l;
    if (!look_at(&l, s, r))
        return INFINITY;
    double t = period(&l);
    for (int i = 0; nodes && t < INFINITY && i < r->n; i++)
        nodes[i] = l.nodes[i];
    return t;
}

// ---- what is foretold --------------------------------------------------------------------------

// Slots `times` as large, where there is room for them.
static void enlarge(struct plan_node *nodes, struct look *l, double times)
{
    const struct solve *s = l->s;
    for (int i = 0; i < l->r->n; i++) {
        struct cost_share share;
        struct plan_node node;
        if (nodes[i].streamed <= nodes[i].demand)
            continue;
        solve_share(&share, s, &l->parts[i], nodes[i].gpu_layers, -1);
        if (!cost_node_with(&node, s->c, l->r->at[i], s->m, &s->a, &share, l->r->rounds,
                            times * (double)nodes[i].slots, NULL))
            nodes[i] = node;
    }
}

double solve_time(const struct solve *s, const struct solve_ring *r, struct plan_node *nodes)
{
    static const double sizes[] = {1.4, 2, 3};
    struct look l;
    if (!look_at(&l, s, r))
        return INFINITY;
    double formula = period(&l);
    size_t bytes = (size_t)r->n * sizeof *nodes;
    if (!(formula < INFINITY))
        return INFINITY;
    memcpy(nodes, l.nodes, bytes);
    if (s->a.exact)
        return formula;
    double best = solve_flow(s, r, nodes);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && best > formula * (1 + 1e-3); i++) {
        struct plan_node larger[PLAN_MAX_NODES];
        memcpy(larger, l.nodes, bytes);
        enlarge(larger, &l, sizes[i]);
        double t = solve_flow(s, r, larger);
        if (t < best) {
            best = t;
            memcpy(nodes, larger, bytes);
        }
    }
    return best > formula ? best : formula;
}
