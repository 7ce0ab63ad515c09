// A profile that is corrected by what a ring took.
#include "support.h"

#include "cluster/correction.h"

#include <math.h>
#include <string.h>

enum { NODES = 3 };

// A ring of 100 ms a token: 20, 30 and 44 ms of its nodes, and 2 ms a hop.
static struct timings_report foretold(void)
{
    struct timings_report r = {.n_passes = 50, .pass_ms = 100};
    for (int m = 0; m < NODES; m++)
        r.nodes[m] = (struct timings_node){.compute_ms = (const double[]){20, 25, 44}[m],
                                           .wait_ms = m == 1 ? 5 : 0,
                                           .hop_us = 2000};
    return r;
}

// Three machines of a cluster of four, in another order: 2, 0, 3 (the head).
static struct plan a_plan(void)
{
    static const int machines[NODES] = {2, 0, 3};
    struct timings_report r = foretold();
    struct plan p = {.n_nodes = NODES, .tpot = r.pass_ms / 1e3, .table = {.n_rounds = 2}};
    for (int m = 0; m < NODES; m++)
        p.nodes[m] = (struct plan_node){.machine = machines[m],
                                        .compute = r.nodes[m].compute_ms / 1e3,
                                        .wait = r.nodes[m].wait_ms / 1e3,
                                        .hop = 2 * r.nodes[m].hop_us / 1e6};
    return p;
}

static struct plan_cluster *a_cluster(void)
{
    static struct plan_cluster c;
    memset(&c, 0, sizeof c);
    c.n = 4;
    for (int i = 0; i < c.n; i++) {
        struct plan_machine *m = &c.machines[i];
        m->disk = 1e9;
        m->disk_group = i < 2 ? 5 : -1;
        m->cpu.product[PLAN_LANES][12][1] = 1e-10;
        m->cpu.product[PLAN_ROWS][8][0] = 3e-10;
        m->cpu.layer = 1e-5;
        m->cpu.attend = 2e-10;
        for (int k = 0; k < c.n; k++)
            c.links[i][k] = (struct plan_link){.latency = 1e-3, .rate = 1e8};
    }
    c.disk_rates[5] = 1.5e9;
    return &c;
}

static void assert_close(double value, double want)
{
    if (!(fabs(value - want) <= 1e-6 * fabs(want)))
        fail_msg("%g, not %g", value, want);
}

static void a_plan_is_told_as_times_are(void **state)
{
    (void)state;
    struct plan p = a_plan();
    struct timings_report got, want = foretold();
    correction_foretold(&p, &got);
    assert_close(got.pass_ms, want.pass_ms);
    for (int m = 0; m < NODES; m++) {
        assert_close(got.nodes[m].compute_ms, want.nodes[m].compute_ms);
        assert_close(got.nodes[m].hop_us, want.nodes[m].hop_us);
    }
    assert_close(got.nodes[1].wait_ms, 5);
}

static void machines_become_as_fast_as_they_were_found(void **state)
{
    (void)state;
    struct timings_report seen = foretold();
    struct plan p = a_plan();
    struct correction f;
    struct plan_cluster *c = a_cluster();
    seen.nodes[0].compute_ms *= 2;
    seen.nodes[2].hop_us += 500;
    seen.nodes[1].hop_us = 0; // less than the latency: there is a least
    correction_find(&f, &p, &seen);
    correction_apply(&f, &p, c);
    assert_close(c->machines[2].cpu.product[PLAN_LANES][12][1], 2e-10);
    assert_close(c->machines[2].cpu.product[PLAN_ROWS][8][0], 6e-10);
    assert_close(c->machines[2].cpu.layer, 2e-5);
    assert_close(c->machines[2].cpu.attend, 4e-10);
    assert_close(c->machines[0].cpu.layer, 1e-5);
    assert_close(c->machines[3].cpu.layer, 1e-5);
    assert_close(c->machines[1].cpu.layer, 1e-5); // not in the ring
    assert_close(c->links[0][3].latency, 1.5e-3);
    assert_close(c->links[2][0].latency, 1e-6);
    assert_close(c->links[3][2].latency, 1e-3);
    assert_close(c->links[0][3].rate, 1e8);
    assert_close(c->machines[0].disk, 1e9);
}

// Node 1 streams 100 MB of 1 GB/s through slots of 35 MB, twice: 30 of its 100 ms are left for its
// own time, of which 25 are computing.
static void a_disk_is_known_where_it_is_waited_for(void **state)
{
    (void)state;
    static const struct {
        double wait_ms, factor;
    } rows[] = {{5, 1}, {35, 2}, {0, 25.0 / 30}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct timings_report seen = foretold();
        struct plan p = a_plan();
        struct correction f;
        struct plan_cluster *c = a_cluster();
        p.nodes[1].streamed = 100000000;
        p.nodes[1].slots = 35000000;
        p.nodes[1].disk = 0.1;
        // Others have waited less than they could: it is the rest of the ring that is slow.
        seen.nodes[2].compute_ms = 300;
        seen.pass_ms = 356;
        seen.nodes[1].wait_ms = rows[i].wait_ms;
        correction_find(&f, &p, &seen);
        assert_close(f.nodes[1].disk, rows[i].factor);
        assert_close(f.nodes[0].disk, 1); // streams nothing
        correction_apply(&f, &p, c);
        assert_close(c->machines[0].disk, 1e9 / rows[i].factor);
        assert_close(c->disk_rates[5], 1.5e9 / rows[i].factor);
    }
}

// The slots are never full: the disk works all through the pass of 130 ms.
static void a_disk_that_never_rests_is_known_by_the_pass(void **state)
{
    (void)state;
    struct timings_report seen = foretold();
    struct plan p = a_plan();
    struct correction f;
    p.nodes[1].streamed = 100000000;
    p.nodes[1].slots = 45000000;
    p.nodes[1].disk = 0.1;
    seen.nodes[1].wait_ms = 35;
    seen.pass_ms = 130;
    correction_find(&f, &p, &seen);
    assert_close(f.nodes[1].disk, 1.3);
}

static void nothing_seen_corrects_nothing(void **state)
{
    (void)state;
    struct timings_report seen = {0};
    struct plan p = a_plan();
    struct correction f;
    struct plan_cluster *c = a_cluster();
    correction_find(&f, &p, &seen);
    correction_apply(&f, &p, c);
    assert_close(c->machines[2].cpu.layer, 1e-5);
    assert_close(c->links[3][2].latency, 1e-3);
    assert_close(c->disk_rates[5], 1.5e9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_is_told_as_times_are),
        cmocka_unit_test(machines_become_as_fast_as_they_were_found),
        cmocka_unit_test(a_disk_is_known_where_it_is_waited_for),
        cmocka_unit_test(a_disk_that_never_rests_is_known_by_the_pass),
        cmocka_unit_test(nothing_seen_corrects_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
