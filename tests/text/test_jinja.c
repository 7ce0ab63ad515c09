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

// ---- the language ------------------------------------------------------------------------------

static void values_are_written_as_python_writes_them(void **state)
{
    (void)state;
    check("{{ [1, 2.0, 'a\\'b', none, true, {'k': (1,)}] }}", "{}",
          "[1, 2.0, \"a'b\", None, True, {'k': (1,)}]");
    check("{{ 1e16 }} {{ 1e-5 }} {{ 0.1 }} {{ 100.0 }} {{ -0.0 }} {{ 123456.75 }}", "{}",
          "1e+16 1e-05 0.1 100.0 -0.0 123456.75");
    check("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 7 / 2 }}", "{}",
          "3 -4 2 1024 3.5");
    check("{{ x | tojson }}", "{\"x\": {\"a\": [1, 2.5, null], \"b\": \"\\u00e9\\n<\"}}",
          "{\"a\": [1, 2.5, null], \"b\": \"\xc3\xa9\\n<\"}");
    check("{{ x | tojson(indent=2) }}", "{\"x\": {\"a\": [1], \"b\": []}}",
          "{\n  \"a\": [\n    1\n  ],\n  \"b\": []\n}");
}

static void scopes_are_those_of_jinja(void **state)
{
    (void)state;
    check("{% set x = 1 %}{% for i in [1, 2] %}{% set x = i %}{% endfor %}{{ x }}", "{}", "1");
    check("{% set n = namespace(x=1) %}{% for i in [1, 2] %}{% set n.x = i %}{% endfor %}{{ n.x }}",
          "{}", "2");
    check("{% if true %}{% set x = 3 %}{% endif %}{{ x }}", "{}", "3");
    check("{% macro m(a, b='d') %}{{ a }}{{ b }}{{ caller is defined }}{% endmacro %}"
          "{{ m(1) }}{{ m(b=2, a=3) }}",
          "{}", "1dFalse32False");
    check("{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}x{% endcall %}", "{}", "<x>");
    check("{% for x in [3, 1, 2] if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }}"
          "{{ ',' if not loop.last }}{% else %}none{% endfor %}",
          "{}", "1/2:3,2/2:2");
    check("{% for a in [1] recursive %}{{ a }}{{ loop([]) if a else '' }}{% endfor %}", "{}", "1");
}

static void strings_are_cut_by_characters(void **state)
{
    (void)state;
    check("{{ s[1] }}{{ s[-1] }}{{ s[::-1] }}{{ s[1:3] }}{{ s | length }}",
          "{\"s\": \"a\\u00e9\\u4f60z\"}",
          "\xc3\xa9zz\xe4\xbd\xa0\xc3\xa9"
          "a\xc3\xa9\xe4\xbd\xa0"
          "4");
    check("{{ '\\u00a0 x\\t'.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a b  c'.split() }}", "{}",
          "x|a|['a', 'b', 'c']");
}

static void what_a_template_may_not_do_is_refused(void **state)
{
    (void)state;
    check_refused("{% include 'x' %}", "a statement that chat templates may use");
    check_refused("{{ [].append(1) }}", "may not change a list");
    check_refused("{{ {}.update({}) }}", "may not change a dict");
    check_refused("{{ ''.__class__.__mro__ }}", "has no attribute '__class__'");
    check_refused("{{ nothing.x }}", "'nothing' is undefined");
    check_refused("{{ 1 | unheard_of }}", "no filter named 'unheard_of'");
    check_refused("{% if x %}", "{% endif %} is missing");
    check_refused("{{ 'x }}", "a string is not closed");
    check_refused("{{ 1 + 'a' }}", "does not go between");
    check_refused("\n\n{{ 1 / 0 }}", "line 3: division by zero");
}

