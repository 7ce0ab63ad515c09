// rondo bench: every format says the same about the same tests, and wrong options are refused in a
// sentence.
#include "support.h"

#include "tiny_model.h"
#include "verb_output.h"

#include "app/sheet.h"
#include "app/verbs.h"
#include "app/version.h"
#include "gguf/gguf.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = {"pp5",       "pp9",       "tg3",       "n1",       "n4",
                                    "pp5 @ d70", "pp9 @ d70", "tg3 @ d70", "n1 @ d70", "n4 @ d70"};
enum { N_TESTS = sizeof names / sizeof *names, N_REPEATS = 2 };

static const char *model(void)
{
    struct tiny_model t = {.seed = 5, .n_layers = 2, .context = 64, .type = WT_Q8_0};
    const char *path = test_file("bench.gguf");
    tiny_model_write(path, &t);
    return path;
}

static int bench(char **out, struct err *e, const char *output)
{
    char *argv[] = {strdup(model()), "-p", "5,9", "-n", "3", "-w",
                    "4,1",           "-d", "70",  "-r", "2", "-o",
                    (char *)output};
    int rc;
    *out = verb_output(&verb_bench, sizeof argv / sizeof *argv, argv, &rc, e);
    free(argv[0]);
    return rc;
}

static double number_of(const json_t *json, const char *key)
{
    const json_t *value = json_object_get(json, key);
    if (!json_is_number(value))
        fail_msg("no number %s", key);
    return json_number_value(value);
}

static void assert_test(const json_t *t, const char *name)
{
    const json_t *relative = json_object_get(t, "relative"), *samples;
    assert_string_equal(json_string_value(json_object_get(t, "test")), name);
    double tokens = number_of(t, "tokens"), rate = number_of(t, "tokens_per_s");
    assert_true((int)tokens == atoi(name + strspn(name, "ptgn")));
    assert_true((int)number_of(t, "depth") == (strstr(name, "d70") ? 70 : 0));
    samples = json_object_get(t, "samples");
    assert_int_equal(json_array_size(samples), N_REPEATS);
    double a = json_real_value(json_array_get(samples, 0));
    double b = json_real_value(json_array_get(samples, 1));
    assert_true(fabs((a + b) / 2 / rate - 1) < 1e-9); // the middle of two
    assert_true(number_of(t, "ms") > 0 && number_of(t, "gbps") > 0);
    assert_true(number_of(t, "dram_share") > 0 && number_of(t, "gops") > 0);
    assert_true(number_of(t, "int8_peak_share") > 0);
    if (!strcmp(name, "n4 @ d70"))
        assert_string_equal(json_string_value(json_object_get(relative, "to")), "n1 @ d70");
    else if (strstr(name, "d70"))
        assert_memory_equal(json_string_value(json_object_get(relative, "to")), name,
                            strcspn(name, " "));
    else
        assert_true(json_is_object(relative) == !strcmp(name, "n4"));
    if (json_is_object(relative))
        assert_true(number_of(relative, "time") > 0);
}

static void json_has_every_test_and_what_it_was_measured_on(void **state)
{
    (void)state;
    struct err e = {0};
    char *text;
    assert_ok(bench(&text, &e, "json"), &e);
    json_error_t error;
    json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(j);
    json_t *tests = json_object_get(j, "tests"), *machine = json_object_get(j, "machine");
    assert_int_equal(json_array_size(tests), N_TESTS);
    for (size_t i = 0; i < N_TESTS; i++)
        assert_test(json_array_get(tests, i), names[i]);
    assert_string_equal(json_string_value(json_object_get(j, "commit")), version_commit());
    assert_string_equal(json_string_value(json_object_get(j, "isa")), isa_name(isa_detect()));
    assert_string_equal(json_string_value(json_object_get(j, "type")), "llama Q8_0");
    assert_true(json_string_length(json_object_get(machine, "processor")) > 0);
    assert_true(number_of(machine, "memory_bytes") > 1e6 && number_of(j, "threads") >= 1);
    assert_true(number_of(json_object_get(j, "dram"), "read_gbps") > 0);
    json_t *peak = json_object_get(j, "int8_peak");
    assert_true(number_of(peak, "gops") >= number_of(peak, "least_gops"));
    assert_true(number_of(peak, "gops") <= number_of(peak, "most_gops"));
    json_decref(j);
    free(text);
}

