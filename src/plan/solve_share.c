// A node of a ring: the sums of its layers, and how many of them its GPU should have.
#include "plan/solve.h"

#include <math.h>

// to += by * (b - a)
static void add_part(struct cost_sums *to, const struct cost_sums *a, const struct cost_sums *b,
                     double by)
{
    to->bytes += by * (b->bytes - a->bytes);
    to->experts += by * (b->experts - a->experts);
    to->used += by * (b->used - a->used);
    to->used_by_chunk += by * (b->used_by_chunk - a->used_by_chunk);
    to->cache += by * (b->cache - a->cache);
    to->lanes += by * (b->lanes - a->lanes);
    to->rows += by * (b->rows - a->rows);
    to->gpu += by * (b->gpu - a->gpu);
    for (int i = 0; i < 3; i++)
        to->chunk[i] += by * (b->chunk[i] - a->chunk[i]);
}

void solve_share(struct cost_share *out, const struct solve *s, const struct solve_part *p,
                 int gpu_layers, int chunk)
{
    const struct cost_sums *sums = solve_sums(s, p->machine);
    if (p->summed && !gpu_layers && chunk < 0) {
        *out = p->plain;
        return;
    }
    if (chunk >= 0)
        sums = s->chunk_sums +
               ((size_t)chunk * (size_t)s->n + (size_t)p->machine) * (size_t)(s->n_layers + 1);
    *out = (struct cost_share){
        .layers = p->layers, .gpu_layers = gpu_layers, .head = p->machine == s->n - 1};
    if (!p->windows) {
        const struct cost_sums *all = &sums[s->n_layers];
        add_part(&out->cpu, sums, all, (double)(p->layers - gpu_layers) / s->n_layers);
        if (gpu_layers)
            add_part(&out->gpu, sums, all, (double)gpu_layers / s->n_layers);
    } else {
        for (int r = 0, done = 0; r < p->rounds; r++) {
            int window = p->hi[r] - p->lo[r];
            int mid = p->lo[r] + windows_part(gpu_layers, p->layers, done, window);
            done += window;
            add_part(&out->cpu, &sums[mid], &sums[p->hi[r]], 1);
            if (gpu_layers)
                add_part(&out->gpu, &sums[p->lo[r]], &sums[mid], 1);
        }
    }
    if (out->head)
        cost_add(&out->cpu, &s->output);
}

struct choice {
    const struct solve *s;
    const struct solve_part *p;
    double bound, price;
};

static double cost_of(struct plan_node *out, const struct choice *c, const struct cost_share *share)
{
    const struct solve *s = c->s;
    const double disk = s->c->machines[c->p->machine].disk;
    if (cost_node(out, s->c, c->p->machine, s->m, &s->a, share, c->p->rounds, c->bound, NULL))
        return INFINITY;
    if (out->streamed && (double)out->streamed > c->bound * disk * (1 + 1e-12))
        return INFINITY;
    double cost = out->compute + out->wait + c->price * (double)out->streamed;
    // A price on streaming may make waiting cheaper than slots.
    double slots[COST_SLOTS];
    int n = 0;
    if (c->price > 0)
        n = cost_slots(slots, s->c, c->p->machine, s->m, share, c->p->rounds, (double)out->slots);
    for (int i = 0; i < n - 1; i++) {
        struct plan_node fewer;
        if (cost_node_with(&fewer, s->c, c->p->machine, s->m, &s->a, share, c->p->rounds, slots[i],
                           NULL))
            continue;
        double cheaper = fewer.compute + fewer.wait + c->price * (double)fewer.streamed;
        if (!(cheaper < cost))
            continue;
        *out = fewer;
        cost = cheaper;
    }
    return cost;
}

// With so many layers on the GPU; *best is replaced when that is cheaper.
static double try_gpu(struct plan_node *best, double *least, const struct choice *c, int layers)
{
    struct cost_share share;
    struct plan_node node;
    solve_share(&share, c->s, c->p, layers, -1);
    double cost = cost_of(&node, c, &share);
    if (cost < *least) {
        *least = cost;
        *best = node;
    }
    return cost;
}

int solve_most_on_gpu(const struct solve *s, const struct solve_part *p)
{
    const double vram = (double)s->c->machines[p->machine].vram;
    int lo = 0, hi = vram > 0 ? p->layers : 0;
    while (lo < hi) {
        int mid = (lo + hi + 1) / 2;
        struct cost_share share;
        solve_share(&share, s, p, mid, -1);
        if (share.gpu.bytes + share.gpu.cache <= vram)
            lo = mid;
        else
            hi = mid - 1;
    }
    return lo;
}

double solve_node(struct plan_node *out, const struct solve *s, const struct solve_part *p,
                  double bound, double price)
{
    const struct choice c = {s, p, bound, price};
    double least = INFINITY;
    try_gpu(out, &least, &c, 0);
    if (!s->c->machines[p->machine].vram || !p->layers)
        return least;
    int lo = 1, hi = p->summed ? p->most_on_gpu : solve_most_on_gpu(s, p);
    if (!hi)
        return least;
    try_gpu(out, &least, &c, hi);
    const struct cost_sums *all = &solve_sums(s, p->machine)[s->n_layers];
    if (all->gpu <= all->lanes)
        return least; // the more the better
    // A slow GPU spares memory: cost falls with its layers until all is resident, then grows.
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        double here = try_gpu(out, &least, &c, mid), next = try_gpu(out, &least, &c, mid + 1);
        if (here < INFINITY && here <= next)
            hi = mid;
        else
            lo = mid + 1;
    }
    return least;
}
