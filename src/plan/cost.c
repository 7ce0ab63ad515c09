// The formulas of plan.h: seconds and bytes of a layer, and what a share of layers means for a
// machine's memory, its disk, and the time of a token.
#include "plan/cost.h"

#include <math.h>

void cost_defaults(struct plan_ask *a)
{
    a->context = a->context > 0 ? a->context : 4096;
    a->positions = a->positions > 0 ? a->positions : (a->context + 1) / 2;
    a->prompt = a->prompt > 0 ? a->prompt : 256;
    a->users = a->users > 0 ? a->users : 1;
    a->kv_scale = a->kv_scale > 0 ? a->kv_scale : 1;
    a->activation = a->activation > 0 ? a->activation : 4;
    a->max_rounds =
        a->max_rounds > 0 && a->max_rounds < PLAN_MAX_ROUNDS ? a->max_rounds : PLAN_MAX_ROUNDS;
    a->chunk = a->chunk > 0 ? a->chunk : PLAN_CHUNK;
    if (!(a->latency > 0) && !(a->first > 0) && !(a->throughput > 0))
        a->latency = 1;
}

// ---- a layer -----------------------------------------------------------------------------------

// The part of a mixture's weights that `tokens` tokens use together, each choosing by itself.
static double touched(const struct plan_stack *s, double tokens)
{
    if (!s->n_experts)
        return 1;
    return 1 - pow(1 - (double)s->n_used / s->n_experts, tokens);
}

// An expert sees its share of the tokens.
static double products(const struct plan_speed *speed, enum plan_form form,
                       const struct plan_layer *l, double tokens)
{
    double sum = 0;
    for (int i = 0; i < l->n_stacks; i++) {
        const struct plan_stack *s = &l->stacks[i];
        double part = touched(s, tokens), each = tokens;
        if (s->n_experts && part > 0)
            each = tokens * s->n_used / s->n_experts / part;
        sum += (double)s->bytes * part * profile_product(speed, form, s->type, each);
    }
    return sum;
}

static double within(const struct plan_layer *l, double positions)
{
    return l->window && l->window < positions ? l->window : positions;
}

// Everything but products, of a pass of `tokens` that see so many positions each.
static double besides(const struct plan_speed *speed, const struct plan_layer *l,
                      const struct plan_ask *a, double tokens, double positions)
{
    double seen = (double)l->kv_bytes * a->kv_scale * within(l, positions);
    return speed->layer + (tokens - 1) * speed->token + tokens * seen * speed->attend;
}

void cost_of_layer(struct cost_sums *out, const struct plan_cluster *c, int machine,
                   const struct plan_model *m, const struct plan_ask *a, int layer)
{
    const struct plan_machine *at = &c->machines[machine];
    const bool output = layer == m->n_layers;
    const struct plan_layer *l = output ? &m->output : &m->layers[layer];
    *out = (struct cost_sums){.bytes = (double)l->bytes,
                              .cache = (double)l->kv_bytes * a->kv_scale * a->context};
    for (int i = 0; i < l->n_stacks; i++) {
        const struct plan_stack *s = &l->stacks[i];
        if (!s->n_experts)
            continue;
        out->experts += (double)s->bytes;
        out->used += (double)s->bytes * touched(s, 1);
        out->used_by_chunk += (double)s->bytes * touched(s, a->chunk);
    }
    double more = besides(&at->cpu, l, a, 1, a->positions);
    out->lanes = products(&at->cpu, PLAN_LANES, l, 1) + more;
    out->rows = products(&at->cpu, PLAN_ROWS, l, 1) + more;
    if (at->vram)
        out->gpu = products(&at->gpu, PLAN_LANES, l, 1) + besides(&at->gpu, l, a, 1, a->positions);
    if (output)
        return;
    more = besides(&at->cpu, l, a, a->chunk, a->prompt / 2.0);
    out->chunk[0] = products(&at->cpu, PLAN_LANES, l, a->chunk) + more;
    out->chunk[1] = products(&at->cpu, PLAN_ROWS, l, a->chunk) + more;
    if (at->vram)
        out->chunk[2] = products(&at->gpu, PLAN_LANES, l, a->chunk) +
                        besides(&at->gpu, l, a, a->chunk, a->prompt / 2.0);
}

