// What holds of every plan: limits are kept, more memory and faster disks are never worse, what is
// asked for is done, noise does no harm, and what cannot be gets a sentence.
#include "random_cluster.h"
#include "support.h"

#include "plan/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MIB = 1 << 20 };

struct home {
    struct plan_cluster c;
    struct plan_model m;
    struct plan_ask a;
    struct plan p;
    struct err e;
};

static struct home *new_home(uint64_t seed, const struct random_like *like)
{
    struct home *h = calloc(1, sizeof *h);
    random_cluster(&h->c, &h->m, &h->a, seed, like);
    return h;
}

static int make(struct home *h)
{
    h->e = (struct err){0};
    return plan_make(&h->p, &h->c, &h->m, &h->a, &h->e);
}

static int layers_of(const struct plan *p, int machine)
{
    for (int i = 0; i < p->n_nodes; i++)
        if (p->nodes[i].machine == machine)
            return p->nodes[i].layers;
    return 0;
}

// ---- plans are whole ---------------------------------------------------------------------------

static void check_node(const struct home *h, const struct plan_node *n)
{
    const struct plan_machine *at = &h->c.machines[n->machine];
    const double rounding = 16;
    assert_true((double)n->memory <= (double)at->memory + rounding);
    assert_true((double)n->vram <= (double)at->vram + rounding);
    assert_true(n->gpu_layers >= 0 && n->gpu_layers <= n->layers);
    assert_true(!n->streamed || at->disk > 0);
    assert_true(!n->streamed || n->slots >= h->m.slots_least);
    assert_true((double)n->memory + rounding >=
                (double)(at->base + n->cache + n->computing + n->resident + n->slots));
}

static void check_plan(const struct home *h)
{
    const struct plan *p = &h->p;
    struct err e = {0};
    assert_ok(windows_check(&p->table, &e), &e);
    assert_int_equal(p->table.n_nodes, p->n_nodes);
    assert_int_equal(p->table.n_layers, h->m.n_layers);
    assert_int_equal(p->nodes[p->n_nodes - 1].machine, h->c.n - 1);
    assert_int_equal(p->n_nodes + p->n_absent, h->c.n);
    double sum = 0, streamed[PLAN_GROUPS] = {0};
    for (int i = 0; i < p->n_nodes; i++) {
        const struct plan_node *n = &p->nodes[i];
        check_node(h, n);
        assert_int_equal(n->layers, windows_layers(&p->table, i));
        assert_true(n->layers > 0 || i == p->n_nodes - 1);
        sum += n->compute + n->wait + n->hop;
        assert_true(n->disk <= p->tpot * (1 + 1e-6));
        if (h->c.machines[n->machine].disk_group >= 0)
            streamed[h->c.machines[n->machine].disk_group] += (double)n->streamed;
    }
    assert_true(sum <= p->tpot * (1 + 1e-6));
    for (int g = 0; g < PLAN_GROUPS; g++)
        assert_true(streamed[g] <= p->tpot * h->c.disk_rates[g] * (1 + 1e-6));
    assert_true(p->ttft > 0 && isfinite(p->ttft) && p->chunk > 0);
    assert_true(p->throughput > 0 && isfinite(p->throughput));
}

static void plans_keep_all_limits(void **state)
{
    (void)state;
    const struct random_like like = random_like_all();
    int made = 0, groups = 0, gpus = 0;
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct home *h = new_home(seed, &like);
        h->a.first = seed % 5 == 1 ? 0.1 : 0;
        h->a.throughput = seed % 5 == 2;
        h->a.users = seed % 5 == 2 ? 4 : 1;
        h->a.latency = seed % 5 != 2;
        h->a.exact = seed % 5 == 3;
        if (!make(h)) {
            check_plan(h);
            made++;
            groups += h->p.bound == PLAN_BOUND_DISK_GROUP;
            for (int i = 0; i < h->p.n_nodes; i++)
                gpus += h->p.nodes[i].gpu_layers > 0;
        } else {
            assert_int_equal(h->e.code, ERR_NO_MEMORY);
            assert_non_null(strstr(h->e.text, "MiB of memory are missing"));
        }
        free(h);
    }
    printf("# %d plans, %d bound by a shared disk, %d nodes with a GPU\n", made, groups, gpus);
    assert_true(made > 200 && groups > 3 && gpus > 20);
}