// --memory is all that there is: no buffer is laid beside it. What is read is told.
static void a_bench_within_memory_tells_what_was_streamed(void **state)
{
    (void)state;
    const char *path = test_file("large.gguf");
    struct tiny_model t = {.seed = 6, .n_layers = 8, .n_ff = 2048, .context = 64, .type = WT_Q8_0};
    char *argv[] = {strdup(path), "-p0",         "-n3",    "-r2", "-b4", "--memory",
                    "2M",         "--residency", "direct", "-o",  "json"};
    struct err e = {0};
    int rc;
    tiny_model_write(path, &t);
    char *text = verb_output(&verb_bench, sizeof argv / sizeof *argv, argv, &rc, &e);
    assert_ok(rc, &e);
    json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(j);
    json_t *r = json_object_get(j, "residency");
    assert_string_equal(json_string_value(json_object_get(r, "kind")), "direct");
    assert_true(number_of(r, "resident_bytes") <= number_of(r, "wanted_bytes"));
    assert_true(number_of(r, "streamed_bytes") > 0);
    assert_true(number_of(r, "read_bytes") >= 7 * number_of(r, "streamed_bytes"));
    assert_true(number_of(r, "reader_bytes") >= number_of(r, "read_bytes"));
    assert_true(json_is_null(json_object_get(j, "dram")));
    assert_true(number_of(json_array_get(json_object_get(j, "tests"), 0), "dram_share") == 0);
    json_decref(j);
    free(text);
    free(argv[0]);
}

// What one token reads and multiplies of a mixture: the experts that it uses, and the rest.
static void a_mixture_counts_the_experts_that_are_used(void **state)
{
    (void)state;
    enum { EXPERTS = 16, USED = 2 };
    const char *path = test_file("mixture.gguf");
    char *argv[] = {strdup(path), "-p0", "-n1", "-r1", "-o", "json"};
    struct tiny_model t = {
        .arch = "qwen3moe", .type = WT_Q8_0, .context = 64, .n_experts = EXPERTS, .n_used = USED};
    struct err e = {0};
    struct gguf *g;
    double bytes = 0, weights = 0;
    int rc;
    tiny_model_write(path, &t);
    assert_ok(gguf_open(&g, path, &e), &e);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *x = gguf_tensor_at(g, i);
        double part = x->n_dims == 3 ? (double)USED / EXPERTS : 1;
        if (!strcmp(x->name.text, "token_embd.weight"))
            continue;
        bytes += part * (double)x->size;
        if (x->n_dims > 1)
            weights += part * (double)(x->dims[0] * x->dims[1] * x->dims[2]);
    }
    gguf_free(g);
    char *text = verb_output(&verb_bench, sizeof argv / sizeof *argv, argv, &rc, &e);
    assert_ok(rc, &e);
    json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(j);
    json_t *tg = json_array_get(json_object_get(j, "tests"), 0);
    double ms = number_of(tg, "ms"), read = number_of(tg, "gbps") * ms * 1e6;
    assert_true(read >= bytes && read < bytes * 1.02); // and one position's keys and values
    double multiplied = number_of(tg, "gops") * ms * 1e6 / 2;
    assert_true(fabs(multiplied / weights - 1) < 1e-9);
    json_decref(j);
    free(text);
    free(argv[0]);
}

// The fields of a line of CSV, quotes taken off; *line goes to the next.
static int csv_fields(char **line, char **fields, int max)
{
    int n = 0;
    char *at = *line;
    for (bool more = true; more && n < max;) {
        char *to = fields[n++] = at;
        if (*at == '"') {
            for (at++; *at != '"' || *++at == '"'; at++) {
                assert_true(*at && *at != '\n');
                *to++ = *at;
            }
        } else {
            while (*at && *at != ',' && *at != '\n')
                *to++ = *at++;
        }
        more = *at == ',';
        assert_true(more || *at == '\n');
        at++;
        *to = 0;
    }
    *line = at;
    return n;
}

