// Profiles and the cost of layers: nonsense is refused with a sentence that names it, products lie
// between what was measured, and a node's bytes and seconds add up.
#include "random_cluster.h"
#include "support.h"

#include "plan/cost.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MB = 1 << 20, TYPE = 12 };

static struct plan_cluster *new_cluster(int n)
{
    struct plan_cluster *c = calloc(1, sizeof *c);
    c->n = n;
    for (int i = 0; i < n; i++) {
        struct plan_machine *m = &c->machines[i];
        *m = (struct plan_machine){.memory = 1000ull * MB,
                                   .base = 20 * MB,
                                   .disk = 1e9,
                                   .disk_group = -1,
                                   .net_group = -1,
                                   .core_group = -1};
        snprintf(m->name, sizeof m->name, "box-%d", i);
        for (int w = 0; w < PLAN_WIDTHS; w++) {
            m->cpu.product[PLAN_LANES][TYPE][w] = 1e-10 * (1 + w);
            m->cpu.product[PLAN_ROWS][TYPE][w] = 2e-10 * (1 + w);
        }
        for (int j = 0; j < n; j++)
            c->links[i][j] = (struct plan_link){1e-4, 1e8};
    }
    return c;
}

static struct plan_model *new_model(int n_layers)
{
    struct plan_model *m = calloc(1, sizeof *m);
    m->n_layers = n_layers;
    for (int i = 0; i < n_layers; i++)
        m->layers[i] = (struct plan_layer){
            .stacks = {{.type = TYPE, .bytes = 100 * MB}}, .n_stacks = 1, .bytes = 100 * MB};
    m->output = m->layers[0];
    m->width = 1024;
    m->slots_least = MB;
    return m;
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    const double bad[] = {NAN, INFINITY, -INFINITY, -1};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int what = 0; what < 9; what++) {
            struct err e = {0};
            struct plan_cluster *c = new_cluster(2);
            struct plan_machine *m = &c->machines[1];
            assert_ok(profile_check(c, &e), &e);
            m->vram = what == 6 || what == 7 ? MB : 0;
            m->gpu = m->cpu;
            m->copy = 1e9;
            double *numbers[] = {&m->cpu.product[0][TYPE][1],
                                 &m->cpu.layer,
                                 &m->cpu.token,
                                 &m->cpu.attend,
                                 &m->cpu.launch,
                                 &m->disk,
                                 &m->copy,
                                 &m->gpu.layer,
                                 &c->links[0][1].latency};
            *numbers[what] = bad[i];
            assert_int_equal(profile_check(c, &e), ERR_USAGE);
            assert_non_null(strstr(e.text, "box-1"));
            free(c);
        }
    struct err e = {0};
    struct plan_cluster *c = new_cluster(1);
    c->n = 0;
    assert_int_equal(profile_check(c, &e), ERR_USAGE);
    c->n = PLAN_MAX_NODES + 1;
    assert_int_equal(profile_check(c, &e), ERR_USAGE);
    c->n = 1;
    memset(c->machines[0].cpu.product, 0, sizeof c->machines[0].cpu.product);
    e = (struct err){0};
    assert_int_equal(profile_check(c, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "how fast"));
    free(c);
    c = new_cluster(2);
    c->machines[0].disk_group = 3;
    assert_int_equal(profile_check(c, &e), ERR_USAGE);
    c->disk_rates[3] = 1e9;
    assert_ok(profile_check(c, &e), &e);
    c->machines[0].disk_group = PLAN_GROUPS;
    assert_int_equal(profile_check(c, &e), ERR_USAGE);
    c->machines[0].disk_group = -1;
    c->links[1][0].rate = 0;
    assert_int_equal(profile_check(c, &e), ERR_USAGE);
    free(c);
}

static void models_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct err e = {0};
    struct plan_model *m = new_model(2);
    assert_ok(profile_check_model(m, &e), &e);
    m->layers[1].stacks[0].bytes = 101 * MB;
    assert_int_equal(profile_check_model(m, &e), ERR_FAILED);
    assert_non_null(strstr(e.text, "layer 1"));
    m->layers[1].stacks[0].bytes = 1;
    m->layers[1].stacks[0].n_used = 1;
    assert_int_equal(profile_check_model(m, &e), ERR_FAILED);
    m->layers[1].stacks[0].n_used = 0;
    m->layers[1].stacks[0].type = PLAN_TYPES;
    assert_int_equal(profile_check_model(m, &e), ERR_FAILED);
    m->layers[1].stacks[0].type = 0;
    m->n_layers = 0;
    assert_int_equal(profile_check_model(m, &e), ERR_FAILED);
    free(m);
}