static void a_prediction_of_the_plan_is_the_plan(void **state)
{
    (void)state;
    const struct random_like like = {.disk_groups = true, .gpus = true, .unequal_layers = true};
    static struct plan other;
    for (uint64_t seed = 0; seed < 150; seed++) {
        struct home *h = new_home(seed, &like);
        if (!make(h)) {
            struct plan_ask a = h->a;
            a.layers_given = true;
            a.rounds = h->p.table.n_rounds;
            for (int i = 0; i < h->c.n; i++)
                a.layers[i] = layers_of(&h->p, i);
            assert_ok(plan_predict(&other, &h->c, &h->m, &a, &h->e), &h->e);
            assert_memory_equal(&other.table, &h->p.table, sizeof other.table);
            assert_true(other.tpot == h->p.tpot && other.ttft == h->p.ttft);
            assert_true(other.throughput == h->p.throughput && other.chunk == h->p.chunk);
        }
        free(h);
    }
}

// Prints what planning takes; script/bench is for whole programs.
static void plans_of_many_layers_are_whole(void **state)
{
    (void)state;
    const struct {
        const char *what;
        struct random_like like;
    } kinds[] = {
        {"4 x 80, alike",
         {.min_machines = 4, .max_machines = 4, .min_layers = 80, .max_layers = 80}},
        {"4 x 80, all kinds",
         {.min_machines = 4,
          .max_machines = 4,
          .min_layers = 80,
          .max_layers = 80,
          .disk_groups = true,
          .unequal_layers = true,
          .unequal_links = true}},
        {"16 x 126, alike",
         {.min_machines = 16, .max_machines = 16, .min_layers = 126, .max_layers = 126}},
    };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        double sum = 0, most = 0;
        int made = 0;
        for (uint64_t seed = 0; seed < 12; seed++) {
            struct home *h = new_home(seed, &kinds[k].like);
            clock_t began = clock();
            if (!make(h)) {
                double ms = (double)(clock() - began) * 1e3 / CLOCKS_PER_SEC;
                check_plan(h);
                sum += ms;
                most = ms > most ? ms : most;
                made++;
            }
            free(h);
        }
        assert_true(made > 5);
        printf("# %s: %d plans, mean %.1f ms, most %.1f ms\n", kinds[k].what, made, sum / made,
               most);
    }
}

// ---- better machines ---------------------------------------------------------------------------

static void improve(struct home *h, int how)
{
    for (int i = 0; i < h->c.n; i++) {
        struct plan_machine *at = &h->c.machines[i];
        if (how == 0)
            at->memory += 200ull * MIB;
        if (how == 1)
            at->disk *= 1.5;
        if (how == 2)
            at->cpu.layer /= 2;
        for (int j = 0; how == 3 && j < h->c.n; j++)
            h->c.links[i][j].latency /= 2;
    }
    for (int g = 0; how == 1 && g < PLAN_GROUPS; g++)
        h->c.disk_rates[g] *= 1.5;
}

static void better_machines_are_never_worse(void **state)
{
    (void)state;
    const struct random_like like = {.disk_groups = true, .bad_machines = true};
    int gained = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct home *h = new_home(seed, &like);
        h->a.exact = true;
        if (!make(h)) {
            double before = h->p.tpot;
            improve(h, (int)(seed % 4));
            assert_int_equal(make(h), 0);
            if (h->p.tpot > before * (1 + 1e-6))
                fail_msg("seed %d: %.9g s, with better machines %.9g s", (int)seed, before,
                         h->p.tpot);
            gained += h->p.tpot < before * (1 - 1e-3);
        }
        free(h);
    }
    assert_true(gained > 40);
}

static void a_machine_that_is_left_out_would_cost(void **state)
{
    (void)state;
    const struct random_like like = {.bad_machines = true, .unequal_links = true};
    int n = 0;
    for (uint64_t seed = 0; seed < 250; seed++) {
        struct home *h = new_home(seed, &like);
        h->a.exact = true;
        if (!make(h))
            for (int i = 0; i < h->p.n_absent; i++) {
                const struct plan_absent *out = &h->p.absent[i];
                assert_int_equal(layers_of(&h->p, out->machine), 0);
                assert_true(!out->possible || out->tpot >= h->p.tpot * (1 - 1e-6));
                n += out->possible;
            }
        free(h);
    }
    printf("# %d machines that could take part\n", n);
    assert_true(n > 20);
}

// ---- what is asked for -------------------------------------------------------------------------

static void what_is_asked_for_is_done(void **state)
{
    (void)state;
    const struct random_like like = {
        .min_machines = 3, .max_machines = 3, .min_layers = 8, .memory = 1.5};
    int made = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct home *h = new_home(seed, &like);
        h->a.all_machines = true;
        if (!make(h)) {
            assert_int_equal(h->p.n_nodes, 3);
            made++;
        }
        h->a.all_machines = false;
        h->a.rounds = 3;
        if (!make(h))
            assert_int_equal(h->p.table.n_rounds, 3);
        h->a.rounds = 0;
        h->a.max_rounds = 2;
        if (!make(h))
            assert_in_range(h->p.table.n_rounds, 1, 2);
        h->a.chunk = 24;
        if (!make(h))
            assert_int_equal(h->p.chunk, 24);
        free(h);
    }
    assert_true(made > 30);
}

