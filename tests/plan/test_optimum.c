// The planner's plans are the best: no layers, rounds, order or slots that were tried one by one
// are better, and a solver of integer programmes, which knows the problem in words of its own,
// finds the same. Nonsense gets a sentence.
#include "support.h"

#include "plan/cost.h"
#include "plan/plan.h"
#include "random_cluster.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct task {
    struct plan_cluster c;
    struct plan_model m;
    struct plan_ask a;
    struct plan best, p;
};

// ---- the formulas once more
// ----------------------------------------------------------------------

enum { SIZES = 400 };

// What a machine with so many layers may do in one round: bytes of a token, seconds of its own.
struct option {
    double streamed, own;
};

struct naive {
    struct task *t;
    struct plan_ask a;
    struct option options[PLAN_MAX_NODES][16][SIZES];
    int n_options[PLAN_MAX_NODES][16];
    int layers[PLAN_MAX_NODES];
    double best;
};

static void find_options(struct naive *v, int i, int layers)
{
    const struct plan_model *m = &v->t->m;
    const struct plan_machine *at = &v->t->c.machines[i];
    bool head = i == v->t->c.n - 1;
    double bytes = 0, cache = 0, lanes = at->cpu.launch, rows = at->cpu.launch;
    for (int l = 0; l < layers + head; l++) {
        struct cost_sums x;
        cost_of_layer(&x, &v->t->c, i, m, &v->a, l < layers ? l : m->n_layers);
        bytes += x.bytes;
        cache += x.cache;
        lanes += x.lanes;
        rows += x.rows;
    }
    if (!layers && !head)
        lanes = rows = 0;
    double room = (double)at->memory - (double)at->base - cache -
                  (double)(head ? m->computing_head : m->computing);
    struct option *to = v->options[i][layers];
    int n = 0;
    if (room >= 0 && bytes <= room)
        to[n++] = (struct option){0, lanes};
    for (int k = 0; k < SIZES && !n && at->disk > 0; k++) { // none: all is streamed through them
        double slots = (double)m->slots_least;
        slots += (fmin(room, bytes) - slots) * pow((double)k / (SIZES - 1), 3);
        if (slots > room || slots < (double)m->slots_least)
            break;
        double streamed = bytes - room + slots;
        double compute = lanes + (rows - lanes) * streamed / bytes;
        to[k] = (struct option){streamed, fmax(compute, (streamed - slots) / at->disk)};
        v->n_options[i][layers] = k + 1;
    }
    v->n_options[i][layers] = n ? n : v->n_options[i][layers];
}

// Whether a token of `bound` is possible with these layers.
static bool keeps(const struct naive *v, double bound)
{
    double sum = 0;
    int ring = 0, n = v->t->c.n;
    for (int i = 0; i < n; i++) {
        double least = INFINITY;
        const struct option *o = v->options[i][v->layers[i]];
        for (int k = 0; k < v->n_options[i][v->layers[i]]; k++)
            if (o[k].streamed <= bound * v->t->c.machines[i].disk + 1)
                least = fmin(least, o[k].own);
        sum += least;
        ring += v->layers[i] || i == n - 1;
    }
    return sum + (ring > 1 ? ring * cost_hop(&v->t->c, &v->t->m, &v->a, 0, n - 1, 1) : 0) <= bound;
}

static void try_layers(struct naive *v, int machine, int left)
{
    if (machine < v->t->c.n - 1) {
        for (int n = 0; n <= left; n++) {
            v->layers[machine] = n;
            try_layers(v, machine + 1, left - n);
        }
        return;
    }
    v->layers[machine] = left;
    double lo = 0, hi = v->best < INFINITY ? v->best : 1e9;
    if (!keeps(v, hi))
        return;
    for (int i = 0; i < 50 && hi - lo > hi * 1e-6; i++) {
        double mid = (lo + hi) / 2;
        if (keeps(v, mid))
            hi = mid;
        else
            lo = mid;
    }
    v->best = hi;
}

