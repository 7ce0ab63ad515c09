// app/options and app/help: parsing by the table, the environment, what is said about mistakes.
#include "support.h"

#include "app/help.h"
#include "app/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct verb verb = {
    .name = "trial",
    .summary = "a trial",
    .usage = "FILE [WORD]",
    .text = "What it is.",
    .options = (const struct verb_option[]){{OPT_TOKENS, NULL},
                                            {OPT_TEMP, "0.5"},
                                            {OPT_TOP_K, "40"},
                                            {OPT_KV, "f16"},
                                            {OPT_SYSTEM, NULL},
                                            {OPT_PAYLOAD, "32K"},
                                            {OPT_JSON, NULL},
                                            {OPT_DEPTHS, NULL},
                                            {OPT_WIDTHS, "1,2"},
                                            {OPT_END, NULL}},
    .min_args = 1,
    .max_args = 2,
};

static struct options parsed;
static struct err error;

// Parses words separated by '|'.
static int parse(const char *line)
{
    static char words[512];
    static char *argv[32];
    int argc = 0;
    options_free(&parsed);
    error = (struct err){0};
    strcpy(words, line);
    for (char *w = strtok(words, "|"); w; w = strtok(NULL, "|"))
        argv[argc++] = w;
    return options_parse(&parsed, &verb, argc, argv, &error);
}

static void refused(const char *line, const char *sentence)
{
    assert_int_equal(parse(line), ERR_USAGE);
    if (!strstr(error.text, sentence))
        fail_msg("%s: \"%s\" does not say \"%s\"", line, error.text, sentence);
}

static void values_come_in_every_spelling(void **state)
{
    (void)state;
    static const char *const lines[] = {"f|--tokens|7|--temp|1.5", "f|--tokens=7|--temp=1.5",
                                        "-n|7|f|--temp|1.5", "--temp|15e-1|-n7|f"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_ok(parse(lines[i]), &error);
        assert_int_equal(options_int(&parsed, OPT_TOKENS), 7);
        assert_true(options_given(&parsed, OPT_TOKENS));
        assert_true(fabs(options_float(&parsed, OPT_TEMP) - 1.5) < 1e-12);
        assert_int_equal(parsed.n_args, 1);
        assert_string_equal(options_arg(&parsed, 0), "f");
        assert_null(options_arg(&parsed, 1));
    }
}

static void what_is_not_given_is_as_the_verb_says(void **state)
{
    (void)state;
    assert_ok(parse("f"), &error);
    assert_false(options_given(&parsed, OPT_TOKENS));
    assert_false(options_given(&parsed, OPT_TEMP));
    assert_true(options_float(&parsed, OPT_TEMP) == 0.5);
    assert_int_equal(options_int(&parsed, OPT_TOP_K), 40);
    assert_int_equal(options_enum(&parsed, OPT_KV), 1);
    assert_null(options_text(&parsed, OPT_SYSTEM));
    assert_false(options_flag(&parsed, OPT_JSON));
    assert_int_equal(options_enum(&parsed, OPT_LOG_LEVEL), 1);
}

static void sizes_have_units(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int64_t bytes;
    } cases[] = {{"f", 32 << 10},
                 {"f|--payload|2000", 2000},
                 {"f|--payload|64k", 64 << 10},
                 {"f|--payload=64KiB", 64 << 10},
                 {"f|--payload=1.5KB", 1536},
                 {"f|--payload|2000B", 2000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_ok(parse(cases[i].line), &error);
        assert_int_equal(options_int(&parsed, OPT_PAYLOAD), cases[i].bytes);
    }
    refused("f|--payload|1", "out of range");
    refused("f|--payload|1G", "out of range");
    refused("f|--payload|64Q", "wants a size");
    refused("f|--payload|K", "wants a size");
    refused("f|--payload|64KK", "wants a size");
    refused("f|--payload|inf", "wants a size");
}

