// Plans as JSON, and clusters made from clusters: what is saved is read again, what people write
// has its short forms, and everything wrong is a sentence with file and field.
#include "random_cluster.h"
#include "support.h"

#include "plan/plan_json.h"
#include "plan/profile_pick.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct plan_cluster c, d;
static struct plan_model m;
static struct plan_ask a;

// ---- plans -------------------------------------------------------------------------------------

static void a_saved_plan_is_read_as_it_was_made(void **state)
{
    (void)state;
    static struct plan p;
    static struct plan_order o;
    struct random_like like = random_like_all();
    int made = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct err e = {0};
        random_cluster(&c, &m, &a, seed, &like);
        if (plan_make(&p, &c, &m, &a, &e))
            continue;
        made++;
        json_t *json = plan_json(&p, &c, &m);
        assert_ok(plan_json_read(&o, json, m.n_layers, "plan.json", &e), &e);
        json_decref(json);
        assert_int_equal(o.n_nodes, p.n_nodes);
        assert_int_equal(o.chunk, p.chunk);
        assert_true(plan_order_is_even(&o));
        for (int i = 0; i < p.n_nodes; i++) {
            assert_string_equal(o.names[i], c.machines[p.nodes[i].machine].name);
            assert_int_equal(o.layers[i], p.nodes[i].layers);
            for (int r = 0; r < p.table.n_rounds; r++)
                assert_int_equal(o.table.hi[r][i] - o.table.lo[r][i],
                                 p.table.hi[r][i] - p.table.lo[r][i]);
        }
        assert_ok(windows_check(&o.table, &e), &e);
    }
    assert_true(made > 20);
}

static int read_text(struct plan_order *o, const char *text, struct err *e)
{
    json_t *json = json_loads(text, 0, NULL);
    if (!json)
        fail_msg("no JSON: %s", text);
    int rc = plan_json_read(o, json, 8, "mine.json", e);
    json_decref(json);
    return rc;
}

static void layers_alone_are_a_plan(void **state)
{
    (void)state;
    static struct plan_order o;
    struct err e = {0};
    assert_ok(read_text(&o,
                        "{\"rounds\": 2, \"nodes\": [{\"name\": \"a\", \"layers\": 5}, {\"name\": "
                        "\"b\", \"layers\": 3}]}",
                        &e),
              &e);
    assert_int_equal(o.table.hi[0][0], 3);
    assert_int_equal(o.table.lo[1][0], 5);
    assert_ok(read_text(&o, "{\"nodes\": [{\"name\": \"a\", \"layers\": 8}]}", &e), &e);
    assert_int_equal(o.table.n_rounds, 1);
}

static void windows_may_be_as_people_want_them(void **state)
{
    (void)state;
    static struct plan_order o;
    struct err e = {0};
    assert_ok(read_text(&o,
                        "{\"rounds\": 2, \"nodes\": [{\"name\": \"a\", \"windows\": [\"0\", \"\"]},"
                        "{\"name\": \"b\", \"windows\": [\"1-6\", \"7\"]}]}",
                        &e),
              &e);
    assert_int_equal(o.layers[0], 1);
    assert_int_equal(o.layers[1], 7);
    assert_false(plan_order_is_even(&o));
    assert_ok(windows_check(&o.table, &e), &e);
}

#define TWO(first, second) "{\"rounds\": 2, \"nodes\": [{" first "}, {" second "}]}"
#define A                  "\"name\": \"a\", "
#define B                  "\"name\": \"b\", "
static const struct {
    const char *text, *said;
} wrong[] = {
    {"[7]", "mine.json: must be an object"},
    {"{}", "nodes: must list one node at least"},
    {"{\"nodes\": [{\"name\": \"a\"}]}", "nodes[0].layers: is missing"},
    {"{\"nodes\": [{\"layers\": 8}]}", "nodes[0].name: is missing"},
    {"{\"nodes\": [{\"name\": \"a\", \"layers\": 9}]}", "a whole number from 0 to 8"},
    {"{\"nodes\": [{\"name\": \"a\", \"layers\": 7}]}", "7 layers together; the model has 8"},
    {"{\"model_layers\": 80, \"nodes\": []}", "model_layers: the plan is for a model of 80"},
    {"{\"rounds\": 65, \"nodes\": []}", "rounds: must be a whole number from 1 to 64"},
    {"{\"round\": 2}", "'round' is not known here"},
    {TWO(A "\"layers\": 4", A "\"layers\": 4"), "nodes[1].name: another node is called 'a' too"},
    {TWO(A "\"layers\": 4", B "\"windows\": []"), "either all nodes have \"windows\", or none"},
    {TWO(A "\"windows\": [\"0-3\"]", B "\"layers\": 4"),
     "has 1 windows; a node needs one for each"},
    {TWO(A "\"windows\": [\"0-3\", \"4-8\"]", B "\"layers\": 4"), "nodes[0].windows[1]: must be"},
    {TWO(A "\"windows\": [\"3-0\", \"\"]", B "\"layers\": 4"), "nodes[0].windows[0]: must be"},
    {TWO(A "\"windows\": [\"-1\", \"\"]", B "\"layers\": 4"), "nodes[0].windows[0]: must be"},
    {TWO(A "\"windows\": [\"99999999999999999999\", \"\"]", B "\"layers\": 4"), "windows[0]: must"},
    {TWO(A "\"windows\": [\"0-1\", \"2-3\"]", B "\"windows\": [\"4-5\", \"6-7\"]"), "layer"},
    {TWO(A "\"layers\": 3, \"windows\": [\"0-1\", \"4-5\"]", B "\"windows\": [\"2-3\", \"6-7\"]"),
     "its windows have 4 layers"},
};

