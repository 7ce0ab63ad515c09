// Making plans for a ring: see planning.h.
#include "cluster/planning.h"

#include "base/check.h"
#include "base/pool.h"
#include "cluster/correction.h"
#include "cluster/plan_model.h"
#include "plan/profile_pick.h"

#include <stdlib.h>
#include <string.h>

static const double worth = 0.95; // of the time before

static void layers_by_hand(struct planning *p, const int *layers)
{
    p->ask.layers_given = layers;
    p->ask.fixed_order = layers;
    for (int i = 0; layers && i < p->cluster.n; i++)
        p->ask.layers[i] = layers[i];
}

// The machine that is called so and has no place yet; -1: none.
static int machine_of(const struct planning *p, const char *name, const int *at, int n)
{
    for (int i = 0; i < p->cluster.n - 1; i++) {
        bool taken = false;
        for (int k = 0; k < n; k++)
            taken |= at[k] == i;
        if (!taken && !strcmp(p->cluster.machines[i].name, name))
            return i;
    }
    return -1;
}

// Only the machines of a saved plan are left, in its order.
static int take_order(struct planning *p, const struct plan_order *o, struct err *e)
{
    int at[PLAN_MAX_NODES], n = o->n_nodes;
    const struct planning all = *p;
    for (int i = 0; i < n - 1; i++) {
        at[i] = machine_of(&all, o->names[i], at, i);
        if (at[i] < 0)
            return err_set(e, ERR_USAGE,
                           "the saved plan has a worker %.*s, but none that has joined is called "
                           "so; say it with rondo join --name",
                           PLAN_NAME, o->names[i]);
    }
    at[n - 1] = all.cluster.n - 1;
    profile_pick(&p->cluster, &all.cluster, at, n);
    for (int i = 0; i < n; i++) {
        p->members[i] = all.members[at[i]];
        p->ask.has[i] = all.ask.has[at[i]];
    }
    p->ask.rounds = o->table.n_rounds;
    p->ask.chunk = o->chunk;
    p->table = o->table;
    layers_by_hand(p, o->layers);
    return 0;
}