static void machines_run_layers_of_their_files_only(void **state)
{
    (void)state;
    const struct random_like like = {
        .min_machines = 3, .max_machines = 3, .min_layers = 9, .memory = 1.8};
    int made = 0, used = 0;
    for (uint64_t seed = 0; seed < 80; seed++) {
        struct home *h = new_home(seed, &like);
        int n = h->m.n_layers;
        h->a.has_given = true;
        layer_set_add(&h->a.has[0], 0, n / 2);
        layer_set_add(&h->a.has[1], (int)(seed % 3) * 2, n - 1);
        layer_set_add(&h->a.has[2], 0, n);
        if (!make(h)) {
            made++;
            for (int i = 0; i < h->p.n_nodes; i++) {
                struct layer_set needed = layer_set_of_node(&h->p.table, i);
                assert_true(layer_set_covers(&h->a.has[h->p.nodes[i].machine], &needed));
                used += h->p.nodes[i].machine != 2;
            }
        }
        // A layer that nobody has cannot be run.
        memset(&h->a.has[1], 0, sizeof h->a.has[1]);
        memset(&h->a.has[2], 0, sizeof h->a.has[2]);
        assert_int_not_equal(make(h), 0);
        assert_non_null(strstr(h->e.text, "has layer"));
        free(h);
    }
    assert_true(made > 40 && used > 40);
}

static void slices_of_a_plan_can_be_planned_again(void **state)
{
    (void)state;
    const struct random_like like = {
        .min_machines = 3, .max_machines = 4, .min_layers = 16, .max_layers = 32, .memory = 0.8};
    int rounds = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct home *h = new_home(seed, &like);
        if (!make(h)) {
            double before = h->p.tpot;
            h->a.has_given = true;
            layer_set_add(&h->a.has[h->c.n - 1], 0, h->m.n_layers);
            for (int i = 0; i < h->p.n_nodes - 1; i++)
                h->a.has[h->p.nodes[i].machine] = layer_set_of_node(&h->p.table, i);
            rounds += h->p.table.n_rounds > 1;
            assert_ok(make(h), &h->e);
            assert_true(h->p.tpot <= before * 1.02);
        }
        free(h);
    }
    assert_true(rounds > 15);
}

static void other_objectives_are_not_worse_at_what_they_weigh(void **state)
{
    (void)state;
    const struct random_like like = {.min_machines = 2, .min_layers = 6, .disk_groups = true};
    int first = 0, many = 0;
    for (uint64_t seed = 0; seed < 80; seed++) {
        struct home *h = new_home(seed, &like);
        h->a.prompt = 400;
        h->a.users = 4;
        if (!make(h)) {
            struct plan latency = h->p;
            h->a.first = 1;
            assert_int_equal(make(h), 0);
            assert_true(h->p.ttft <= latency.ttft * (1 + 1e-9));
            first += h->p.ttft < latency.ttft * 0.99;
            h->a.first = 0;
            h->a.throughput = 1;
            assert_int_equal(make(h), 0);
            assert_true(h->p.throughput >= latency.throughput * (1 - 1e-9));
            many += h->p.throughput > latency.throughput * 1.01;
        }
        free(h);
    }
    assert_true(first > 20 && many > 10);
}

// ---- noise, nonsense ---------------------------------------------------------------------------

// What the plan would take on the machines as they are, against the best for them.
static void noise_does_no_harm(void **state)
{
    (void)state;
    const struct random_like like = {
        .min_machines = 2, .min_layers = 16, .max_layers = 40, .bad_machines = true, .memory = 1.1};
    static struct plan there;
    int made = 0, worse = 0;
    for (uint64_t seed = 0; seed < 120; seed++) {
        struct home *h = new_home(seed, &like);
        struct plan_cluster true_one = h->c;
        h->a.fixed_order = true; // as that of the prediction below
        double best = make(h) ? INFINITY : h->p.tpot;
        random_noise(&h->c, seed, 0.05);
        for (int i = 0; i < h->c.n; i++) // memory is counted, not measured
            h->c.machines[i].memory = true_one.machines[i].memory;
        if (best < INFINITY && !make(h)) {
            struct plan_cluster ordered = true_one;
            struct plan_ask a = h->a;
            a.rounds = h->p.table.n_rounds;
            for (int i = 0; i < h->c.n; i++)
                a.layers[i] = layers_of(&h->p, i);
            assert_ok(plan_predict(&there, &ordered, &h->m, &a, &h->e), &h->e);
            made++;
            worse += there.tpot > best * 1.05;
            if (there.tpot > best * 1.1)
                fail_msg("seed %d: noise makes %.4g s of %.4g s", (int)seed, there.tpot, best);
        }
        free(h);
    }
    printf("# %d plans from noisy profiles, %d more than 5%% worse\n", made, worse);
    assert_true(made > 60 && worse <= made / 50);
}