static void no_layers_and_slots_are_better(void **state)
{
    (void)state;
    const struct random_like like = {.max_machines = 3, .max_layers = 9, .no_disks = true};
    struct task *t = test_calloc(1, sizeof *t);
    struct naive *v = test_calloc(1, sizeof *v);
    int solved = 0, streamed = 0, none = 0;
    double worst = 0;
    for (int i = 0; i < 400; i++) {
        struct err e = {0};
        random_cluster(&t->c, &t->m, &t->a, 1000 + (uint64_t)i, &like);
        t->a.rounds = 1;
        t->a.exact = true;
        int rc = plan_make(&t->best, &t->c, &t->m, &t->a, &e);
        memset(v, 0, sizeof *v);
        v->t = t;
        v->a = t->a;
        v->best = INFINITY;
        cost_defaults(&v->a);
        for (int m = 0; m < t->c.n; m++)
            for (int l = 0; l <= t->m.n_layers; l++)
                find_options(v, m, l);
        try_layers(v, 0, t->m.n_layers);
        none += rc == ERR_NO_MEMORY;
        if (rc) {
            if (rc != ERR_NO_MEMORY || v->best < INFINITY)
                fail_msg("cluster %d: %s, but %g s are possible", i, e.text, v->best);
            continue;
        }
        solved++;
        double by = v->best / t->best.tpot - 1; // sizes of slots are tried in steps
        worst = fmax(worst, by);
        if (by < -2e-6 || by > 0.01)
            fail_msg("cluster %d: planned %.9g s, %.9g s are possible", i, t->best.tpot, v->best);
        for (int m = 0; m < t->best.n_nodes; m++)
            if (t->best.nodes[m].streamed) {
                streamed++;
                break;
            }
    }
    print_message("# %d plans, %d with streaming, none better; those tried come within %.4f%%; %d "
                  "without room\n",
                  solved, streamed, 100 * worst, none);
    assert_true(solved > 100 && streamed > 50);
    test_free(v);
    test_free(t);
}

// ---- integer programmes
// --------------------------------------------------------------------------

// Layers that are alike, weights of one type, ways that are alike: what an integer programme can
// say.
static void make_alike(struct task *t, int rounds)
{
    t->a.rounds = rounds;
    for (int i = 0; i <= t->m.n_layers; i++) {
        struct plan_layer *l = i < t->m.n_layers ? &t->m.layers[i] : &t->m.output;
        for (int s = 0; s < l->n_stacks; s++)
            l->stacks[s].type = 12;
    }
    if (rounds > 1) { // windows that are alike
        memset(&t->m.output, 0, sizeof t->m.output);
        t->m.n_layers = (t->m.n_layers + rounds - 1) / rounds * rounds;
        for (int i = 1; i < t->m.n_layers; i++)
            t->m.layers[i] = t->m.layers[0];
    }
}

struct programme {
    const struct task *t;
    struct plan_ask a; // with defaults
    int n, rounds;
    FILE *f;
};

// Milliseconds and megabytes, so that the numbers are of a size.
static double in_ms(double seconds)
{
    return seconds * 1e3;
}

static double in_mb(double bytes)
{
    return bytes / 1e6;
}

// own: of the node; w: layers of a window; S: streamed; B: slots; used, streams: 0 or 1.
static void write_node(const struct programme *p, int i)
{
    const struct plan_model *m = &p->t->m;
    const struct plan_machine *at = &p->t->c.machines[i];
    const int k = p->rounds;
    const bool head = i == p->n - 1;
    struct cost_sums l, o;
    cost_of_layer(&l, &p->t->c, i, m, &p->a, 0);
    cost_of_layer(&o, &p->t->c, i, m, &p->a, m->n_layers);
    double out = head ? in_mb(o.bytes) : 0, launch = in_ms(k * at->cpu.launch);
    double slower = in_ms(l.rows - l.lanes) / in_mb(l.bytes), disk = at->disk / 1e9;
    double least = in_mb((double)m->slots_least);
    double room = in_mb((double)at->memory - (double)at->base -
                        (double)(head ? m->computing_head : m->computing));
    double most = 4 * (out + m->n_layers * in_mb(l.bytes + l.cache) + fabs(room) + least);
    fprintf(p->f, " compute%d: own%d - %.12g w%d - %.12g S%d", i, i, k * in_ms(l.lanes), i, slower,
            i);
    if (head)
        fprintf(p->f, " >= %.12g\n", in_ms(o.lanes) + launch);
    else
        fprintf(p->f, " - %.12g used%d >= 0\n", launch, i);
    fprintf(p->f, " late%d: %.12g own%d - S%d + %d B%d >= 0\n", i, disk, i, i, k, i);
    fprintf(p->f, " disk%d: %.12g T - S%d >= 0\n", i, disk, i);
    // What has no room and the slots are streamed; nothing where all has room.
    fprintf(p->f, " memory%d: S%d - B%d - %.12g w%d >= %.12g\n", i, i, i,
            k * in_mb(l.bytes + l.cache), i, out - room);
    fprintf(p->f, " room%d: B%d + %.12g w%d <= %.12g\n", i, i, k * in_mb(l.cache), i, room);
    fprintf(p->f, " least%d: B%d - %.12g streams%d >= 0\n", i, i, least, i);
    fprintf(p->f, " some%d: S%d - %.12g streams%d <= 0\n", i, i, at->disk > 0 ? most : 0, i);
    fprintf(p->f, " slots%d: B%d - %.12g streams%d <= 0\n", i, i, most, i);
    if (head)
        return;
    fprintf(p->f, " has%d: w%d - %d used%d <= 0\n", i, i, m->n_layers, i);
    fprintf(p->f, " ring%d: ring - used%d >= 0\n", i, i);
}

