// Profiles as JSON: what is written is read again with all its numbers, what people write has its
// short forms, and everything wrong is one sentence with file and field.
#include "random_cluster.h"
#include "support.h"

#include "plan/profile_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int find_device(struct profile_device *out, const char *name, struct err *e)
{
    if (strcmp(name, "box"))
        return err_set(e, ERR_USAGE, "there is no device '%s'", name);
    *out = (struct profile_device){.machine = {.name = "box", .memory = 1 << 30, .disk = 5e8},
                                   .network = {1e-3, 4e7}};
    out->machine.cpu.product[PLAN_LANES][12][0] = 1e-10;
    return 0;
}

static const struct profile_json how = {"home.json", find_device};

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *json = json_loads(text, 0, &error);
    if (!json)
        fail_msg("%s: %s", error.text, text);
    return json;
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-8 * fabs(a);
}

static bool same_speed(const struct plan_speed *a, const struct plan_speed *b)
{
    bool same = near(a->layer, b->layer) && near(a->token, b->token) &&
                near(a->attend, b->attend) && near(a->launch, b->launch);
    for (int f = 0; f < PLAN_FORMS; f++)
        for (int t = 0; t < PLAN_TYPES; t++)
            for (int w = 0; w < PLAN_WIDTHS; w++)
                same = same && near(a->product[f][t][w], b->product[f][t][w]);
    return same;
}

static void assert_same_machine(const struct plan_machine *a, const struct plan_machine *b)
{
    assert_string_equal(a->name, b->name);
    assert_true(a->memory == b->memory && a->base == b->base && a->vram == b->vram);
    assert_true(near(a->disk, b->disk) && same_speed(&a->cpu, &b->cpu));
    if (a->vram)
        assert_true(near(a->copy, b->copy) && same_speed(&a->gpu, &b->gpu));
}

// Numbers of groups may differ, who shares with whom may not.
static void assert_same_groups(const struct plan_cluster *a, const struct plan_cluster *b)
{
    for (int i = 0; i < a->n; i++) {
        const struct plan_machine *m = &a->machines[i], *k = &b->machines[i];
        for (int j = 0; j < a->n; j++) {
            const struct plan_machine *o = &a->machines[j], *p = &b->machines[j];
            assert_int_equal(m->disk_group >= 0 && m->disk_group == o->disk_group,
                             k->disk_group >= 0 && k->disk_group == p->disk_group);
            assert_int_equal(m->net_group >= 0 && m->net_group == o->net_group,
                             k->net_group >= 0 && k->net_group == p->net_group);
            assert_int_equal(m->core_group >= 0 && m->core_group == o->core_group,
                             k->core_group >= 0 && k->core_group == p->core_group);
        }
        if (m->disk_group >= 0)
            assert_true(near(a->disk_rates[m->disk_group], b->disk_rates[k->disk_group]));
        if (m->net_group >= 0)
            assert_true(near(a->net_rates[m->net_group], b->net_rates[k->net_group]));
    }
}

static void a_cluster_is_read_as_it_was_written(void **state)
{
    (void)state;
    static struct plan_cluster c, back;
    static struct plan_model m;
    struct plan_ask a;
    struct random_like like = random_like_all();
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct err e = {0};
        random_cluster(&c, &m, &a, seed, &like);
        json_t *json = profile_json_cluster(&c);
        assert_ok(profile_json_read_cluster(&back, NULL, json, &how, &e), &e);
        json_decref(json);
        assert_int_equal(back.n, c.n);
        for (int i = 0; i < c.n; i++) {
            assert_same_machine(&c.machines[i], &back.machines[i]);
            for (int j = 0; j < c.n; j++)
                assert_true(i == j || (near(c.links[i][j].latency, back.links[i][j].latency) &&
                                       near(c.links[i][j].rate, back.links[i][j].rate)));
        }
        assert_same_groups(&c, &back);
    }
}

static void a_machine_is_read_as_it_was_written(void **state)
{
    (void)state;
    static struct profile_device d;
    struct plan_machine m = {.name = "x", .memory = 5ull << 30, .base = 7 << 20, .disk = 1.5e9};
    struct err e = {0};
    m.cpu.product[PLAN_ROWS][14][1] = 3e-10;
    m.cpu.layer = 12.5e-6;
    json_t *json = profile_json_machine(&m);
    assert_ok(profile_json_read_machine(&d, json, &how, &e), &e);
    assert_same_machine(&m, &d.machine);
    assert_int_equal(d.machine.disk_group, -1);
    assert_true(d.network.rate == 0);
    json_decref(json);
}

static void people_may_write_less(void **state)
{
    (void)state;
    static struct plan_cluster c;
    struct plan_link network[PLAN_MAX_NODES];
    struct err e = {0};
    json_t *json =
        parse("{\"comment\": \"mine\", \"machines\": [{\"device\": \"box\", \"name\": \"a\", "
              "\"memory_bytes\": \"1.5G\"}, {\"device\": \"box\", \"network\": {\"latency_us\": "
              "500, \"bytes_per_s\": 1e7}, \"cpu\": {\"weights_bytes_per_s\": {\"q6_k\": "
              "{\"lanes\": {\"1\": 2e9}}}}}], \"disk_groups\": [{\"machines\": [\"a\", \"box\"], "
              "\"bytes_per_s\": 7e8}]}");
    assert_ok(profile_json_read_cluster(&c, network, json, &how, &e), &e);
    json_decref(json);
    assert_int_equal(c.n, 2);
    assert_true(c.machines[0].memory == 3ull << 29 && c.machines[1].memory == 1ull << 30);
    assert_true(near(c.machines[1].cpu.product[PLAN_LANES][12][0], 1e-10));
    assert_true(near(c.machines[1].cpu.product[PLAN_LANES][14][0], 5e-10));
    assert_true(near(c.links[0][1].latency, 1.5e-3) && near(c.links[1][0].rate, 1e7));
    assert_true(near(network[0].rate, 4e7));
    assert_true(c.machines[0].disk_group == 0 && c.machines[1].disk_group == 0);
    assert_true(c.machines[0].net_group == -1 && near(c.disk_rates[0], 7e8));
}

