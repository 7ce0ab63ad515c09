// The Chrome trace of made-up passes: JSON in which every slice is found again.
#include "support.h"

#include "app/trace.h"
#include "made_up_pass.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 2, PASSES = 3 };

static struct window_table table_of(void)
{
    struct window_table t;
    struct err e = {0};
    assert_ok(windows_split(&t, 9, 3, (const int[]){4, 0, 5}, ROUNDS, &e), &e);
    return t;
}

static json_t *written(const struct timings_trace *t, const char (*names)[WIRE_NAME])
{
    char *text = NULL;
    size_t size;
    struct window_table table = table_of();
    json_error_t why;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    trace_write(out, t, &table, names);
    assert_int_equal(fclose(out), 0);
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    if (!json)
        fail_msg("line %d: %s", why.line, why.text);
    free(text);
    return json;
}

static struct timings_trace passes(void)
{
    struct timings_trace t;
    struct err e = {0};
    assert_ok(timings_trace_new(&t, 3, ROUNDS, PASSES, &e), &e);
    for (int i = 0; i < PASSES; i++) {
        made_up_pass(&t, &t.passes[i]);
        t.passes[i].pass = 70 + (uint64_t)i;
        t.passes[i].begun_ns = 5000000000 + i * 10000000;
    }
    t.passes[0].n_tokens = 64;
    return t;
}

static const char *text_of(const json_t *event, const char *key)
{
    const char *text = json_string_value(json_object_get(event, key));
    return text ? text : "";
}

static double number_of(const json_t *event, const char *key)
{
    json_t *value = json_object_get(event, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static bool near(double a, double b)
{
    return a > b - 1e-6 && a < b + 1e-6;
}

static void every_window_is_a_slice_of_its_nodes_compute_loop(void **state)
{
    (void)state;
    struct timings_trace t = passes();
    json_t *json = written(&t, made_up_names), *event;
    size_t i, n_windows = 0, n_waits = 0;
    json_array_foreach(json_object_get(json, "traceEvents"), i, event)
    {
        if (strcmp(text_of(event, "ph"), "X"))
            continue;
        json_t *args = json_object_get(event, "args");
        int pass = (int)number_of(args, "pass") - 70, round = (int)number_of(args, "round");
        int node = (int)number_of(event, "pid") - 1;
        double from = number_of(event, "ts") - pass * 10000;
        assert_in_range(pass, 0, PASSES - 1);
        assert_int_equal((int)number_of(args, "tokens"), pass ? 1 : 64);
        if (round < 0) {
            assert_string_equal(text_of(event, "name"), "embedding");
            assert_true(node == 2 && near(from, 0) && near(number_of(event, "dur"), 100));
            continue;
        }
        const struct timings_stop *s = timings_stop_of(&t, &t.passes[pass], round, node);
        bool waits = !strcmp(text_of(event, "cat"), "disk wait");
        assert_true(near(from, s->started_us + (waits ? 0 : s->waited_us)));
        assert_true(near(from + number_of(event, "dur"),
                         waits ? s->started_us + s->waited_us : s->computed_us));
        n_windows += !waits;
        n_waits += waits;
        static const char *const windows[ROUNDS][3] = {
            {"layers 0-1", "no layer", "layers 2-4"},
            {"layers 5-6", "no layer", "layers 7-8"},
        };
        assert_string_equal(text_of(event, "name"), waits ? "disk wait" : windows[round][node]);
    }
    assert_int_equal(n_windows, PASSES * ROUNDS * 3);
    assert_int_equal(n_waits, PASSES * ROUNDS);
    json_decref(json);
    timings_trace_free(&t);
}

static void what_links_do_begins_and_ends(void **state)
{
    (void)state;
    struct timings_trace t = passes();
    json_t *json = written(&t, made_up_names), *event, *open = json_object();
    size_t i, n_received = 0, n_sent = 0, n_passes = 0;
    json_array_foreach(json_object_get(json, "traceEvents"), i, event)
    {
        char key[160];
        const char *name = text_of(event, "name"), *phase = text_of(event, "ph");
        if (strcmp(phase, "b") && strcmp(phase, "e"))
            continue;
        snprintf(key, sizeof key, "%s %s %s", text_of(event, "cat"), name, text_of(event, "id"));
        if (!strcmp(phase, "b")) {
            assert_null(json_object_get(open, key));
            json_object_set(open, key, event);
            continue;
        }
        json_t *begin = json_object_get(open, key);
        assert_non_null(begin);
        double took = number_of(event, "ts") - number_of(begin, "ts");
        bool receive = !strcmp(name, "receive"), send = !strcmp(name, "send");
        assert_true(near(took, receive ? 200 : send ? 100 : 7300));
        n_received += receive;
        n_sent += send;
        n_passes += !receive && !send;
        json_object_del(open, key);
    }
    assert_int_equal(json_object_size(open), 0);
    assert_int_equal(n_received, PASSES * ROUNDS * 3);
    assert_int_equal(n_sent, PASSES * ROUNDS * 3); // the first frame, but nothing behind the last
    assert_int_equal(n_passes, PASSES);
    json_decref(open);
    json_decref(json);
    timings_trace_free(&t);
}

static void nodes_are_processes_whatever_their_name(void **state)
{
    (void)state;
    static const char names[3][WIRE_NAME] = {"a \"quoted\" one", "back\\slash", "desk"};
    struct timings_trace t = passes();
    t.n_passes = 0;
    json_t *json = written(&t, names), *event;
    const char *found[3] = {"", "", ""};
    size_t i;
    json_array_foreach(json_object_get(json, "traceEvents"), i,
                       event) if (!strcmp(text_of(event, "name"), "process_name"))
        found[(int)number_of(event, "pid") - 1] = text_of(json_object_get(event, "args"), "name");
    assert_string_equal(found[0], names[0]);
    assert_string_equal(found[1], names[1]);
    assert_string_equal(found[2], "desk (head)");
    json_decref(json);
    timings_trace_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_window_is_a_slice_of_its_nodes_compute_loop),
        cmocka_unit_test(what_links_do_begins_and_ends),
        cmocka_unit_test(nodes_are_processes_whatever_their_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