static void what_is_wrong_is_a_sentence_with_file_and_field(void **state)
{
    (void)state;
    static struct plan_order o;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct err e = {0};
        assert_int_equal(read_text(&o, wrong[i].text, &e), ERR_USAGE);
        if (!strstr(e.text, wrong[i].said) || strncmp(e.text, "mine.json: ", 11))
            fail_msg("%s\n said: %s\n not:  %s", wrong[i].text, e.text, wrong[i].said);
    }
}

// ---- clusters from clusters --------------------------------------------------------------------

static void machines_are_picked_with_their_ways(void **state)
{
    (void)state;
    struct random_like like = random_like_all();
    like.min_machines = like.max_machines = 4;
    random_cluster(&c, &m, &a, 5, &like);
    const int at[] = {2, 0, 3};
    profile_pick(&d, &c, at, 3);
    assert_int_equal(d.n, 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(d.machines[i].name, c.machines[at[i]].name);
        for (int j = 0; j < 3; j++)
            assert_true(i == j || d.links[i][j].rate == c.links[at[i]][at[j]].rate);
    }
    profile_without(&d, &c, 1);
    assert_int_equal(d.n, 3);
    assert_string_equal(d.machines[1].name, c.machines[2].name);
    assert_true(d.links[2][1].latency == c.links[3][2].latency);
}

static void a_device_joins_before_the_head_under_a_name_of_its_own(void **state)
{
    (void)state;
    static struct profile_device box = {.machine = {.name = "new", .memory = 1 << 30},
                                        .network = {2e-3, 5e6}};
    struct plan_link network[PLAN_MAX_NODES] = {{0}};
    struct random_like like = random_like_all();
    struct err e = {0};
    like.min_machines = like.max_machines = 3;
    random_cluster(&c, &m, &a, 7, &like);
    d = c;
    network[1] = (struct plan_link){1e-3, 9e9};
    assert_ok(profile_join(&d, network, &box, &e), &e);
    assert_ok(profile_join(&d, network, &box, &e), &e);
    assert_int_equal(d.n, 5);
    assert_string_equal(d.machines[2].name, "new");
    assert_string_equal(d.machines[3].name, "new-2");
    assert_string_equal(d.machines[4].name, c.machines[2].name);
    assert_true(d.links[0][4].latency == c.links[0][2].latency);
    assert_true(d.links[4][1].rate == c.links[2][1].rate);
    assert_true(fabs(d.links[1][2].latency - 3e-3) < 1e-12 && d.links[2][1].rate == 5e6);
    // Of one that says nothing: half of its mean latency.
    double half = (c.links[0][1].latency + c.links[0][2].latency) / 4;
    assert_true(fabs(d.links[0][2].latency - 2e-3 - half) < 1e-9);
    while (d.n < PLAN_MAX_NODES)
        assert_ok(profile_join(&d, network, &box, &e), &e);
    assert_int_equal(profile_join(&d, network, &box, &e), ERR_USAGE);
    box.network.rate = 0;
    d.n = 1;
    struct err why = {0};
    assert_int_equal(profile_join(&d, network, &box, &why), ERR_USAGE);
    assert_non_null(strstr(why.text, "does not say how it is connected"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_saved_plan_is_read_as_it_was_made),
        cmocka_unit_test(layers_alone_are_a_plan),
        cmocka_unit_test(windows_may_be_as_people_want_them),
        cmocka_unit_test(what_is_wrong_is_a_sentence_with_file_and_field),
        cmocka_unit_test(machines_are_picked_with_their_ways),
        cmocka_unit_test(a_device_joins_before_the_head_under_a_name_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