static void write_groups(const struct programme *p)
{
    for (int g = 0; g < PLAN_GROUPS; g++) {
        bool any = false;
        for (int i = 0; i < p->n; i++) {
            if (p->t->c.machines[i].disk_group != g)
                continue;
            if (!any)
                fprintf(p->f, " group%d: %.12g T", g, p->t->c.disk_rates[g] / 1e9);
            fprintf(p->f, " - S%d", i);
            any = true;
        }
        if (any)
            fprintf(p->f, " >= 0\n");
    }
}

static void write_programme(const struct programme *p)
{
    double hop =
        p->n > 1 ? in_ms(p->rounds * cost_hop(&p->t->c, &p->t->m, &p->a, 0, p->n - 1, 1)) : 0;
    fprintf(p->f, "Minimize\n time: T\nSubject To\n token: T");
    for (int i = 0; i < p->n; i++)
        fprintf(p->f, " - own%d", i);
    for (int i = 0; i < p->n - 1; i++)
        fprintf(p->f, " - %.12g used%d", hop, i);
    fprintf(p->f, " - %.12g ring >= 0\n layers: w0", hop);
    for (int i = 1; i < p->n; i++)
        fprintf(p->f, " + w%d", i);
    fprintf(p->f, " = %d\n", p->t->m.n_layers / p->rounds);
    for (int i = 0; i < p->n; i++)
        write_node(p, i);
    write_groups(p);
    fprintf(p->f, "Generals\n");
    for (int i = 0; i < p->n; i++)
        fprintf(p->f, " w%d\n", i);
    fprintf(p->f, "Binaries\n ring\n");
    for (int i = 0; i < p->n; i++)
        fprintf(p->f, " streams%d\n", i);
    for (int i = 0; i < p->n - 1; i++)
        fprintf(p->f, " used%d\n", i);
    fprintf(p->f, "End\n");
}

// Seconds; INFINITY: it has no solution.
static double solve_programme(const struct task *t)
{
    char path[512], command[1600], status = 0;
    double ms = 0;
    snprintf(path, sizeof path, "%s", test_file("programme.lp"));
    const char *out = test_file("programme.out");
    struct programme p = {.t = t, .a = t->a, .n = t->c.n, .rounds = t->a.rounds};
    cost_defaults(&p.a);
    FILE *f = p.f = fopen(path, "w");
    assert_non_null(f);
    write_programme(&p);
    fclose(f);
    snprintf(command, sizeof command, "glpsol --lp %s -w %s > %s.log 2>&1", path, out, out);
    assert_int_equal(system(command), 0);
    f = fopen(out, "r");
    assert_non_null(f);
    char line[256];
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "s mip %*d %*d %c %lf", &status, &ms) >= 1)
            break;
    fclose(f);
    return status == 'o' ? ms / 1e3 : INFINITY;
}

