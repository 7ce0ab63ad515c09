// Chat templates against what Jinja2 makes of them: the test data's renders of real templates, the
// cases of other projects where real Jinja2 agrees, and what a sandbox must stand.
#include "support.h"

#include "text/jinja.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- rendering ---------------------------------------------------------------------------------

struct rendered {
    int rc;
    struct jinja_text text;
    struct err e;
};

static const struct tm noon = {
    .tm_year = 125, .tm_mon = 6, .tm_mday = 10, .tm_hour = 12, .tm_wday = 4, .tm_yday = 190};

static struct rendered render(const char *source, json_t *variables, const struct jinja_options *o,
                              const char *const *trusted)
{
    struct rendered out = {0};
    struct jinja *t;
    out.rc = jinja_new(&t, source, strlen(source), o, &out.e);
    if (out.rc)
        return out;
    struct jinja_input in = {.variables = variables, .trusted = trusted, .now = noon};
    out.rc = jinja_render(t, &in, &out.text, &out.e);
    jinja_free(t);
    return out;
}

static bool same_text(const struct rendered *r, const char *want)
{
    return !r->rc && r->text.n == strlen(want) && !memcmp(r->text.text, want, r->text.n);
}

static void check(const char *source, const char *variables, const char *want)
{
    json_error_t error;
    json_t *j = json_loads(variables, 0, &error);
    assert_non_null(j);
    struct rendered r = render(source, j, NULL, NULL);
    if (!same_text(&r, want))
        fail_msg("%s\n gives: %s\n not:   %s", source, r.rc ? r.e.text : r.text.text, want);
    jinja_text_free(&r.text);
    json_decref(j);
}

static void check_refused(const char *source, const char *why)
{
    json_t *none = json_object();
    struct rendered r = render(source, none, NULL, NULL);
    if (!r.rc || !strstr(r.e.text, why))
        fail_msg("%s\n gives: %s\n not an error with: %s", source, r.rc ? r.e.text : r.text.text,
                 why);
    jinja_text_free(&r.text);
    json_decref(none);
}

// One case has a key with a NUL in it, which our JSON library does not take: every u0000 becomes
// u0001, in contexts and expectations alike.
static json_t *load(const char *path)
{
    json_error_t error;
    char *text = (char *)test_read(path, NULL);
    for (char *at = text; (at = strstr(at, "u0000")); at += 5)
        at[4] = '1';
    json_t *j = json_loads(text, 0, &error);
    if (!j)
        fail_msg("%s: %s", path, error.text);
    free(text);
    return j;
}

// ---- test data ---------------------------------------------------------------------------------

static void report(const char *name, const char *context, const struct rendered *r,
                   const char *want)
{
    size_t at = 0;
    if (r->rc) {
        printf("# %s %s: %s\n", name, context, r->e.text);
        return;
    }
    while (at < r->text.n && r->text.text[at] == want[at])
        at++;
    printf("# %s %s: from byte %zu on\n#   got:  %.80s\n#   want: %.80s\n", name, context, at,
           r->text.text + at, want + at);
}

static void every_render_of_the_test_data_is_equal(void **state)
{
    (void)state;
    TESTDATA(path, "templates/golden_chat.json");
    json_t *golden = load(path), *row;
    size_t i, wrong = 0;
    json_array_foreach(json_object_get(golden, "rows"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "template"));
        const char *context = json_string_value(json_object_get(row, "context"));
        const char *want = json_string_value(json_object_get(row, "expected"));
        char file[300];
        snprintf(file, sizeof file, "templates/jinja/%s", name);
        char *source = (char *)test_read(test_data(file), NULL);
        json_t *variables = json_deep_copy(json_object_get(golden, "common"));
        json_object_update(variables,
                           json_object_get(json_object_get(golden, "contexts"), context));
        struct rendered r = render(source, variables, NULL, NULL);
        if (want ? !same_text(&r, want) : !r.rc) {
            wrong++;
            if (want)
                report(name, context, &r, want);
            else
                printf("# %s %s: should be refused: %s\n", name, context,
                       json_string_value(json_object_get(row, "error")));
        }
        jinja_text_free(&r.text);
        json_decref(variables);
        free(source);
    }
    if (wrong)
        fail_msg("%zu of %zu renders differ", wrong, i);
    json_decref(golden);
}

