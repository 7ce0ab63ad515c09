// plan_make: the best plan, machines that it leaves out, and what is missing when there is none.
#include "plan/solve.h"

#include <math.h>
#include <stdlib.h>

// Of the period, which plans that are simpler may take more: fewer rounds, fewer machines.
static const double fewer_rounds = 0.005, fewer_machines = 0.003;

static struct solve_task task_of(const struct solve *s)
{
    struct solve_task t = {.min_rounds = 1, .max_rounds = s->a.max_rounds};
    if (t.max_rounds > s->n_layers)
        t.max_rounds = s->n_layers;
    if (s->a.rounds > 0)
        t.min_rounds = t.max_rounds = s->a.rounds;
    t.gain = s->a.exact ? 1e-9 : fewer_rounds;
    for (int i = 0; i < s->n; i++) {
        t.needed[i] = s->a.all_machines;
        t.most[i] = s->n_layers;
    }
    return t;
}

// ---- when nothing fits -------------------------------------------------------------------------

static bool fits_with(struct plan_cluster *c, const struct plan_model *m, const struct plan_ask *a,
                      uint64_t more)
{
    struct solve s;
    struct solve_ring r;
    double t = INFINITY;
    uint64_t was = c->machines[c->n - 1].memory;
    c->machines[c->n - 1].memory = was + more;
    bool fits = false;
    if (!solve_open(&s, c, m, a, NULL)) {
        struct solve_task task = task_of(&s);
        task.max_rounds = task.min_rounds;
        fits = solve_search(&s, &task, &r, &t);
    }
    solve_close(&s);
    c->machines[c->n - 1].memory = was;
    return fits;
}

static int nothing_fits(const struct solve *s, struct err *e)
{
    enum { MIB = 1 << 20 };
    for (int i = 0; s->a.has_given && i < s->n_layers; i++) {
        bool has = false;
        for (int at = 0; at < s->n; at++)
            has = has || layer_set_has(&s->a.has[at], i);
        if (!has)
            return err_set(e, ERR_USAGE,
                           "no machine has layer %d in its model file; give one of them the file",
                           i);
    }
    struct plan_cluster *c = malloc(sizeof *c);
    if (!c)
        return err_set(e, ERR_NO_MEMORY, "no memory to plan");
    *c = *s->c;
    const struct plan_machine *head = &c->machines[c->n - 1];
    uint64_t lo = 0, hi = (uint64_t)1 << 50;
    bool fits = fits_with(c, s->m, &s->a, hi);
    while (fits && hi - lo > MIB / 8) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (fits_with(c, s->m, &s->a, mid))
            hi = mid;
        else
            lo = mid;
    }
    int rc;
    if (fits)
        rc = err_set(e, ERR_NO_MEMORY,
                     "%.1f MiB of memory are missing to run the model on %d machine%s; give %.*s "
                     "more, add a machine, or give the context fewer positions",
                     (double)hi / MIB, s->n, s->n == 1 ? "" : "s", PLAN_NAME - 1, head->name);
    else
        rc = err_set(e, ERR_NO_MEMORY,
                     "the layers cannot be distributed as asked for, whatever memory %.*s had; "
                     "leave out a machine, or give the machines the whole model file",
                     PLAN_NAME - 1, head->name);
    free(c);
    return rc;
}

// ---- the best plan, and simpler ones -----------------------------------------------------------

// Fewer machines where that costs next to nothing.
static void leave_out(struct solve *s, struct solve_task *task, struct solve_ring *best, double *t)
{
    double may = *t * (1 + fewer_machines);
    for (int i = 0; i < s->n - 1; i++) {
        struct solve_ring r;
        double other = may;
        bool there = false;
        for (int k = 0; k < best->n; k++)
            there = there || best->at[k] == i;
        if (!there || task->needed[i])
            continue;
        struct solve_task without = *task;
        without.most[i] = 0;
        without.min_rounds = without.max_rounds = best->rounds;
        without.gain = 0;
        if (!solve_search(s, &without, &r, &other))
            continue;
        *best = r;
        *t = other;
        *task = without;
    }
}

static void find_absent(struct plan *p, struct solve *s)
{
    for (int i = 0; i < s->n - 1; i++) {
        bool there = false;
        for (int k = 0; k < p->n_nodes; k++)
            there = there || p->nodes[k].machine == i;
        if (there)
            continue;
        struct solve_task task = task_of(s);
        struct solve_ring r;
        double t = INFINITY;
        task.needed[i] = true;
        struct plan_absent *out = &p->absent[p->n_absent++];
        *out = (struct plan_absent){.machine = i};
        out->possible = solve_search(s, &task, &r, &t);
        out->tpot = out->possible ? t : 0;
    }
}

int plan_make(struct plan *out, const struct plan_cluster *c, const struct plan_model *m,
              const struct plan_ask *a, struct err *e)
{
    struct solve s;
    struct solve_ring best;
    double t = INFINITY;
    int rc = solve_open(&s, c, m, a, e);
    if (rc) {
        solve_close(&s);
        return rc;
    }
    struct solve_task task = task_of(&s);
    const bool latency = !(s.a.first > 0) && !(s.a.throughput > 0);
    if (latency ? solve_search(&s, &task, &best, &t) : solve_weigh(&s, &task, &best)) {
        if (latency && !s.a.exact)
            leave_out(&s, &task, &best, &t);
        solve_foretell(out, &s, &best);
        find_absent(out, &s);
    } else
        rc = nothing_fits(&s, e);
    solve_close(&s);
    return rc;
}