int planning_new(struct planning **out, const struct planning_wants *w, const struct node_survey *s,
                 struct err *e)
{
    struct planning *p = calloc(1, sizeof *p);
    const struct local_options *l = w->engine;
    int n_threads = l->n_threads > 0 ? l->n_threads : pool_default_threads();
    const struct plan_model_options o = {.kv_type = l->kv_type,
                                         .n_threads = n_threads,
                                         .max_batch = l->max_batch,
                                         .max_context = l->max_context,
                                         .n_sessions = l->max_sessions};
    *out = NULL;
    if (!p)
        return err_set(e, ERR_NO_MEMORY, "no memory to plan");
    CHECK(s->known);
    p->cluster = s->cluster;
    memcpy(p->members, s->members, sizeof p->members);
    p->ask = (struct plan_ask){
        .context = l->kv_pages ? l->kv_pages * KV_PAGE_TOKENS : l->max_sessions * l->max_context,
        .positions = l->max_context / 2,
        .prompt = w->prompt,
        .users = l->max_sessions,
        .latency = w->latency,
        .first = w->first,
        .throughput = w->throughput,
        .activation = w->activation == WIRE_F16 ? 2 : 4,
        .rounds = w->rounds,
        .has_given = true,
    };
    memcpy(p->ask.has, s->has, sizeof p->ask.has);
    layers_by_hand(p, w->layers);
    int rc = plan_model_of(&p->model, w->model, &o, e);
    if (!rc && w->order)
        rc = take_order(p, w->order, e);
    if (rc) {
        planning_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

void planning_free(struct planning *p)
{
    free(p);
}

int planning_make(struct planning *p, struct err *e)
{
    if (!p->ask.layers_given)
        return plan_make(&p->plan, &p->cluster, &p->model, &p->ask, e);
    int rc = plan_predict(&p->plan, &p->cluster, &p->model, &p->ask, e);
    if (!rc && p->table.n_nodes == p->plan.n_nodes)
        p->plan.table = p->table;
    return rc;
}

// The machines of the ring alone, in its order: what plan_predict takes for the order of visits.
static void ring_only(const struct planning *p, struct plan_cluster *out)
{
    int at[PLAN_MAX_NODES];
    for (int i = 0; i < p->plan.n_nodes; i++)
        at[i] = p->plan.nodes[i].machine;
    profile_pick(out, &p->cluster, at, p->plan.n_nodes);
}

// What the present distribution costs at a position; 0: as it was planned for.
static int predict(const struct planning *p, int position, struct plan *out, struct err *e)
{
    struct plan_cluster *c = malloc(sizeof *c);
    struct plan_ask *a = malloc(sizeof *a);
    int rc = c && a ? 0 : err_set(e, ERR_NO_MEMORY, "no memory to plan");
    if (!rc) {
        ring_only(p, c);
        *a = p->ask;
        a->layers_given = a->fixed_order = true;
        a->has_given = false; // it was looked at when the plan was made
        a->rounds = p->plan.table.n_rounds;
        a->chunk = p->plan.chunk;
        if (position)
            a->positions = position;
        for (int i = 0; i < p->plan.n_nodes; i++)
            a->layers[i] = p->plan.nodes[i].layers;
        rc = plan_predict(out, c, &p->model, a, e);
    }
    for (int i = 0; !rc && i < out->n_nodes; i++)
        out->nodes[i].machine = p->plan.nodes[out->nodes[i].machine].machine;
    free(c);
    free(a);
    return rc;
}

static int foretell(const struct planning *p, struct foretold *out, struct err *e)
{
    int context = p->ask.positions * 2, rc = 0;
    *out = (struct foretold){0};
    for (int i = 0; i < FORETOLD_KNOTS && !rc; i++) {
        struct plan at;
        int position = 1 + (int)((int64_t)(context - 1) * i / (FORETOLD_KNOTS - 1));
        rc = predict(p, position, &at, e);
        if (rc || at.n_nodes != p->plan.n_nodes)
            return rc; // a worker without layers is not foretold
        out->at[i] = position;
        correction_foretold(&at, &out->knots[i]);
        out->n++;
    }
    return rc;
}

int planning_ring(const struct planning *p, struct node_plan *out, struct err *e)
{
    const struct plan *plan = &p->plan;
    *out = (struct node_plan){.table = plan->table, .chunk = plan->chunk};
    for (int i = 0; i < plan->n_nodes; i++) {
        const struct plan_node *x = &plan->nodes[i];
        if (i < plan->n_nodes - 1)
            out->members[i] = p->members[x->machine];
        out->slots[i] =
            p->model.slots_least; // room that a node keeps, should not all fit after all
        if (!x->streamed)
            continue;
        out->slots[i] = x->slots;
        out->memory[i] = p->cluster.machines[x->machine].memory;
    }
    return foretell(p, &out->foretold, e);
}

int planning_learn(struct planning *p, const struct node_drift *d, struct err *e)
{
    struct plan *expected = malloc(2 * sizeof *expected), *next = expected + 1;
    struct correction f;
    if (!expected)
        return err_set(e, ERR_NO_MEMORY, "no memory to plan");
    int rc = predict(p, d->position, expected, e);
    if (!rc) {
        correction_find(&f, expected, &d->seen);
        correction_apply(&f, expected, &p->cluster);
        rc = predict(p, 0, expected, e); // what it takes, as is known now
    }
    if (!rc && !p->ask.layers_given)
        rc = plan_make(next, &p->cluster, &p->model, &p->ask, e);
    if (!rc && !p->ask.layers_given && next->tpot < worth * expected->tpot) {
        p->plan = *next;
        rc = 1;
    }
    free(expected);
    return rc;
}
