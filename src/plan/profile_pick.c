// Clusters from clusters: see profile_pick.h.
#include "plan/profile_pick.h"

#include <stdio.h>
#include <string.h>

void profile_pick(struct plan_cluster *out, const struct plan_cluster *c, const int *at, int n)
{
    out->n = n;
    for (int i = 0; i < n; i++) {
        out->machines[i] = c->machines[at[i]];
        for (int j = 0; j < n; j++)
            out->links[i][j] = c->links[at[i]][at[j]];
    }
    memcpy(out->disk_rates, c->disk_rates, sizeof out->disk_rates);
    memcpy(out->net_rates, c->net_rates, sizeof out->net_rates);
}

void profile_without(struct plan_cluster *out, const struct plan_cluster *c, int machine)
{
    int at[PLAN_MAX_NODES], n = 0;
    for (int i = 0; i < c->n; i++)
        if (i != machine)
            at[n++] = i;
    profile_pick(out, c, at, n);
}

// A machine's part in its ways.
static struct plan_link part_of(const struct plan_cluster *c, const struct plan_link *network,
                                int machine, const struct plan_link *like)
{
    struct plan_link part = {0};
    double latency = 0;
    if (network[machine].rate > 0)
        return network[machine];
    for (int i = 0; i < c->n; i++) {
        const struct plan_link *way = &c->links[machine][i];
        if (i == machine)
            continue;
        latency += way->latency / (c->n - 1);
        part.rate = way->rate > part.rate ? way->rate : part.rate;
    }
    part.latency = latency / 2;
    return part.rate > 0 ? part : *like;
}

static bool taken(const struct plan_cluster *c, const char *name)
{
    for (int i = 0; i < c->n; i++)
        if (!strcmp(c->machines[i].name, name))
            return true;
    return false;
}

static void name_it(struct plan_machine *m, const struct plan_cluster *c)
{
    char name[2 * PLAN_NAME];
    snprintf(name, sizeof name, "%s", m->name);
    for (int i = 2; taken(c, name); i++)
        snprintf(name, sizeof name, "%.*s-%d", PLAN_NAME - 5, m->name, i);
    snprintf(m->name, sizeof m->name, "%.*s", PLAN_NAME - 1, name);
}

int profile_join(struct plan_cluster *c, struct plan_link *network, const struct profile_device *d,
                 struct err *e)
{
    struct plan_link there[PLAN_MAX_NODES];
    int head = c->n - 1;
    if (c->n == PLAN_MAX_NODES)
        return err_set(e, ERR_USAGE, "%s is one machine too many; a ring has %d at most",
                       d->machine.name, PLAN_MAX_NODES);
    if (!(d->network.rate > 0))
        return err_set(e, ERR_USAGE,
                       "%s does not say how it is connected; give it \"network\": "
                       "{\"latency_us\": .., \"bytes_per_s\": ..}",
                       d->machine.name);
    struct plan_machine m = d->machine;
    name_it(&m, c);
    for (int i = 0; i < c->n; i++)
        there[i] = part_of(c, network, i, &d->network);
    // The head moves one place on.
    c->machines[c->n] = c->machines[head];
    network[c->n] = network[head];
    there[c->n] = there[head];
    for (int i = 0; i < head; i++) {
        c->links[i][c->n] = c->links[i][head];
        c->links[c->n][i] = c->links[head][i];
    }
    c->machines[head] = m;
    network[head] = d->network;
    c->n++;
    for (int i = 0; i < c->n; i++)
        if (i != head) {
            c->links[i][head] = profile_way(&there[i], &d->network);
            c->links[head][i] = profile_way(&d->network, &there[i]);
        }
    return 0;
}