static void what_cannot_be_gets_a_sentence(void **state)
{
    (void)state;
    const struct random_like like = {.min_machines = 3, .max_machines = 3, .memory = 2};
    struct home *h = new_home(3, &like);
    for (int i = 0; i < 3; i++)
        h->c.machines[i].memory = h->c.machines[i].base;
    assert_int_equal(make(h), ERR_NO_MEMORY);
    assert_non_null(strstr(h->e.text, "MiB of memory are missing"));
    double missing = atof(h->e.text);
    h->c.machines[2].memory += (uint64_t)((missing + 0.2) * MIB);
    assert_ok(make(h), &h->e);
    h->c.machines[2].memory -= (uint64_t)(1.2 * MIB);
    assert_int_equal(make(h), ERR_NO_MEMORY);
    h->c.machines[0].disk = NAN;
    assert_int_equal(make(h), ERR_USAGE);
    h->c.machines[0].disk = 1e9;
    h->c.n = 0;
    assert_int_equal(make(h), ERR_USAGE);
    h->c.n = 3;
    h->m.n_layers = 0;
    assert_int_equal(make(h), ERR_FAILED);
    free(h);
}

static void a_distribution_that_cannot_be_gets_a_sentence(void **state)
{
    (void)state;
    const struct random_like like = {
        .min_machines = 2, .max_machines = 2, .min_layers = 6, .max_layers = 6, .memory = 2};
    struct home *h = new_home(1, &like);
    h->a.layers_given = true;
    h->a.layers[0] = 2;
    h->a.layers[1] = 3;
    assert_int_equal(plan_predict(&h->p, &h->c, &h->m, &h->a, &h->e), ERR_USAGE);
    assert_non_null(strstr(h->e.text, "add up to 5"));
    h->e = (struct err){0};
    h->a.layers[1] = 4;
    h->c.machines[0].memory = MIB;
    assert_int_equal(plan_predict(&h->p, &h->c, &h->m, &h->a, &h->e), ERR_NO_MEMORY);
    assert_non_null(strstr(h->e.text, "box-0 lacks"));
    h->e = (struct err){0};
    h->a.has_given = true;
    layer_set_add(&h->a.has[0], 1, 6);
    layer_set_add(&h->a.has[1], 0, 6);
    assert_int_equal(plan_predict(&h->p, &h->c, &h->m, &h->a, &h->e), ERR_USAGE);
    assert_non_null(strstr(h->e.text, "box-0 would run layer 0"));
    free(h);
}

static void small_models_stay_at_home(void **state)
{
    (void)state;
    const struct random_like like = {.min_machines = 4, .max_machines = 4};
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct home *h = new_home(seed, &like);
        for (int i = 0; i < 4; i++) {
            h->c.machines[i] = h->c.machines[3];
            h->c.machines[i].memory = 64ull << 30;
            h->c.machines[i].disk_group = -1;
        }
        assert_ok(make(h), &h->e);
        assert_int_equal(h->p.n_nodes, 1);
        assert_int_equal(h->p.table.n_rounds, 1);
        assert_int_equal(h->p.n_absent, 3);
        free(h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_keep_all_limits),
        cmocka_unit_test(plans_of_many_layers_are_whole),
        cmocka_unit_test(a_prediction_of_the_plan_is_the_plan),
        cmocka_unit_test(better_machines_are_never_worse),
        cmocka_unit_test(a_machine_that_is_left_out_would_cost),
        cmocka_unit_test(what_is_asked_for_is_done),
        cmocka_unit_test(machines_run_layers_of_their_files_only),
        cmocka_unit_test(slices_of_a_plan_can_be_planned_again),
        cmocka_unit_test(other_objectives_are_not_worse_at_what_they_weigh),
        cmocka_unit_test(noise_does_no_harm),
        cmocka_unit_test(what_cannot_be_gets_a_sentence),
        cmocka_unit_test(a_distribution_that_cannot_be_gets_a_sentence),
        cmocka_unit_test(small_models_stay_at_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
