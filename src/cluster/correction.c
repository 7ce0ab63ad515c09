// A profile made true by what was measured: see correction.h.
#include "cluster/correction.h"

#include "base/check.h"

#include <math.h>

static const double worth = 0.02; // of a node's own time: a wait that counts
static const double least_us = 1; // of a hop's latency
static const double most = 16;    // times faster or slower, at most, in one correction

void correction_foretold(const struct plan *p, struct timings_report *out)
{
    *out = (struct timings_report){.pass_ms = p->tpot * 1e3};
    for (int m = 0; m < p->n_nodes; m++)
        out->nodes[m] = (struct timings_node){
            .compute_ms = p->nodes[m].compute * 1e3,
            .wait_ms = p->nodes[m].wait * 1e3,
            .hop_us = p->nodes[m].hop * 1e6 / p->table.n_rounds,
        };
}

static double bounded(double factor)
{
    return !(factor > 1 / most) ? 1 / most : factor > most ? most : factor;
}

// How many times as long as predicted the disk takes for a byte. It is known where it is waited
// for, or was to be: then it worked all through the node's own time, for what its slots could not
// hold before, or, when they were never full, all through the pass, for all that is streamed.
// Whichever is the quicker disk is the true one: the other stood still at times.
static double disk_factor(const struct plan *p, const struct timings_report *seen, int node)
{
    const struct plan_node *x = &p->nodes[node];
    double wait = seen->nodes[node].wait_ms / 1e3, pass = seen->pass_ms / 1e3;
    double own = seen->nodes[node].compute_ms / 1e3 + wait;
    double slots = (double)x->slots * p->table.n_rounds, streamed = (double)x->streamed;
    bool waits = wait > worth * own, was_to = x->wait > worth * (x->compute + x->wait);
    if (!(x->disk > 0) || !(streamed > 0) || (!waits && !was_to))
        return 1;
    double rest = streamed > slots ? (streamed - slots) / streamed * x->disk : 0;
    double by_own = rest > 0 ? own / rest : INFINITY, by_pass = pass / x->disk;
    double factor = by_own < by_pass ? by_own : by_pass;
    // Without a wait it is only known to be quick enough.
    return waits || factor < 1 ? bounded(factor) : 1;
}

void correction_find(struct correction *out, const struct plan *p,
                     const struct timings_report *seen)
{
    *out = (struct correction){.n_nodes = p->n_nodes};
    for (int m = 0; m < p->n_nodes; m++) {
        const struct plan_node *x = &p->nodes[m];
        const struct timings_node *took = &seen->nodes[m];
        struct correction_node *f = &out->nodes[m];
        *f = (struct correction_node){1, 1, 0};
        if (!seen->n_passes)
            continue;
        if (x->compute > 0)
            f->compute = bounded(took->compute_ms / 1e3 / x->compute);
        f->disk = disk_factor(p, seen, m);
        f->hop_s = took->hop_us / 1e6 - x->hop / p->table.n_rounds;
    }
}

static void slow_down(struct plan_speed *s, double factor)
{
    for (int form = 0; form < PLAN_FORMS; form++)
        for (int type = 0; type < PLAN_TYPES; type++)
            for (int width = 0; width < PLAN_WIDTHS; width++)
                s->product[form][type][width] *= factor;
    s->layer *= factor;
    s->token *= factor;
    s->attend *= factor;
    s->launch *= factor;
}

static void correct_disk_groups(struct plan_cluster *c, const struct plan *p,
                                const struct correction *f)
{
    double bytes[PLAN_GROUPS] = {0}, time[PLAN_GROUPS] = {0};
    for (int m = 0; m < p->n_nodes; m++) {
        int group = c->machines[p->nodes[m].machine].disk_group;
        double streamed = (double)p->nodes[m].streamed;
        if (group < 0 || group >= PLAN_GROUPS)
            continue;
        bytes[group] += streamed;
        time[group] += streamed * f->nodes[m].disk;
    }
    for (int i = 0; i < PLAN_GROUPS; i++)
        if (bytes[i] > 0)
            c->disk_rates[i] *= bytes[i] / time[i];
}

void correction_apply(const struct correction *f, const struct plan *p, struct plan_cluster *c)
{
    CHECK(p->n_nodes == f->n_nodes);
    for (int m = 0; m < p->n_nodes; m++) {
        struct plan_machine *machine = &c->machines[p->nodes[m].machine];
        int before = p->nodes[(m + p->n_nodes - 1) % p->n_nodes].machine;
        struct plan_link *link = &c->links[before][p->nodes[m].machine];
        // What a node computes on its GPU and what beside it cannot be told apart.
        slow_down(&machine->cpu, f->nodes[m].compute);
        slow_down(&machine->gpu, f->nodes[m].compute);
        machine->disk /= f->nodes[m].disk;
        if (p->n_nodes > 1)
            link->latency = fmax(link->latency + f->nodes[m].hop_s, least_us / 1e6);
    }
    correct_disk_groups(c, p, f);
}
