// Numbers in the ranges of real machines: disks of 0.1 to 3 GB/s, memory of 3 to 60 GB/s, ways of
// 0.05 to 8 ms, layers of 20 to 400 MiB.
#include "random_cluster.h"

#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MIB = 1 << 20 };

struct random_like random_like_all(void)
{
    return (struct random_like){.disk_groups = true,
                                .gpus = true,
                                .unequal_layers = true,
                                .experts = true,
                                .unequal_links = true,
                                .no_disks = true,
                                .bad_machines = true};
}

static double between(struct rng *r, double lo, double hi)
{
    return lo * pow(hi / lo, rng_double(r));
}

static int pick(struct rng *r, int lo, int hi)
{
    return lo + (int)rng_below(r, (uint64_t)(hi - lo + 1));
}

static bool chance(struct rng *r, double p)
{
    return rng_double(r) < p;
}

// ---- models ------------------------------------------------------------------------------------

static void add_stack(struct plan_layer *l, uint32_t type, double bytes, int n_experts, int n_used)
{
    l->stacks[l->n_stacks++] = (struct plan_stack){type, (uint64_t)bytes, n_experts, n_used};
    l->bytes += (uint64_t)bytes;
}

static void random_model(struct plan_model *m, struct rng *r, const struct random_like *like)
{
    memset(m, 0, sizeof *m);
    snprintf(m->name, sizeof m->name, "random");
    int lo = like->min_layers ? like->min_layers : 2;
    m->n_layers = pick(r, lo, like->max_layers ? like->max_layers : lo > 12 ? lo : 12);
    m->width = (uint32_t)(1024 << pick(r, 0, 3));
    m->context_length = 32768;
    m->computing = (uint64_t)pick(r, 1, 40) * MIB;
    m->computing_head = m->computing + (uint64_t)pick(r, 0, 20) * MIB;
    m->slots_least = (uint64_t)pick(r, 1, 16) * MIB;
    double bytes = between(r, 20, 400) * MIB;
    bool unequal = like->unequal_layers && chance(r, 0.5);
    bool experts = like->experts && chance(r, 0.3);
    uint64_t kv = (uint64_t)pick(r, 1, 32) * 1024;
    for (int i = 0; i < m->n_layers; i++) {
        struct plan_layer *l = &m->layers[i];
        double all = unequal ? bytes * (0.5 + rng_double(r)) : bytes;
        double dense = experts ? 0.2 * all : all;
        add_stack(l, 12, 0.7 * dense, 0, 0);
        add_stack(l, unequal && chance(r, 0.5) ? 12 : 14, 0.3 * dense, 0, 0);
        if (experts)
            add_stack(l, 12, 0.8 * all, 8, 2);
        l->kv_bytes = kv;
        if (unequal && chance(r, 0.3))
            l->window = 1024;
    }
    add_stack(&m->output, 14, between(r, 0.5, 3) * bytes, 0, 0);
    m->embedding_bytes = m->output.bytes;
}

// ---- machines ----------------------------------------------------------------------------------

static void random_speed(struct plan_speed *s, struct rng *r, double rate)
{
    memset(s, 0, sizeof *s);
    const uint32_t types[] = {8, 12, 14};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        double lanes = between(r, 0.8, 1.3) / rate, rows = lanes * between(r, 1, 2.5);
        const double grows[] = {1, between(r, 1.05, 2.5), between(r, 8, 30)};
        for (int w = 0; w < PLAN_WIDTHS; w++) {
            s->product[PLAN_LANES][types[i]][w] = lanes * grows[w];
            s->product[PLAN_ROWS][types[i]][w] = rows * grows[w];
        }
    }
    s->layer = between(r, 10e-6, 300e-6);
    s->token = s->layer * between(r, 0.1, 0.5);
    s->attend = between(r, 1, 4) / rate;
    s->launch = between(r, 1e-6, 50e-6);
}

static void random_machine(struct plan_machine *at, struct rng *r, const struct random_like *like,
                           int i, double memory)
{
    *at = (struct plan_machine){.memory = (uint64_t)memory,
                                .base = (uint64_t)pick(r, 4, 24) * MIB,
                                .disk = between(r, 0.1e9, 3e9),
                                .disk_group = -1,
                                .net_group = -1,
                                .core_group = -1};
    snprintf(at->name, sizeof at->name, "box-%d", i);
    random_speed(&at->cpu, r, between(r, 3e9, 60e9));
    if (like->no_disks && chance(r, 0.1))
        at->disk = 0;
    if (like->gpus && chance(r, 0.3)) {
        at->vram = (uint64_t)(memory * between(r, 0.1, 1));
        random_speed(&at->gpu, r, between(r, 10e9, 600e9));
        at->gpu.launch = between(r, 10e-6, 500e-6);
        at->copy = between(r, 2e9, 20e9);
    }
    if (like->bad_machines && chance(r, 0.15)) {
        at->memory /= 50;
        at->disk /= 20;
    }
}

