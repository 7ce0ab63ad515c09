// What a distribution is foretold to do: period, first token, several users, and what bounds it.
#include "plan/solve.h"

#include <math.h>

// ---- a token -----------------------------------------------------------------------------------

static double group_of(const struct plan *p, const struct plan_cluster *c, int group)
{
    double sum = 0;
    for (int i = 0; i < p->n_nodes; i++)
        if (c->machines[p->nodes[i].machine].disk_group == group)
            sum += (double)p->nodes[i].streamed;
    return sum / c->disk_rates[group];
}

static void find_period(struct plan *p, const struct solve *s, const struct solve_ring *r)
{
    double sum = 0, disk = 0;
    for (int i = 0; i < p->n_nodes; i++) {
        int group = s->c->machines[p->nodes[i].machine].disk_group;
        double together = group >= 0 ? group_of(p, s->c, group) : 0;
        disk = p->nodes[i].disk > disk ? p->nodes[i].disk : disk;
        disk = together > disk ? together : disk;
    }
    double flow = s->a.exact ? 0 : solve_flow(s, r, p->nodes);
    for (int i = 0; i < p->n_nodes; i++)
        sum += p->nodes[i].compute + p->nodes[i].wait + p->nodes[i].hop;
    p->tpot = sum > flow ? sum : flow;
    if (disk > p->tpot * (1 + 1e-9)) // streamed bytes are whole
        p->tpot = disk;
}

// What is busy all the time, or nearly.
static void find_bound(struct plan *p, const struct plan_cluster *c)
{
    double most = p->tpot * 0.95;
    p->bound = PLAN_BOUND_SERIAL;
    p->bound_at = 0;
    for (int i = 0; i < p->n_nodes; i++) {
        int group = c->machines[p->nodes[i].machine].disk_group;
        double together = group >= 0 ? group_of(p, c, group) : 0;
        if (p->nodes[i].disk > most) {
            most = p->nodes[i].disk;
            p->bound = PLAN_BOUND_DISK;
            p->bound_at = i;
        }
        if (together > most * (1 + 1e-9)) {
            most = together;
            p->bound = PLAN_BOUND_DISK_GROUP;
            p->bound_at = group;
        }
    }
}

// ---- passes that follow each other -------------------------------------------------------------

// What a pass keeps busy; the busiest lets the next one through last.
struct busy {
    double node, cores[PLAN_GROUPS], disks[PLAN_GROUPS], nets[PLAN_GROUPS];
};

static void add_busy(struct busy *b, const struct plan_cluster *c, const struct plan_node *n,
                     double seconds, double read, double sent)
{
    const struct plan_machine *at = &c->machines[n->machine];
    b->node = seconds > b->node ? seconds : b->node;
    if (at->core_group >= 0)
        b->cores[at->core_group] += seconds;
    if (at->disk_group >= 0)
        b->disks[at->disk_group] += read / c->disk_rates[at->disk_group];
    if (at->net_group >= 0)
        b->nets[at->net_group] += sent / c->net_rates[at->net_group];
}

static double busiest(const struct busy *b)
{
    double t = b->node;
    for (int g = 0; g < PLAN_GROUPS; g++) {
        t = b->cores[g] > t ? b->cores[g] : t;
        t = b->disks[g] > t ? b->disks[g] : t;
        t = b->nets[g] > t ? b->nets[g] : t;
    }
    return t;
}

static double sent_by(const struct plan *p, const struct solve *s, int tokens)
{
    return p->n_nodes > 1 ? (double)p->table.n_rounds * tokens * s->m->width * s->a.activation : 0;
}

static struct cost_share share_of(const struct solve *s, const struct solve_ring *r,
                                  const struct plan *p, int node, int chunk)
{
    struct cost_share share;
    struct solve_part part = solve_part_of(s, r, &p->table, node);
    solve_share(&share, s, &part, p->nodes[node].gpu_layers, chunk);
    return share;
}

// Chunks that share the reading of a window.
static int chunks_together(int chunks, int rounds)
{
    int groups = (chunks + SOLVE_TOGETHER - 1) / SOLVE_TOGETHER;
    return rounds > 1 ? (chunks + groups - 1) / groups : chunks;
}

// Time to first token with chunks of s->chunks[chunk]; the nodes' stages are filled in.
static double first_token(struct plan *p, const struct solve *s, const struct solve_ring *r,
                          int chunk)
{
    int tokens = s->tokens[chunk], rounds = r->rounds;
    int chunks = (s->a.prompt + tokens - 1) / tokens, together = chunks_together(chunks, rounds);
    double sent = sent_by(p, s, tokens);
    struct busy b = {0};
    for (int i = 0; i < p->n_nodes; i++) {
        struct plan_node *n = &p->nodes[i];
        struct cost_share share = share_of(s, r, p, i, chunk);
        n->stage = cost_stage(n, s->c, &s->a, &share, rounds, together);
        add_busy(&b, s->c, n, n->stage, cost_stage_bytes(n, &share, rounds, together), sent);
    }
    // Nodes follow each other's pace; what several share is busy for all chunks.
    double t = solve_flow_prompt(s, r, p->nodes, &p->table, chunk, chunks, together);
    b.node = 0;
    return fmax(t, chunks * busiest(&b));
}