static void an_integer_programme_finds_the_same(void **state)
{
    (void)state;
    if (system("command -v glpsol > /dev/null 2>&1"))
        test_skip("no glpsol (package glpk-utils)");
    struct random_like like = {
        .max_machines = 5, .max_layers = 16, .no_disks = true, .disk_groups = true};
    struct task *t = test_calloc(1, sizeof *t);
    int same = 0, above = 0, none = 0;
    double most = 0;
    for (int i = 0; i < 150; i++) {
        struct err e = {0};
        random_cluster(&t->c, &t->m, &t->a, 5000 + (uint64_t)i, &like);
        make_alike(t, i % 3 == 2 ? 2 : 1);
        for (int k = 0; k < t->c.n; k++) // so that it counts
            t->c.machines[k].cpu.launch *= 500;
        t->a.exact = true;
        int rc = plan_make(&t->best, &t->c, &t->m, &t->a, &e);
        double wanted = solve_programme(t);
        if (rc) {
            assert_true(!isfinite(wanted));
            none++;
            continue;
        }
        double by = t->best.tpot / wanted - 1;
        if (fabs(by) > 1e-6 && t->a.rounds == 1)
            fail_msg("cluster %d: planned %.9g s, the programme says %.9g s", i, t->best.tpot,
                     wanted);
        bool alike = true;
        for (int k = 0; k < t->best.n_nodes; k++)
            alike &= t->best.nodes[k].layers % t->a.rounds == 0;
        if (by < -1e-6 && alike) // windows that differ by a layer are beyond the programme
            fail_msg("cluster %d: planned %.9g s, less than the programme's %.9g s", i,
                     t->best.tpot, wanted);
        same += fabs(by) <= 1e-6;
        above += by > 1e-6;
        most = fmax(most, by);
    }
    print_message("# 150 programmes: %d the same, %d of two rounds above by %.2f%% at most, %d "
                  "without room\n",
                  same, above, 100 * most, none);
    assert_true(same > 70);
    test_free(t);
}

// ---- nonsense
// ------------------------------------------------------------------------------------

static void refuse(struct task *t, const char *what)
{
    struct err e = {0}, e2 = {0};
    int rc = plan_make(&t->best, &t->c, &t->m, &t->a, &e);
    if (!rc || strlen(e.text) < 20)
        fail_msg("%s: planned, or no sentence: %s", what, e.text);
    t->a.layers_given = true;
    memset(t->a.layers, 0, sizeof t->a.layers);
    t->a.layers[0] = t->m.n_layers;
    rc = plan_predict(&t->p, &t->c, &t->m, &t->a, &e2);
    if (!rc || strlen(e2.text) < 20)
        fail_msg("%s: predicted, or no sentence: %s", what, e2.text);
}

static void nonsense_gets_a_sentence(void **state)
{
    (void)state;
    const struct random_like like = {.min_machines = 3, .max_machines = 3, .memory = 3};
    const double bad[] = {NAN, INFINITY, -INFINITY, -1};
    struct task *t = test_calloc(1, sizeof *t);
    for (int what = 0; what < 9; what++)
        for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
            char name[64];
            random_cluster(&t->c, &t->m, &t->a, 77, &like);
            struct plan_machine *at = &t->c.machines[0];
            at->disk_group = 0;
            t->c.disk_rates[0] = 1e9;
            double *numbers[] = {&at->disk,
                                 &at->cpu.product[PLAN_LANES][12][0],
                                 &at->cpu.layer,
                                 &at->cpu.attend,
                                 &at->cpu.launch,
                                 &at->cpu.token,
                                 &t->c.links[0][1].latency,
                                 &t->c.links[0][1].rate,
                                 &t->c.disk_rates[0]};
            *numbers[what] = bad[b];
            snprintf(name, sizeof name, "number %d = %g", what, bad[b]);
            refuse(t, name);
        }
    random_cluster(&t->c, &t->m, &t->a, 77, &like);
    for (int i = 0; i < t->c.n; i++)
        t->c.machines[i].memory = 0;
    refuse(t, "no memory");
    t->c.n = 0;
    refuse(t, "no machine");
    t->c.n = PLAN_MAX_NODES + 1;
    refuse(t, "too many machines");
    random_cluster(&t->c, &t->m, &t->a, 77, &like);
    memset(t->c.machines[0].cpu.product, 0, sizeof t->c.machines[0].cpu.product);
    refuse(t, "no speed");
    random_cluster(&t->c, &t->m, &t->a, 77, &like);
    t->c.machines[1].disk_group = PLAN_GROUPS;
    refuse(t, "a group beyond");
    random_cluster(&t->c, &t->m, &t->a, 77, &like);
    t->m.n_layers = 0;
    refuse(t, "no layers");
    t->m.n_layers = PLAN_MAX_LAYERS + 1;
    refuse(t, "too many layers");
    test_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_layers_and_slots_are_better),
        cmocka_unit_test(an_integer_programme_finds_the_same),
        cmocka_unit_test(nonsense_gets_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