void cost_add(struct cost_sums *to, const struct cost_sums *s)
{
    to->bytes += s->bytes;
    to->experts += s->experts;
    to->used += s->used;
    to->used_by_chunk += s->used_by_chunk;
    to->cache += s->cache;
    to->lanes += s->lanes;
    to->rows += s->rows;
    to->gpu += s->gpu;
    for (int i = 0; i < 3; i++)
        to->chunk[i] += s->chunk[i];
}

// ---- a node ------------------------------------------------------------------------------------

// What stays free of weights, and what therefore does not stay.
struct needs {
    double room;    // bytes for weights and slots
    double missing; // bytes of weights beyond it
    double demand;  // of experts that are not resident, those that a token uses
    double parts;   // the other bytes beyond it
    double used;    // of all weights those that a token uses
};

// Windows that are alike: each has this share of the node's parts and of its computing.
struct window_kind {
    int n;
    double parts, compute;
};
enum { KINDS = 4, SLOTS = 16 }; // parts that slots are divided into

// Who says UINT64_MAX means all there may be, and sums of bytes must stay whole numbers of 64 bits.
static const double most_bytes = 0x1p60;

static int find_needs(struct needs *n, const struct plan_machine *at, const struct plan_model *m,
                      const struct cost_share *s, struct err *e)
{
    const struct cost_sums *w = &s->cpu;
    n->used = w->bytes - w->experts + w->used;
    double fixed =
        (double)at->base + w->cache + (double)(s->head ? m->computing_head : m->computing);
    double vram = s->gpu.bytes + s->gpu.cache;
    if (vram > fmin((double)at->vram, most_bytes))
        return err_set(e, ERR_NO_MEMORY,
                       "%s lacks %.1f MiB of GPU memory for %d layers; give it fewer", at->name,
                       (vram - (double)at->vram) / (1 << 20), s->gpu_layers);
    n->room = fmin((double)at->memory, most_bytes) - fixed;
    n->missing = w->bytes > n->room ? w->bytes - n->room : 0;
    double experts = n->missing < w->experts ? n->missing : w->experts;
    n->demand = w->experts > 0 ? experts * w->used / w->experts : 0;
    n->parts = n->missing - experts;
    double least = n->missing > 0 ? (double)m->slots_least : 0;
    if (n->room < least)
        return err_set(e, ERR_NO_MEMORY,
                       "%s lacks %.1f MiB of memory for %d layers; give it more memory, or the "
                       "context fewer positions",
                       at->name, (least - n->room) / (1 << 20), s->layers);
    if (n->missing > 0 && !(at->disk > 0))
        return err_set(e, ERR_NO_MEMORY,
                       "%s lacks %.1f MiB of memory for %d layers, and has no disk to stream from",
                       at->name, n->missing / (1 << 20), s->layers);
    return 0;
}

// Seconds of a token with a part of the weights streamed.
static double compute_of(const struct plan_machine *at, const struct plan_model *m,
                         const struct cost_share *s, const struct needs *n, int rounds,
                         double streamed)
{
    double t = s->cpu.lanes;
    if (n->used > 0)
        t += (s->cpu.rows - s->cpu.lanes) * streamed / n->used;
    if (s->layers > s->gpu_layers || s->head)
        t += rounds * at->cpu.launch;
    if (s->gpu_layers)
        t += s->gpu.gpu + rounds * (at->gpu.launch + 2.0 * m->width * sizeof(float) / at->copy);
    return t;
}

// Rounds have one layer more or less of the node's, and behind the head's last one is the output.
// The last two are never windows by themselves, see late().
static void find_kinds(struct window_kind *kinds, const struct plan_model *m,
                       const struct cost_share *s, const struct needs *n, int rounds)
{
    double plain = s->cpu.bytes - s->cpu.experts;
    double output = s->head ? (double)m->output.bytes : 0;
    double parts = plain > 0 ? output / plain : 0, compute = n->used > 0 ? output / n->used : 0;
    int fewer = s->layers / rounds, larger = s->layers % rounds, all = s->layers ? s->layers : 1;
    for (int i = 0; i < 2; i++) {
        double share = (double)(fewer + (i == 0)) / all;
        kinds[i] = (struct window_kind){i == 0 ? larger : rounds - larger - s->head,
                                        (1 - parts) * share, (1 - compute) * share};
    }
    kinds[3] = (struct window_kind){s->head, parts, compute};
    kinds[2] = (struct window_kind){s->head, parts + kinds[1].parts, compute + kinds[1].compute};
}

