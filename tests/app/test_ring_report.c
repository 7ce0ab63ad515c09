// What is told of a ring: the table letter by letter, JSON there and back, and JSON that is not
// ours.
#include "support.h"

#include "app/ring_report.h"
#include "made_up_pass.h"

#include <stdlib.h>
#include <string.h>

static struct node_report report_of(bool planned, bool streams)
{
    struct node_report r = {0};
    struct err e = {0};
    assert_ok(windows_split(&r.table, 9, 3, (const int[]){4, 0, 5}, 2, &e), &e);
    memcpy(r.names, made_up_names, sizeof made_up_names);
    r.decode.n_passes = 31;
    r.decode.pass_ms = 80.5;
    r.prompts.n_passes = 2;
    r.prompts.pass_ms = 300.25;
    for (int i = 0; i < 3; i++) {
        r.memory[i] = (struct node_memory){(uint64_t)(i + 1) << 30, 0, 0};
        r.decode.nodes[i] = (struct timings_node){10.5 * i + 1, 0, 150 + i, 20};
        r.prompts.nodes[i] = (struct timings_node){100 * i, 0, 15, 2};
        if (planned)
            r.predicted.nodes[i] = (struct timings_node){10.0 * i + 1, 0, 100, 0};
    }
    if (planned)
        r.predicted.pass_ms = 70;
    if (streams) {
        r.memory[1].streamed = 3 << 20;
        r.memory[1].slots = 1 << 20;
        r.decode.nodes[1].wait_ms = 4.25;
        if (planned)
            r.predicted.nodes[1].wait_ms = 3;
    }
    return r;
}

static char *printed(void (*print)(FILE *, const struct node_report *), const struct node_report *r)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    print(out, r);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void assert_times(const struct node_report *r, const char *want)
{
    char *text = printed(ring_report_times, r);
    assert_string_equal(text, want);
    free(text);
}

static void times_are_told_of_each_node(void **state)
{
    (void)state;
    struct node_report r = report_of(false, false);
    assert_times(&r, "times of a token (medians of 31): 80.500 ms round the ring\n"
                     "  node                           receive      compute      send\n"
                     "  1 alpha                         150 us     1.000 ms     20 us\n"
                     "  2 beta                          151 us    11.500 ms     20 us\n"
                     "  3 desk (head)                   152 us    22.000 ms     20 us\n");
    r.decode.n_passes = 0; // nothing complete yet
    assert_times(&r, "");
}

static void measured_stands_above_planned(void **state)
{
    (void)state;
    struct node_report r = report_of(true, true);
    assert_times(
        &r,
        "times of a token (medians of 31): 80.500 ms round the ring, planned 70.000 ms (+15 %)\n"
        "  node                           receive      compute   disk wait      send\n"
        "  1 alpha                         150 us     1.000 ms    0.000 ms     20 us\n"
        "      planned                     100 us     1.000 ms    0.000 ms\n"
        "  2 beta                          151 us    11.500 ms    4.250 ms     20 us\n"
        "      planned                     100 us    11.000 ms    3.000 ms\n"
        "  3 desk (head)                   152 us    22.000 ms    0.000 ms     20 us\n"
        "      planned                     100 us    21.000 ms    0.000 ms\n");
}

static void the_map_has_windows_and_memory(void **state)
{
    (void)state;
    struct node_report r = report_of(false, true);
    r.activation = WIRE_F16;
    char *text = printed(ring_report_map, &r);
    assert_string_equal(
        text, "layer map: 9 layers, 3 nodes, k = 2\n"
              "  node                       round 1   round 2   weights in memory\n"
              "  1 alpha                    0-1       5-6       1.00 GiB\n"
              "  2 beta                     -         -         2.00 GiB + 3.00 MiB from disk\n"
              "  3 desk (head)              2-4       7-8       3.00 GiB\n"
              "activations travel as F16: the answer is close to one node's, not bit-equal\n");
    free(text);
}

// ---- JSON.

static struct timings_trace last_pass(void)
{
    struct timings_trace t;
    struct err e = {0};
    assert_ok(timings_trace_new(&t, 3, 2, 1, &e), &e);
    made_up_pass(&t, &t.passes[0]);
    return t;
}

