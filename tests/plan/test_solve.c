// Plans against a naive search through everything: all counts, all numbers of rounds and, where
// ways differ, all orders, each as plan_predict foretells it.
#include "random_cluster.h"
#include "support.h"

#include "plan/cost.h"
#include "plan/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct home {
    struct plan_cluster c;
    struct plan_model m;
    struct plan_ask a;
};

static struct home *new_home(uint64_t seed, const struct random_like *like)
{
    struct home *h = calloc(1, sizeof *h);
    random_cluster(&h->c, &h->m, &h->a, seed, like);
    h->a.exact = true;
    return h;
}

// ---- everything, one by one
// ----------------------------------------------------------------------

static void swap_machines(struct plan_cluster *c, int i, int j)
{
    struct plan_machine t = c->machines[i];
    c->machines[i] = c->machines[j];
    c->machines[j] = t;
    for (int k = 0; k < c->n; k++) {
        struct plan_link l = c->links[i][k];
        c->links[i][k] = c->links[j][k];
        c->links[j][k] = l;
    }
    for (int k = 0; k < c->n; k++) {
        struct plan_link l = c->links[k][i];
        c->links[k][i] = c->links[k][j];
        c->links[k][j] = l;
    }
}

static void all_counts(struct home *h, int machine, int left, double *best)
{
    if (machine < h->c.n - 1) {
        for (int w = 0; w <= left; w++) {
            h->a.layers[machine] = w;
            all_counts(h, machine + 1, left - w, best);
        }
        return;
    }
    h->a.layers[machine] = left;
    static struct plan p;
    if (!plan_predict(&p, &h->c, &h->m, &h->a, NULL) && p.tpot < *best)
        *best = p.tpot;
}

static void all_orders(struct home *h, int from, double *best)
{
    if (from >= h->c.n - 2) {
        for (int k = 1; k <= h->m.n_layers; k++) {
            h->a.rounds = k;
            all_counts(h, 0, h->m.n_layers, best);
        }
        h->a.rounds = 0;
        return;
    }
    for (int i = from; i < h->c.n - 1; i++) {
        swap_machines(&h->c, from, i);
        all_orders(h, from + 1, best);
        swap_machines(&h->c, from, i);
    }
}

static double brute_force(struct home *h)
{
    double best = INFINITY;
    h->a.layers_given = true;
    bool alike = true;
    for (int i = 0; i < h->c.n; i++)
        for (int j = 0; j < h->c.n; j++)
            alike = alike && h->c.links[i][j].latency == h->c.links[0][0].latency;
    all_orders(h, alike ? h->c.n : 0, &best);
    h->a.layers_given = false;
    return best;
}

static void compare(const struct random_like *like, uint64_t seeds, const char *what)
{
    static struct plan p;
    int made = 0, streamed = 0, rounds = 0, left_out = 0;
    double worst = 0;
    for (uint64_t seed = 0; seed < seeds; seed++) {
        struct home *h = new_home(seed, like);
        struct err e = {0};
        int rc = plan_make(&p, &h->c, &h->m, &h->a, &e);
        double best = brute_force(h);
        if (rc) {
            assert_int_equal(rc, ERR_NO_MEMORY);
            if (best < INFINITY)
                fail_msg("%s, seed %d: no plan, but %g s are possible", what, (int)seed, best);
        } else {
            if (fabs(p.tpot - best) > best * 1e-6)
                fail_msg("%s, seed %d: %.9g s, but %.9g s are possible (%d machines, %d layers)",
                         what, (int)seed, p.tpot, best, h->c.n, h->m.n_layers);
            worst = p.tpot / best > worst ? p.tpot / best : worst;
            made++;
            for (int i = 0; i < p.n_nodes; i++)
                if (p.nodes[i].streamed) {
                    streamed++;
                    break;
                }
            rounds += p.table.n_rounds > 1;
            left_out += p.n_absent > 0;
        }
        free(h);
    }
    printf("# %s: %d plans, %d with streaming, %d with several rounds, %d without a machine\n",
           what, made, streamed, rounds, left_out);
    assert_true(made > (int)seeds / 2 && streamed > 0 && rounds > 0 && left_out > 0);
}

static void plans_of_equal_layers_are_the_best_of_all(void **state)
{
    (void)state;
    const struct random_like like = {.max_layers = 8, .no_disks = true, .bad_machines = true};
    compare(&like, 150, "equal layers");
}

static void plans_on_unequal_ways_are_the_best_of_all(void **state)
{
    (void)state;
    const struct random_like like = {.max_layers = 6, .unequal_links = true, .bad_machines = true};
    compare(&like, 60, "unequal ways");
}

static void plans_with_shared_disks_are_the_best_of_all(void **state)
{
    (void)state;
    const struct random_like like = {.max_layers = 8, .disk_groups = true};
    compare(&like, 150, "shared disks");
}

static void plans_of_unequal_layers_are_the_best_of_all(void **state)
{
    (void)state;
    const struct random_like like = {.max_layers = 8, .unequal_layers = true, .experts = true};
    compare(&like, 150, "unequal layers");
}

static void plans_with_gpus_are_the_best_of_all(void **state)
{
    (void)state;
    const struct random_like like = {.max_layers = 8, .gpus = true};
    compare(&like, 150, "GPUs");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_of_equal_layers_are_the_best_of_all),
        cmocka_unit_test(plans_on_unequal_ways_are_the_best_of_all),
        cmocka_unit_test(plans_with_shared_disks_are_the_best_of_all),
        cmocka_unit_test(plans_of_unequal_layers_are_the_best_of_all),
        cmocka_unit_test(plans_with_gpus_are_the_best_of_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
