// The simulated ring against what can be worked out by hand: computing, hops, slots, disks that are
// shared, chunks of a prompt and several users.
#include "support.h"

#include "plan/cost.h"
#include "plan/simulate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MB = 1000000, TYPE = 12 };

// Machines that compute 1 GB/s as rows and as lanes, read 1 GB/s, and hop in no time; layers of
// 100 MB without caches, an output of 0 bytes. 64 tokens take 8 times as long as one.
struct ring {
    struct plan_cluster c;
    struct plan_model m;
    struct plan_ask a;
    struct plan p;
    struct simulate_options o;
};

static struct ring *new_ring(int nodes, const int *layers, int rounds)
{
    struct ring *r = test_calloc(1, sizeof *r);
    struct err e = {0};
    r->c.n = nodes;
    r->o.parts = 100;
    r->o.no_prompt = true;
    for (int i = 0; i < nodes; i++) {
        struct plan_machine *m = &r->c.machines[i];
        *m =
            (struct plan_machine){.disk = 1e9, .disk_group = -1, .net_group = -1, .core_group = -1};
        for (int f = 0; f < PLAN_FORMS; f++) {
            m->cpu.product[f][TYPE][0] = 1e-9;
            m->cpu.product[f][TYPE][2] = 8e-9;
        }
        for (int j = 0; j < nodes; j++)
            r->c.links[i][j] = (struct plan_link){0, 1e300};
        r->m.n_layers += layers[i];
        r->p.nodes[i].machine = i;
        r->p.nodes[i].layers = layers[i];
    }
    for (int i = 0; i < r->m.n_layers; i++)
        r->m.layers[i] = (struct plan_layer){
            .stacks = {{.type = TYPE, .bytes = 100 * MB}}, .n_stacks = 1, .bytes = 100 * MB};
    r->m.width = 1000;
    r->p.n_nodes = nodes;
    assert_ok(windows_split(&r->p.table, r->m.n_layers, nodes, layers, rounds, &e), &e);
    return r;
}

static void stream(struct ring *r, int node, int streamed, int slots)
{
    r->p.nodes[node].streamed = (uint64_t)streamed * MB;
    r->p.nodes[node].slots = (uint64_t)slots * MB;
}

static struct simulated simulated(const struct ring *r)
{
    struct simulated out;
    struct err e = {0};
    assert_ok(simulate(&out, &r->p, &r->c, &r->m, &r->a, &r->o, &e), &e);
    return out;
}

static void about(double is, double wanted, double within)
{
    if (!(fabs(is - wanted) <= within * wanted))
        fail_msg("%g is not about %g", is, wanted);
}

static void what_is_resident_is_computing_and_hops(void **state)
{
    (void)state;
    struct ring *r = new_ring(3, (int[]){4, 2, 4}, 2);
    r->c.links[0][1] = (struct plan_link){0.001, 4e6};
    r->c.links[1][2] = (struct plan_link){0.002, 1e300};
    r->c.links[2][0] = (struct plan_link){0.004, 1e300};
    struct simulated s = simulated(r);
    about(s.tpot, 1.0 + 2 * (0.001 + 0.001 + 0.002 + 0.004), 1e-9);
    about(s.nodes[0].compute, 0.4, 1e-9);
    about(s.nodes[1].hop, 2 * 0.002, 1e-9);
    assert_true(s.steady && s.nodes[0].wait == 0 && s.nodes[0].read == 0);
    test_free(r);
}

static void reading_hides_behind_the_computing_of_others(void **state)
{
    (void)state;
    struct ring *r = new_ring(2, (int[]){8, 8}, 1);
    r->c.machines[0].disk = 0.25e9;
    stream(r, 0, 300, 100); // 100 are there, 200 come while it computes 0.8 s
    about(simulated(r).tpot, 1.6, 0.005);
    r->c.machines[0].disk = 0.2e9; // 200 take 1 s
    about(simulated(r).tpot, 1.8, 0.005);
    assert_true(simulated(r).steady);
    r->c.machines[0].disk = 0.1e9; // 2 s, and all of it 3 s: its own time is 2 s
    about(simulated(r).tpot, 3, 0.001);
    stream(r, 0, 300, 250); // 50 are late
    about(simulated(r).tpot, 3, 0.001);
    test_free(r);
}

static void rounds_use_the_slots_again(void **state)
{
    (void)state;
    const double wanted[] = {0, 0.8 + 1.6, 0.8 + 1.2, 0, 0.8 + 0.8};
    for (int k = 1; k <= 4; k += k) {
        struct ring *r = new_ring(2, (int[]){8, 8}, k);
        r->c.machines[0].disk = 0.25e9;
        stream(r, 0, 500, 100); // 2 s: all is read after that at the earliest
        about(simulated(r).tpot, fmax(wanted[k], 2), 0.01);
        r->c.machines[1].cpu.layer = 0.1; // 0.9 s more for the other, its output is one
        about(simulated(r).tpot, fmax(wanted[k] + 0.9, 2), 0.01);
        test_free(r);
    }
}

static void one_disk_of_two_machines_is_shared(void **state)
{
    (void)state;
    struct ring *r = new_ring(2, (int[]){8, 8}, 1);
    for (int i = 0; i < 2; i++) {
        stream(r, i, 600, 300);
        about(simulated(r).tpot, 1.6, 0.001);
    }
    r->c.disk_rates[3] = 0.5e9;
    r->c.machines[0].disk_group = r->c.machines[1].disk_group = 3;
    about(simulated(r).tpot, 2.4, 0.001);
    r->c.disk_rates[3] = 10e9; // their own ways to it are slower
    about(simulated(r).tpot, 1.6, 0.001);
    test_free(r);
}

