// What would help most: see plan_upgrades.h.
//
// Nothing is derived from the plan's times, as a machine that gets faster gets other layers too:
// each change is planned as if it had been made. To keep that short only the machines that the
// plan strains most are tried, by what they stream, how long their disk is busy, or how long they
// compute.
#include "app/plan_upgrades.h"

#include <stdio.h>
#include <stdlib.h>

enum upgrade { MORE_MEMORY, FASTER_DISK, FASTER_CPU, FASTER_NETWORK, UPGRADES };

static const int most_tries = 3; // machines for each kind
static const uint64_t more_memory = UINT64_C(4) << 30;

struct upgrading { // too large for the stack
    struct plan_cluster cluster, picked, best_cluster;
    struct plan plan, best;
};

static double strain(const struct plan_node *n, enum upgrade kind)
{
    if (kind == MORE_MEMORY)
        return (double)n->streamed;
    return kind == FASTER_DISK ? n->disk : n->compute;
}

static bool shares(int group, int other, int machine, int i)
{
    return i == machine || (group >= 0 && group == other);
}

static void speed_up(struct plan_speed *s)
{
    for (int form = 0; form < PLAN_FORMS; form++)
        for (int type = 0; type < PLAN_TYPES; type++)
            for (int i = 0; i < PLAN_WIDTHS; i++)
                s->product[form][type][i] /= 2;
    s->layer /= 2;
    s->token /= 2;
    s->attend /= 2;
    s->launch /= 2;
}

// Whoever shares the disk or the processors has the better ones too.
static void change(struct plan_cluster *c, enum upgrade kind, int machine)
{
    struct plan_machine *m = &c->machines[machine];
    if (kind == MORE_MEMORY)
        m->memory += more_memory;
    if (kind == FASTER_DISK && m->disk_group >= 0)
        c->disk_rates[m->disk_group] *= 2;
    for (int i = 0; i < c->n; i++) {
        struct plan_machine *o = &c->machines[i];
        if (kind == FASTER_DISK && shares(m->disk_group, o->disk_group, machine, i))
            o->disk *= 2;
        if (kind == FASTER_CPU && shares(m->core_group, o->core_group, machine, i))
            speed_up(&o->cpu);
        for (int j = 0; kind == FASTER_NETWORK && j < c->n; j++) {
            c->links[i][j].latency /= 2;
            c->links[i][j].rate *= 2;
        }
    }
    for (int i = 0; kind == FASTER_NETWORK && i < PLAN_GROUPS; i++)
        c->net_rates[i] *= 2;
}

// What plan.h says that a plan is for.
static double objective(const struct plan *p, const struct plan_ask *a)
{
    const bool none = !(a->latency > 0) && !(a->first > 0) && !(a->throughput > 0);
    double sum = (none ? 1 : a->latency) * p->tpot + a->first * p->ttft;
    if (a->throughput > 0 && p->throughput > 0)
        sum += a->throughput / p->throughput;
    return sum;
}

static bool keep_better(struct upgrading *t, bool found, const struct plan_cluster *c,
                        const struct plan_ask *a)
{
    if (found && objective(&t->plan, a) >= objective(&t->best, a))
        return false;
    t->best = t->plan;
    t->best_cluster = *c;
    return true;
}

// Plans with the change at a machine, or leaves the layers where they are: what is chosen in
// rounds that differ is not always the very best. Kept where it is the best so far.
static bool try_change(struct upgrading *t, enum upgrade kind, int machine, bool found,
                       const struct plan *p, const struct plan_cluster *c,
                       const struct plan_setting *s, const struct plan_ask *a)
{
    struct err why = {0};
    struct plan_ask same = *a;
    int at[PLAN_MAX_NODES];
    bool better = false;
    t->cluster = *c;
    change(&t->cluster, kind, machine);
    if (!plan_case_make(&t->plan, &t->cluster, s, a, &why))
        better = keep_better(t, found, &t->cluster, a);
    for (int i = 0; i < p->n_nodes; i++) {
        at[i] = p->nodes[i].machine;
        same.layers[i] = p->nodes[i].layers;
    }
    same.layers_given = true;
    same.rounds = p->table.n_rounds;
    same.chunk = p->chunk;
    profile_pick(&t->picked, &t->cluster, at, p->n_nodes);
    why = (struct err){0};
    if (!plan_case_make(&t->plan, &t->picked, s, &same, &why))
        better = keep_better(t, found || better, &t->picked, a) || better;
    return better;
}

static int most_strained(const struct plan *p, enum upgrade kind, const bool *tried)
{
    int most = -1;
    for (int i = 0; i < p->n_nodes; i++)
        if (!tried[i] && strain(&p->nodes[i], kind) > 0 &&
            (most < 0 || strain(&p->nodes[i], kind) > strain(&p->nodes[most], kind)))
            most = i;
    return most;
}

static void compare_kind(struct plan_cases *l, struct upgrading *t, enum upgrade kind,
                         const struct plan *p, const struct plan_cluster *c,
                         const struct plan_setting *s, const struct plan_ask *a)
{
    static const char *const what[] = {"4 GiB more", "a disk twice as fast",
                                       "a processor twice as fast"};
    bool tried[PLAN_MAX_NODES] = {false};
    char title[PLAN_CASE_TITLE];
    int best = -1;
    if (kind == FASTER_NETWORK) {
        if (p->n_nodes > 1 && try_change(t, kind, c->n - 1, false, p, c, s, a))
            plan_case_add(l, "a network twice as fast", &t->best, &t->best_cluster, 0, NULL);
        return;
    }
    for (int i = 0; i < most_tries; i++) {
        const int at = most_strained(p, kind, tried);
        if (at < 0)
            break;
        tried[at] = true;
        if (try_change(t, kind, p->nodes[at].machine, best >= 0, p, c, s, a))
            best = p->nodes[at].machine;
    }
    if (best < 0)
        return;
    snprintf(title, sizeof title, "%s in %s", what[kind], c->machines[best].name);
    plan_case_add(l, title, &t->best, &t->best_cluster, 0, NULL);
}

void plan_upgrades_compare(struct plan_cases *l, const struct plan *p, const struct plan_cluster *c,
                           const struct plan_setting *s)
{
    struct upgrading *t = malloc(sizeof *t);
    struct plan_ask a = s->ask;
    a.layers_given = false;
    for (int kind = 0; t && kind < UPGRADES; kind++)
        compare_kind(l, t, (enum upgrade)kind, p, c, s, &a);
    free(t);
}
