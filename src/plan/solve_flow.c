// The ring's period when its rounds differ: bytes flow from disks into slots, and out of them.
//
// The formulas of plan.h take the slots for full whenever a window begins, and a disk for busy as
// long as there is something to read. Both hold where all rounds are alike. Where windows differ by
// a layer, where the head's last round has the output, or where nodes wait in turn, slots are
// full, and disks idle, in one round, and are missed in the next. So tokens are followed through
// the rounds until one takes as long as the last, at the level of windows: a node's slots fill at
// its disk's rate while there is room, and a window takes from them evenly.
#include "plan/solve.h"

#include <math.h>

enum { MAX_TOKENS = 24 };

struct tank {                 // a node's slots
    double size, level, disk; // bytes, bytes a second
    int group;
};

struct window {
    double seconds, bytes,
        demand; // of computing, that go through the slots, of waiting for experts
};

struct flow {
    const struct solve *s;
    const struct solve_ring *r;
    const struct plan_node *nodes;
    struct tank tanks[PLAN_MAX_NODES];
    struct window windows[PLAN_MAX_ROUNDS][PLAN_MAX_NODES];
    double hops[PLAN_MAX_NODES];
    double wait[PLAN_MAX_NODES]; // of the token
};

// ---- windows -----------------------------------------------------------------------------------

// Of one token.
static void find_windows(struct flow *f, const struct window_table *t, int i)
{
    const struct plan_node *n = &f->nodes[i];
    const struct solve *s = f->s;
    const struct cost_sums *sums = solve_sums(s, n->machine);
    double seconds = 0, bytes = 0, used = 0;
    int rounds = f->r->rounds;
    for (int r = 0; r < rounds; r++) {
        struct window *w = &f->windows[r][i];
        int lo = t->lo[r][i], hi = t->hi[r][i];
        int mid = lo + n->gpu_layers / rounds + (r < n->gpu_layers % rounds);
        *w = (struct window){
            .seconds = sums[hi].lanes - sums[mid].lanes + sums[mid].gpu - sums[lo].gpu,
            .bytes = sums[hi].bytes - sums[mid].bytes - (sums[hi].experts - sums[mid].experts),
            .demand = sums[hi].used - sums[mid].used};
        if (n->machine == s->n - 1 && r == rounds - 1) {
            w->seconds += s->output.lanes;
            w->bytes += s->output.bytes;
        }
        seconds += w->seconds;
        bytes += w->bytes;
        used += w->demand;
    }
    double late = n->demand ? (double)n->demand / s->c->machines[n->machine].disk : 0;
    for (int r = 0; r < rounds; r++) {
        struct window *w = &f->windows[r][i];
        w->seconds *= seconds > 0 ? n->compute / seconds : 0;
        w->bytes *= bytes > 0 ? (double)(n->streamed - n->demand) / bytes : 0;
        w->demand *= used > 0 ? late / used : 0;
    }
}

// ---- time passing ------------------------------------------------------------------------------

static bool reads(const struct tank *t)
{
    return t->disk > 0 && t->level < t->size * (1 - 1e-9);
}

// Bytes a second that a node's disk gives while so many of its group are reading.
static double rate_of(const struct flow *f, const struct tank *t, const int *readers)
{
    if (t->group < 0 || readers[t->group] < 2)
        return t->disk;
    double share = f->s->c->disk_rates[t->group] / readers[t->group];
    return share < t->disk ? share : t->disk;
}

// All nodes read for `left` seconds while node `at` computes evenly through `bytes`, or nobody
// (-1); or while its disk is busy with experts that it waits for (`fetching`). Returns the seconds
// that this took: more when the bytes did not come in time, or the disk had others to serve.
static double pass_time(struct flow *f, int at, double left, double bytes, bool fetching)
{
    double passed = 0;
    for (int events = 0; left > 1e-12 && events < 4 * PLAN_MAX_NODES; events++) {
        int readers[PLAN_GROUPS] = {0};
        for (int i = 0; i < f->r->n; i++) {
            const struct tank *t = &f->tanks[i];
            if (t->group >= 0 && (reads(t) || (i == at && (bytes > 0 || fetching))))
                readers[t->group]++;
        }
        double use = at >= 0 ? bytes / left : 0, pace = 1; // of computing
        if (use > 0 && !(f->tanks[at].level > f->tanks[at].size * 1e-9)) {
            double rate = rate_of(f, &f->tanks[at], readers);
            pace = rate < use ? rate / use : 1;
        }
        if (fetching)
            pace = rate_of(f, &f->tanks[at], readers) / f->tanks[at].disk;
        double net[PLAN_MAX_NODES], step = left / pace;
        for (int i = 0; i < f->r->n; i++) {
            const struct tank *t = &f->tanks[i];
            net[i] = reads(t) || (i == at && use > 0) ? rate_of(f, t, readers) : 0;
            if (i == at)
                net[i] = fetching ? 0 : net[i] - use * pace;
            if (net[i] > 0 && !reads(t))
                net[i] = 0;
            double until = net[i] > 0   ? (t->size - t->level) / net[i]
                           : net[i] < 0 ? t->level / -net[i]
                                        : INFINITY;
            step = until > 0 && until < step ? until : step;
        }
        for (int i = 0; i < f->r->n; i++) {
            struct tank *t = &f->tanks[i];
            t->level += net[i] * step;
            t->level = t->level < 0 ? 0 : t->level > t->size ? t->size : t->level;
        }
        passed += step;
        bytes -= use * pace * step;
        left -= pace * step;
    }
    return passed + (left > 0 ? left : 0);
}