static void experts_are_waited_for(void **state)
{
    (void)state;
    struct ring *r = new_ring(1, (int[]){8}, 1);
    for (int i = 0; i < 8; i++) {
        r->m.layers[i].stacks[0].n_experts = 10;
        r->m.layers[i].stacks[0].n_used = 1;
    }
    r->p.nodes[0].streamed = r->p.nodes[0].demand = 40 * MB;
    struct simulated s = simulated(r);
    about(s.tpot, 0.08 + 0.04, 1e-9);
    about(s.nodes[0].wait, 0.04, 1e-9);
    test_free(r);
}

static void a_gpu_computes_its_layers(void **state)
{
    (void)state;
    struct ring *r = new_ring(1, (int[]){8}, 2);
    r->c.machines[0].vram = 1;
    r->c.machines[0].gpu.product[PLAN_LANES][TYPE][0] = 1e-10;
    r->c.machines[0].gpu.launch = 0.001;
    r->c.machines[0].cpu.launch = 0.002;
    r->c.machines[0].copy = 8e6; // 2 x 4000 bytes take 1 ms
    r->p.nodes[0].gpu_layers = 4;
    about(simulated(r).tpot, 0.4 + 0.04 + 2 * (0.001 + 0.002 + 0.001), 1e-9);
    test_free(r);
}

static void chunks_of_a_prompt_follow_each_other(void **state)
{
    (void)state;
    struct ring *r = new_ring(4, (int[]){2, 2, 2, 2}, 1);
    r->o.no_prompt = false;
    r->a.prompt = 640;
    r->p.chunk = 64; // 10 chunks of 1.6 s a node
    about(simulated(r).ttft, 1.6 * 13, 1e-9);
    // What slots can hold is read once for all of them; what they cannot, for each.
    r->c.machines[3].disk = 1e6;
    stream(r, 3, 100, 110);
    about(simulated(r).ttft, 1.6 * 13, 1e-9); // it was there
    stream(r, 3, 100, 55); // 100 slots of .55: 50 stay, 45 others are there and 5 come: then 50
    double ttft = simulated(r).ttft;
    about(ttft, 1.6 * 3 + 45 + 9 * 50, 0.05);
    test_free(r);
}

static void several_users_keep_all_nodes_busy(void **state)
{
    (void)state;
    struct ring *r = new_ring(4, (int[]){2, 2, 2, 2}, 2);
    about(simulated(r).throughput, 1 / 0.8, 1e-9);
    r->a.users = 2;
    about(simulated(r).throughput, 2 / 0.8, 1e-9);
    r->a.users = 4;
    about(simulated(r).throughput, 4 / 0.8, 1e-9);
    r->a.users = 8; // the slowest node does nothing else
    about(simulated(r).throughput, 1 / 0.2, 1e-9);
    for (int i = 0; i < 4; i++) // one processor for all
        r->c.machines[i].core_group = 5;
    about(simulated(r).throughput, 1 / 0.8, 1e-9);
    about(simulated(r).tpot, 0.8, 1e-9);
    test_free(r);
}

static void a_shared_way_is_shared(void **state)
{
    (void)state;
    struct ring *r = new_ring(2, (int[]){1, 1}, 1);
    r->a.users = 2;
    for (int i = 0; i < 2; i++) {
        r->c.links[i][1 - i].rate = 4e3; // 1 s
        r->c.machines[i].net_group = 0;
    }
    r->c.net_rates[0] = 8e3; // both at a time
    about(simulated(r).throughput, 2 / 2.2, 1e-6);
    r->c.net_rates[0] = 4e3;
    about(simulated(r).throughput, 2 / 4.0, 0.06);
    about(simulated(r).tpot, 2.2, 1e-9);
    test_free(r);
}

static void the_token_is_covered_by_spans(void **state)
{
    (void)state;
    static struct simulate_span spans[2000];
    struct ring *r = new_ring(2, (int[]){4, 4}, 2);
    stream(r, 0, 200, 50);
    r->c.machines[0].disk = 0.3e9;
    r->o.spans = spans;
    r->o.max_spans = 2000;
    struct simulated s = simulated(r);
    double sum = 0, compute = 0;
    assert_in_range(s.n_spans, 1, 1999);
    for (int i = 0; i < s.n_spans; i++) {
        double by = spans[i].end - spans[i].begin;
        assert_true(by > 0 && spans[i].round < 2 && spans[i].node < 2);
        sum += spans[i].kind != SIMULATE_READ ? by : 0;
        compute += spans[i].kind == SIMULATE_COMPUTE ? by : 0;
    }
    about(sum, s.tpot, 1e-9);
    about(compute, 0.8, 1e-9);
    test_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_resident_is_computing_and_hops),
        cmocka_unit_test(reading_hides_behind_the_computing_of_others),
        cmocka_unit_test(rounds_use_the_slots_again),
        cmocka_unit_test(one_disk_of_two_machines_is_shared),
        cmocka_unit_test(experts_are_waited_for),
        cmocka_unit_test(a_gpu_computes_its_layers),
        cmocka_unit_test(chunks_of_a_prompt_follow_each_other),
        cmocka_unit_test(several_users_keep_all_nodes_busy),
        cmocka_unit_test(a_shared_way_is_shared),
        cmocka_unit_test(the_token_is_covered_by_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