static void check_cases(const char *path)
{
    json_t *cases = load(path), *c;
    size_t i, wrong = 0, compared = 0;
    json_array_foreach(cases, i, c)
    {
        const char *agrees = json_string_value(json_object_get(c, "jinja2"));
        const char *name = json_string_value(json_object_get(c, "name"));
        const char *want = json_string_value(json_object_get(c, "expected"));
        if (!agrees || strcmp(agrees, "same") || !want)
            continue;
        struct jinja_options o = {json_is_true(json_object_get(c, "trim_blocks")),
                                  json_is_true(json_object_get(c, "lstrip_blocks"))};
        if (!json_object_get(c, "trim_blocks"))
            o = (struct jinja_options){true, true};
        struct rendered r = render(json_string_value(json_object_get(c, "template")),
                                   json_object_get(c, "context"), &o, NULL);
        compared++;
        if (!same_text(&r, want)) {
            wrong++;
            report(name, "", &r, want);
        }
        jinja_text_free(&r.text);
    }
    json_decref(cases);
    assert_true(compared > 10);
    if (wrong)
        fail_msg("%zu of %zu cases differ", wrong, compared);
}

static void the_cases_of_hugging_face_are_equal(void **state)
{
    (void)state;
    TESTDATA(e2e, "templates/hfjs_e2e.json");
    TESTDATA(syntax, "templates/hfjs_syntax.json");
    TESTDATA(white, "templates/hfjs_whitespace.json");
    check_cases(e2e);
    check_cases(syntax);
    check_cases(white);
}

// Cases where llama.cpp expects its own rules, not what Jinja2 makes of the template: a system
// message merged into the first user's, tokens of begin and end left out.
static bool is_own_rule(const char *name)
{
    static const char *const names[] = {
        "mistralai/Mistral-7B-Instruct-v0.2 (NOTE: Old pre-v1 without a system prompt)",
        "mlabonne/AlphaMonarch-7B",
        "google/gemma-7b-it",
        "OrionStarAI/Orion-14B-Chat",
        "Llama-3",
        "Phi-3-mini",
        "Phi-3-medium",
        "ChatGLM3",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

static void the_cases_of_llama_cpp_that_jinja2_agrees_with_are_equal(void **state)
{
    (void)state;
    TESTDATA(path, "templates/llamacpp_chat_template.json");
    json_t *all = load(path), *c;
    size_t i, wrong = 0;
    json_array_foreach(json_object_get(all, "cases"), i, c)
    {
        const char *name = json_string_value(json_object_get(c, "name"));
        const char *want = json_string_value(json_object_get(c, "expected_output_jinja"));
        if (!want || !*want)
            want = json_string_value(json_object_get(c, "expected_output"));
        if (is_own_rule(name) || !json_is_true(json_object_get(c, "supported_with_jinja")))
            continue;
        json_t *variables = json_object();
        json_object_set(variables, "messages", json_object_get(all, "messages"));
        json_object_set(variables, "add_generation_prompt",
                        json_object_get(all, "add_generation_prompt"));
        json_object_set(variables, "bos_token", json_object_get(c, "bos_token"));
        json_object_set(variables, "eos_token", json_object_get(c, "eos_token"));
        struct rendered r =
            render(json_string_value(json_object_get(c, "template_str")), variables, NULL, NULL);
        if (!same_text(&r, want)) {
            wrong++;
            report(name, "", &r, want);
        }
        jinja_text_free(&r.text);
        json_decref(variables);
    }
    json_decref(all);
    if (wrong)
        fail_msg("%zu of %zu cases differ", wrong, i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_render_of_the_test_data_is_equal),
        cmocka_unit_test(the_cases_of_hugging_face_are_equal),
        cmocka_unit_test(the_cases_of_llama_cpp_that_jinja2_agrees_with_are_equal),
    };
    (void)check, (void)check_refused;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