static void products_lie_between_what_was_measured(void **state)
{
    (void)state;
    static struct plan_speed s;
    double *t = s.product[PLAN_LANES][TYPE];
    t[0] = 1;
    t[1] = 2.5;
    t[2] = 32.5;
    assert_true(profile_product(&s, PLAN_LANES, TYPE, 1) == 1);
    assert_true(profile_product(&s, PLAN_LANES, TYPE, 0.5) == 1);
    assert_true(profile_product(&s, PLAN_LANES, TYPE, 2) == 1.5);
    assert_true(profile_product(&s, PLAN_LANES, TYPE, 34) == 17.5);
    assert_true(profile_product(&s, PLAN_LANES, TYPE, 128) == 65);
    assert_true(profile_product(&s, PLAN_ROWS, TYPE, 4) == 2.5); // as the other form
    s.product[PLAN_ROWS][3][0] = 7;
    assert_true(profile_product(&s, PLAN_ROWS, 9, 1) == 7); // as the slowest
}

static struct cost_share share_of(const struct plan_cluster *c, const struct plan_model *m,
                                  const struct plan_ask *a, int layers)
{
    struct cost_share s = {.layers = layers};
    for (int i = 0; i < layers; i++) {
        struct cost_sums one;
        cost_of_layer(&one, c, 0, m, a, i);
        cost_add(&s.cpu, &one);
    }
    return s;
}

static void what_does_not_fit_is_streamed(void **state)
{
    (void)state;
    struct err e = {0};
    struct plan_cluster *c = new_cluster(1);
    struct plan_model *m = new_model(20);
    struct plan_ask a = {0};
    struct plan_node n;
    cost_defaults(&a);
    struct cost_share s = share_of(c, m, &a, 9);
    assert_ok(cost_node(&n, c, 0, m, &a, &s, 1, INFINITY, &e), &e);
    assert_int_equal(n.streamed, 0);
    assert_int_equal(n.memory, 920ull * MB);
    assert_true(fabs(n.compute - 900.0 * MB * 1e-10) < 1e-12 && n.wait == 0);
    // 2000 MB of weights and room for 980: with one round slots gain nothing.
    s = share_of(c, m, &a, 20);
    assert_ok(cost_node(&n, c, 0, m, &a, &s, 1, INFINITY, &e), &e);
    assert_int_equal(n.slots, m->slots_least);
    assert_int_equal(n.streamed, 1020ull * MB + n.slots);
    assert_int_equal(n.resident + n.streamed, n.weights);
    assert_int_equal(n.memory, c->machines[0].memory);
    assert_true(fabs(n.compute + n.wait - 1020.0 * MB / 1e9) < 1e-6);
    // With four, slots hide what computing does not.
    assert_ok(cost_node(&n, c, 0, m, &a, &s, 4, INFINITY, &e), &e);
    assert_true(n.slots > 200ull * MB && n.wait < 1e-9);
    assert_true(fabs(n.compute - (1020.0 * MB - 3.0 * n.slots) / 1e9) < 1e-6);
    // but no more than keeps the disk within the bound.
    assert_ok(cost_node(&n, c, 0, m, &a, &s, 4, 1.2, &e), &e);
    assert_true(fabs(n.disk - 1.2) < 1e-6 && n.wait > 0);
    c->machines[0].disk = 0;
    assert_int_equal(cost_node(&n, c, 0, m, &a, &s, 4, INFINITY, &e), ERR_NO_MEMORY);
    assert_non_null(strstr(e.text, "no disk"));
    c->machines[0].memory = 10 * MB;
    assert_int_equal(cost_node(&n, c, 0, m, &a, &s, 4, INFINITY, &e), ERR_NO_MEMORY);
    free(c);
    free(m);
}

static void experts_that_are_not_resident_are_waited_for(void **state)
{
    (void)state;
    struct err e = {0};
    struct plan_cluster *c = new_cluster(1);
    struct plan_model *m = new_model(20);
    struct plan_ask a = {0};
    struct plan_node n;
    cost_defaults(&a);
    for (int i = 0; i < 20; i++) {
        m->layers[i].stacks[0].n_experts = 8;
        m->layers[i].stacks[0].n_used = 2;
    }
    struct cost_share s = share_of(c, m, &a, 20);
    assert_ok(cost_node(&n, c, 0, m, &a, &s, 1, INFINITY, &e), &e);
    assert_true(fabs((double)n.demand - 1020.0 * MB / 4) < 2);
    assert_true(fabs(n.wait - (double)n.demand / 1e9) < 1e-6);
    assert_true(n.compute < 2000.0 * MB / 4 * 2e-10);
    free(c);
    free(m);
}

static void random_homes_can_be(void **state)
{
    (void)state;
    struct plan_cluster *c = calloc(1, sizeof *c);
    struct plan_model *m = calloc(1, sizeof *m);
    const struct random_like like = random_like_all();
    struct plan_ask a;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct err e = {0};
        random_cluster(c, m, &a, seed, &like);
        assert_ok(profile_check(c, &e), &e);
        assert_ok(profile_check_model(m, &e), &e);
        random_noise(c, seed, 0.05);
        assert_ok(profile_check(c, &e), &e);
    }
    free(c);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(models_that_cannot_be_are_refused),
        cmocka_unit_test(products_lie_between_what_was_measured),
        cmocka_unit_test(what_does_not_fit_is_streamed),
        cmocka_unit_test(experts_that_are_not_resident_are_waited_for),
        cmocka_unit_test(random_homes_can_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