// Seconds of a token that parts are late: a window finds all slots full, and so may the output
// behind the head's last one, if they were filled while its layers were computed.
static double late(const struct window_kind *kinds, double parts, double slots, double disk,
                   double compute)
{
    double each[KINDS];
    for (int i = 0; i < KINDS; i++) {
        double read = ((parts + slots) * kinds[i].parts - slots) / disk;
        each[i] = fmax(0, read - compute * kinds[i].compute);
    }
    double last = fmax(each[2], fmax(each[1], each[3]));
    return kinds[0].n * each[0] + kinds[1].n * each[1] + kinds[2].n * last;
}

static void fill(struct plan_node *out, const struct plan_machine *at, const struct plan_model *m,
                 const struct cost_share *s, const struct needs *n, int machine, int rounds,
                 double slots)
{
    double parts = n->missing > 0 ? n->parts + slots : 0;
    double streamed = parts + n->demand;
    *out = (struct plan_node){
        .machine = machine,
        .layers = s->layers,
        .gpu_layers = s->gpu_layers,
        .weights = (uint64_t)(s->cpu.bytes + s->gpu.bytes),
        .resident = (uint64_t)(s->cpu.bytes - n->missing - slots),
        .streamed = (uint64_t)streamed,
        .demand = (uint64_t)n->demand,
        .slots = (uint64_t)slots,
        .vram = (uint64_t)(s->gpu.bytes + s->gpu.cache),
        .cache = (uint64_t)s->cpu.cache,
        .computing = s->head ? m->computing_head : m->computing,
        .compute = compute_of(at, m, s, n, rounds, streamed),
    };
    out->memory = at->base + out->cache + out->computing + out->resident + out->slots;
    if (!(n->missing > 0))
        return;
    out->disk = streamed / at->disk;
    struct window_kind kinds[KINDS];
    find_kinds(kinds, m, s, n, rounds);
    out->wait = n->demand / at->disk + late(kinds, n->parts, slots, at->disk, out->compute);
}

int cost_node_with(struct plan_node *out, const struct plan_cluster *c, int machine,
                   const struct plan_model *m, const struct plan_ask *a, const struct cost_share *s,
                   int rounds, double slots, struct err *e)
{
    (void)a;
    struct needs n;
    const struct plan_machine *at = &c->machines[machine];
    int rc = find_needs(&n, at, m, s, e);
    if (rc)
        return rc;
    if (!(n.missing > 0))
        slots = 0;
    else if (slots < (double)m->slots_least)
        slots = (double)m->slots_least;
    if (slots > n.room)
        slots = n.room;
    // More slots than parts that are used would hold nothing.
    double parts = s->cpu.bytes - s->cpu.experts;
    if (n.missing > 0 && slots > (double)m->slots_least && slots > parts - n.parts)
        slots = parts - n.parts > (double)m->slots_least ? parts - n.parts : (double)m->slots_least;
    fill(out, at, m, s, &n, machine, rounds, slots);
    return 0;
}

// Bytes of slots with which the parts of a kind of windows are just in time:
//     (parts + x) * kind.parts - x = disk * kind.compute * (none + slope * x)
// Between such points compute and waiting grow and fall linearly.
struct slots_line {
    struct window_kind kinds[KINDS];
    double none, slope; // seconds of computing with x bytes of slots
    double at[KINDS];   // x; 0: in time without
};

static void find_line(struct slots_line *l, const struct plan_machine *at,
                      const struct plan_model *m, const struct cost_share *s, const struct needs *n,
                      int rounds)
{
    find_kinds(l->kinds, m, s, n, rounds);
    double streamed = n->parts + n->demand;
    l->none = compute_of(at, m, s, n, rounds, streamed);
    l->slope = compute_of(at, m, s, n, rounds, streamed + 1) - l->none;
    for (int i = 0; i < KINDS; i++) {
        const struct window_kind *kind = &l->kinds[i];
        double each = 1 - kind->parts + at->disk * kind->compute * l->slope;
        double x = n->parts * kind->parts - at->disk * kind->compute * l->none;
        l->at[i] = kind->n && x > 0 && each > 0 ? x / each : 0;
    }
}

// Bytes of slots with which the node's own time is least.
static double slots_wanted(const struct plan_machine *at, const struct plan_model *m,
                           const struct cost_share *s, const struct needs *n, int rounds)
{
    struct slots_line l;
    find_line(&l, at, m, s, n, rounds);
    double best = 0, least = l.none + late(l.kinds, n->parts, 0, at->disk, l.none);
    for (int i = 0; i < KINDS; i++) {
        double x = l.at[i], compute = l.none + l.slope * x;
        double own = compute + late(l.kinds, n->parts, x, at->disk, compute);
        if (own < least || (own == least && x < best)) {
            least = own;
            best = x;
        }
    }
    return best;
}