// Seconds between tokens when all users' tokens follow each other through the ring.
static double between_tokens(const struct plan *p, const struct solve *s,
                             const struct solve_ring *r)
{
    struct busy b = {0};
    if (s->a.users < 2)
        return p->tpot;
    double sent = sent_by(p, s, 1);
    for (int i = 0; i < p->n_nodes; i++) {
        const struct plan_node *n = &p->nodes[i];
        struct cost_share share = share_of(s, r, p, i, -1);
        share.cpu.used_by_chunk = share.cpu.used; // of a pass of one token
        double read = cost_stage_bytes(n, &share, r->rounds, s->a.users);
        add_busy(&b, s->c, n, n->compute, read, sent);
    }
    return fmax(busiest(&b), solve_flow_users(s, r, p->nodes, &p->table));
}

static double find_first(struct plan *p, const struct solve *s, const struct solve_ring *r)
{
    int best = 0;
    double least = INFINITY;
    for (int i = 0; i < s->n_chunks; i++) {
        double t = first_token(p, s, r, i);
        if (t < least * (1 - 1e-3) || !i) { // smaller chunks where they are as good
            least = t;
            best = i;
        }
    }
    p->chunk = s->chunks[best];
    return p->ttft = first_token(p, s, r, best);
}

static double objective(const struct plan_ask *a, const struct plan *p)
{
    return a->latency * p->tpot + a->first * p->ttft + a->throughput / p->throughput;
}

// Slots that hold what a window streams: chunks of a prompt share its reading.
static void share_readings(struct plan *p, const struct solve *s, const struct solve_ring *r)
{
    const double worth = 2e-3; // of the period, where nothing says what the first token is worth
    for (int i = 0; i < p->n_nodes && r->rounds > 1; i++) {
        struct plan_node *n = &p->nodes[i];
        if (n->streamed <= n->demand)
            continue;
        struct plan other = *p;
        struct cost_share share = share_of(s, r, p, i, -1);
        double parts = (double)(n->streamed - n->demand - n->slots), hop = n->hop;
        double window = cost_shared_window(n->layers, r->rounds);
        double slots = ceil(parts * window / (1 - window)) + 1;
        struct plan_node *to = &other.nodes[i];
        if (window >= 1 || slots <= (double)n->slots ||
            cost_node_with(to, s->c, n->machine, s->m, &s->a, &share, r->rounds, slots, NULL))
            continue;
        to->hop = hop;
        find_period(&other, s, r);
        find_first(&other, s, r);
        other.throughput = 1 / between_tokens(&other, s, r);
        bool better = objective(&s->a, &other) < objective(&s->a, p);
        if (!(s->a.first > 0))
            better = other.tpot <= p->tpot * (1 + worth) && other.ttft < p->ttft * (1 - 1e-2);
        if (better)
            *p = other;
    }
}

double solve_foretell(struct plan *out, const struct solve *s, const struct solve_ring *r)
{
    *out = (struct plan){.n_nodes = r->n};
    if (windows_split(&out->table, s->n_layers, r->n, r->layers, r->rounds, NULL) ||
        !(solve_time(s, r, out->nodes) < INFINITY))
        return INFINITY;
    for (int i = 0; i < r->n && r->n > 1; i++)
        out->nodes[i].hop = r->rounds * s->hops[r->at[(i + r->n - 1) % r->n]][r->at[i]];
    find_period(out, s, r);
    find_first(out, s, r);
    out->throughput = 1 / between_tokens(out, s, r);
    share_readings(out, s, r);
    find_bound(out, s->c);
    return objective(&s->a, out);
}

// ---- a distribution that is given --------------------------------------------------------------

// Why the ring cannot be: the first node that has no room, or not the layers.
static int explain(const struct solve *s, const struct solve_ring *r, struct err *e)
{
    struct window_table t;
    int rc = windows_split(&t, s->n_layers, r->n, r->layers, r->rounds, e);
    for (int i = 0; !rc && i < r->n; i++) {
        struct solve_part part = solve_part_of(s, r, &t, i);
        struct cost_share share;
        struct plan_node node;
        const char *name = s->c->machines[r->at[i]].name;
        for (int k = 0; k < r->rounds; k++)
            for (int layer = part.lo[k]; s->a.has_given && layer < part.hi[k]; layer++)
                if (!layer_set_has(&s->a.has[r->at[i]], layer))
                    return err_set(e, ERR_USAGE,
                                   "%s would run layer %d, which its model file does not have; "
                                   "give it other layers, or the file",
                                   name, layer);
        if (solve_node(&node, s, &part, INFINITY, 0) < INFINITY)
            continue;
        solve_share(&share, s, &part, 0, -1);
        rc = cost_node(&node, s->c, r->at[i], s->m, &s->a, &share, r->rounds, INFINITY, e);
    }
    return rc ? rc : err_set(e, ERR_NO_MEMORY, "these layers cannot be streamed fast enough");
}

int plan_predict(struct plan *out, const struct plan_cluster *c, const struct plan_model *m,
                 const struct plan_ask *a, struct err *e)
{
    struct solve s;
    int rc = solve_open(&s, c, m, a, e);
    if (rc) {
        solve_close(&s);
        return rc;
    }
    struct solve_ring r = {.rounds = a->rounds > 0 ? a->rounds : 1};
    for (int i = 0; i < c->n; i++)
        if (a->layers[i] || i == c->n - 1) {
            r.at[r.n] = i;
            r.layers[r.n++] = a->layers[i];
        }
    if (!(solve_foretell(out, &s, &r) < INFINITY))
        rc = explain(&s, &r, e);
    solve_close(&s);
    return rc;
}