#define BOX        "{\"device\": \"box\", \"name\": \"a\"}"
#define OWN        "\"name\": \"a\", \"memory_bytes\": 1, \"cpu\": {\"weights_bytes_per_s\": "
#define BARE(more) "{\"machines\": [{" OWN more "}]}"
static const struct {
    const char *text, *said;
} wrong[] = {
    {"[]", "home.json: must be an object"},
    {"{}", "home.json: machines: must list one machine at least"},
    {"{\"machines\": []}", "must list one"},
    {"{\"machines\": 3}", "home.json: machines: must be a list"},
    {"{\"machine\": [" BOX "]}", "'machine' is not known here; there can be machines, links"},
    {"{\"machines\": [7]}", "home.json: machines[0]: must be an object"},
    {"{\"machines\": [" BOX ", " BOX "]}", "machines[1].name: another machine is called 'a' too"},
    {"{\"machines\": [{\"device\": \"pie\"}]}", "machines[0].device: there is no device 'pie'"},
    {"{\"machines\": [{\"device\": \"box\", \"memory_bytes\": \"6X\"}]}",
     "machines[0].memory_bytes: must be bytes"},
    {"{\"machines\": [{\"device\": \"box\", \"memory_bytes\": -1}]}", "must be bytes"},
    {"{\"machines\": [{\"device\": \"box\", \"memory_bytes\": \"1e300\"}]}", "must be bytes"},
    {"{\"machines\": [{\"device\": \"box\", \"name\": \"\"}]}", "name: must be a text of 1 to 31"},
    {"{\"machines\": [{\"device\": \"box\", \"name\": \"\\u0007\"}]}", "printable ASCII"},
    {"{\"machines\": [{\"device\": \"box\", \"disk_bytes_per_s\": \"fast\"}]}",
     "disk_bytes_per_s: must be a number"},
    {"{\"machines\": [{\"device\": \"box\", \"vram_bytes\": 8}]}", "gpu.weights_bytes_per_s: must"},
    {"{\"machines\": [{\"name\": \"a\"}]}", "machines[0].memory_bytes: is missing"},
    {BARE("{}}"), "cpu.weights_bytes_per_s: must say how fast"},
    {BARE("{\"Q9\": {}}}"), "weights_bytes_per_s.Q9: is no weight type"},
    {BARE("{\"Q4_K\": {\"rows\": {\"2\": 1}}}}"), "Q4_K.rows: '2' is not known here"},
    {BARE("{\"Q4_K\": {\"rows\": {\"1\": 0}}}}"), "Q4_K.rows.1: must be a number from 1"},
    {BARE("{\"Q4_K\": {\"rows\": {\"1\": 5}}}, \"layer_us\": -2}"),
     "cpu.layer_us: must be a number from 0"},
    {"{\"machines\": [" BOX "], \"links\": [{}]}", "links[0]: needs either \"between\" or"},
    {"{\"machines\": [" BOX "], \"links\": [{\"between\": [\"a\", \"b\"], \"latency_us\": 1, "
     "\"bytes_per_s\": 9}]}",
     "links[0].between[1]: 'b' is none of the machines"},
    {"{\"machines\": [" BOX "], \"links\": [{\"between\": [\"a\"]}]}", "names of two machines"},
    {"{\"machines\": [" BOX "], \"links\": [{\"between\": [\"a\", \"a\"]}]}",
     "links[0].latency_us: is missing"},
    {"{\"machines\": [" BOX ", {" OWN "{\"F16\": {\"rows\": {\"1\": 9}}}}, \"name\": \"b\"}]}",
     "nothing describes the way from a to b"},
    {"{\"machines\": [" BOX "], \"disk_groups\": [{\"machines\": [\"a\"]}]}",
     "disk_groups[0].bytes_per_s: is missing"},
    {"{\"machines\": [" BOX "], \"processor_groups\": [{\"machines\": [\"a\", \"a\"]}]}",
     "processor_groups[0].machines[1]: a is in another group"},
};

static void what_is_wrong_is_a_sentence_with_file_and_field(void **state)
{
    (void)state;
    static struct plan_cluster c;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct err e = {0};
        json_t *json = parse(wrong[i].text);
        assert_int_equal(profile_json_read_cluster(&c, NULL, json, &how, &e), ERR_USAGE);
        if (!strstr(e.text, wrong[i].said) || strncmp(e.text, "home.json: ", 11))
            fail_msg("%s\n said: %s\n not:  %s", wrong[i].text, e.text, wrong[i].said);
        json_decref(json);
    }
}

static void a_device_needs_somebody_who_knows_it(void **state)
{
    (void)state;
    static struct profile_device d;
    struct err e = {0};
    json_t *json = parse(BOX);
    const struct profile_json alone = {"x", NULL};
    assert_int_equal(profile_json_read_machine(&d, json, &alone, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "write down the machine's own numbers"));
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_is_read_as_it_was_written),
        cmocka_unit_test(a_machine_is_read_as_it_was_written),
        cmocka_unit_test(people_may_write_less),
        cmocka_unit_test(what_is_wrong_is_a_sentence_with_file_and_field),
        cmocka_unit_test(a_device_needs_somebody_who_knows_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