static void lists_have_commas(void **state)
{
    (void)state;
    int n[OPTION_LIST_MAX];
    assert_ok(parse("f"), &error);
    assert_int_equal(options_list(&parsed, OPT_DEPTHS, n), 0);
    assert_int_equal(options_list(&parsed, OPT_WIDTHS, n), 2);
    assert_true(n[0] == 1 && n[1] == 2);
    assert_ok(parse("f|-d|7|--widths=64,3,1"), &error);
    assert_int_equal(options_list(&parsed, OPT_DEPTHS, n), 1);
    assert_int_equal(n[0], 7);
    assert_int_equal(options_list(&parsed, OPT_WIDTHS, n), 3);
    assert_true(n[0] == 64 && n[1] == 3 && n[2] == 1);
    assert_ok(parse("f|-d|1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"), &error);
    assert_int_equal(options_list(&parsed, OPT_DEPTHS, n), OPTION_LIST_MAX);
    refused("f|-d|1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "16 numbers at most");
    refused("f|-d|1,", "commas between");
    refused("f|-d|,1", "commas between");
    refused("f|-d|1;2", "whole number, not '1;2'");
    refused("f|-d|1, 2", "whole number, not ' 2'");
    refused("f|-w|2,0", "0 is out of range");
}

static void flags_stand_alone_or_say_what_they_are(void **state)
{
    (void)state;
    assert_ok(parse("f|--json"), &error);
    assert_true(options_flag(&parsed, OPT_JSON));
    assert_ok(parse("f|--json=no"), &error);
    assert_false(options_flag(&parsed, OPT_JSON));
    assert_ok(parse("--json|f|no"), &error); // "no" is an operand
    assert_true(options_flag(&parsed, OPT_JSON));
    assert_int_equal(parsed.n_args, 2);
    refused("f|--json=maybe", "on or off");
}

static void operands_may_look_like_options_behind_dashes(void **state)
{
    (void)state;
    assert_ok(parse("-n|3|--|--temp|-n"), &error);
    assert_int_equal(parsed.n_args, 2);
    assert_string_equal(options_arg(&parsed, 0), "--temp");
    assert_ok(parse("f|-"), &error); // standard input
    assert_string_equal(options_arg(&parsed, 1), "-");
    assert_ok(parse("f|--system|-x"), &error); // a value may begin with a dash
    assert_string_equal(options_text(&parsed, OPT_SYSTEM), "-x");
}

static void mistakes_are_named(void **state)
{
    (void)state;
    refused("f|--tmep|1", "did you mean --temp?");
    refused("f|--tok|1", "did you mean --tokens?");
    refused("f|--seed|1", "unknown option --seed"); // of another verb
    refused("f|--zzzz", "rondo help trial");
    refused("f|-q", "unknown option -q");
    refused("f|--tokens", "--tokens wants a value");
    refused("f|-n", "-n wants a value");
    refused("f|-n|many", "-n wants a whole number, not 'many'");
    refused("f|-n|1.5", "whole number");
    refused("f|-n| 1", "whole number");
    refused("f|-n|99999999999999999999999", "out of range");
    refused("f|-n|-1", "out of range; it goes from 0 to 1073741824");
    refused("f|--temp|hot", "wants a number");
    refused("f|--temp|nan", "wants a number");
    refused("f|--temp|1e9", "out of range");
    refused("f|--kv|q8", "cannot be 'q8'; it is one of f32, f16");
    refused("f|--system=", "not empty");
    refused("-n|1", "FILE [WORD]");
    refused("a|b|c", "'c' is one argument too many");
    refused("f|--temp\x1b[31m=1", "--temp?[31m=1"); // nothing steers the terminal
}

static void the_environment_stands_behind_the_command_line(void **state)
{
    (void)state;
    setenv("RONDO_TOP_K", "7", 1);
    setenv("RONDO_JSON", "1", 1);
    setenv("RONDO_SYSTEM", "", 1); // empty is unset
    assert_ok(parse("f"), &error);
    assert_int_equal(options_int(&parsed, OPT_TOP_K), 7);
    assert_true(options_given(&parsed, OPT_TOP_K));
    assert_true(options_flag(&parsed, OPT_JSON));
    assert_null(options_text(&parsed, OPT_SYSTEM));
    assert_ok(parse("f|--top-k=9|--json=off"), &error);
    assert_int_equal(options_int(&parsed, OPT_TOP_K), 9);
    assert_false(options_flag(&parsed, OPT_JSON));
    setenv("RONDO_TOP_K", "few", 1);
    refused("f", "RONDO_TOP_K wants a whole number");
    unsetenv("RONDO_TOP_K");
    unsetenv("RONDO_JSON");
    unsetenv("RONDO_SYSTEM");
}

static void asking_for_help_is_never_a_mistake(void **state)
{
    (void)state;
    assert_ok(parse("--help"), &error);
    assert_true(options_flag(&parsed, OPT_HELP));
    assert_ok(parse("-h|--nonsense"), &error);
    assert_ok(parse("a|b|--help|c|d"), &error);
}

static void every_option_is_described_once(void **state)
{
    (void)state;
    for (int i = 1; i < OPT_COUNT; i++) {
        const struct option_spec *s = &option_table[i];
        assert_non_null(s->name);
        assert_non_null(s->help);
        assert_true((s->type == OPTION_ENUM) == (s->names != NULL));
        bool valued = s->type != OPTION_FLAG && s->type != OPTION_ENUM;
        assert_true(valued == (s->value != NULL));
        if (s->type == OPTION_INT || s->type == OPTION_FLOAT || s->type == OPTION_SIZE ||
            s->type == OPTION_LIST)
            assert_true(s->max > s->min);
    }
}

// Within a verb a name and a letter mean one thing, and what is taken without an option can be
// parsed.
static void verbs_take_options_that_do_not_clash(void **state)
{
    (void)state;
    for (int i = 0; verbs[i]; i++) {
        const struct verb_option *o = verbs[i]->options;
        for (int a = 0; o && o[a].id != OPT_END; a++) {
            const struct option_spec *s = &option_table[o[a].id];
            for (int b = 0; b < a; b++) {
                const struct option_spec *t = &option_table[o[b].id];
                assert_string_not_equal(s->name, t->name);
                assert_true(!s->letter || s->letter != t->letter);
            }
        }
        struct options all;
        struct err e = {0};
        char help[] = "--help", *argv[] = {help};
        assert_ok(options_parse(&all, verbs[i], 1, argv, &e), &e);
        options_free(&all);
    }
}

static void help_names_every_option_within_80_columns(void **state)
{
    (void)state;
    for (int i = -1; i < 0 || verbs[i]; i++) {
        const struct verb *v = i < 0 ? &verb : verbs[i];
        char *text = NULL, name[64];
        size_t size;
        FILE *f = open_memstream(&text, &size);
        help_verb(f, v);
        fclose(f);
        assert_non_null(strstr(text, v->summary));
        assert_non_null(strstr(text, v->usage));
        for (const struct verb_option *o = v->options; o && o->id != OPT_END; o++) {
            snprintf(name, sizeof name, "--%s", option_table[o->id].name);
            assert_non_null(strstr(text, name));
        }
        for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
            if (strcspn(line, "\n") > 80)
                fail_msg("rondo help %s: %.*s", v->name, (int)strcspn(line, "\n"), line);
        free(text);
    }
}

static int teardown(void **state)
{
    (void)state;
    options_free(&parsed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_in_every_spelling),
        cmocka_unit_test(what_is_not_given_is_as_the_verb_says),
        cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(lists_have_commas),
        cmocka_unit_test(flags_stand_alone_or_say_what_they_are),
        cmocka_unit_test(operands_may_look_like_options_behind_dashes),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(the_environment_stands_behind_the_command_line),
        cmocka_unit_test(asking_for_help_is_never_a_mistake),
        cmocka_unit_test(every_option_is_described_once),
        cmocka_unit_test(verbs_take_options_that_do_not_clash),
        cmocka_unit_test(help_names_every_option_within_80_columns),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