static double run_token(struct flow *f)
{
    double t = 0;
    for (int i = 0; i < f->r->n; i++)
        f->wait[i] = 0;
    for (int r = 0; r < f->r->rounds; r++)
        for (int i = 0; i < f->r->n; i++) {
            const struct window *w = &f->windows[r][i];
            double took = pass_time(f, i, w->seconds, w->bytes, false);
            took += pass_time(f, i, w->demand, 0, true);
            f->wait[i] += took - w->seconds;
            t += took;
            if (f->hops[i] > 0)
                t += pass_time(f, -1, f->hops[i], 0, false);
        }
    return t;
}

// Of a chunk of a prompt: other seconds, and more experts.
static void find_chunk_windows(struct flow *f, const struct window_table *t, int i, int chunk)
{
    const struct plan_node *n = &f->nodes[i];
    const struct cost_sums *sums = solve_chunk_sums(f->s, chunk, n->machine);
    int rounds = f->r->rounds;
    struct solve_part p = solve_part_of(f->s, f->r, t, i);
    struct cost_share share;
    solve_share(&share, f->s, &p, n->gpu_layers, chunk);
    double more = share.cpu.used > 0 ? share.cpu.used_by_chunk / share.cpu.used : 1;
    double used = share.cpu.bytes - share.cpu.experts + share.cpu.used_by_chunk;
    double streamed = (double)(n->streamed - n->demand) + (double)n->demand * more;
    double part = used > 0 ? fmin(streamed / used, 1) : 0;
    for (int r = 0; r < rounds; r++) {
        struct window *w = &f->windows[r][i];
        int lo = t->lo[r][i], hi = t->hi[r][i];
        int mid = lo + n->gpu_layers / rounds + (r < n->gpu_layers % rounds);
        double lanes = sums[hi].chunk[0] - sums[mid].chunk[0];
        double rows = sums[hi].chunk[1] - sums[mid].chunk[1];
        w->seconds = lanes + (rows - lanes) * part + sums[mid].chunk[2] - sums[lo].chunk[2];
        w->demand *= more;
        if (n->machine == f->s->n - 1 && r == rounds - 1)
            w->seconds += f->s->output.lanes; // of the last chunk, which follows the others
    }
}

// False: there is nothing to follow, as nothing is streamed ahead.
static bool prepare(struct flow *f, const struct solve *s, const struct solve_ring *r,
                    const struct plan_node *nodes, const struct window_table *t)
{
    bool streams = false;
    f->s = s;
    f->r = r;
    f->nodes = nodes;
    for (int i = 0; i < r->n; i++) {
        const struct plan_machine *at = &s->c->machines[r->at[i]];
        const struct plan_node *n = &nodes[i];
        bool ahead = n->streamed > n->demand;
        f->tanks[i] = (struct tank){.size = ahead ? (double)n->slots : 0,
                                    .level = ahead ? (double)n->slots : 0,
                                    .disk = at->disk,
                                    .group = at->disk_group};
        f->hops[i] = r->n > 1 ? s->hops[r->at[i]][r->at[(i + 1) % r->n]] : 0;
        streams = streams || ahead;
        find_windows(f, t, i);
    }
    return streams;
}

double solve_flow(const struct solve *s, const struct solve_ring *r, struct plan_node *nodes)
{
    struct window_table t;
    struct flow f;
    if (windows_split(&t, s->n_layers, r->n, r->layers, r->rounds, NULL))
        return INFINITY;
    if (!prepare(&f, s, r, nodes, &t)) {
        double alone = 0;
        for (int i = 0; i < r->n; i++)
            alone += nodes[i].compute + nodes[i].wait + r->rounds * f.hops[i];
        return alone;
    }
    double before = INFINITY, took = 0;
    for (int i = 0; i < MAX_TOKENS && fabs(took - before) > 1e-4 * took; i++) {
        before = took;
        took = run_token(&f);
    }
    for (int i = 0; i < r->n; i++)
        nodes[i].wait = f.wait[i];
    return took;
}

double solve_flow_chunk(const struct solve *s, const struct solve_ring *r,
                        const struct plan_node *nodes, const struct window_table *t, int chunk)
{
    struct flow f;
    prepare(&f, s, r, nodes, t);
    for (int i = 0; i < r->n; i++) {
        find_chunk_windows(&f, t, i, chunk);
        if (r->n > 1)
            f.hops[i] =
                cost_hop(s->c, s->m, &s->a, r->at[i], r->at[(i + 1) % r->n], s->tokens[chunk]);
    }
    return run_token(&f);
}