static void what_does_not_end_is_ended(void **state)
{
    (void)state;
    check_refused("{% for i in range(1000000000) %}{% endfor %}", "more than 256 MiB");
    check_refused("{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}"
                  "{% endfor %}",
                  "more than 256 MiB");
    check_refused(
        "{% set l = range(9000) | list %}{{ l | map('string') | select('in', l) | list }}",
        "20000000 steps");
    check_refused("{{ 'x' * 1000000000 }}", "steps");
    check_refused("{% set n = namespace(x='xxxxxxxxxxxxxxxx') %}{% for i in range(60) %}"
                  "{% set n.x = n.x + n.x %}{% endfor %}",
                  "more than");
    check_refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested");
    char *deep = malloc(20000);
    assert_non_null(deep);
    strcpy(deep, "{{ ");
    while (strlen(deep) < 16000)
        strcat(deep, "not not not not not not not not not not not not not not not not ");
    strcat(deep, "1 }}");
    check_refused(deep, "nested");
    free(deep);
}

// Objects of a hundred thousand members are read at once, and not searched without end.
static void large_objects_are_no_trap(void **state)
{
    (void)state;
    json_t *large = json_object(), *variables = json_pack("{sO}", "d", large);
    char name[32];
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof name, "k%d", i);
        json_object_set_new(large, name, json_integer(i));
    }
    struct rendered r = render("{{ d | length }} {{ d['k99999'] }}", variables, NULL, NULL);
    assert_true(same_text(&r, "100000 99999"));
    jinja_text_free(&r.text);
    r = render("{% for k in d %}{{ d[k] }}{% endfor %}", variables, NULL, NULL);
    assert_int_equal(r.rc, ERR_FAILED);
    assert_non_null(strstr(r.e.text, "steps"));
    json_decref(large);
    json_decref(variables);
}

static void marks_follow_the_bytes(void **state)
{
    (void)state;
    static const char *const trusted[] = {"t", NULL};
    static const struct {
        const char *source, *text, *marks;
    } cases[] = {
        {"<{{ m }}{{ t }}>", "<usertemplate>", "01111000000000"},
        {"{{ m[1:3] ~ 'x' ~ m | upper }}", "sexUSER", "1101111"},
        {"{{ (m + '!') | replace('s', 'SS') }}", "uSSer!", "111110"},
        {"{{ [m, t] | join('-') }}", "user-template", "1111000000000"},
        {"{{ m | tojson }}", "\"user\"", "011110"},
        {"{{ {'a': m} }}", "{'a': 'user'}", "0000000111100"},
        {"{% set x %}{{ m }}.{% endset %}{{ x | trim }}", "user.", "11110"},
        {"{% macro q(s) %}[{{ s }}]{% endmacro %}{{ q(m) }}", "[user]", "011110"},
        {"{{ m | length }}", "4", "0"},
    };
    json_t *variables = json_pack("{ssss}", "m", "user", "t", "template");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rendered r = render(cases[i].source, variables, NULL, trusted);
        if (!same_text(&r, cases[i].text))
            fail_msg("%s: %s", cases[i].source, r.rc ? r.e.text : r.text.text);
        for (size_t k = 0; k < r.text.n; k++)
            if (r.text.marks[k] != cases[i].marks[k] - '0')
                fail_msg("%s: byte %zu is %smarked", cases[i].source, k,
                         r.text.marks[k] ? "" : "not ");
        jinja_text_free(&r.text);
    }
    json_decref(variables);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_render_of_the_test_data_is_equal),
        cmocka_unit_test(the_cases_of_hugging_face_are_equal),
        cmocka_unit_test(values_are_written_as_python_writes_them),
        cmocka_unit_test(scopes_are_those_of_jinja),
        cmocka_unit_test(strings_are_cut_by_characters),
        cmocka_unit_test(what_a_template_may_not_do_is_refused),
        cmocka_unit_test(what_does_not_end_is_ended),
        cmocka_unit_test(large_objects_are_no_trap),
        cmocka_unit_test(marks_follow_the_bytes),
        cmocka_unit_test(the_cases_of_llama_cpp_that_jinja2_agrees_with_are_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