static json_t *json_of(bool planned, bool with_last)
{
    struct node_report r = report_of(planned, true);
    struct timings_trace last = last_pass();
    last.n_passes = with_last;
    json_t *json = ring_report_json(&r, &last);
    assert_non_null(json);
    timings_trace_free(&last);
    return json;
}

static void json_is_read_back(void **state)
{
    (void)state;
    for (int planned = 0; planned < 2; planned++) {
        struct node_report want = report_of(planned, true), got;
        struct timings_trace last, made = last_pass();
        struct err e = {0};
        json_t *json = json_of(planned, true);
        assert_ok(ring_report_read(&got, &last, json, &e), &e);
        assert_memory_equal(&got.table, &want.table, sizeof want.table);
        assert_memory_equal(got.names, want.names, sizeof want.names);
        assert_memory_equal(got.memory, want.memory, sizeof want.memory);
        char *a = printed(ring_report_times, &got), *b = printed(ring_report_times, &want);
        assert_string_equal(a, b);
        assert_int_equal(got.prompts.n_passes, 2);
        assert_true(got.prompts.nodes[2].compute_ms == 200);
        assert_int_equal(last.n_passes, 1);
        assert_true(last.passes[0].sent_us == 200);
        assert_memory_equal(last.passes[0].stops, made.passes[0].stops,
                            6 * sizeof *made.passes[0].stops);
        free(a);
        free(b);
        timings_trace_free(&last);
        timings_trace_free(&made);
        json_decref(json);
    }
}

static void a_ring_without_a_token_has_none(void **state)
{
    (void)state;
    struct node_report got;
    struct timings_trace last;
    struct err e = {0};
    json_t *json = json_of(false, false);
    assert_null(json_object_get(json, "last_token"));
    assert_ok(ring_report_read(&got, &last, json, &e), &e);
    assert_int_equal(last.n_passes, 0);
    timings_trace_free(&last);
    json_decref(json);
}

// Every value of the document in turn is something else, or missing: refused, or read without harm.
static void spoil(json_t *whole, json_t *at, int *n_refused);

static void try(json_t *whole, int *n_refused)
{
    struct node_report got;
    struct timings_trace last;
    struct err e = {0};
    int rc = ring_report_read(&got, &last, whole, &e);
    *n_refused += rc != 0;
    assert_int_equal(rc != 0, e.code != 0);
    timings_trace_free(&last);
}

static json_t *wrong_value(int kind)
{
    return kind == 0   ? json_null()
           : kind == 1 ? json_integer(-1)
           : kind == 2 ? json_integer(INT64_MAX)
           : kind == 3 ? json_string("what")
           : kind == 4 ? json_array()
                       : json_real(1e308);
}

enum { WRONG_KINDS = 6 };

static void spoil(json_t *whole, json_t *at, int *n_refused)
{
    const char *key;
    void *next;
    json_t *value;
    size_t i;
    json_object_foreach_safe(at, next, key, value)
    {
        json_incref(value);
        for (int kind = 0; kind < WRONG_KINDS; kind++) {
            json_object_set_new(at, key, wrong_value(kind));
            try(whole, n_refused);
        }
        json_object_set(at, key, value);
        spoil(whole, value, n_refused);
        json_decref(value);
    }
    json_array_foreach(at, i, value)
    {
        json_incref(value);
        for (int kind = 0; kind < WRONG_KINDS; kind++) {
            json_array_set_new(at, i, wrong_value(kind));
            try(whole, n_refused);
        }
        json_array_set(at, i, value);
        spoil(whole, value, n_refused);
        json_decref(value);
    }
}

static void json_of_another_kind_is_refused(void **state)
{
    (void)state;
    json_t *json = json_of(true, true);
    int n_refused = 0;
    spoil(json, json, &n_refused);
    assert_true(n_refused > 200);
    n_refused = 0;
    try(json, &n_refused); // it is as it was
    assert_int_equal(n_refused, 0);
    json_decref(json);
    json = json_array();
    try(json, &n_refused);
    assert_int_equal(n_refused, 1);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_told_of_each_node),
        cmocka_unit_test(measured_stands_above_planned),
        cmocka_unit_test(the_map_has_windows_and_memory),
        cmocka_unit_test(json_is_read_back),
        cmocka_unit_test(a_ring_without_a_token_has_none),
        cmocka_unit_test(json_of_another_kind_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
