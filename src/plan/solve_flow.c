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
    double gpu;     // seconds of the layers on it, which come first
    double seconds; // of computing the others
    double bytes;   // that go through the slots meanwhile
    double demand;  // seconds of waiting for experts
};

struct flow {
    const struct solve *s;
    const struct solve_ring *r;
    const struct plan_node *nodes;
    struct tank tanks[PLAN_MAX_NODES];
    struct window windows[PLAN_MAX_ROUNDS][PLAN_MAX_NODES];
    struct window output; // of the head, behind its last window
    double hops[PLAN_MAX_NODES];
    double wait[PLAN_MAX_NODES]; // of the token
};

// ---- windows -----------------------------------------------------------------------------------

static void scale(struct window *w, double seconds, double bytes, double demand)
{
    w->gpu *= seconds;
    w->seconds *= seconds;
    w->bytes *= bytes;
    w->demand *= demand;
}

// Of one token.
static void find_windows(struct flow *f, const struct window_table *t, int i)
{
    const struct plan_node *n = &f->nodes[i];
    const struct solve *s = f->s;
    const struct cost_sums *sums = solve_sums(s, n->machine);
    const bool head = n->machine == s->n - 1;
    struct window all = {0};
    for (int r = 0, done = 0; r < f->r->rounds; r++) {
        struct window *w = &f->windows[r][i];
        int lo = t->lo[r][i], hi = t->hi[r][i];
        const struct cost_sums *from = &sums[lo], *to = &sums[hi];
        const struct cost_sums *mid = from + windows_part(n->gpu_layers, n->layers, done, hi - lo);
        done += hi - lo;
        *w = (struct window){.gpu = mid->gpu - from->gpu,
                             .seconds = to->lanes - mid->lanes,
                             .bytes = to->bytes - mid->bytes - (to->experts - mid->experts),
                             .demand = to->used - mid->used};
        all.seconds += w->gpu + w->seconds;
        all.bytes += w->bytes;
        all.demand += w->demand;
    }
    if (head) {
        f->output = (struct window){.seconds = s->output.lanes, .bytes = s->output.bytes};
        all.seconds += f->output.seconds;
        all.bytes += f->output.bytes;
    }
    double late = n->demand ? (double)n->demand / s->c->machines[n->machine].disk : 0;
    double seconds = all.seconds > 0 ? n->compute / all.seconds : 0;
    double bytes = all.bytes > 0 ? (double)(n->streamed - n->demand) / all.bytes : 0;
    double demand = all.demand > 0 ? late / all.demand : 0;
    for (int r = 0; r < f->r->rounds; r++)
        scale(&f->windows[r][i], seconds, bytes, demand);
    if (head)
        scale(&f->output, seconds, bytes, 0);
}

// ---- time passing ------------------------------------------------------------------------------

static bool reads(const struct tank *t)
{
    return t->disk > 0 && t->level < t->size * (1 - 1e-9);
}

// Bytes a second that each reader of a group gets at most: equal shares, and what those whose own
// way is slower leave is the others'. `at` reads, whatever its slots.
static void find_shares(const struct flow *f, int at, double shares[PLAN_GROUPS])
{
    bool done[PLAN_GROUPS] = {0};
    for (int i = 0; i < f->r->n; i++) {
        int group = f->tanks[i].group, n = 0;
        if (group < 0 || done[group])
            continue;
        done[group] = true;
        double slower[PLAN_MAX_NODES], left = f->s->c->disk_rates[group];
        for (int k = i; k < f->r->n; k++) {
            const struct tank *t = &f->tanks[k];
            if (t->group == group && (reads(t) || k == at))
                slower[n++] = t->disk;
        }
        for (int k = 0; k < n; k++)
            if (slower[k] < left / n) {
                left -= slower[k];
                slower[k] = slower[--n];
                k = -1; // shares are larger now
            }
        shares[group] = n ? left / n : INFINITY;
    }
}

static double rate_of(const struct tank *t, const double *shares)
{
    return t->group >= 0 && shares[t->group] < t->disk ? shares[t->group] : t->disk;
}