static void csv_has_a_line_for_each_test(void **state)
{
    (void)state;
    enum { MAX_FIELDS = 40 };
    struct err e = {0};
    char *text, *title[MAX_FIELDS], *field[MAX_FIELDS];
    assert_ok(bench(&text, &e, "csv"), &e);
    char *line = text;
    int n = csv_fields(&line, title, MAX_FIELDS), row = 0;
    for (; *line; row++) {
        assert_true(row < N_TESTS);
        assert_int_equal(csv_fields(&line, field, MAX_FIELDS), n);
        for (int i = 0; i < n; i++) {
            bool related = strstr(names[row], "d70") || !strcmp(names[row], "n4");
            if (!strcmp(title[i], "test"))
                assert_string_equal(field[i], names[row]);
            else if (!strcmp(title[i], "commit"))
                assert_string_equal(field[i], version_commit());
            else if (!strcmp(title[i], "isa"))
                assert_string_equal(field[i], isa_name(isa_detect()));
            else if (!strcmp(title[i], "tokens_per_s") || !strcmp(title[i], "int8_peak_gops") ||
                     !strcmp(title[i], "threads"))
                assert_true(atof(field[i]) > 0);
            else if (!strcmp(title[i], "relative_time"))
                assert_true((atof(field[i]) > 0) == related);
        }
    }
    assert_int_equal(row, N_TESTS);
    free(text);
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void tables_name_the_tests_and_the_circumstances(void **state)
{
    (void)state;
    static const char *const outputs[] = {"table", "md"};
    for (size_t k = 0; k < 2; k++) {
        struct err e = {0};
        char *text, name[64];
        assert_ok(bench(&text, &e, outputs[k]), &e);
        for (size_t i = 0; i < N_TESTS; i++) {
            snprintf(name, sizeof name, k ? "| %s | " : "\n%s ", names[i]);
            assert_has(text, name);
        }
        assert_has(text, "machine: ");
        assert_has(text, version_commit());
        assert_has(text, isa_name(isa_detect()));
        assert_has(text, " threads around the runs");
        assert_has(text, " × n1");
        assert_has(text, " × pp9");
        free(text);
    }
}

static void a_sheet_stands_in_columns_or_between_bars(void **state)
{
    (void)state;
    struct sheet s;
    sheet_init(&s, (const char *const[]){"a", "none", "µs", "c"},
               (const bool[]){false, false, true, false}, 4);
    for (int i = 0; i < 2; i++) {
        sheet_add(&s, "%s", i ? "long one" : "x");
        sheet_add(&s, "%s", "");
        sheet_add(&s, "%d ±", i ? 5 : 1234);
        sheet_add(&s, "%s", i ? "" : "end");
    }
    const char *path = test_file("sheet");
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    assert_non_null(freopen(path, "w", stdout));
    sheet_print_columns(&s);
    sheet_print_markdown(&s);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    char *text = (char *)test_read(path, NULL);
    assert_string_equal(text, "a             µs  c\n"
                              "x         1234 ±  end\n"
                              "long one     5 ±\n"
                              "| a | none | µs | c |\n"
                              "|---|---|---:|---|\n"
                              "| x |  | 1234 ± | end |\n"
                              "| long one |  | 5 ± |  |\n");
    free(text);
    sheet_fini(&s);
}

static void wrong_options_are_a_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *option, *value, *part;
    } wrong[] = {
        {"-p", "5,x", "whole number, not 'x'"},
        {"-p", "", "commas between"},
        {"-n", "3,,4", "commas between"},
        {"-n", "-1", "out of range"},
        {"-w", "0", "out of range"},
        {"-w", "65", "out of range"},
        {"-d", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "16 numbers at most"},
        {"-o", "xml", "table, md, csv, json"},
        {"--json", "--output=csv", "contradict"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct err e = {0};
        int rc;
        char *argv[] = {"m.gguf", (char *)wrong[i].option, (char *)wrong[i].value};
        char *text = verb_output(&verb_bench, 3, argv, &rc, &e);
        assert_int_equal(rc, ERR_USAGE);
        if (!strstr(e.text, wrong[i].part))
            fail_msg("\"%s\" does not say \"%s\"", e.text, wrong[i].part);
        assert_string_equal(text, "");
        free(text);
    }
    struct err e = {0};
    int rc;
    char *nothing[] = {"m.gguf", "-p0", "-n0"};
    char *text = verb_output(&verb_bench, 3, nothing, &rc, &e);
    assert_int_equal(rc, ERR_USAGE);
    assert_has(e.text, "nothing to measure");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_has_every_test_and_what_it_was_measured_on),
        cmocka_unit_test(a_bench_within_memory_tells_what_was_streamed),
        cmocka_unit_test(a_mixture_counts_the_experts_that_are_used),
        cmocka_unit_test(csv_has_a_line_for_each_test),
        cmocka_unit_test(tables_name_the_tests_and_the_circumstances),
        cmocka_unit_test(a_sheet_stands_in_columns_or_between_bars),
        cmocka_unit_test(wrong_options_are_a_sentence),
    };
    return cmocka_run_group_tests_name("bench", tests, NULL, NULL);
}