int cost_slots(double slots[COST_SLOTS], const struct plan_cluster *c, int machine,
               const struct plan_model *m, const struct cost_share *s, int rounds, double most)
{
    struct needs n;
    const struct plan_machine *at = &c->machines[machine];
    double least = (double)m->slots_least;
    if (most <= least || find_needs(&n, at, m, s, NULL) || !(n.missing > 0))
        return 0;
    struct slots_line l;
    find_line(&l, at, m, s, &n, rounds);
    int count = 0;
    slots[count++] = least;
    for (int i = 0; i < KINDS; i++) {
        int to = count;
        if (!(l.at[i] > least && l.at[i] < most))
            continue;
        for (; to > 1 && slots[to - 1] > l.at[i]; to--)
            slots[to] = slots[to - 1];
        slots[to] = l.at[i];
        count++;
    }
    slots[count++] = most;
    return count;
}

int cost_node(struct plan_node *out, const struct plan_cluster *c, int machine,
              const struct plan_model *m, const struct plan_ask *a, const struct cost_share *s,
              int rounds, double bound, struct err *e)
{
    struct needs n;
    const struct plan_machine *at = &c->machines[machine];
    int rc = find_needs(&n, at, m, s, e);
    if (rc)
        return rc;
    double slots = slots_wanted(at, m, s, &n, rounds);
    double most = bound * at->disk - n.parts - n.demand;
    if (n.missing > 0 && slots > most)
        slots = most > 0 ? most : 0;
    return cost_node_with(out, c, machine, m, a, s, rounds, slots, e);
}

double cost_shared_window(int layers, int rounds)
{
    int most = (layers + rounds - 1) / rounds;
    return (layers ? (double)most / layers : 1) * (1 + 1.0 / SLOTS);
}

// Bytes of all windows that stay in the slots for the chunks behind: a whole window's where they
// have room for it, else what leaves room for those that come and go.
static double held_for_chunks(const struct plan_node *n, int rounds)
{
    double parts = (double)(n->streamed - n->demand), slots = (double)n->slots;
    if (parts * cost_shared_window(n->layers, rounds) <= slots)
        return parts;
    double held = rounds * (1 - 5.0 / SLOTS) * slots;
    return held < parts ? held : parts;
}

static double demand_of_chunk(const struct plan_node *n, const struct cost_share *s)
{
    double more = s->cpu.used > 0 ? s->cpu.used_by_chunk / s->cpu.used : 1;
    return (double)n->demand * more;
}

double cost_stage_bytes(const struct plan_node *n, const struct cost_share *s, int rounds,
                        int chunks)
{
    double parts = (double)(n->streamed - n->demand);
    double again = held_for_chunks(n, rounds) * (chunks - 1) / chunks;
    return parts - again + demand_of_chunk(n, s);
}

double cost_stage(const struct plan_node *n, const struct plan_cluster *c, const struct plan_ask *a,
                  const struct cost_share *s, int rounds, int chunks)
{
    const struct plan_machine *at = &c->machines[n->machine];
    (void)a;
    double used = s->cpu.bytes - s->cpu.experts + s->cpu.used_by_chunk;
    double streamed = (double)(n->streamed - n->demand) + demand_of_chunk(n, s);
    double part = used > 0 ? fmin(streamed / used, 1) : 0;
    double t = s->cpu.chunk[0] + (s->cpu.chunk[1] - s->cpu.chunk[0]) * part + s->gpu.chunk[2];
    if (!n->streamed)
        return t;
    // What is held is read while one chunk computes, the rest while each does.
    double all = (double)(n->streamed - n->demand) / at->disk;
    double rest = all - held_for_chunks(n, rounds) / at->disk;
    double first = all > t ? all : t, other = rest > t ? rest : t;
    return (first + (chunks - 1) * other) / chunks + demand_of_chunk(n, s) / at->disk;
}

double cost_hop(const struct plan_cluster *c, const struct plan_model *m, const struct plan_ask *a,
                int from, int to, int tokens)
{
    const struct plan_link *l = &c->links[from][to];
    return l->latency + (double)tokens * m->width * a->activation / l->rate;
}