// All nodes read for `left` seconds while node `at` computes evenly through `bytes`, or nobody
// (-1); or while its disk is busy with experts that it waits for (`fetching`). Returns the seconds
// that this took: more when the bytes did not come in time, or the disk had others to serve.
static double pass_time(struct flow *f, int at, double left, double bytes, bool fetching)
{
    double passed = 0;
    for (int events = 0; left > 1e-12 && events < 4 * PLAN_MAX_NODES; events++) {
        double shares[PLAN_GROUPS];
        find_shares(f, bytes > 0 || fetching ? at : -1, shares);
        double use = at >= 0 ? bytes / left : 0, pace = 1; // of computing
        if (use > 0 && !(f->tanks[at].level > f->tanks[at].size * 1e-9)) {
            double rate = rate_of(&f->tanks[at], shares);
            pace = rate < use ? rate / use : 1;
        }
        if (fetching)
            pace = rate_of(&f->tanks[at], shares) / f->tanks[at].disk;
        double net[PLAN_MAX_NODES], step = left / pace;
        for (int i = 0; i < f->r->n; i++) {
            const struct tank *t = &f->tanks[i];
            net[i] = reads(t) || (i == at && use > 0) ? rate_of(t, shares) : 0;
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

static double run_window(struct flow *f, int i, const struct window *w)
{
    double took = pass_time(f, -1, w->gpu, 0, false);
    took += pass_time(f, i, w->seconds, w->bytes, false);
    took += pass_time(f, i, w->demand, 0, true);
    f->wait[i] += took - w->gpu - w->seconds;
    return took;
}

static double run_token(struct flow *f)
{
    double t = 0;
    for (int i = 0; i < f->r->n; i++)
        f->wait[i] = 0;
    for (int r = 0; r < f->r->rounds; r++)
        for (int i = 0; i < f->r->n; i++) {
            t += run_window(f, i, &f->windows[r][i]);
            if (r == f->r->rounds - 1 && i == f->r->n - 1)
                t += run_window(f, i, &f->output);
            t += pass_time(f, -1, f->hops[i], 0, false);
        }
    return t;
}

// Of a chunk of a prompt: other seconds, and more experts. The last chunk has the output behind it.
static void find_chunk_windows(struct flow *f, const struct window_table *t, int i, int chunk)
{
    const struct plan_node *n = &f->nodes[i];
    const struct cost_sums *sums = solve_chunk_sums(f->s, chunk, n->machine);
    struct solve_part p = solve_part_of(f->s, f->r, t, i);
    struct cost_share share;
    solve_share(&share, f->s, &p, n->gpu_layers, chunk);
    double more = share.cpu.used > 0 ? share.cpu.used_by_chunk / share.cpu.used : 1;
    double used = share.cpu.bytes - share.cpu.experts + share.cpu.used_by_chunk;
    double streamed = (double)(n->streamed - n->demand) + (double)n->demand * more;
    double part = used > 0 ? fmin(streamed / used, 1) : 0;
    for (int r = 0, done = 0; r < f->r->rounds; r++) {
        struct window *w = &f->windows[r][i];
        int lo = t->lo[r][i], hi = t->hi[r][i];
        int mid = lo + windows_part(n->gpu_layers, n->layers, done, hi - lo);
        done += hi - lo;
        double lanes = sums[hi].chunk[0] - sums[mid].chunk[0];
        double rows = sums[hi].chunk[1] - sums[mid].chunk[1];
        w->gpu = sums[mid].chunk[2] - sums[lo].chunk[2];
        w->seconds = lanes + (rows - lanes) * part;
        w->demand *= more;
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
        nodes[i].wait = fmax(0, f.wait[i]); // but for rounding
    return took;
}

// ---- prompts -----------------------------------------------------------------------------------

enum { FOLLOWED = 64, SLOTS = 16 }; // chunks, parts that slots are divided into

// A node while chunks go round: when it is free, and its slots.
struct stage {
    double free, sent;   // seconds
    double level, since; // bytes in its slots at that time
    double slots, disk;
    double sends, latency;
};

// `n` chunks, one behind the other, through the node's window. What its slots can hold is read for
// the first and stays for the others.
static void pass_chunks(struct stage *at, const struct window *w, double *arrive, int n)
{
    const bool all = w->bytes * (1 + 1.0 / SLOTS) <= at->slots;
    double held = all ? w->bytes : at->slots * (1 - 5.0 / SLOTS);
    double again = w->bytes > held ? (w->bytes - held) / at->disk : 0;
    for (int i = 0; i < n; i++) {
        double begin = fmax(arrive[i], at->free) + w->gpu, read = again;
        if (!i && w->bytes > 0) {
            at->level = fmin(at->slots, at->level + at->disk * (begin - at->since));
            read = fmax(0, w->bytes - at->level) / at->disk;
        }
        double took = fmax(w->seconds, read);
        if (w->bytes > 0 && i == n - 1) { // which frees the slots as it goes on
            double left = n > 1 ? 0 : fmax(0, at->level - w->bytes);
            at->level = fmin(at->slots, left + at->disk * w->seconds);
            at->since = begin + took;
        }
        at->free = begin + took + w->demand;
        at->sent = fmax(at->free, at->sent) + at->sends;
        arrive[i] = at->sent + at->latency;
    }
}

static void find_stages(struct stage *stages, const struct flow *f, int tokens)
{
    const struct plan_cluster *c = f->s->c;
    double all[PLAN_GROUPS] = {0};
    int readers[PLAN_GROUPS] = {0};
    for (int i = 0; i < f->r->n; i++)
        if (f->tanks[i].group >= 0 && f->nodes[i].streamed) {
            readers[f->tanks[i].group]++;
            all[f->tanks[i].group] += (double)f->nodes[i].streamed;
        }
    for (int i = 0; i < f->r->n; i++) {
        const struct tank *t = &f->tanks[i];
        int from = f->r->at[i], to = f->r->at[(i + 1) % f->r->n];
        stages[i] = (struct stage){.slots = t->size, .level = t->size, .disk = t->disk};
        if (t->group >= 0 && readers[t->group] > 1) { // by what they read, as all read at once
            double part =
                fmax((double)f->nodes[i].streamed / all[t->group], 1.0 / readers[t->group]);
            stages[i].disk = fmin(t->disk, c->disk_rates[t->group] * part);
        }
        if (f->r->n < 2)
            continue;
        stages[i].latency = c->links[from][to].latency;
        stages[i].sends = cost_hop(c, f->s->m, &f->s->a, from, to, tokens) - stages[i].latency;
    }
}

// A group through all rounds; `arrive`: when each may begin, and then comes out again.
static void pass_group(struct stage *stages, const struct flow *f, double *arrive, int n)
{
    for (int k = 0; k < f->r->rounds; k++)
        for (int i = 0; i < f->r->n; i++)
            pass_chunks(&stages[i], &f->windows[k][i], arrive, n);
}

double solve_flow_prompt(const struct solve *s, const struct solve_ring *r,
                         const struct plan_node *nodes, const struct window_table *t, int chunk,
                         int chunks, int together)
{
    struct flow f;
    struct stage stages[PLAN_MAX_NODES], *head = &stages[r->n - 1];
    double arrive[FOLLOWED] = {0}, first = 0;
    int n = together < FOLLOWED ? together : FOLLOWED, done = 0;
    prepare(&f, s, r, nodes, t);
    for (int i = 0; i < r->n; i++)
        find_chunk_windows(&f, t, i, chunk);
    find_stages(stages, &f, s->tokens[chunk]);
    while (done < chunks && done < FOLLOWED) {
        n = n < chunks - done ? n : chunks - done;
        pass_group(stages, &f, arrive, n);
        first = done ? first : head->free / n;
        done += n;
    }
    // Those behind follow at the pace of these.
    double more = chunks > done ? (chunks - done) * (head->free - first) / (done - 1) : 0;
    arrive[0] = head->free;
    pass_chunks(head, &f.output, arrive, 1);
    return head->free + more;
}

double solve_flow_users(const struct solve *s, const struct solve_ring *r,
                        const struct plan_node *nodes, const struct window_table *t)
{
    enum { BEFORE = 8, TOKENS = 8 };
    struct flow f;
    struct stage stages[PLAN_MAX_NODES];
    double arrive[FOLLOWED] = {0}, began = 0;
    int n = s->a.users < FOLLOWED ? s->a.users : FOLLOWED;
    prepare(&f, s, r, nodes, t);
    struct window *last = &f.windows[r->rounds - 1][r->n - 1];
    last->seconds += f.output.seconds;
    last->bytes += f.output.bytes;
    find_stages(stages, &f, 1);
    for (int i = 0; i < BEFORE + TOKENS; i++) {
        began = i == BEFORE ? arrive[n - 1] : began;
        pass_group(stages, &f, arrive, n);
    }
    return (arrive[n - 1] - began) / TOKENS / n;
}