static void random_links(struct plan_cluster *c, struct rng *r, const struct random_like *like)
{
    bool unequal = like->unequal_links && chance(r, 0.5);
    struct plan_link all = {between(r, 50e-6, 8e-3), between(r, 2e6, 120e6)};
    for (int i = 0; i < c->n; i++)
        for (int j = 0; j < c->n; j++) {
            c->links[i][j] = all;
            if (unequal)
                c->links[i][j] =
                    (struct plan_link){between(r, 50e-6, 20e-3), between(r, 2e6, 120e6)};
        }
}

static void random_groups(struct plan_cluster *c, struct rng *r)
{
    int groups = pick(r, 1, 2);
    for (int g = 0; g < groups; g++)
        c->disk_rates[g] = between(r, 0.1e9, 2e9);
    for (int i = 0; i < c->n; i++) {
        struct plan_machine *at = &c->machines[i];
        int g = pick(r, -1, groups - 1);
        if (g < 0 || !(at->disk > 0))
            continue;
        at->disk_group = g;
        if (at->disk > c->disk_rates[g] || chance(r, 0.7))
            at->disk = c->disk_rates[g]; // nobody is faster than what all share
    }
}

void random_cluster(struct plan_cluster *c, struct plan_model *m, struct plan_ask *a, uint64_t seed,
                    const struct random_like *like)
{
    struct rng r;
    rng_init(&r, seed);
    random_model(m, &r, like);
    memset(c, 0, sizeof *c);
    int lo = like->min_machines ? like->min_machines : 1;
    c->n = pick(&r, lo, like->max_machines ? like->max_machines : lo > 4 ? lo : 4);
    double weights = (double)m->output.bytes;
    for (int i = 0; i < m->n_layers; i++)
        weights += (double)m->layers[i].bytes;
    double share = (like->memory > 0 ? like->memory : between(&r, 0.4, 1.6)) / c->n;
    for (int i = 0; i < c->n; i++) {
        double beside = 64.0 * MIB;
        random_machine(&c->machines[i], &r, like, i,
                       weights * share * between(&r, 0.4, 2.2) + beside);
    }
    random_links(c, &r, like);
    if (like->disk_groups && chance(&r, 0.4))
        random_groups(c, &r);
    *a = (struct plan_ask){.context = 1024 * pick(&r, 1, 4), .prompt = pick(&r, 1, 600)};
}

// ---- noise -------------------------------------------------------------------------------------

static double shaken(struct rng *r, double x, double by)
{
    return x * (1 + by * (2 * rng_double(r) - 1));
}

static void shake_speed(struct plan_speed *s, struct rng *r, double by)
{
    for (int f = 0; f < PLAN_FORMS; f++)
        for (int t = 0; t < PLAN_TYPES; t++)
            for (int w = 0; w < PLAN_WIDTHS; w++)
                s->product[f][t][w] = shaken(r, s->product[f][t][w], by);
    s->layer = shaken(r, s->layer, by);
    s->token = shaken(r, s->token, by);
    s->attend = shaken(r, s->attend, by);
    s->launch = shaken(r, s->launch, by);
}

void random_noise(struct plan_cluster *c, uint64_t seed, double by)
{
    struct rng r;
    rng_init(&r, seed);
    for (int i = 0; i < c->n; i++) {
        struct plan_machine *at = &c->machines[i];
        at->memory = (uint64_t)shaken(&r, (double)at->memory, by);
        at->vram = (uint64_t)shaken(&r, (double)at->vram, by);
        at->disk = shaken(&r, at->disk, by);
        at->copy = shaken(&r, at->copy, by);
        shake_speed(&at->cpu, &r, by);
        shake_speed(&at->gpu, &r, by);
        for (int j = 0; j < c->n; j++) {
            c->links[i][j].latency = shaken(&r, c->links[i][j].latency, by);
            c->links[i][j].rate = shaken(&r, c->links[i][j].rate, by);
        }
    }
    for (int g = 0; g < PLAN_GROUPS; g++)
        c->disk_rates[g] = shaken(&r, c->disk_rates[g], by);
}
